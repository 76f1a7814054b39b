"""The content of functions, classes and values: everything that they hold and use."""

import argparse
import copyreg
import inspect
import pickle
import random
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial, partialmethod
from pathlib import Path
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodDescriptorType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
    WrapperDescriptorType,
)
from typing import Any

from lossact.errors import InputError
from lossact.fingerprint.arrays import array_content
from lossact.fingerprint.bytecode import Chain, code_digest, global_chains
from lossact.fingerprint.files import LOSSACT, file_of_module, users_file
from lossact.fingerprint.pinned import pinned_source
from lossact.fingerprint.syntax import tree_digest

# The function that is called in place of another, to the module that makes it.
WRAPPERS = {"_disable_dynamo.<locals>.inner": "torch._compile", "checked_call.<locals>.checked": "lossact.checks"}
PLAIN = (str, int, float, bool, bytes, complex, type(None), type(Ellipsis), type(NotImplemented), range, slice)
CACHES = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary)
UNREADABLE = (TypeError, AttributeError, ValueError, RuntimeError, pickle.PicklingError)
OF_DEFINITIONS = {"__annotations__", "__doc__", "__module__", "__name__", "__qualname__"}
NOT_STATE = OF_DEFINITIONS | {"pytestmark", "_torchdynamo_wrapper_id"}  # the last is an address
BUILTINS = (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)


