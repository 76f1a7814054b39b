"""Many replicas of one network in one LightningModule."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossact.errors import InputError
from lossact.replicas.compiled import advance_in_slices
from lossact.replicas.engine import Hyperparameters, ReplicaState, StoppingCriterion, advance, make_step
from lossact.replicas.minibatches import Minibatches, batch_of
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.network import StackedNetwork
from lossact.replicas.update_rules import UpdateRule
from lossact.training.base import ReplicasModule
from lossact.training.flags import check_flags
from lossact.training.loaders import Examples
from lossact.training.metrics import Latest, StepsToTarget


@dataclass(frozen=True, eq=False)
class StackedOutcome:
    """What became of every replica.

    Attributes:
        steps_to_target: (replicas,) int64 updates; meaningless where `reached` is False.
        reached, diverged: (replicas,) bool.
        loss, metric: (kept replicas, budget + 1), before each update and once after the last; after a replica rests,
            and between measurements, the last values go on.
        gradient_norm: (kept replicas, moments, layers) Euclidean norm of the loss's gradient, before every so many
            updates; after all replicas rest the last values go on.
        layers: their names.
        updates_per_step: so many.
    """

    steps_to_target: NDArray[np.int64]
    reached: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    loss: NDArray[np.floating[Any]]
    metric: NDArray[np.floating[Any]]
    gradient_norm: NDArray[np.floating[Any]]
    layers: tuple[str, ...]
    updates_per_step: int


FULL_ACCURACY = StoppingCriterion(1.0)


class StackedReplicasModule(ReplicasModule):
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

    Attributes:
        answer: (parameters (replicas, size), images (sets, n, ...)) -> (replicas, n, ...), for Trainer.predict.
    """

    examples: Tensor
    inputs: Tensor
    targets: Tensor
    measured_inputs: Tensor
    measured_targets: Tensor
    start: Tensor
    numbers: Tensor
    gradient_scale: Tensor
    fixed: Tensor | None

    def __init__(
        self,
        network: StackedNetwork,
        start: Tensor,
        inputs: Tensor,
        targets: Tensor,
        *,
        rule: UpdateRule,
        numbers: Tensor,
        bias_gradient_scale: Tensor,
        criterion: StoppingCriterion = FULL_ACCURACY,
        batches: Minibatches | None = None,
        validation: Examples | None = None,
        measured_every: int = 1,
        budget: int,
        compiled: bool = False,
        curves_of: int = 0,
        updates_per_step: int = 50,
    ) -> None:
        super().__init__(budget=budget, training=(inputs, targets), validation=validation)
        self.automatic_optimization = False
        self.network, self.rule, self.criterion = network, rule, criterion
        self.batches, self.measured_every = batches, measured_every
        self.measures_apart = batches is not None or validation is not None or measured_every > 1
        self.compiled, self.curves_of, self.updates_per_step = compiled, curves_of, updates_per_step
        arranged = network.arrange_inputs(inputs)
        shown = (arranged, targets) if validation is None else (network.arrange_inputs(validation[0]), validation[1])
        scale = torch.where(network.bias_mask(), bias_gradient_scale.unsqueeze(1), 1.0)
        buffers = {
            "start": start,
            "examples": inputs if batches is not None else None,
            "inputs": arranged,
            "targets": targets,
            "measured_inputs": shown[0],
            "measured_targets": shown[1],
            "numbers": numbers.unsqueeze(2),
            "gradient_scale": scale.to(start.dtype),
            "fixed": network.fixed_mask(),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)  # made again, not read from a checkpoint
        self.answer: Callable[[Tensor, Tensor], Tensor] | None = None
        self.latest = Latest(len(start))
        self.steps_to_target = StepsToTarget(len(start), target=criterion.lowest_score)
        self.curves: list[tuple[Tensor, Tensor]] = []
        self.newest: list[tuple[Tensor, Tensor]] = []  # of the last training_step, all replicas
        self.gradient_norms: list[Tensor] = []
        self.state = ReplicaState.start(start, rule)

    @property
    def chunks(self) -> range:
        """What the loader yields: one index a training_step."""
        return range(-(-self.budget // self.updates_per_step))

    def configure_optimizers(self) -> list[Any]:
        return []

    def train_dataloader(self) -> range:
        return self.chunks

    def configure_callbacks(self) -> list[Any]:
        check_flags(self.trainer)  # here, because Lightning's own checks, which name one flag each, come next
        return []

    def on_fit_start(self) -> None:
        self.state.to(self.device)
        mixed = "mixed" in str(self.trainer.precision)  # autocast ends where another thread begins
        if self.measures_apart:
            self.last_measured = (self.start.new_zeros(len(self.start)),) * 2
            self.step = make_step(self.network, self.rule, None, compiled=False)
            self.advance = self._advance_and_measure
        elif self.compiled and self.device.type == "cpu" and isinstance(self.network, StackedMLP) and not mixed:
            self.advance = partial(advance_in_slices, self.network, self.rule, self.criterion)
        else:
            self.advance = partial(advance, make_step(self.network, self.rule, self.criterion, compiled=self.compiled))

    def training_step(self, batch: int, batch_idx: int) -> None:
        n_updates = min(self.updates_per_step, self.budget - self.update_count)
        self.newest = []
        self._note_gradient()
        self._take(n_updates)
        self.update_count += n_updates
        # Without an optimiser nobody else counts; loggers and checkpoints ask the Trainer.
        steps = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        steps.total.ready += n_updates
        steps.total.completed += n_updates
        if self.update_count == self.budget:
            self._measure_only()
        self.log("update", float(self.update_count), prog_bar=True)
        self.log("reach_rate", self.state.reached.to(self.start.dtype).mean(), prog_bar=True)
        self.log(self.metric_name, self.latest.compute().mean(), prog_bar=True)
        if self.state.finished:
            self.trainer.should_stop = True
            self._note_gradient()  # of replicas at rest, which is what the moments left out would hold

    def _note_gradient(self) -> None:
        if self.curves_of and self.network.layers and len(self.gradient_norms) < len(self.chunks):
            self.gradient_norms.append(self.gradient_norm(self.curves_of))

    def _take(self, n_updates: int) -> None:
        numbers = dict(zip(self.rule.numbers, self.numbers, strict=True))
        if self.fixed is not None:
            numbers["learning_rate"] = numbers["learning_rate"].masked_fill(self.fixed, 0.0)  # whatever decays
        hyperparameters = Hyperparameters(tuple(numbers.values()), self.gradient_scale)
        self._note(*self.advance(self.state, self.inputs, self.targets, hyperparameters, n_updates))

    def _note(self, loss: Tensor, metric: Tensor) -> None:
        """Take what was measured of (updates, replicas), in the order of the updates."""
        self.newest.append((loss, metric))
        score = self.criterion.score(loss, metric)
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
                loss, metric = self.network.measure(parameters, self.measured_inputs, self.measured_targets)
            else:  # as the steps measure, in training mode
                loss, metric, _ = self.network.loss_and_gradient(parameters, self.inputs, self.targets)
        self.state.measure(loss, metric, self.criterion)
        return loss, metric

    def _advance_and_measure(
        self, state: ReplicaState, inputs: Tensor, targets: Tensor, hyperparameters: Hyperparameters, n_updates: int
    ) -> tuple[Tensor, Tensor]:
        """Updates on a batch each, the goal measured apart from them."""
        losses, metrics = (state.parameters.new_empty(n_updates, len(state.parameters)) for _ in range(2))
        for k in range(n_updates):
            if (self.update_count + k) % self.measured_every == 0:
                self.last_measured = self._measure()
            losses[k], metrics[k] = self.last_measured
            if self.batches is not None:
                index = self.batches.next().to(targets.device)
                inputs = self.network.arrange_inputs(batch_of(self.examples, index))
                targets = batch_of(self.targets, index)
            advance(self.step, state, inputs, targets, hyperparameters, 1)
        return losses, metrics

    def gradient_norm(self, replicas: int) -> Tensor:
        """(replicas, layers) norms of the gradient at the present parameters of the first so many.

        Over the training examples, or where a batch holds fewer, over that many of them, the same each time.
        """
        inputs, targets = self.inputs, self.targets
        if self.batches is not None:
            inputs, targets = self.examples[:, : self.batches.size], targets[:, : self.batches.size]
            inputs = self.network.arrange_inputs(inputs)
        own = replicas if len(targets) > 1 else 1
        with torch.no_grad():
            parts = self.network.loss_and_gradient(self.state.parameters[:replicas], inputs[:own], targets[:own])
        by_layer = torch.split(parts[2], list(self.network.layers.values()), dim=1)
        return torch.stack([layer.norm(dim=1) for layer in by_layer], dim=1)

    # What is only measured

    def predict_step(self, batch: Examples, batch_idx: int) -> Tensor:
        if self.answer is None:
            raise InputError("these replicas cannot be stacked, and do not predict; train one with replicas=1")
        self.state.to(self.device)
        return self.answer(self.state.parameters, batch[0])

    def sets(self, examples: Examples) -> Iterator[Examples]:
        yield from zip(*examples, strict=True)

    def measured(self, batch: Examples) -> dict[str, Tensor]:
        inputs, targets = batch
        self.state.to(self.device)
        with torch.no_grad():
            found = self.network.measure(self.state.parameters, self.network.arrange_inputs(inputs), targets)
        return {name: values.mean() for name, values in zip(("loss", self.metric_name), found, strict=True)}

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["about"] = dict(self.metadata)
        checkpoint["replicas"] = {
            "update_count": self.update_count,
            "steps_to_target": self.steps_to_target.compute().reshape(-1),
            "curves": self.curves,
            "gradient_norms": self.gradient_norms,
            **vars(self.state),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved = dict(checkpoint.get("replicas", {}))
        if "parameters" not in saved or saved["parameters"].shape != self.start.shape:
            raise InputError(
                f"the checkpoint does not hold {len(self.start)} replicas of {self.start.shape[1]} parameters; give "
                "the config that it was made with"
            )
        self.check_origin(checkpoint)
        self.update_count = saved.pop("update_count")
        self.curves = saved.pop("curves")
        self.gradient_norms = saved.pop("gradient_norms")
        self.steps_to_target.steps = saved.pop("steps_to_target")
        self.steps_to_target.seen = torch.tensor(self.update_count)
        self.state = ReplicaState(**saved)
        if self.batches is not None:
            for _ in range(self.update_count):
                self.batches.next()

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
            gradient_norm=_whole_norms(self.gradient_norms, len(loss), len(self.chunks)),
            layers=tuple(self.network.layers),
            updates_per_step=self.updates_per_step,
        )


def _whole_curve(parts: list[Tensor], length: int) -> NDArray[np.floating[Any]]:
    """Join chunks (updates, replicas) to (replicas, length); where all rest early the last values go on."""
    curve = torch.cat(parts).cpu().numpy().T
    return np.pad(curve, ((0, 0), (0, length - curve.shape[1])), mode="edge")


def _whole_norms(parts: list[Tensor], replicas: int, moments: int) -> NDArray[np.floating[Any]]:
    """Join (replicas, layers) norms to (replicas, moments, layers)."""
    if not parts:
        return np.zeros((replicas, 0, 0))
    norms = torch.stack(parts, dim=1).cpu().numpy()
    return np.pad(norms, ((0, 0), (0, moments - norms.shape[1]), (0, 0)), mode="edge")
