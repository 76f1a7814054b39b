"""What a program that trains replicas over many updates is started on, on a CPU or a GPU."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lossact.replicas.cnn import StackedCNN
from lossact.replicas.engine import Hyperparameters, ReplicaState, StoppingCriterion
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.update_rules import UpdateRule


@dataclass(frozen=True, eq=False)
class Launch:
    """Replicas, what they learn from, and how.

    Attributes:
        network: the stacked network.
        rule: how weights move.
        criterion: when a replica rests.
        state: of all replicas.
        inputs: as the network arranges them, sets = replicas or 1 (shared by all).
        targets: (sets, batch) in {0, 1}.
        hyperparameters: each (replicas, 1), or (n_updates, replicas, 1) where it changes with the update.
    """

    network: StackedMLP | StackedCNN
    rule: UpdateRule
    criterion: StoppingCriterion
    state: ReplicaState
    inputs: Tensor
    targets: Tensor
    hyperparameters: Hyperparameters

    @property
    def shares_data(self) -> bool:
        """Whether all replicas learn from one data set."""
        return len(self.inputs) < len(self.state.parameters)

    @property
    def values_stride(self) -> int:
        """Numbers from one update's hyperparameters to the next; 0 where they stay."""
        changes = any(value.ndim == 3 for value in self.hyperparameters.values)
        return len(self.hyperparameters.values) * len(self.state.parameters) if changes else 0

    def tensors(self, n_updates: int) -> tuple[ReplicaState, list[Tensor]]:
        """Return a copy of the state, which the program changes, and all tensors in the order of its arguments."""
        state, h = self.state, self.hyperparameters
        after = ReplicaState(*(tensor.clone(memory_format=torch.contiguous_format) for tensor in vars(state).values()))
        most = max(h.values, key=torch.numel).shape
        curves = [state.parameters.new_empty(n_updates, len(state.parameters)) for _ in range(2)]
        tensors = [
            after.parameters,
            after.optimizer_state,
            after.reached.view(torch.int8),
            after.diverged.view(torch.int8),
            self.inputs.contiguous(),
            self.targets.to(self.inputs.dtype).contiguous(),
            h.gradient_scale.contiguous(),
            torch.cat([value.expand(most) for value in h.values], dim=-1),
            *curves,
        ]
        return after, tensors
