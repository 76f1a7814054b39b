"""Many replicas of one network in one LightningModule."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor

from lossact.replicas.compiled import advance_in_slices
from lossact.replicas.engine import Hyperparameters, ReplicaState, advance, make_step
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.network import StackedNetwork
from lossact.training.metrics import ReplicaAccuracy, StepsToTarget


@dataclass(frozen=True, eq=False)
class StackedOutcome:
    """What became of every replica.

    Attributes:
        steps_to_target: (replicas,) int64 updates; meaningless where `reached` is False.
        reached, diverged: (replicas,) bool.
        loss, accuracy: (kept replicas, budget + 1), before each update and once after the last; after a replica
            rests its last values go on.
    """

    steps_to_target: NDArray[np.int64]
    reached: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    loss: NDArray[np.floating[Any]]
    accuracy: NDArray[np.floating[Any]]


class StackedTraining(LightningModule):
    """Full-batch gradient descent of R replicas together, until all rest or the budget is spent.

    Manual optimisation with many updates per training_step: the loader yields chunk indices, the data are buffers.

    Args:
        network: the stacked network.
        start: (replicas, size) initial parameters.
        images: (sets, batch, height, width), sets = replicas or 1 (shared by all).
        labels: (sets, batch) in {0, 1}.
        learning_rate, momentum, weight_decay: (replicas,).
        bias_gradient_scale: (replicas,) factor on the gradients of biases.
        target: accuracy at which a replica rests.
        budget: updates at most, >= 1.
        compiled: whether the step goes through torch.compile.
        curves_of: curves are kept for the first so many replicas.
        updates_per_step: updates in one training_step.
    """

    images: Tensor
    labels: Tensor
    start: Tensor
    hyperparameters: Tensor
    gradient_scale: Tensor

    def __init__(
        self,
        network: StackedNetwork,
        start: Tensor,
        images: Tensor,
        labels: Tensor,
        *,
        learning_rate: Tensor,
        momentum: Tensor,
        weight_decay: Tensor,
        bias_gradient_scale: Tensor,
        target: float = 1.0,
        budget: int,
        compiled: bool = False,
        curves_of: int = 0,
        updates_per_step: int = 50,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.target, self.budget = network, target, budget
        self.compiled, self.curves_of, self.updates_per_step = compiled, curves_of, updates_per_step
        self.register_buffer("start", start)
        self.register_buffer("images", network.arrange_images(images))
        self.register_buffer("labels", labels)
        self.register_buffer("hyperparameters", torch.stack((learning_rate, momentum, weight_decay)).unsqueeze(2))
        scale = torch.where(network.bias_mask(), bias_gradient_scale.unsqueeze(1), 1.0)
        self.register_buffer("gradient_scale", scale.to(start.dtype))
        self.replica_accuracy = ReplicaAccuracy(len(start))
        self.steps_to_target = StepsToTarget(len(start), target=target)
        self.curves: list[tuple[Tensor, Tensor]] = []
        self.update_count = 0

    @property
    def chunks(self) -> range:
        """What the loader yields: one index a training_step."""
        return range(-(-self.budget // self.updates_per_step))

    def configure_optimizers(self) -> list[Any]:
        return []

    def on_fit_start(self) -> None:
        self.state = ReplicaState.start(self.start.clone())
        mixed = "mixed" in str(self.trainer.precision)  # autocast ends where another thread begins
        if self.compiled and self.device.type == "cpu" and isinstance(self.network, StackedMLP) and not mixed:
            self.advance = partial(advance_in_slices, self.network, self.target)
        else:
            self.advance = partial(advance, make_step(self.network, self.target, compiled=self.compiled))

    def training_step(self, batch: int, batch_idx: int) -> None:
        n_updates = min(self.updates_per_step, self.budget - self.update_count)
        self._take(n_updates)
        self.update_count += n_updates
        if self.update_count == self.budget:
            self._measure_only()
        reach_rate = self.state.reached.to(self.start.dtype).mean()
        self.log("reach_rate", reach_rate)
        self.log("accuracy", self.replica_accuracy.compute().mean())
        if self.state.finished:
            self.trainer.should_stop = True

    def _take(self, n_updates: int) -> None:
        loss, accuracy = self.advance(self.state, self.images, self.labels, self._hyperparameters(), n_updates)
        measured = torch.where(self.state.diverged, -torch.inf, accuracy)
        self.replica_accuracy.update(accuracy)
        self.steps_to_target.update(measured)
        self.curves.append((loss[:, : self.curves_of], accuracy[:, : self.curves_of]))

    def _measure_only(self) -> None:
        parameters, velocity = self.state.parameters, self.state.velocity
        self._take(1)
        self.state.parameters, self.state.velocity = parameters, velocity

    def _hyperparameters(self) -> Hyperparameters:
        learning_rate, momentum, weight_decay = self.hyperparameters
        return Hyperparameters(learning_rate, momentum, weight_decay, self.gradient_scale)

    def outcome(self) -> StackedOutcome:
        """The outcome of every replica, on the CPU, after the fit."""
        # torchmetrics hands a single replica's value back as a scalar.
        steps = self.steps_to_target.compute().reshape(-1).cpu().numpy()
        loss, accuracy = (_whole_curve(list(parts), self.budget + 1) for parts in zip(*self.curves, strict=True))
        return StackedOutcome(
            steps_to_target=steps,
            reached=steps != StepsToTarget.NOT_REACHED,
            diverged=self.state.diverged.cpu().numpy(),
            loss=loss,
            accuracy=accuracy,
        )


def _whole_curve(parts: list[Tensor], length: int) -> NDArray[np.floating[Any]]:
    """Join chunks (updates, replicas) to (replicas, length); where all rest early the last values go on."""
    curve = torch.cat(parts).cpu().numpy().T
    return np.pad(curve, ((0, 0), (0, length - curve.shape[1])), mode="edge")