class Reader:
    """Walks what a function or a value holds, each object once.

    Args:
        what: what errors call the outermost value.

    Attributes:
        names: the global names that visited functions use, by user's file.
        nodes: the syntax trees of visited functions, by user's file.
        modules: modules that were met.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.names: dict[Path, set[str]] = {}
        self.nodes: dict[Path, list[Any]] = {}
        self.modules: list[ModuleType] = []
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is given twice
        self._within: set[int] = set()  # containers that are being read
        self._lenient = False

    def value(self, value: Any) -> Any:
        """Return a value's content, ready for JSON.

        Raises:
            InputError: it cannot be read, as of an open file or a lock.
        """
        if type(value) in PLAIN:
            return repr(value)
        content = array_content(value)
        if content is not None:
            return content
        value = _unwrapped(value)
        if type(value) in (list, tuple, set, frozenset, dict, MappingProxyType):
            return self._container(value)
        if isinstance(value, ModuleType):
            self.modules.append(value)
            file = file_of_module(value)
            return {"module": value.__name__ if file is None else file.stem}
        if value is getattr(random, "_inst", None) or _is_numpys_own_generator(value):
            return {"generator": "the library's own"}  # replicas set its seed
        if isinstance(value, CACHES):
            return {"cache": type(value).__qualname__}
        if isinstance(value, weakref.ReferenceType):
            return {"reference": self.value(value())}
        if id(value) in self._seen:
            return f"again {self._seen[id(value)]}"
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        return self._callable(value) if callable(value) else self._object(value)

    def used(self, value: Any) -> Any:
        """Return the content of a value that code works with; of what cannot be read of it the class."""
        was_lenient, n_kept = self._lenient, len(self._kept)
        self._lenient = True
        try:
            return self.value(value)
        except (InputError, RecursionError) as error:
            for forgotten in self._kept[n_kept:]:
                del self._seen[id(forgotten)]
            del self._kept[n_kept:]
            parts = None if isinstance(error, RecursionError) else _parts_of(value)
            if parts is None:
                return {"unread": type(value).__qualname__}
            self._seen[id(value)] = len(self._seen)
            self._kept.append(value)
            return {"kind": type(value).__qualname__, "parts": self._container(parts)}
        finally:
            self._lenient = was_lenient

    def mapping(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of named values, by name."""
        return {name: self._element(value[name]) for name in sorted(value)}

    def _element(self, value: Any) -> Any:
        return self.used(value) if self._lenient else self.value(value)

    def _container(self, value: Any) -> Any:
        if id(value) in self._within:
            return "itself"
        self._within.add(id(value))
        try:
            if isinstance(value, (set, frozenset)):
                return {"set": sorted(str(self._element(element)) for element in value)}
            if isinstance(value, (dict, MappingProxyType)):
                return {"dict": [[self._element(name), self._element(element)] for name, element in value.items()]}
            elements = [self._element(element) for element in value]
            return elements if isinstance(value, list) else {"tuple": elements}
        finally:
            self._within.discard(id(value))

    def _callable(self, value: Any) -> dict[str, Any]:
        if isinstance(value, partial):
            return {
                "partial": self.value(value.func),
                "arguments": [self.value(value.args), self.value(value.keywords)],
            }
        if inspect.ismethod(value):
            return {"method": self.value(value.__func__), "of": self.value(value.__self__)}
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if hasattr(value, "cache_info") and hasattr(value, "__wrapped__"):
            return {"cached": self.value(value.__wrapped__)}  # what it has cached does not count
        if isinstance(value, BUILTINS):
            bound = getattr(value, "__self__", None)
            held = bound is not None and not isinstance(bound, (ModuleType, type))
            return {"builtin": value.__qualname__} | ({"of": self.value(bound)} if held else {})
        return self._object(value)

    def _object(self, value: Any) -> dict[str, Any]:
        """Return an object's class and state."""
        kind = type(value)
        if isinstance(value, Enum):
            return {"enum": self.value(kind), "name": value.name}
        if kind.__module__.partition(".")[0] == "lossact":
            return self._object_of_lossact(value)
        if self._is_users_class(kind):
            return {"kind": self.value(kind), "state": self._attributes_of(value), "of bases": self._of_bases(value)}
        with self._strictly():  # what holds a lock or a connection is not read by halves
            return {"kind": self.value(kind), "reduced": self._reduced(value, state=True)}

    def _object_of_lossact(self, value: Any) -> dict[str, Any]:
        name = type(value).__qualname__
        if is_dataclass(value):
            return {
                "kind": name,
                "fields": self.mapping({f.name: getattr(value, f.name) for f in fields(value) if f.compare}),
            }
        if isinstance(value, Mapping):
            return {"kind": name, "values": self.mapping(value)}
        content = getattr(value, "content", None)
        if callable(content) and not inspect.signature(content).parameters:
            return {"kind": name, "content": content()}
        raise self._unreadable(value)

    def _attributes_of(self, value: Any) -> dict[str, Any]:
        """Return the content of a user's object by its attributes, whatever its own way of being pickled leaves out."""
        slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
        state = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})
        return self.mapping({str(name): part for name, part in state.items() if name not in NOT_STATE})

    def _of_bases(self, value: Any) -> Any:
        """Return what a user's object holds as a list, a number or another installed type that it extends."""
        bases = [base for base in type(value).__mro__ if base is not object and not self._is_users_class(base)]
        return self._reduced(value, state=False) if bases else None

    def _reduced(self, value: Any, *, state: bool) -> Any:
        """Return the content of an object by what pickle would make it of, with or without its attributes."""
        try:
            registered = copyreg.dispatch_table.get(type(value))
            reduced = value.__reduce_ex__(4) if registered is None else registered(value)
        except UNREADABLE:
            if state:
                raise self._unreadable(value) from None
            return None
        if isinstance(reduced, str):
            if all(getattr(sys.modules.get(name), reduced, None) is not value for name in _homes(value)):
                raise self._unreadable(value)
            return {"global": reduced}
        function, arguments, given, items, pairs = (*reduced, None, None, None)[:5]
        content = {"function": self._element(function), "arguments": self._element(arguments)}
        if state and given is not None:
            content["given"] = self._element(given)
        if items is not None:
            content["items"] = self._element(list(items))
        if pairs is not None:
            content["pairs"] = self._element([[name, element] for name, element in pairs])
        return content

    def _class(self, kind: type) -> dict[str, Any]:
        if not self._is_users_class(kind):
            return {"class": f"{kind.__module__}.{kind.__qualname__}"}
        self.modules += [module for module in [sys.modules.get(kind.__module__)] if module is not None]
        content: dict[str, Any] = {"class": kind.__name__, "bases": [self.value(base) for base in kind.__bases__]}
        if type(kind) is not type:
            content["metaclass"] = self.value(type(kind))
        for name, member in sorted(vars(kind).items()):
            parts = (getattr(member, half, None) for half in ("__func__", "fget", "fset", "fdel", "func"))
            functions = [part for part in (member, *parts) if isinstance(part, FunctionType)]
            if isinstance(member, partialmethod):
                content[f"function {name}"] = self.value([member.func, member.args, member.keywords])
            elif functions:
                content[f"function {name}"] = self.value(functions)
            elif not name.startswith(("__", "_abc_")) or isinstance(member, partial):
                content[f"value {name}"] = self.used(member)
        return content

    def _function(self, function: FunctionType) -> dict[str, Any]:
        code = function.__code__
        file = users_file(code.co_filename)
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        held = {name: cell.cell_contents for name, cell in cells if _is_set(cell)}
        if file is None and not _is_typed(function):
            return self._installed_function(function, held)
        content: dict[str, Any] = {"function": function.__name__, "code": self._code(code, file)}
        content["defaults"] = [self.value(function.__defaults__), self.value(function.__kwdefaults__)]
        content["holds"] = {name: self.value(value) for name, value in sorted(held.items())}
        content["attributes"] = self._attributes(function)
        module = _module_of(function)
        in_a_notebook = module is not None and file_of_module(module) is None  # no statements tell what it uses
        content["uses"] = self.chains(global_chains(code), function.__globals__, lenient=not in_a_notebook)
        return content

    def _installed_function(self, function: FunctionType, held: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of a function of lossact or an installed package, with what it wraps."""
        content: dict[str, Any] = {"function": f"{function.__module__}.{function.__qualname__}"}
        if function.__module__ != function.__globals__.get("__name__"):  # as functools.wraps has it
            content["function"] = f"{function.__globals__.get('__name__')}.{function.__code__.co_qualname}"
        if "<locals>" not in function.__code__.co_qualname:
            return content
        values = dict(held) | {"defaults": function.__defaults__, "named defaults": function.__kwdefaults__}
        of_lossact = Path(function.__code__.co_filename).resolve().is_relative_to(LOSSACT)
        content["holds"] = self.mapping(values) if of_lossact else {k: self.used(v) for k, v in sorted(values.items())}
        return content | {"attributes": self._attributes(function)}

    def _attributes(self, function: FunctionType) -> dict[str, Any]:
        return {name: self.used(value) for name, value in sorted(vars(function).items()) if name not in NOT_STATE}

    def _code(self, code: CodeType, file: Path | None) -> Any:
        if file is None:
            return code_digest(code)
        nodes = pinned_source(file).function_nodes(code)
        self.nodes.setdefault(file, []).extend(nodes)
        self.names.setdefault(file, set()).update(chain[0] for chain in global_chains(code))
        digests = [tree_digest(node) for node in nodes]
        return digests if len(nodes) == 1 else [*digests, code_digest(code)]

    def chains(self, chains: Iterable[Chain], names: Mapping[str, Any], *, lenient: bool) -> dict[str, Any]:
        """Return the content of global values as they are now, and of what is read from user's modules among them."""
        content: dict[str, Any] = {}
        for chain in sorted(chains):
            if chain[0] in names:
                depth, value = _resolved(chain, names)
                name = ".".join(chain[:depth])
                if name not in content:  # another chain may begin with it; an object is read once, its content kept
                    content[name] = self.used(value) if lenient else self.value(value)
        return content

    def _is_users_class(self, kind: type) -> bool:
        module = sys.modules.get(kind.__module__)
        file = getattr(module, "__file__", None)
        if module is None or (
            file is None and module.__spec__ is None and kind.__module__ not in sys.builtin_module_names
        ):
            return True
        return file_of_module(module) is not None or (file is not None and not Path(file).is_file())

    def _unreadable(self, value: Any) -> InputError:
        return InputError(
            f"{self.what} holds {value!r}, whose content cannot be read for the store's key; "
            "use numbers, strings or arrays, or make it inside the function"
        )

    @contextmanager
    def _strictly(self) -> Iterator[None]:
        was_lenient, self._lenient = self._lenient, False
        try:
            yield
        finally:
            self._lenient = was_lenient


def _parts_of(value: Any) -> dict[Any, Any] | list[Any] | None:
    """Return what a value holds that holds others and does nothing itself; None for values of other kinds."""
    torch = sys.modules.get("torch")
    of_modules = (torch.nn.Module,) if torch is not None else ()
    if isinstance(value, (argparse.Namespace, SimpleNamespace, threading.local, *of_modules)):
        return dict(vars(value))
    if isinstance(value, ContextVar):
        try:
            return [value.get()]
        except LookupError:  # neither set nor with a default
            return []
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, (list, tuple, set, frozenset, deque)) else None


