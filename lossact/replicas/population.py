"""Replicas of one network in training: their weights, who rests, and the update that all take together."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lossact.replicas.engine import StoppingCriterion
from lossact.replicas.modules import copy_module
from lossact.replicas.named_tensors import Inputs


class Population(ABC):
    """R replicas of one network; each kind of network has its own.

    Attributes:
        n_replicas: R.
        reached: (replicas,) bool; the target was met, the replica rests.
        diverged: (replicas,) bool; a loss or a weight stopped being finite, the replica rests.
        layer_names: of the layers whose gradient norms are kept; empty where a gradient cannot be taken in passing.
    """

    reached: Tensor
    diverged: Tensor

    def __init__(self, n_replicas: int) -> None:
        self.n_replicas = n_replicas

    @property
    @abstractmethod
    def layer_names(self) -> tuple[str, ...]: ...

    @property
    def finished(self) -> bool:
        """Whether no replica moves any more. Waits for the device."""
        return bool((self.reached | self.diverged).all())

    @abstractmethod
    def prepare(
        self, device: torch.device, *, compiled: bool | str, native: bool, mixed: bool, measures_apart: bool
    ) -> None:
        """Move to a device and choose how updates are computed, before the first.

        Args:
            device: where training runs.
            compiled: whether passes and updates may go through torch.compile; "auto" where nobody asked for it, and
                nobody need know that it cannot be.
            native: whether a program in C++ may take the updates.
            mixed: whether torch's autocast is on.
            measures_apart: whether the criterion is measured apart from the updates.
        """

    def arrange(self, inputs: Inputs) -> Inputs:
        """Lay out inputs (sets, n, ...) once, as the other methods read them."""
        return inputs

    @abstractmethod
    def advance(
        self,
        inputs: Inputs,
        targets: Tensor,
        n_updates: int,
        *,
        first: int | Tensor,
        criterion: StoppingCriterion | None,
    ) -> tuple[Tensor, Tensor]:
        """Take updates on the same batch.

        Args:
            inputs: as `arrange` lays them out, sets = replicas or 1 (shared by all).
            targets: (sets, batch, ...).
            n_updates: how many, >= 1.
            first: updates that were applied before; a () int64 tensor where updates are recorded.
            criterion: when a replica rests; None where that is measured apart.

        Returns:
            loss and metric before each update, (n_updates, replicas).
        """

    @property
    @abstractmethod
    def can_be_recorded(self) -> bool:
        """Whether updates, and what `measure` does, can be recorded: Python decides nothing by what it computes."""

    def is_one_launch(self, targets: Tensor) -> bool:
        """Whether many updates on these targets start one kernel, so that recording them saves nothing."""
        return False

    @property
    @abstractmethod
    def state_tensors(self) -> tuple[Tensor, ...]:
        """All tensors that an update or `measure` writes into or replaces."""

    @abstractmethod
    def hold(self, tensors: Sequence[Tensor]) -> None:
        """Have `state_tensors` be these, in the same order."""

    @abstractmethod
    def measure(self, inputs: Inputs, targets: Tensor, *, update: int | Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and metric (replicas,) in evaluation mode, after `update` updates."""

    @abstractmethod
    def measure_in_training(self, inputs: Inputs, targets: Tensor, *, update: int | Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and metric as `advance` gives them, without an update."""

    @abstractmethod
    def note(self, loss: Tensor, metric: Tensor, criterion: StoppingCriterion) -> None:
        """Let replicas rest by what was measured of them at their present weights."""

    @abstractmethod
    def gradient_norm(self, n_replicas: int, inputs: Inputs, targets: Tensor, *, update: int | Tensor) -> Tensor:
        """Return (n_replicas, layers) norms of the loss's gradient at the present weights of the first replicas."""

    @abstractmethod
    def outputs(self, inputs: Inputs) -> Any:
        """Return what the networks answer to inputs (sets, n, ...): (replicas, n, ...)."""

    @abstractmethod
    def network_of(self, row: int) -> nn.Module:
        """Return one replica as an ordinary module with its present weights, in evaluation mode.

        The module may be the same object for every replica; use it before the next call.
        """

    def networks_apart(self) -> tuple[nn.Module, ...]:
        """Return each replica as an ordinary module of its own, in evaluation mode."""
        return tuple(copy_module(self.network_of(row)) for row in range(self.n_replicas))

    @abstractmethod
    def cpu_copy(self) -> "Population":
        """Return the replicas as measures see them now, on the CPU, to be looked at while these go on."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return all that training goes on from, for a checkpoint."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that was saved.

        Raises:
            InputError: it is that of other networks, or of another number of replicas.
        """
