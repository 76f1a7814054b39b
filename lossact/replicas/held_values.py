"""What modules and functions hold, to be compared before and after a pass, and between replicas."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OF_EVERY_MODULE = set(vars(nn.Module())) - {"training"}  # parameters, buffers and parts: compared elsewhere
HOOKS = {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"}
NUMBERS = {int, float, bool, type(None)}  # seen first, for most attributes are
DEEPEST = 4  # objects within objects that are compared
NOTHING: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class HeldValues:
    """What a module holds beside its parameters' values, by name, each as a value to be compared.

    Attributes:
        buffers: its buffers' contents.
        attributes: its parts and all other attributes.
    """

    buffers: dict[str, Any]
    attributes: dict[str, Any]

    @classmethod
    def of(cls, module: nn.Module) -> "HeldValues":
        buffers = dict(module.named_buffers())
        attributes = held_attributes(module, [*module.parameters(), *buffers.values()])
        return cls({name: snapshot(buffer) for name, buffer in buffers.items()}, attributes)


def held_attributes(
    module: nn.Module, tensors: Iterable[Tensor], depth: int = 0, *, known: Mapping[int, str] = NOTHING
) -> dict[str, Any]:
    """Return a module's parts, hooks and all attributes but its parameters and buffers, by name, each to be compared.

    Args:
        module: any.
        tensors: its parameters and buffers.
        depth: of the objects that hold it.
        known: as `snapshot` takes it; the module's own are added.
    """
    parts = dict(module.named_modules())
    known = {**known, **dict.fromkeys(map(id, tensors), ""), **{id(part): path for path, part in parts.items()}}
    attributes: dict[str, Any] = {}
    for path, part in parts.items():
        attributes[path or type(part).__name__] = type(part).__qualname__
        if isinstance(part, torch.jit.ScriptModule):  # holds the module that it was made of; vmap refuses it anyway
            continue
        for name, value in vars(part).items():
            if name not in OF_EVERY_MODULE or name in HOOKS:
                shown = name.removeprefix("_") if name in HOOKS else name
                attributes[f"{path}.{shown}" if path else shown] = attribute_snapshot(name, value, depth, known=known)
    return attributes


def names_by_id(*modules: nn.Module) -> dict[int, str]:
    """Return the names of modules' parameters, buffers and parts, which stand for themselves wherever they are held."""
    return {
        id(held): name
        for module in modules
        for named in (module.named_parameters(), module.named_buffers(), module.named_modules())
        for name, held in named
    }


def attribute_snapshot(name: str, value: Any, depth: int = 0, *, known: Mapping[int, str] = NOTHING) -> Any:
    """Return the content of a module's attribute; hooks without the numbers that count them."""
    if name in OF_EVERY_MODULE and isinstance(value, Mapping):
        value = list(value.values())
    return snapshot(value, depth, known=known)


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Return the first name whose value is another one now."""
    return next((name for name, value in before.items() if after.get(name) != value), None)


def is_of_tensor(content: Any) -> bool:
    """Return whether a snapshot is that of a tensor."""
    return content == "parameter" or (isinstance(content, tuple) and len(content) == 3 and "torch." in str(content[0]))


def snapshot(value: Any, depth: int = 0, *, known: Mapping[int, str] = NOTHING) -> Any:
    """Return a value's content, to be compared; of functions what they hold, of what is closed its kind.

    Args:
        value: anything.
        depth: of the object that holds it.
        known: names by id of parameters, buffers and modules that stand for themselves wherever they are held.
    """
    if type(value) in NUMBERS:
        return repr(value)
    if isinstance(value, Tensor):
        if id(value) in known or not value.is_leaf:  # what is computed of weights is computed again
            return "parameter"
        return _tensor_content(value)
    if isinstance(value, nn.Module) and id(value) in known:
        return type(value).__qualname__, known[id(value)]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, torch.Generator):
        return _tensor_content(value.get_state())
    if isinstance(value, BuiltinFunctionType):
        return value.__qualname__
    if depth < DEEPEST:
        inner = depth + 1
        if isinstance(value, Mapping):
            return [(str(name), snapshot(item, inner, known=known)) for name, item in value.items()]
        if isinstance(value, (list, tuple)):
            return type(value).__qualname__, [snapshot(item, inner, known=known) for item in value]
        if isinstance(value, (set, frozenset)):
            return sorted(str(snapshot(item, inner, known=known)) for item in value)
        if isinstance(value, nn.Module):
            tensors = {**dict(value.named_buffers()), **dict(value.named_parameters())}
            contents = [(name, _tensor_content(tensor)) for name, tensor in tensors.items()]
            return [*held_attributes(value, tensors.values(), inner, known=known).items(), *contents]
        if isinstance(value, FunctionType):
            return value.__code__, [snapshot(item, inner, known=known) for item in _held_by_function(value)]
        if isinstance(value, MethodType):
            return [snapshot(item, inner, known=known) for item in (value.__func__, value.__self__)]
        if isinstance(value, partial):
            items = (value.func, *value.args, value.keywords, vars(value))
            return "partial", [snapshot(item, inner, known=known) for item in items]
        if hasattr(value, "__dict__") and not isinstance(value, type):
            held = sorted(vars(value).items())
            return type(value).__qualname__, [(name, snapshot(item, inner, known=known)) for name, item in held]
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text


def _held_by_function(function: FunctionType) -> Iterator[Any]:
    yield from (function.__defaults__, function.__kwdefaults__, vars(function))
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            yield None


def globals_named(value: Any) -> dict[str, Any]:
    """Return the contents of the global variables that functions name, less modules, classes and functions.

    Args:
        value: a function, a method, a partial, a module with all its parts, or an object that is called.
    """
    if isinstance(value, nn.Module):
        own = [part for part in value.modules() if not type(part).__module__.startswith("torch.")]
        return {name: content for part in own for name, content in globals_named(type(part).forward).items()}
    if isinstance(value, partial):
        return globals_named(value.func)
    function = getattr(value, "__func__", value)
    if not isinstance(function, FunctionType):
        called = (vars(kind).get("__call__") for kind in type(value).__mro__)
        function = next((each for each in called if each is not None), None)
    if not isinstance(function, FunctionType):
        return {}
    found = {name: function.__globals__.get(name) for name in _names_in(function.__code__)}
    kept = {
        name: held for name, held in found.items() if not isinstance(held, (ModuleType, type)) and not callable(held)
    }
    return {f"{function.__module__}.{name}": snapshot(held) for name, held in kept.items()}


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _tensor_content(tensor: Tensor) -> Any:
    tensor = tensor.detach().cpu()
    digest = None
    if tensor.layout == torch.strided:
        digest = hashlib.sha256(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    return str(tensor.dtype), tuple(tensor.shape), digest
