"""What a user's function is, so that no result of other code is taken for its own."""

import ast
import hashlib
import inspect
import sys
import sysconfig
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache, partial
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

from lossact.errors import InputError

PLAIN = (str, int, float, bool, bytes, complex, type(None))
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))
OWN = Path(__file__).parent.resolve()

_pinned: dict[Path, tuple[int, str]] = {}  # file to when it was changed, and its digest when this process first saw it


def fingerprint(function: Callable[..., Any], what: str) -> dict[str, Any]:
    """The function's name, code, the values it holds, and the files of the project that its own file imports.

    Files count as far as imports lead, wherever they stand in a file; packages that are installed, and the standard
    library, do not. Global values that the function names count as they are now, where they are plain: numbers,
    strings, containers, parsed arguments, dataclasses. What was typed into a notebook counts as far as the function
    uses it.

    Args:
        function: a function, a method, a class, a functools.partial, or an object that can be called.
        what: what errors call it.

    Returns:
        ready for JSON, equal for equal code.

    Raises:
        InputError: it holds a value whose content cannot be told, or a file was edited after this process read it.
    """
    reader = _Reader(what)
    found = {"function": reader.value(function)}
    return found | {"files": sorted(map(_digest, _reachable(reader.modules)))}


def to_canonical(value: Any, what: str) -> Any:
    """A value's content, ready for JSON.

    Raises:
        InputError: it cannot be told.
    """
    return _Reader(what).value(value)


class _Reader:
    """Walks what a function holds, each thing once."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no id is given twice
        self.modules: list[ModuleType] = []
        self.in_passing = 0

    def value(self, value: Any) -> Any:
        if isinstance(value, PLAIN):
            return repr(value)
        if isinstance(value, (tuple, list)):
            return [self.value(one) for one in value]
        if isinstance(value, (set, frozenset)):
            return sorted(str(self.value(one)) for one in value)
        if isinstance(value, Mapping):
            return {str(name): self.value(one) for name, one in sorted(value.items(), key=lambda item: str(item[0]))}
        if isinstance(value, ModuleType):
            self.modules.append(value)
            return value.__name__
        if callable(getattr(value, "content", None)):  # of lossact's own: a condition, say
            if self.in_passing:
                return type(value).__qualname__
            return {"kind": type(value).__qualname__, "content": value.content()}
        settings = isinstance(value, (Namespace, SimpleNamespace)) or is_dataclass(value)
        if not callable(value) and not (self.in_passing and settings):
            raise InputError(
                f"{self.what} holds {value!r}, whose content cannot be told for the store; "
                "use numbers and strings, or make it inside the function"
            )
        if id(value) in self.seen:
            return f"again {self.seen[id(value)]}"
        self.seen[id(value)] = len(self.seen)
        self.kept.append(value)
        return self._callable(value)

    def _used(self, value: Any) -> Any:
        """A value that code works with and a file may tell of: its content where it is plain, else its kind."""
        self.in_passing += 1
        try:
            return self.value(value)
        except InputError:
            return type(value).__qualname__
        finally:
            self.in_passing -= 1

    def _callable(self, one: Any) -> dict[str, Any]:
        if isinstance(one, partial):
            return {"partial": self.value(one.func), "arguments": [self.value(one.args), self.value(one.keywords)]}
        if inspect.ismethod(one):
            return {
                "method": self.value(one.__func__),
                "of": self.value(one.__self__) if isinstance(one.__self__, type) else self._object(one.__self__),
            }
        if isinstance(one, type):
            return self._class(one)
        if hasattr(one, "__code__"):
            return self._function(one)
        if hasattr(one, "__wrapped__"):  # by functools.lru_cache, say
            return {"wrapped": self.value(one.__wrapped__)}
        if hasattr(one, "__qualname__"):  # built in
            return {"name": f"{one.__module__}.{one.__qualname__}"}
        return self._object(one)

    def _object(self, one: Any) -> dict[str, Any]:
        """An object's class and state."""
        slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        state = {name: getattr(one, name) for name in slots if hasattr(one, name)} | getattr(one, "__dict__", {})
        return {"kind": self.value(type(one)), "state": self.value(state)}

    def _class(self, one: type) -> dict[str, Any]:
        found: dict[str, Any] = {"name": f"{one.__module__}.{one.__qualname__}"}
        if not self._is_users(one):
            return found
        found["bases"] = [self.value(base) for base in one.__bases__]
        for name, member in sorted(vars(one).items()):
            parts = (getattr(member, half, None) for half in ("__func__", "fget", "fset", "func"))  # of descriptors
            functions = [part for part in (member, *parts) if inspect.isfunction(part)]
            if functions:
                found[f"function {name}"] = self.value(functions)
            elif not name.startswith(("__", "_abc_")):
                found[f"value {name}"] = self._used(member)
        return found

    def _function(self, one: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"name": f"{one.__module__}.{one.__qualname__}"}
        if not self._is_users(one):
            return found
        found["code"] = _code_digest(one.__code__)
        found["defaults"] = [self.value(one.__defaults__), self.value(one.__kwdefaults__)]
        cells = zip(one.__code__.co_freevars, one.__closure__ or (), strict=True)
        found["holds"] = {name: self.value(cell.cell_contents) for name, cell in cells if _is_set(cell)}
        uses = {name: one.__globals__[name] for name in sorted(set(_names(one.__code__))) if name in one.__globals__}
        typed = _own_file(inspect.getmodule(one)) is None  # no file tells what it uses
        found["uses"] = {name: self.value(value) if typed else self._used(value) for name, value in uses.items()}
        return found

    def _is_users(self, one: Any) -> bool:
        """Whether it is the user's code, whose module then counts."""
        module = inspect.getmodule(one)
        if module is None:
            return True
        self.modules.append(module)
        file = getattr(module, "__file__", None)
        typed = file is None and module.__name__ not in sys.builtin_module_names and module.__spec__ is None
        return typed or _own_file(module) is not None or (file is not None and not Path(file).is_file())


