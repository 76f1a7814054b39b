"""One pass before many: what replicas could not do without harm, and which weights the loss reaches."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lossact.errors import InputError
from lossact.replicas.objective import Objective, check_learnable
from lossact.replicas.random_streams import RNGState, isolate_rng, rng_state

ONE_AT_A_TIME = "train it one at a time with Condition(stacked=False)"
OF_EVERY_MODULE = set(vars(nn.Module())) - {"training"}  # parameters, buffers, hooks: looked at elsewhere
DEEPEST = 4  # objects within objects that are compared


@dataclass(frozen=True)
class StackabilityReport:
    """What one pass showed.

    Attributes:
        drew: whether it drew random numbers.
        changed: what the module holds and the pass changed, by name, or None.
        unreached: names of parameters whose gradient is not zero but none.
    """

    drew: bool
    changed: str | None
    unreached: Sequence[str]


def probe(module: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor) -> StackabilityReport:
    """Run a module and its loss once.

    Batch norm's running statistics may change: a network in training does not read them.

    Raises:
        InputError: the inputs do not fit, nothing can be learned, or what later updates see is changed in place.
    """
    running = {
        name
        for path, part in module.named_modules()
        if isinstance(part, _BatchNorm) and part.training
        for name, _ in part.named_buffers(path, recurse=False)
    }
    held = {name: value for name, value in _held(module).items() if name not in running}
    worth = _told([objective.loss, objective.metric])
    given, weights = _told([inputs, targets]), _told(list(module.parameters()))
    with isolate_rng(), torch.enable_grad():
        states = rng_state()
        try:
            outputs = module(inputs)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"network does not take inputs of shape {tuple(inputs.shape)} and {inputs.dtype}: {error}"
            ) from None
        if _told([inputs, targets]) != given:
            raise InputError(
                "network changes its inputs in place, and later updates would see them; have it make new ones"
            )
        answered = _told(outputs)
        loss, _ = objective.evaluate(outputs, targets)
        drew = _drew(states)
    if _told([inputs, targets]) != given or _told(outputs) != answered:
        raise InputError(
            "loss or metric changes outputs or targets in place, and others would see them; have it make new"
        )
    if _told([objective.loss, objective.metric]) != worth:
        raise InputError(
            "loss or metric changes what it holds from call to call, and all replicas share it; have it keep nothing"
        )
    if _told(list(module.parameters())) != weights:
        raise InputError(
            "network changes its weights in its forward pass, which replicas do not keep; take a LightningCondition"
        )
    check_learnable(loss)
    moving = {name: one for name, one in module.named_parameters() if one.requires_grad}
    gradients = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
    unreached = [name for name, gradient in zip(moving, gradients, strict=True) if gradient is None]
    return StackabilityReport(drew, _differing(held, _held(module)), unreached)


def check_stackable(tried: StackabilityReport) -> None:
    """Raise InputError where a pass draws random numbers, or changes what its module holds."""
    if tried.drew:
        raise InputError(
            "network, loss or metric draws random numbers (dropout, say), which stacked replicas cannot do "
            f"independently; {ONE_AT_A_TIME}"
        )
    if tried.changed is not None:
        raise InputError(
            f"network changes its {tried.changed!r} in its forward pass, which stacked replicas do not keep; "
            f"{ONE_AT_A_TIME}"
        )


def check_alike(modules: Sequence[nn.Module]) -> None:
    """Raise InputError where modules that are to be stacked differ in more than parameters: all get the first one's."""
    first = _held(modules[0])
    for module in modules[1:]:
        name = _differing(first, _held(module))
        if name is not None:
            raise InputError(
                f"each network draws its own {name!r}, which stacked replicas share; make it a parameter with "
                f"requires_grad=False, or {ONE_AT_A_TIME}"
            )


def _held(module: nn.Module) -> dict[str, Any]:
    """What a module holds beside its parameters' values, by name, to be compared: parts, buffers and attributes."""
    found: dict[str, Any] = {}
    for path, part in module.named_modules():
        found[path or type(part).__name__] = type(part).__qualname__
        own = {name: value for name, value in vars(part).items() if name not in OF_EVERY_MODULE}
        for name, value in [*part.named_buffers(recurse=False), *own.items()]:
            found[f"{path}.{name}" if path else name] = _told(value)
    return found


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """The first name whose value is another one now."""
    return next((name for name, value in before.items() if after.get(name) != value), None)


def _told(value: Any, depth: int = 0) -> Any:
    """A value's content, to be compared; of what cannot be looked into, its kind."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        data = value.reshape(-1).contiguous().view(torch.uint8) if value.layout == torch.strided else torch.empty(0)
        return str(value.dtype), tuple(value.shape), hashlib.sha256(data.numpy().tobytes()).hexdigest()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, torch.Generator):
        return _told(value.get_state())
    if depth < DEEPEST:
        if isinstance(value, Mapping):
            return [(str(name), _told(one, depth + 1)) for name, one in value.items()]
        if isinstance(value, (list, tuple)):
            return [_told(one, depth + 1) for one in value]
        if isinstance(value, (set, frozenset)):
            return sorted(str(_told(one, depth + 1)) for one in value)
        if isinstance(value, nn.Module):
            return [*_held(value).items(), *((name, _told(one)) for name, one in value.named_parameters())]
        if hasattr(value, "__dict__") and not isinstance(value, type):
            return type(value).__qualname__, _told(vars(value), depth + 1)
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text


def _drew(before: RNGState) -> bool:
    now = rng_state()
    same_numpy = np.array_equal(before.numpy[1], now.numpy[1]) and before.numpy[2:] == now.numpy[2:]
    return not (same_numpy and before.python == now.python and torch.equal(before.torch, now.torch))
