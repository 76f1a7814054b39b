"""EarlyStopping ends each of the replicas that are fitted together where it would end a fit of its own."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

from lossact import LightningCondition
from lossact.errors import InputError
from lossact.replicas.random_streams import isolate_rng
from lossact.running.runner import train_jobs
from lossact.running.stacked_fit import PreparedReplicas, fit_stacked
from lossact.running.stacked_watcher import StackedWatcher
from lossact.training.stackable import NotStackableError
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import (
    DOUBLE,
    REPLICAS,
    Row,
    assert_equal_outcomes,
    assert_equal_rows,
    condition,
    fitted_alone,
    members,
    recorded_alone,
    recorded_stacked,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore:.*LeafSpec.*", "ignore:.*stopping:RuntimeWarning"
)
BUDGET = 24


class Waving(posted.Waving):
    """Logs metrics that improve by chance alone, and has batch norm."""

    def __init__(self) -> None:
        super().__init__(lambda: torch.nn.Sequential(torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 2)))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.2)


class Watching(Waving):
    """A scheduler watches what stops replicas, too."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.2)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "val_wave"}


class NamesItsCallbacks(Waving):
    def configure_callbacks(self) -> Any:
        return EarlyStopping("val_wave", patience=1)


def stopping(
    module: Any = Waving, monitor: str = "val_wave", *, trainer: Any = None, budget: int = BUDGET, **given: Any
) -> LightningCondition:
    """A condition whose replicas stop early."""
    return condition(
        module, budget=budget, trainer={"callbacks": lambda: [EarlyStopping(monitor, **given)], **(trainer or {})}
    )


by_validation: dict[str, Any] = {"check_on_train_epoch_end": False}
CONDITIONS: dict[str, LightningCondition] = {
    "patience": stopping(patience=1),
    "no patience": stopping(patience=0),
    "a least improvement, upwards": stopping(patience=1, mode="max", min_delta=0.02),
    "a threshold": stopping(stopping_threshold=1.9),
    "divergence": stopping(divergence_threshold=2.1, **by_validation),
    "after validation": stopping(patience=1, **by_validation),
    "within an epoch": stopping(patience=1, trainer={"val_check_interval": 1}),
    "within an epoch, patiently": stopping(patience=3, trainer={"val_check_interval": 1}),
    "every second epoch": stopping(patience=0, trainer={"check_val_every_n_epoch": 2}),
    "of training": stopping(monitor="train_wave_epoch", patience=1),
    "accumulation": stopping(patience=1, trainer={"val_check_interval": 1, "accumulate_grad_batches": 2}),
    "with a scheduler": stopping(Watching, patience=2),
    "several": condition(
        Waving,
        budget=BUDGET,
        trainer={"callbacks": [EarlyStopping("val_wave", patience=2), EarlyStopping("train_wave", patience=1)]},
    ),
    "of the module": condition(NamesItsCallbacks, budget=BUDGET),
    "of a module that names its own": stopping(NamesItsCallbacks, monitor="nothing"),
    "a metric that may be missing": stopping(monitor="nothing", strict=False, budget=4),
}


def weights(row: Row) -> list[Tensor]:
    return [value for value in row.values() if isinstance(value, Tensor)]


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_replica_ends_as_a_fit_of_its_own(name: str) -> None:
    for rows, replica in zip(recorded_stacked(CONDITIONS[name]), REPLICAS, strict=True):
        alone = recorded_alone(CONDITIONS[name], replica)
        assert_equal_rows(rows[: len(alone)], alone)
        (*_, last) = (row for row in rows[: len(alone)] if "loss" in row)
        for row in (row for row in rows[len(alone) :] if "loss" in row):
            assert all(map(torch.equal, weights(row), weights(last)))


