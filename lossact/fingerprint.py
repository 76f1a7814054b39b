"""What a user's function is, so that no result of other code is taken for its own."""

import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from lossact.errors import InputError

PLAIN = (str, int, float, bool, bytes, type(None))
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))
OWN = Path(__file__).parent.resolve()


def described(function: Callable[..., Any], what: str) -> dict[str, Any]:
    """The function's name, code, the values it holds, and the files of the project that its own file works with.

    A file counts where the function's module, or one that it works with, imports it; packages that are installed, and
    the standard library, do not.

    Args:
        function: a function, a class, a functools.partial of one.
        what: what errors call it.

    Returns:
        ready for JSON, equal for equal code.

    Raises:
        InputError: it holds a value whose content cannot be told.
    """
    if isinstance(function, partial):
        given = {str(at): value for at, value in enumerate(function.args)} | function.keywords
        return described(function.func, what) | {"arguments": plain(given, what)}
    kind = function if hasattr(function, "__qualname__") else type(function)
    found: dict[str, Any] = {"name": f"{kind.__module__}.{kind.__qualname__}"}
    if kind is not function:
        found["state"] = plain(vars(function) if hasattr(function, "__dict__") else {}, what)
    code = getattr(function, "__code__", None)
    if code is not None:
        closure = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        defaults = getattr(function, "__defaults__", None) or ()
        found["code"] = _code_digest(code)
        found["values"] = plain([*closure, *defaults], what)
    module = inspect.getmodule(kind)
    if module is not None and getattr(module, "__file__", None) is None and not _built_in(module):
        found["typed"] = _typed(kind, module, set())
    found["files"] = sorted(_file_digest(file, file.stat().st_mtime_ns) for file in _files(module))
    return found


def plain(value: Any, what: str) -> Any:
    """A value's content, ready for JSON.

    Raises:
        InputError: it cannot be told.
    """
    if isinstance(value, (tuple, list)):
        return [plain(one, what) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain(one, what) for name, one in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, PLAIN):
        return repr(value)
    if callable(value):
        return described(value, what)
    raise InputError(
        f"{what} holds {value!r}, whose content cannot be told for the store; "
        "use numbers and strings, or make it inside the function"
    )


def _built_in(module: ModuleType) -> bool:
    return module.__name__ in sys.builtin_module_names or module.__spec__ is not None


def _typed(one: Any, module: ModuleType, seen: set[str]) -> list[str]:
    """Digests of what was typed into a notebook or a console, and is used by a function or a class from there."""
    digests: list[str] = []
    for part in [*vars(one).values(), *one.__mro__] if isinstance(one, type) else [one]:
        code = getattr(part, "__code__", None)
        if code is not None:
            digests.append(_code_digest(code))
            names = _names(code)
        else:
            names = [part.__name__] if isinstance(part, type) else []
        for name in names:
            other = vars(module).get(name)
            if name not in seen and getattr(other, "__module__", None) == module.__name__:
                seen.add(name)
                digests += _typed(other, module, seen)
            elif name not in seen and isinstance(other, PLAIN):
                seen.add(name)
                digests.append(f"{name}={other!r}")
    return digests


def _names(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def _files(module: ModuleType | None) -> list[Path]:
    """Files of a module and of all that it works with, as far as they are the user's."""
    found: dict[Path, None] = {}
    left = [module] if module is not None else []
    while left:
        one = left.pop()
        file = _own_file(one)
        if file is None or file in found:
            continue
        found[file] = None
        left += _works_with(one)
    return sorted(found)


@cache
def _file_digest(file: Path, changed_at: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _own_file(module: ModuleType) -> Path | None:
    name = getattr(module, "__file__", None)
    if name is None:
        return None
    file = Path(name).resolve()
    if file.suffix != ".py" or file.is_relative_to(OWN) or not file.is_file():
        return None
    return None if any(file.is_relative_to(folder) for folder in INSTALLED) else file


def _works_with(module: ModuleType) -> Iterator[ModuleType]:
    for value in vars(module).values():
        other = value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
        if other is not None:
            yield other


def _code_digest(code: CodeType) -> str:
    digest = hashlib.sha256(code.co_code + repr(code.co_names).encode())
    for constant in code.co_consts:
        digest.update((_code_digest(constant) if isinstance(constant, CodeType) else repr(constant)).encode())
    return digest.hexdigest()
