"""Many replicas of one network in one LightningModule."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossact.replicas.engine import NEVER
from lossact.replicas.minibatches import Minibatches, batch_of
from lossact.replicas.named_tensors import Inputs, map_tensors
from lossact.replicas.population import Population
from lossact.replicas.recorded import LENGTH as RECORDED_LENGTH
from lossact.replicas.recorded import RecordedUpdates, Updates
from lossact.replicas.recordings import CudaGraphs, Given
from lossact.training.base import ExampleSets, MeasurementPlan, ReplicasModule, RunDescription
from lossact.training.compute_config import Compiled
from lossact.training.flags import check_flags
from lossact.training.loaders import Examples
from lossact.training.metrics import Latest, StepsToTarget
from lossact.training.values import ValuePlan, ValueRecorder, Values


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
        values: name to (replicas,) values of the trained replicas.
    """

    steps_to_target: NDArray[np.int64]
    reached: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    loss: NDArray[np.floating[Any]]
    metric: NDArray[np.floating[Any]]
    gradient_norm: NDArray[np.floating[Any]]
    layers: tuple[str, ...]
    updates_per_step: int
    values: Values


class StackedReplicasModule(ReplicasModule):
    """Training of R replicas together, until all rest or the budget is spent.

    Manual optimisation with many updates per training_step: the loader yields chunk indices.

    Args:
        population: the replicas, with their start, their optimiser and their step.
        examples: inputs and targets, (sets, n, ...), sets = replicas or 1 (shared by all).
        plan: what is measured, when, and when a replica rests.
        batches: which examples each update learns from; None for all.
        budget: updates at most, >= 1.
        compiled: whether passes and updates may go through torch.compile; "auto" for silently, where it can be.
        native: whether a program in C++ may take the updates.
        updates_per_step: updates between two moments at which gradient norms are noted.
        moments_per_step: such moments in one training_step. What the Trainer does between two takes about 0.7 ms.
        logs: whether each training_step logs how training goes. It takes about 3 ms.
        description: which replicas these are, and of what.
    """

    def __init__(
        self,
        population: Population,
        examples: ExampleSets,
        plan: MeasurementPlan,
        *,
        batches: Minibatches | None = None,
        budget: int,
        compiled: Compiled = False,
        native: bool = False,
        updates_per_step: int = 50,
        moments_per_step: int = 1,
        logs: bool = True,
        description: RunDescription,
    ) -> None:
        super().__init__(examples, description, budget=budget)
        self.automatic_optimization = False
        self.population, self.plan, self.criterion = population, plan, plan.criterion
        self.resting = NEVER if plan.trains_to_budget else plan.criterion
        self.recorder = ValueRecorder(plan.values or ValuePlan(), population)
        self.batches = batches
        self.measures_apart = batches is not None or plan.on_validation or plan.every > 1 or plan.apart
        self.compiled, self.native, self.logs = compiled, native, logs
        self.updates_per_step, self.moments_per_step = updates_per_step, moments_per_step
        self.inputs = population.arrange(examples.training[0])
        self.targets = examples.training[1]
        self.drawn_from = examples.training[0] if batches is not None else ()  # as they are before they are arranged
        self.measured_inputs, self.measured_targets = self.inputs, self.targets
        if plan.on_validation:
            self.measured_inputs = population.arrange(self.validation_examples[0])
            self.measured_targets = self.validation_examples[1]
        self.latest = Latest(population.n_replicas)
        self.steps_to_target = StepsToTarget(population.n_replicas, target=self.criterion.lowest_score)
        self.curves: list[tuple[Tensor, Tensor]] = []
        self.newest: list[tuple[Tensor, Tensor]] = []  # of the last training_step, all replicas
        self.gradient_norms: list[Tensor] = []
        self.last_measured = (torch.zeros(population.n_replicas),) * 2
        self.recorded: RecordedUpdates | None = None

    @property
    def n_moments(self) -> int:
        """How many moments there are at which gradient norms are noted, at most."""
        return -(-self.budget // self.updates_per_step)

    def configure_optimizers(self) -> list[Any]:
        return []

    def train_dataloader(self) -> range:
        return range(-(-self.n_moments // self.moments_per_step))  # an index for each training_step

    def configure_callbacks(self) -> list[Any]:
        check_flags(self.trainer)  # here, because Lightning's own checks, which name one flag each, come next
        return []

    def on_fit_start(self) -> None:
        self._prepare()
        if self.update_count == 0:
            self.recorder.check()
        loss, metric = self.last_measured
        self.last_measured = loss.to(self.device), metric.to(self.device)

    def on_fit_end(self) -> None:
        self.recorded = None  # its memory on a GPU is for the next launch

    def _recorded_updates(self) -> RecordedUpdates | None:
        """Return what records updates on a GPU, where Python decides nothing between them."""
        if self.device.type != "cuda" or not self.population.can_be_recorded:
            return None
        if not self.measures_apart and self.population.is_one_launch(self.targets):
            return None
        return RecordedUpdates(self.population, self._updates, CudaGraphs())

    @property
    def _is_mixed(self) -> bool:
        return "mixed" in str(self.trainer.precision)

    def _prepare(self) -> None:
        self.population.prepare(
            self.device,
            compiled=self.compiled,
            native=self.native,
            mixed=self._is_mixed,
            measures_apart=self.measures_apart,
        )
        for name in ("inputs", "targets", "drawn_from", "measured_inputs", "measured_targets"):
            setattr(self, name, map_tensors(lambda tensor: tensor.to(self.device), getattr(self, name)))

    def training_step(self, batch: int, batch_idx: int) -> None:
        first = self.update_count
        if self._is_mixed:  # until the Trainer ends its autocast; else that keeps what each pass casts weights to
            torch.set_autocast_cache_enabled(False)
        self.newest = []
        self.recorded = self.recorded or self._recorded_updates()
        for moment in range(self.moments_per_step):
            if self.update_count == self.budget or (moment and self.population.finished):
                break
            self._note_gradient()
            self._go_on_to(min(self.budget, self.update_count + self.updates_per_step))
        # Without an optimiser nobody else counts; loggers and checkpoints ask the Trainer.
        steps = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        steps.total.ready += self.update_count - first
        steps.total.completed += self.update_count - first
        if self.update_count == self.budget:
            self._measure_only()
            self.recorder.record(None)
        if self.logs:
            self.log("update", float(self.update_count), prog_bar=True)
            self.log("reach_rate", self.population.reached.float().mean(), prog_bar=True)
            self.log(self.metric_name, self.latest.compute().mean(), prog_bar=True)
        if self.population.finished:
            self.trainer.should_stop = True
            self._note_gradient()  # of replicas at rest, which is what the moments left out would hold

    def _go_on_to(self, last: int) -> None:
        """Take updates up to one, and measures at their moments on the way."""
        while self.update_count < last:
            moment = self.recorder.next_moment(self.update_count)
            if moment == self.update_count:
                self.recorder.record(moment)
                moment = self.recorder.next_moment(moment + 1)
            stop = last if moment is None else min(last, moment)
            self._take(stop - self.update_count)
            self.update_count = stop

    def _note_gradient(self) -> None:
        if not self.plan.curves_of or not self.population.layer_names or len(self.gradient_norms) == self.n_moments:
            return
        n_replicas = min(self.plan.curves_of, self.population.n_replicas)

        def norms(given: Given) -> Sequence[Tensor]:
            (update,) = given
            return [self.gradient_norm(n_replicas, update=update)]

        given = [self.update_count]
        self.gradient_norms += self.recorded.call("gradient norm", norms, given) if self.recorded else norms(given)

    def _take(self, n_updates: int) -> None:
        """Take updates; where they are recorded, a recording's length at a time."""
        take, length = self._updates, n_updates
        if self.recorded is not None:
            take, length = self.recorded.run, RECORDED_LENGTH
        curves = []
        for at in range(0, n_updates, length):
            losses, metrics = take(self._next_updates(self.update_count + at, min(length, n_updates - at)))
            curves.append((losses, metrics))
            self.last_measured = losses[-1], metrics[-1]
        losses, metrics = (torch.cat(parts) for parts in zip(*curves, strict=True))
        self._note(losses, metrics)

    def _next_updates(self, first: int, n_updates: int) -> Updates:
        """Return what the next updates are taken on; batches are drawn here."""
        measured = tuple(update % self.plan.every == 0 for update in range(first, first + n_updates))
        batches: Iterable[Tensor] | None = None
        if self.batches is not None and self.recorded is not None:
            batches = self._sent(torch.stack([self.batches.next() for _ in range(n_updates)]))
        elif self.batches is not None:
            batches = (self._sent(self.batches.next()) for _ in range(n_updates))
        return Updates(first, measured, batches, self.last_measured)

    def _sent(self, batches: Tensor) -> Tensor:
        """Return them on the device; on a GPU without waiting for what it does."""
        if self.device.type != "cuda":
            return batches.to(self.targets.device)
        return batches.pin_memory().to(self.targets.device, non_blocking=True)

    def _note(self, loss: Tensor, metric: Tensor) -> None:
        """Take what was measured of (updates, replicas), in the order of the updates."""
        self.newest.append((loss, metric))
        score = self.criterion.score(loss, metric)
        self.latest.update(metric)
        lost = ~loss.isfinite() if self.plan.trains_to_budget else self.population.diverged
        self.steps_to_target.update(torch.where(lost, -torch.inf, score))
        self.curves.append((self._kept(loss), self._kept(metric)))

    def _kept(self, measured: Tensor) -> Tensor:
        """Return what is kept of (updates, replicas), apart from the rest, which then takes no memory."""
        if self.plan.curves_of >= self.population.n_replicas:
            return measured
        return measured[:, : self.plan.curves_of].clone()

    def _measure_only(self) -> None:
        loss, metric = self._measure(self.update_count)
        self._note(loss.unsqueeze(0), metric.unsqueeze(0))

    def _measure(self, update: int | Tensor) -> tuple[Tensor, Tensor]:
        if self.measures_apart:
            loss, metric = self.population.measure(self.measured_inputs, self.measured_targets, update=update)
        else:
            loss, metric = self.population.measure_in_training(self.inputs, self.targets, update=update)
        self.population.note(loss, metric, self.resting)
        return loss, metric

    def _updates(self, updates: Updates) -> tuple[Tensor, Tensor]:
        """Take updates; return the loss and metric before each, (updates, replicas)."""
        if not self.measures_apart:
            return self.population.advance(
                self.inputs, self.targets, len(updates.measured), first=updates.first, criterion=self.resting
            )
        latest, scores = updates.latest, []
        batches = None if updates.batches is None else iter(updates.batches)
        for k, is_measured in enumerate(updates.measured):
            if is_measured:
                latest = self._measure(updates.first + k)
            scores.append(latest)
            inputs, targets = self.inputs, self.targets
            if batches is not None:
                inputs, targets = self._batch(next(batches))
            self.population.advance(inputs, targets, 1, first=updates.first + k, criterion=None)
        losses, metrics = (torch.stack(parts) for parts in zip(*scores, strict=True))
        return losses, metrics

    def _batch(self, index: Tensor) -> Examples:
        """Return each replica's examples at (replicas, size) indices."""
        chosen: Inputs = map_tensors(lambda tensor: batch_of(tensor, index), self.drawn_from)
        return self.population.arrange(chosen), batch_of(self.targets, index)

    def gradient_norm(self, n_replicas: int, *, update: int | Tensor | None = None) -> Tensor:
        """Return (n_replicas, layers) norms of the gradient at the present parameters of the first replicas.

        Over the training examples, or where a batch holds fewer, over that many of them, the same each time.

        Args:
            n_replicas: so many.
            update: the one whose random numbers a network draws; the next by default.
        """
        if update is None:
            update = self.update_count
        inputs, targets = self.inputs, self.targets
        if self.batches is not None:
            size = self.batches.size
            first = map_tensors(lambda tensor: tensor[:, :size], self.drawn_from)
            inputs, targets = self.population.arrange(first), targets[:, :size]
        return self.population.gradient_norm(n_replicas, inputs, targets, update=update)

    # What is only measured

    def predict_step(self, batch: Examples, batch_idx: int) -> Any:
        self._prepare()
        return self.population.outputs(batch[0])

    def sets(self, examples: Examples) -> Iterator[Examples]:
        inputs, targets = examples
        for k in range(len(targets)):
            yield map_tensors(itemgetter(k), inputs), targets[k]

    def measured(self, batch: Examples) -> dict[str, Tensor]:
        inputs, targets = batch
        self._prepare()
        scores = self.population.measure(self.population.arrange(inputs), targets, update=self.update_count)
        return {name: values.mean() for name, values in zip(("loss", self.metric_name), scores, strict=True)}

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["about"] = dict(self.metadata)
        checkpoint["replicas"] = {
            "update_count": self.update_count,
            "steps_to_target": self.steps_to_target.compute().reshape(-1),
            "curves": self.curves,
            "gradient_norms": self.gradient_norms,
            "last_measured": self.last_measured,
            "measures": self.recorder.state_dict(),
            **self.population.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved = dict(checkpoint.get("replicas", {}))
        progress = {
            name: saved.pop(name, None) for name in ("update_count", "curves", "gradient_norms", "steps_to_target")
        }
        measures = saved.pop("measures", None)
        self.last_measured = saved.pop("last_measured", self.last_measured)
        self.population.load_state_dict(saved)
        self.check_origin(checkpoint)
        self.update_count, self.curves = progress["update_count"], progress["curves"]
        self.gradient_norms, self.steps_to_target.steps = progress["gradient_norms"], progress["steps_to_target"]
        self.steps_to_target.seen = torch.tensor(self.update_count)
        if measures is not None:
            self.recorder.load_state_dict(measures)
        if self.batches is not None:
            for _ in range(self.update_count):
                self.batches.next()

    def outcome(self) -> StackedOutcome:
        """Return the outcome of every replica, on the CPU, after the fit."""
        # torchmetrics hands a single replica's value back as a scalar.
        steps = self.steps_to_target.compute().reshape(-1).cpu().numpy()
        loss, metric = (_whole_curve(list(parts), self.budget + 1) for parts in zip(*self.curves, strict=True))
        return StackedOutcome(
            steps_to_target=steps,
            reached=steps != StepsToTarget.NOT_REACHED,
            diverged=self.population.diverged.cpu().numpy(),
            loss=loss,
            metric=metric,
            gradient_norm=_whole_norms(self.gradient_norms, len(loss), self.n_moments),
            layers=self.population.layer_names,
            updates_per_step=self.updates_per_step,
            values=self._values(),
        )

    def _values(self) -> Values:
        """Return the values, NaN for what was not measured because all replicas diverged before."""
        taken = self.recorder.values
        return {name: taken[name] if name in taken else self.recorder.undefined(name) for name in self.recorder.names}


def _whole_curve(parts: list[Tensor], length: int) -> NDArray[np.floating[Any]]:
    """Join chunks (updates, replicas) to (replicas, length); where all rest early the last values go on."""
    curve = torch.cat([part.cpu() for part in parts]).numpy().T  # those from a checkpoint are there already
    return np.pad(curve, ((0, 0), (0, length - curve.shape[1])), mode="edge")


def _whole_norms(parts: list[Tensor], replicas: int, moments: int) -> NDArray[np.floating[Any]]:
    """Join (replicas, layers) norms to (replicas, moments, layers)."""
    if not parts:
        return np.zeros((replicas, 0, 0))
    norms = torch.stack([part.cpu() for part in parts], dim=1).numpy()
    return np.pad(norms, ((0, 0), (0, moments - norms.shape[1]), (0, 0)), mode="edge")
