"""An optimizer whose numbers, such as the learning rate, may differ between replicas, under the Trainer of all."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lossact.training.stackable import NotStackableError

Numbers = dict[str, Any]  # of a parameter group: its learning rate and all else beside its parameters


class ReplicaOptimizer(torch.optim.Optimizer):
    """Moves stacked parameters by one optimizer of torch's, with the numbers that each replica's schedulers set.

    Neighbours with the same numbers move as one leaf, a view of their rows. Where their numbers part, so do their
    leaves, which stay apart: what an optimizer keeps for a leaf may depend on the numbers of before.

    Args:
        optimizer: of the stacked parameters, elementwise.
        of_replicas: one a replica, or the same for several, which schedulers know; only their numbers count.
        hidden: whether the numbers may not be read now, as in a step of all replicas.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, of_replicas: Sequence[torch.optim.Optimizer], hidden: Callable[[], bool]
    ) -> None:
        self._hidden: Callable[[], bool] = lambda: False
        super().__init__([dict(group) for group in optimizer.param_groups], {})
        self.state = optimizer.state  # the Trainer moves it to its device
        self.optimizer, self.of_replicas, self._hidden = optimizer, of_replicas, hidden
        self._stacked: list[list[Tensor]] = [list(group["params"]) for group in optimizer.param_groups]
        self._runs = [range(len(of_replicas))]  # of rows that move as one
        self._leaves = [self._stacked]  # of each run, by group
        self._numbers: list[list[Numbers]] = []  # of each replica, by group

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The stacked parameters in their groups.

        Raises:
            NotStackableError: a step of all replicas reads them.
        """
        if self._hidden():
            raise NotStackableError("its steps read the optimizer's numbers, which differ between replicas")
        return self._param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self._param_groups = groups

    def step(self, closure: Any = None) -> Any:
        """Run the closure, which gives the gradients, and move every replica by its own numbers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        of_each = {
            each: [_numbers_of(group) for group in each.param_groups] for each in dict.fromkeys(self.of_replicas)
        }
        numbers = [of_each[each] for each in self.of_replicas]
        if numbers != self._numbers:
            self._numbers = numbers
            self._part()
            self._group()
        for run, leaves in zip(self._runs, self._leaves, strict=True):
            for leaf, whole in _pairs(leaves, self._stacked):
                if leaf is not whole:
                    leaf.grad = None if whole.grad is None else whole.grad[run.start : run.stop]
        self.optimizer.step()
        return loss

    def _part(self) -> None:
        """Part neighbours whose numbers differ now."""
        runs, leaves = [], []
        for run, of_run in zip(self._runs, self._leaves, strict=True):
            starts = [run.start, *(row for row in run[1:] if self._numbers[row] != self._numbers[row - 1])]
            parts = [range(start, stop) for start, stop in zip(starts, [*starts[1:], run.stop], strict=True)]
            runs += parts
            leaves += [of_run] if len(parts) == 1 else [self._part_of(of_run, run, part) for part in parts]
            if len(parts) > 1:
                for leaf, _ in _pairs(of_run, of_run):
                    self.state.pop(leaf, None)
        self._runs, self._leaves = runs, leaves

    def _part_of(self, of_run: list[list[Tensor]], run: range, part: range) -> list[list[Tensor]]:
        """Return leaves for a part of a run, with their part of its state."""
        rows = slice(part.start - run.start, part.stop - run.start)
        leaves = [[whole.detach()[rows].requires_grad_() for whole in group] for group in of_run]
        for leaf, whole in _pairs(leaves, of_run):
            if whole in self.state:
                self.state[leaf] = {
                    name: _part_of_state(value, rows, whole) for name, value in self.state[whole].items()
                }
        return leaves

    def _group(self) -> None:
        """Give torch's optimizer a group for each different set of numbers."""
        groups: list[dict[str, Any]] = []
        for run, leaves in zip(self._runs, self._leaves, strict=True):
            for numbers, tensors in zip(self._numbers[run.start], leaves, strict=True):
                same = next((group for group in groups if _numbers_of(group) == numbers), None)
                if same is None:
                    groups.append({**numbers, "params": list(tensors)})
                else:
                    same["params"] += tensors
        self.optimizer.param_groups = groups


def _numbers_of(group: dict[str, Any]) -> Numbers:
    return {name: value for name, value in group.items() if name != "params"}


def _pairs(leaves: list[list[Tensor]], others: list[list[Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    for group, other in zip(leaves, others, strict=True):
        yield from zip(group, other, strict=True)


def _part_of_state(value: Any, rows: slice, whole: Tensor) -> Any:
    """Return some rows of what an optimizer keeps for each number of a leaf, and a copy of what it keeps once."""
    if not isinstance(value, Tensor):
        return value
    return value[rows] if value.shape == whole.shape else value.clone()


class ReplicaSchedulers(LRScheduler):
    """A scheduler of each replica's or each condition's own optimizer.

    Args:
        schedulers: one of each.
        optimizer: the optimizer of all.
    """

    def __init__(self, schedulers: Sequence[Any], optimizer: ReplicaOptimizer) -> None:
        self.schedulers, self.optimizer = schedulers, optimizer

    def step(self, epoch: int | None = None) -> None:
        """Step each."""
        for scheduler in self.schedulers:
            scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all, for a checkpoint."""
        return {str(row): scheduler.state_dict() for row, scheduler in enumerate(self.schedulers)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from states that were saved."""
        for row, scheduler in enumerate(self.schedulers):
            scheduler.load_state_dict(state_dict[str(row)])


class ReplicaPlateaus(ReduceLROnPlateau):
    """Schedulers that watch a metric, each that of its replica."""

    def __init__(self, schedulers: Sequence[Any], optimizer: ReplicaOptimizer) -> None:
        self.schedulers, self.optimizer = schedulers, optimizer

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Step each with its metric.

        Args:
            metrics: (replicas,).
            epoch: not used.
        """
        for scheduler, metric in zip(self.schedulers, metrics, strict=True):
            scheduler.step(metric)

    state_dict = ReplicaSchedulers.state_dict
    load_state_dict = ReplicaSchedulers.load_state_dict
