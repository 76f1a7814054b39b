"""Tensors by name, replicas first, and inputs that are one tensor, a tuple or a dict of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]  # by name, each (replicas, ...)
Inputs = Any  # a tensor, or a tuple or dict of tensors

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}  # relative to the largest number of a tensor

_recording = ContextVar("_recording", default=False)


@contextmanager
def recording() -> Iterator[None]:
    """Have Python look at no numbers within, for what it finds would be the same in every replay."""
    token = _recording.set(True)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Return whether a recording is under way, or being tried, in which nothing may wait for a GPU."""
    return _recording.get()


def python_may_look(device: torch.device) -> bool:
    """Return whether Python may look at a tensor's numbers: on a GPU it would wait, in a recording they are stale."""
    return device.type == "cpu" and not torch.compiler.is_compiling() and not _recording.get()


def map_tensors(function: Callable[[Tensor], Any], inputs: Inputs) -> Any:
    """Apply a function to every tensor of a network's inputs or outputs.

    Args:
        function: called with each tensor; what is no tensor stays as it is.
        inputs: a tensor, or a tuple, list or dict of tensors, to any depth.

    Returns:
        the same structure, with what the function returned.
    """
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, Mapping):
        return {name: map_tensors(function, part) for name, part in inputs.items()}
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):
        return type(inputs)(*(map_tensors(function, part) for part in inputs))
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(map_tensors(function, part) for part in inputs)
    return inputs


def with_tensors(structure: Any, tensors: Iterable[Tensor]) -> Any:
    """Return a structure of tensors with others in their places, in the order of `tensors_in`."""
    others = iter(tensors)
    return map_tensors(lambda _: next(others), structure)


def row_of(inputs: Inputs, row: int) -> Inputs:
    """Return one replica's part of inputs or targets (sets, ...), sets = replicas or 1 (shared by all)."""
    return map_tensors(lambda tensor: tensor[row % len(tensor)], inputs)


def tensors_in(inputs: Inputs) -> list[Tensor]:
    """List every tensor of a network's inputs, in order."""
    tensors: list[Tensor] = []
    map_tensors(tensors.append, inputs)
    return tensors


def first_tensor(inputs: Inputs) -> Tensor:
    """Return the first tensor of a network's inputs or outputs."""
    return tensors_in(inputs)[0]


def rows_of(inputs: Inputs, rows: slice) -> Inputs:
    """Return some replicas' part of inputs or targets (sets, ...); what all share stays as it is."""
    return inputs if n_sets(inputs) == 1 else map_tensors(lambda tensor: tensor[rows], inputs)


def n_sets(inputs: Inputs) -> int:
    """Return how many sets of examples there are: one a replica, or 1 that all share."""
    return len(first_tensor(inputs))


def call_with(function: Callable[..., Any], inputs: Inputs) -> Any:
    """Call a network with its inputs: a tuple as positional arguments, a dict as keyword arguments."""
    if isinstance(inputs, tuple):
        return function(*inputs)
    if isinstance(inputs, Mapping):
        return function(**inputs)
    return function(inputs)


def shapes_of(inputs: Inputs) -> str:
    """Describe inputs or outputs in an error: their shapes and dtypes."""
    if isinstance(inputs, Tensor):
        return f"shape {tuple(inputs.shape)} and {inputs.dtype}"
    if isinstance(inputs, Mapping):
        return "{" + ", ".join(f"{name!r}: {shapes_of(part)}" for name, part in inputs.items()) + "}"
    if isinstance(inputs, (tuple, list)):
        return "(" + ", ".join(shapes_of(part) for part in inputs) + ")"
    return type(inputs).__name__


def per_replica(values: Tensor, like: Tensor) -> Tensor:
    """View (replicas,) values so that they broadcast over a tensor (replicas, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def move(held: Tensor, moved: Tensor, rests: Tensor) -> None:
    """Put new values (replicas, ...) into a tensor, in place, but for replicas that rest."""
    held.copy_(moved_tensor(held, moved, rests))


def moved_tensor(held: Tensor, moved: Tensor, rests: Tensor) -> Tensor:
    """Return new values (replicas, ...) of a tensor, the old ones for replicas that rest."""
    return torch.where(per_replica(rests, held), held, moved)


def without_sharing(tensors: Tensors) -> Tensors:
    """Return tensors of which no two share memory, to be changed in place: torch.func gives equal gradients as one."""
    known: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        address = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if address in known else tensor
        known.add(address)
    return apart


def all_finite(tensors: Tensors, n_replicas: int, device: torch.device) -> Tensor:
    """Return (replicas,) bool: whether all numbers of a replica are finite."""
    finite = torch.ones(n_replicas, dtype=torch.bool, device=device)
    # A sum is the fastest look at all numbers; one that is not finite may also have overflowed.
    if python_may_look(device) and all(bool(tensor.sum().isfinite()) for tensor in tensors.values()):
        return finite
    for tensor in tensors.values():
        # 0 x number is NaN where the number is not finite.
        finite &= (tensor.reshape(n_replicas, -1) * 0).sum(1) == 0
    return finite


def is_close(tensor: Tensor, expected: Tensor) -> bool:
    """Return whether numbers are equal to rounding; those that are not finite count as equal to each other."""
    if not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return torch.equal(tensor, expected)
    if (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype):
        return False
    finite = expected.isfinite()
    size = torch.where(finite, expected, 0).abs().amax()
    tolerance = TOLERANCE.get(expected.dtype, TOLERANCE[torch.float32])
    far = torch.where(finite, (tensor - expected).abs() > tolerance * size, tensor.isfinite())
    return not bool(far.any())
