"""What modules and functions hold, to be compared before and after a pass, and between replicas."""

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OF_EVERY_MODULE = set(vars(nn.Module())) - {"training"}  # parameters, buffers, hooks: compared elsewhere
NUMBERS = {int, float, bool, type(None)}  # seen first, for most attributes are
DEEPEST = 4  # objects within objects that are compared


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


def held_attributes(module: nn.Module, tensors: Iterable[Tensor]) -> dict[str, Any]:
    """Return a module's parts and all attributes but its parameters and buffers, by name, each to be compared."""
    registered = {id(tensor) for tensor in tensors}
    attributes: dict[str, Any] = {}
    for path, part in module.named_modules():
        attributes[path or type(part).__name__] = type(part).__qualname__
        for name, value in vars(part).items():
            if name not in OF_EVERY_MODULE:
                attributes[f"{path}.{name}" if path else name] = snapshot(value, registered=registered)
    return attributes


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Return the first name whose value is another one now."""
    return next((name for name, value in before.items() if after.get(name) != value), None)


def snapshot(value: Any, depth: int = 0, *, registered: set[int] | frozenset[int] = frozenset()) -> Any:
    """Return a value's content, to be compared; of what cannot be looked into, its kind.

    Args:
        value: anything.
        depth: of the object that holds it.
        registered: ids of parameters and buffers, which stand for themselves wherever they are held.
    """
    if type(value) in NUMBERS:
        return repr(value)
    if isinstance(value, Tensor):
        if id(value) in registered or not value.is_leaf:  # what is computed of weights is computed again
            return "parameter"
        return _tensor_content(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, torch.Generator):
        return _tensor_content(value.get_state())
    if depth < DEEPEST:
        inner = depth + 1
        if isinstance(value, Mapping):
            return [(str(name), snapshot(item, inner, registered=registered)) for name, item in value.items()]
        if isinstance(value, (list, tuple)):
            return [snapshot(item, inner, registered=registered) for item in value]
        if isinstance(value, (set, frozenset)):
            return sorted(str(snapshot(item, inner, registered=registered)) for item in value)
        if isinstance(value, nn.Module):
            held = HeldValues.of(value)
            parameters = [(name, _tensor_content(parameter)) for name, parameter in value.named_parameters()]
            return [*held.attributes.items(), *held.buffers.items(), *parameters]
        if hasattr(value, "__dict__") and not isinstance(value, type):
            return type(value).__qualname__, snapshot(vars(value), inner, registered=registered)
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text


def _tensor_content(tensor: Tensor) -> Any:
    tensor = tensor.detach().cpu()
    digest = None
    if tensor.layout == torch.strided:
        digest = hashlib.sha256(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    return str(tensor.dtype), tuple(tensor.shape), digest