def _is_typed(function: FunctionType) -> bool:
    """Whether no file holds a function's code, and no installed package generated it."""
    if Path(function.__code__.co_filename).is_file():
        return False
    module = _module_of(function)
    file = getattr(module, "__file__", None)
    if module is None or file_of_module(module) is not None:
        return True
    if file is None:
        return module.__spec__ is None and module.__name__ not in sys.builtin_module_names
    return not Path(file).is_file()


def _module_of(function: FunctionType) -> ModuleType | None:
    """Return the module whose global values a function uses, None where they are no module's."""
    module = sys.modules.get(str(function.__globals__.get("__name__")))
    return module if module is not None and vars(module) is function.__globals__ else None


def _resolved(chain: Chain, names: Mapping[str, Any]) -> tuple[int, Any]:
    """Follow a chain of attributes through user's modules; how many names that took, and the value."""
    value, depth = names[chain[0]], 1
    for name in chain[1:]:
        if not isinstance(value, ModuleType) or file_of_module(value) is None or not hasattr(value, name):
            break
        value, depth = getattr(value, name), depth + 1
    return depth, value


def _is_set(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _homes(value: Any) -> set[str]:
    modules = {getattr(value, "__module__", None), type(value).__module__, type(value).__module__.partition(".")[0]}
    return {name for name in modules if isinstance(name, str)}


def _is_numpys_own_generator(value: Any) -> bool:
    mtrand = sys.modules.get("numpy.random.mtrand")
    return mtrand is not None and value is getattr(mtrand, "_rand", None)


def _unwrapped(value: Any) -> Any:
    """Return the function below a wrapper of lossact, or below one that torch puts around it with torch._dynamo.

    The first optimizer imports that, and torch.manual_seed is then another object.
    """
    code = getattr(value, "__code__", None) if isinstance(value, FunctionType) else None
    module = None if code is None else WRAPPERS.get(code.co_qualname)
    if module is None or module != value.__globals__.get("__name__"):
        return value
    return value.__wrapped__
