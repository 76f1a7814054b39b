"""What a CUDA graph does, on a CPU: operations are noted with the tensors that they read and write, and done again.

What Python computed in between is what it was, and whoever looks at a number is told that there is none yet.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from lossact.replicas.population import Population

LOOKS = {
    torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default, torch.ops.aten.masked_select.default, torch.ops.aten._unique2.default,
}  # fmt: skip


def as_it_is(value: Any) -> Any:
    """A tensor with the same numbers, whose shape stays; anything else as it is."""
    return torch.ops.aten.alias.default(value) if isinstance(value, Tensor) else value


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation within."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in LOOKS:
            raise RuntimeError(f"{func} looks at numbers while updates are recorded")
        noted = tree_map(as_it_is, (args, kwargs or {}))
        outputs = func(*args, **(kwargs or {}))
        if torch.Tag.inplace_view not in func.tags:  # what a tensor's shape is, Python alone knows
            written = [as_it_is(value) for value in tree_flatten(outputs)[0] if isinstance(value, Tensor)]
            self.operations.append((func, *noted, written))
        return outputs

    def replay(self) -> None:
        """Do all operations again, on the tensors that they were noted with."""
        with torch.no_grad():
            for func, args, kwargs, written in self.operations:
                again = [value for value in tree_flatten(func(*args, **kwargs))[0] if isinstance(value, Tensor)]
                for held, value in zip(written, again, strict=True):
                    if held is not value and held.data_ptr() != value.data_ptr():
                        held.copy_(value)


def record_on_a_cpu(population: Population, run: Callable[[], None]) -> Callable[[], None]:
    """Record what a function does to a population, without doing it."""
    return record_changes(population.state_tensors, run)


def record_changes(held: Sequence[Tensor], run: Callable[[], None]) -> Callable[[], None]:
    """Record what a function does to tensors, without doing it."""
    before = [tensor.clone() for tensor in held]
    recorder = Recorder()
    with recorder:
        run()
    for tensor, value in zip(held, before, strict=True):
        tensor.copy_(value)
    return recorder.replay