def _is_set(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _names(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def _code_digest(code: CodeType) -> str:
    constants = [_constant(one) for one in code.co_consts]
    return hashlib.sha256(code.co_code + repr((code.co_names, code.co_freevars, constants)).encode()).hexdigest()


def _constant(one: Any) -> str:
    if isinstance(one, CodeType):
        return _code_digest(one)
    if isinstance(one, frozenset):  # whose order differs from process to process
        return f"set {sorted(map(_constant, one))}"
    return repr([_constant(part) for part in one]) if isinstance(one, tuple) else repr(one)


def _reachable(modules: list[ModuleType]) -> list[Path]:
    """The user's files that modules lie in, and all that these import."""
    left = [(file, module.__name__) for module in modules if (file := _own_file(module)) is not None]
    found: dict[Path, None] = {}
    while left:
        file, name = left.pop()
        if file in found:
            continue
        found[file] = None
        for other in _imported(file, name, file.stat().st_mtime_ns):
            path = _file_of(other)
            if path is not None:
                left.append((path, other))
    return sorted(found)


def users_modules() -> list[ModuleType]:
    """Modules of the user's own that this process has imported: no installed package, and not lossact."""
    installed = tuple(map(str, (*INSTALLED, OWN)))  # nearly all are: their paths need not be resolved
    found = [(name, one) for name, one in list(sys.modules.items()) if getattr(one, "__name__", None) == name]
    own = [one for _, one in found if not str(getattr(one, "__file__", None)).startswith(installed)]
    return [one for one in own if _own_file(one) is not None]


def _own_file(module: ModuleType | None) -> Path | None:
    name = getattr(module, "__file__", None)
    return None if name is None else _users(Path(name))


def _users(path: Path) -> Path | None:
    file = path.resolve()
    if file.suffix != ".py" or file.is_relative_to(OWN) or not file.is_file():
        return None
    return None if any(file.is_relative_to(folder) for folder in INSTALLED) else file


@cache
def _imported(file: Path, name: str, changed_at: int) -> tuple[str, ...]:
    """Full names of modules that a file may import, wherever in it that stands."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(dict.fromkeys(_import_names(ast.parse(file.read_bytes()), package)))


def _import_names(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                yield from (".".join(parts[: k + 1]) for k in range(len(parts)))
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(part for part in (above, node.module or "") if part)
            parts = source.split(".")
            yield from (".".join(parts[: k + 1]) for k in range(len(parts)))
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _file_of(name: str) -> Path | None:
    """The user's file of a module, None where it has none."""
    if not name or name.partition(".")[0] in sys.stdlib_module_names:
        return None
    if name in sys.modules:
        return _own_file(sys.modules[name])
    parts, spec, folders = name.split("."), None, None
    for k in range(len(parts)):  # without importing any
        spec = PathFinder.find_spec(".".join(parts[: k + 1]), folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations or []
    return None if spec is None or spec.origin is None else _users(Path(spec.origin))


def _digest(file: Path) -> str:
    changed_at = file.stat().st_mtime_ns
    when, digest = _pinned.get(file, (None, ""))
    if when == changed_at:
        return digest
    now = hashlib.sha256(file.read_bytes()).hexdigest()
    if when is not None and now != digest:
        raise InputError(f"{file} was edited after this process read it; start again, to train what it holds now")
    _pinned[file] = (changed_at, now)
    return now
