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
from lossact.replicas.engine import Goal, Hyperparameters, ReplicaState, advance, make_step
from lossact.replicas.minibatches import Minibatches, batch_of
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.network import StackedNetwork
from lossact.replicas.rules import Rule
from lossact.training.metrics import Latest, StepsToTarget


@dataclass(frozen=True, eq=False)
class StackedOutcome:
    """What became of every replica.

    Attributes:
        steps_to_target: (replicas,) int64 updates; meaningless where `reached` is False.
        reached, diverged: (replicas,) bool.
        loss, metric: (kept replicas, budget + 1), before each update and once after the last; after a replica rests,
            and between measurements, the last values go on.
    """

    steps_to_target: NDArray[np.int64]
    reached: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    loss: NDArray[np.floating[Any]]
    metric: NDArray[np.floating[Any]]


FULL_ACCURACY = Goal(1.0)


class StackedTraining(LightningModule):
    """Gradient descent of R replicas together, until all rest or the budget is spent.

    Manual optimisation with many updates per training_step: the loader yields chunk indices, the data are buffers.

    Args:
        network: the stacked network.
        start: (replicas, size) initial parameters.
        images: (sets, n, ...), sets = replicas or 1 (shared by all).
        labels: (sets, n, ...).
        rule: how weights move.
        numbers: (k, replicas) the rule's numbers.
        bias_gradient_scale: (replicas,) factor on the gradients of biases.
        goal: when a replica rests.
        batches: which examples each update learns from; None for all.
        validation: images and labels on which the goal is measured; None for those that are learned.
        measured_every: updates between two measurements, where they are not those of the step itself.
        budget: updates at most, >= 1.
        compiled: whether the step goes through torch.compile.
        curves_of: curves are kept for the first so many replicas.
        updates_per_step: updates in one training_step.
    """

    examples: Tensor
    images: Tensor
    labels: Tensor
    shown_images: Tensor
    shown_labels: Tensor
    start: Tensor
    numbers: Tensor
    gradient_scale: Tensor

    def __init__(
        self,
        network: StackedNetwork,
        start: Tensor,
        images: Tensor,
        labels: Tensor,
        *,
        rule: Rule,
        numbers: Tensor,
        bias_gradient_scale: Tensor,
        goal: Goal = FULL_ACCURACY,
        batches: Minibatches | None = None,
        validation: tuple[Tensor, Tensor] | None = None,
        measured_every: int = 1,
        budget: int,
        compiled: bool = False,
        curves_of: int = 0,
        updates_per_step: int = 50,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.rule, self.goal, self.budget = network, rule, goal, budget
        self.batches, self.measured_every = batches, measured_every
        self.measures_apart = batches is not None or validation is not None or measured_every > 1
        self.compiled, self.curves_of, self.updates_per_step = compiled, curves_of, updates_per_step
        self.register_buffer("start", start)
        self.register_buffer("examples", images if batches is not None else None)
        self.register_buffer("images", network.arrange_images(images))
        self.register_buffer("labels", labels)
        shown = (self.images, labels) if validation is None else (network.arrange_images(validation[0]), validation[1])
        self.register_buffer("shown_images", shown[0])
        self.register_buffer("shown_labels", shown[1])
        self.register_buffer("numbers", numbers.unsqueeze(2))
        scale = torch.where(network.bias_mask(), bias_gradient_scale.unsqueeze(1), 1.0)
        self.register_buffer("gradient_scale", scale.to(start.dtype))
        self.latest = Latest(len(start))
        self.steps_to_target = StepsToTarget(len(start), target=goal.lowest_score)
        self.curves: list[tuple[Tensor, Tensor]] = []
        self.update_count = 0

    @property
    def chunks(self) -> range:
        """What the loader yields: one index a training_step."""
        return range(-(-self.budget // self.updates_per_step))

    def configure_optimizers(self) -> list[Any]:
        return []

    def on_fit_start(self) -> None:
        self.state = ReplicaState.start(self.start.clone(), self.rule)
        mixed = "mixed" in str(self.trainer.precision)  # autocast ends where another thread begins
        if self.measures_apart:
            self.measured = (self.start.new_zeros(len(self.start)),) * 2
            self.step = make_step(self.network, self.rule, None, compiled=False)
            self.advance = self._advance_and_measure
        elif self.compiled and self.device.type == "cpu" and isinstance(self.network, StackedMLP) and not mixed:
            self.advance = partial(advance_in_slices, self.network, self.rule, self.goal)
        else:
            self.advance = partial(advance, make_step(self.network, self.rule, self.goal, compiled=self.compiled))

    def training_step(self, batch: int, batch_idx: int) -> None:
        n_updates = min(self.updates_per_step, self.budget - self.update_count)
        self._take(n_updates)
        self.update_count += n_updates
        if self.update_count == self.budget:
            self._measure_only()
        reach_rate = self.state.reached.to(self.start.dtype).mean()
        self.log("reach_rate", reach_rate)
        self.log("metric", self.latest.compute().mean())
        if self.state.finished:
            self.trainer.should_stop = True

    def _take(self, n_updates: int) -> None:
        hyperparameters = Hyperparameters(tuple(self.numbers), self.gradient_scale)
        self._note(*self.advance(self.state, self.images, self.labels, hyperparameters, n_updates))

    def _note(self, loss: Tensor, metric: Tensor) -> None:
        """Take what was measured of (updates, replicas), in the order of the updates."""
        score = self.goal.score(loss, metric)
        self.latest.update(metric)
        self.steps_to_target.update(torch.where(self.state.diverged, -torch.inf, score))
        self.curves.append((loss[:, : self.curves_of], metric[:, : self.curves_of]))

    def _measure_only(self) -> None:
        loss, metric = self._measure()
        self._note(loss.unsqueeze(0), metric.unsqueeze(0))

    def _measure(self) -> tuple[Tensor, Tensor]:
        parameters = self.state.parameters
        with torch.no_grad():
            if self.measures_apart:
                loss, metric = self.network.measure(parameters, self.shown_images, self.shown_labels)
            else:  # as the steps measure, in training mode
                loss, metric, _ = self.network.loss_and_gradient(parameters, self.images, self.labels)
        self.state.measure(loss, metric, self.goal)
        return loss, metric

    def _advance_and_measure(
        self, state: ReplicaState, images: Tensor, labels: Tensor, hyperparameters: Hyperparameters, n_updates: int
    ) -> tuple[Tensor, Tensor]:
        """Updates on a batch each, the goal measured apart from them."""
        losses, metrics = (state.parameters.new_empty(n_updates, len(state.parameters)) for _ in range(2))
        for k in range(n_updates):
            if (self.update_count + k) % self.measured_every == 0:
                self.measured = self._measure()
            losses[k], metrics[k] = self.measured
            if self.batches is not None:
                index = self.batches.next().to(labels.device)
                images = self.network.arrange_images(batch_of(self.examples, index))
                labels = batch_of(self.labels, index)
            advance(self.step, state, images, labels, hyperparameters, 1)
        return losses, metrics

    def outcome(self) -> StackedOutcome:
        """The outcome of every replica, on the CPU, after the fit."""
        # torchmetrics hands a single replica's value back as a scalar.
        steps = self.steps_to_target.compute().reshape(-1).cpu().numpy()
        loss, metric = (_whole_curve(list(parts), self.budget + 1) for parts in zip(*self.curves, strict=True))
        return StackedOutcome(
            steps_to_target=steps,
            reached=steps != StepsToTarget.NOT_REACHED,
            diverged=self.state.diverged.cpu().numpy(),
            loss=loss,
            metric=metric,
        )


def _whole_curve(parts: list[Tensor], length: int) -> NDArray[np.floating[Any]]:
    """Join chunks (updates, replicas) to (replicas, length); where all rest early the last values go on."""
    curve = torch.cat(parts).cpu().numpy().T
    return np.pad(curve, ((0, 0), (0, length - curve.shape[1])), mode="edge")
