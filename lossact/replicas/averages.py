"""Averages of weights along their training, which measures look at in place of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossact.replicas.named_tensors import Tensors, move


@dataclass(frozen=True)
class AverageRule:
    """How weights are averaged.

    Attributes:
        decay: of an exponential average, in (0, 1); None for the plain mean.
        start: updates before the first weights that count; until then the average is the weights themselves.
        every: updates between two weights that count, >= 1.
    """

    decay: float | None
    start: int = 0
    every: int = 1


class WeightAverage:
    """An average of each replica's weights and floating-point buffers.

    Args:
        rule: how to average.
        tensors: by name, (replicas, ...), as they are before the first update.
    """

    def __init__(self, rule: AverageRule, tensors: Tensors) -> None:
        self.rule = rule
        self.average = {
            name: t.detach().clone() for name, t in tensors.items() if t.is_floating_point() or t.is_complex()
        }

    def add(self, tensors: Tensors, rests: Tensor, updates: int | Tensor) -> None:
        """Take the weights after so many updates into account; to be called after every update.

        Args:
            tensors: by name, (replicas, ...).
            rests: (replicas,) bool; these keep their average.
            updates: that have been applied, >= 1; a () int64 tensor where updates are recorded.
        """
        if isinstance(updates, Tensor):
            self._add_recorded(tensors, rests, updates)
            return
        past = updates - self.rule.start
        if past > 0 and past % self.rule.every:
            return
        counted = past // self.rule.every
        for name, average in self.average.items():
            weights = tensors[name].detach()
            moved = average + (weights - average) * self._share(counted) if counted > 1 else weights
            move(average, moved, rests)

    def _add_recorded(self, tensors: Tensors, rests: Tensor, updates: Tensor) -> None:
        """Do what `add` does without looking at the number of updates."""
        past = updates - self.rule.start
        counted = past.div(self.rule.every, rounding_mode="floor")
        skipped = (past > 0) & (past % self.rule.every != 0)
        for name, average in self.average.items():
            weights = tensors[name].detach()
            moved = torch.where(counted > 1, average + (weights - average) * self._share(counted.double()), weights)
            move(average, moved, rests | skipped)

    def _share(self, counted: Any) -> Any:
        """Return the weight of the newest of so many weights."""
        return 1 / counted if self.rule.decay is None else 1 - self.rule.decay

    @contextmanager
    def in_place_of(self, tensors: Tensors) -> Iterator[None]:
        """Put the averages where the weights are, within."""
        with torch.no_grad():
            kept = {name: tensors[name].detach().clone() for name in self.average}
            try:
                for name, average in self.average.items():
                    tensors[name].copy_(average)
                yield
            finally:
                for name, tensor in kept.items():
                    tensors[name].copy_(tensor)

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        self.average = {name: tensor.to(device) for name, tensor in self.average.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return {"average": dict(self.average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that was saved."""
        for name, average in self.average.items():
            average.copy_(state["average"][name])