def test_replicas_end_after_different_epochs() -> None:
    given = CONDITIONS["patience"]
    with isolate_rng():
        prepared = PreparedReplicas(members(given, range(8)), 0)
        callbacks: list[Any] = []
        prepared.fit(DOUBLE, StackedWatcher(given, prepared.module), Noting(callbacks))
    stopped = [callback.stopped_epoch for callback in callbacks]
    assert len(set(stopped)) > 1
    for replica in range(8):
        alone: list[Any] = []
        trainer = {"callbacks": lambda kept=alone: [kept.append(EarlyStopping("val_wave", patience=1)) or kept[0]]}
        fitted_alone(condition(Waving, budget=BUDGET, trainer=trainer), replica)
        assert stopped[replica] == alone[0].stopped_epoch
        assert callbacks[replica].wait_count == alone[0].wait_count
        torch.testing.assert_close(callbacks[replica].best_score, alone[0].best_score)


class Noting(Callback):
    """Takes the callbacks of all replicas from the Trainer.

    Args:
        callbacks: filled.
    """

    def __init__(self, callbacks: list[Any]) -> None:
        self.callbacks = callbacks

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.callbacks += trainer.early_stopping_callback.callbacks  # type: ignore[union-attr]


def measured(given: LightningCondition, **changes: Any) -> LightningCondition:
    """The condition with the values that were logged last."""
    return condition(given.module, budget=BUDGET, trainer=given.trainer, **changes)


@pytest.mark.parametrize("name", ["patience", "within an epoch", "after validation", "of training", "several"])
@pytest.mark.parametrize(
    "changes",
    [
        {"measures": ["val_wave", "train_loss", "train_loss_epoch"], "metric": None, "at_most": None},
        {"metric": "train_loss_epoch", "at_most": 0.4},
        {"measures": ["val_wave"], "metric": "val_loss", "at_most": 0.4},
    ],
    ids=["values", "a target", "both"],
)
def test_trials_are_those_of_replicas_fitted_one_at_a_time(name: str, changes: dict[str, Any]) -> None:
    given = measured(CONDITIONS[name], **changes)
    for outcome, replica in zip(fit_stacked(members(given, range(6)), 0, DOUBLE), range(6), strict=True):
        assert_equal_outcomes(outcome, fitted_alone(given, replica))


def test_bits_do_not_depend_on_the_replicas_that_were_fitted_before() -> None:
    given = stopping(Watching, patience=2)
    (alone,) = train_jobs([(given, 1)], 0, DOUBLE)
    both = list(train_jobs([(given, 0), (given, 1)], 0, DOUBLE))
    assert both[1].one_at_a_time == ""
    assert both[1].trials.run_digests is not None
    assert alone.trials.run_digests is not None
    assert np.array_equal(both[1].trials.run_digests, alone.trials.run_digests)


class LogsLate(Waving):
    """A measure that only later epochs log."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch >= 5:
            self.log("late", 1.0)
        return super().validation_step(batch, batch_idx)


@pytest.mark.parametrize("modes", [True, False])
def test_a_replica_that_ends_before_its_measure_is_logged_is_an_error(modes: bool) -> None:
    given = measured(stopping(LogsLate, patience=1), metric=None, at_most=None, measures=["late"], stacked=modes)
    with pytest.raises(InputError, match="measures: 'late' was never logged"):
        list(train_jobs([(given, 0)], 0, DOUBLE))


@pytest.mark.parametrize("stacked", [True, False])
def test_a_metric_that_nobody_logs_is_an_error(stacked: bool) -> None:
    given = condition(Waving, stacked=stacked, trainer={"callbacks": lambda: [EarlyStopping("nothing")]})
    with pytest.raises(InputError, match="Early stopping conditioned on metric `nothing` which is not available"):
        list(train_jobs([(given, 0)], 0, DOUBLE))


class Hasty(EarlyStopping):
    """A callback of one's own."""


@pytest.mark.parametrize(
    ("callbacks", "reason"),
    [
        (lambda: [Hasty("val_wave")], "its Trainer has the callback Hasty"),
        (lambda: [EarlyStopping("val_wave"), ModelCheckpoint()], "its Trainer has the callback ModelCheckpoint"),
        (lambda: [EarlyStopping("val_wave", patience=int(torch.randint(9, ())))], "making its callbacks draws"),
    ],
)
def test_why_replicas_are_fitted_one_at_a_time_is_said(callbacks: Callable[[], Any], reason: str) -> None:
    with pytest.raises(NotStackableError, match=reason):
        fit_stacked(members(condition(partial(Waving), trainer={"callbacks": callbacks})), 0, DOUBLE)
