"""When replicas that are fitted together meet their target, and when the fit of each has ended."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from lossact.conditions.lightning import LightningCondition
from lossact.running.best_values import BestValues
from lossact.running.fit_watcher import go_on_to_budget, is_validated, stop_at_budget, validate_last_epoch
from lossact.running.logged_names import LOSS, check_logged, check_spelling
from lossact.running.outcome import ReplicaOutcome
from lossact.running.run_digest import are_finite, are_telling, run_digest
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_lightning import StackedLightningModule


class StackedWatcher(Callback):
    """Compares every replica's metric with the target when a fit of its own would, and stops when all have ended.

    Args:
        condition: what is trained.
        module: the replicas.

    Attributes:
        steps: (replicas,) updates that had been applied when the target was met, -1 before.
        latest: (replicas,) the newest value of the metric, NaN before the first.
        compared: (replicas,) whether there was one.
        history: updates, values (replicas,) that were compared with the target then, and (replicas,) of which replicas.
        weights: row of a replica whose fit ended at its target to what `_weights_of` returned there.
        ended: row of a replica that rests to the newest of everything that it had logged.
        best: what each Best of the condition has found.
    """

    def __init__(self, condition: LightningCondition, module: StackedLightningModule) -> None:
        self.condition, self.module = condition, module
        n_replicas = module.n_replicas
        self.steps = np.full(n_replicas, -1, dtype=np.int64)
        self.latest = np.full(n_replicas, np.nan)
        self.compared = np.zeros(n_replicas, dtype=bool)
        self.history: list[tuple[int, NDArray[np.float64], NDArray[np.bool_]]] = []
        self.weights: dict[int, tuple[bytes, bool, bool]] = {}
        self.ended: dict[int, dict[str, float]] = {}
        self.best = BestValues(condition, n_replicas)
        self.updates = self.updates_before = 0
        self.counts_returned_loss = self.validation_logs_metric = self.knows_names = False

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_logs_metric = self.condition.metric in self.module.validation_log.reduced()
        self.module.validation_log.reset()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        validate_last_epoch(trainer, self.condition)
        self._note_best(self.module.newest)
        if self.knows_names:
            check_spelling(self.condition, self.module.newest)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.updates_before = self.updates = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.updates = trainer.global_step
        metric = self.condition.metric
        self._note_best(self.module.newest)
        stop_at_budget(trainer, self.condition, self.updates)
        if metric == LOSS and not self.validation_logs_metric and metric not in self.module.training_log.names:
            self.counts_returned_loss = True
            self._compare(trainer, self.module.losses, self.updates_before)
        elif metric in self.module.step_values:
            self._compare(trainer, self.module.step_values[metric], self.updates_before)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        values = self.module.validation_log.reduced()
        metric = self.condition.metric
        of_epoch = self.module.training_log.reduced()
        in_training = self.module.training_log.names
        in_both = metric in values and (self.counts_returned_loss or metric in in_training)
        in_both = in_both or any(
            best.measure in values and best.measure in in_training for best in self.condition.bests
        )
        if in_both or any(name in values and name in of_epoch for name in self.condition.logged_measures):
            raise NotStackableError("training and validation log the same name")
        if metric in values:
            self._compare(trainer, values[metric], self.updates)
        self._note_best(values)
        self._end_epoch_of_rested(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = self.module.training_log.reduced()
        if self.condition.metric in values:
            self._compare(trainer, values[self.condition.metric], self.updates)
        self._note_best(values)
        go_on_to_budget(trainer, self.condition, self.updates)
        self.knows_names = is_validated(trainer)

    def _end_epoch_of_rested(self, trainer: Trainer) -> None:
        """End the epoch for replicas that were stopped in it: a Trainer of their own would end it now."""
        if len(self.ended) < int(self.module.rests.sum()):
            values = self.module.training_log.reduced()
            if self.condition.metric in values:
                others = ~self.module.rests.cpu().numpy()
                self._compare(trainer, values[self.condition.metric], self.updates, but=others)
            self.end_rested(trainer, values)

    def end_rested(self, trainer: Trainer, values: dict[str, Tensor] | None = None) -> None:
        """Note what replicas that rest from now on have logged last.

        Args:
            trainer: of the fit; stops where none trains any more.
            values: by name, (replicas,) what is newer than the module's.
        """
        newest = {**self.module.newest, **(values or {})}
        self._note_best(newest)
        for row in self.module.rests.nonzero().flatten().tolist():
            if row not in self.ended:
                self.ended[row] = {name: float(of_all[row]) for name, of_all in newest.items()}
        self._stop_where_all_ended(trainer)

    def _note_best(self, logged: Mapping[str, Tensor]) -> None:
        self.best.note(logged, but=self.ended)

    def _compare(self, trainer: Trainer, values: Tensor, updates: int, *, but: Any = False) -> None:
        """Compare a metric (replicas,) with the target, but not for the replicas that are excepted."""
        met = np.asarray(self.condition.met_by(values))
        numbers = values.detach().cpu().numpy().astype(np.float64)
        open_before = (self.steps < 0) & ~np.asarray(but)
        open_before[list(self.ended)] = False
        self.history.append((updates, numbers, open_before))
        self.latest = np.where(open_before, numbers, self.latest)
        self.compared |= open_before
        if updates <= self.condition.budget:
            self.steps[open_before & met] = updates
            if not self.condition.measures:  # a fit of its own ends here
                for row in np.flatnonzero(open_before & met):
                    self.weights[int(row)] = self._weights_of(int(row))
        self._stop_where_all_ended(trainer)

    def _stop_where_all_ended(self, trainer: Trainer) -> None:
        training = np.ones(len(self.steps), dtype=bool) if self.condition.measures else self.steps < 0
        training[list(self.ended)] = False
        if not training.any():
            trainer.should_stop = True

    def _weights_of(self, row: int) -> tuple[bytes, bool, bool]:
        """Return a digest of a replica's parameters and buffers, whether it tells runs apart, and is of finite ones."""
        tensors = {**self.module.parameters_by_name, **self.module.buffers_by_name}
        digest = hashlib.blake2b()
        for tensor in tensors.values():
            digest.update(tensor[row].detach().cpu().numpy().tobytes())
        telling = are_telling(tensor[row] for tensor in self.module.trained.values())
        return digest.digest(), telling, are_finite(tensor[row] for tensor in self.module.parameters_by_name.values())

    def outcomes(self) -> list[ReplicaOutcome]:
        """Return the outcome of each replica, after the fit.

        Raises:
            InputError: the metric or a measure was never logged.
        """
        self._note_best(self.module.newest)
        outcomes = []
        for row, steps in enumerate(self.steps.tolist()):
            logged = self.ended.get(row) or {name: float(of_all[row]) for name, of_all in self.module.newest.items()}
            check_logged(self.condition, logged, self.updates, has_metric=bool(self.compared[row]))
            weights, telling, finite = self.weights.get(row) or self._weights_of(row)
            diverged = steps < 0 and self.compared[row] and not np.isfinite(self.latest[row])
            values = self.best.values(logged, row)
            diverged = diverged or not all(np.isfinite(logged[name]) for name in self.condition.logged_measures)
            diverged = diverged or (not finite and (steps < 0 or bool(values)))
            compared = [(updates, float(values[row])) for updates, values, rows in self.history if rows[row]]
            digest = run_digest(steps, compared, weights, is_unique=telling)
            outcomes.append(ReplicaOutcome(None if steps < 0 else steps, bool(diverged), digest, values))
        return outcomes
