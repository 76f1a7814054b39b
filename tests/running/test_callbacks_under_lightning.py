"""Callbacks, loggers and logged names act as in a plain Trainer fit."""

import math
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from lossact.errors import InputError
from tests.running.plain_fits import BATCHES, EPOCHS, Regression, fit_alone, points, train, whole

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")


class Validated(Regression):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self.line(batch[0]), batch[1]))

    def val_dataloader(self) -> Any:
        return whole()


class Average(WeightAveraging):
    """An exponential moving average of the weights, by which validation measures."""

    def __init__(self) -> None:
        super().__init__(avg_fn=lambda average, weight, _: 0.5 * average + 0.5 * weight)


class Noting(Callback):
    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics["val_loss"]))


class Averaging(Validated):
    """Names its callbacks itself."""

    def configure_callbacks(self) -> Any:
        return [Average()]


@pytest.mark.parametrize("way", ["factory", "single", "instance", "module"])
def test_a_moving_average_of_the_weights_is_validated_as_under_lightning(way: str) -> None:
    values: list[float] = []
    fit_alone(lambda: Validated([]), points, max_epochs=EPOCHS, callbacks=[Average(), Noting(values)])
    plain: list[float] = []
    fit_alone(lambda: Validated([]), points, max_epochs=EPOCHS, callbacks=[Noting(plain)])
    assert values != plain
    ways: dict[str, dict[str, Any]] = {
        "factory": {"callbacks": lambda: [Average()]},
        "single": {"callbacks": Average},
        "instance": {"callbacks": [Average()]},
        "module": {},
    }
    trainer = ways[way]
    kind = Averaging if way == "module" else Validated
    for target in (values[2], values[5]):
        expected = 1 + next(k for k, value in enumerate(values) if value <= target)
        outcome = train(lambda: kind([]), metric="val_loss", at_most=target, trainer=trainer)
        assert outcome.steps == expected * BATCHES


@pytest.mark.parametrize("way", ["factory", "instance"])
def test_early_stopping_ends_a_replica_and_starts_afresh_for_the_next(way: str) -> None:
    stopping: Any = EarlyStopping("val_loss", min_delta=10.0, patience=2)
    trainer = {"callbacks": [stopping] if way == "instance" else lambda: [EarlyStopping("val_loss", 10.0, 2)]}
    epochs = []
    for _ in range(2):
        rates: list[float] = []
        outcome = train(lambda rates=rates: Validated(rates), metric="val_loss", trainer=trainer)  # type: ignore[misc]
        assert outcome.steps is None
        epochs.append(len(rates) / BATCHES)
    expected: list[float] = []
    fit_alone(lambda: Validated(expected), points, max_epochs=EPOCHS, callbacks=[EarlyStopping("val_loss", 10.0, 2)])
    assert epochs == [len(expected) / BATCHES] * 2 == [3, 3]


def test_weights_averaged_over_the_last_epochs_follow_max_epochs() -> None:
    expected: list[float] = []
    fit_alone(lambda: Regression(expected), points, max_epochs=EPOCHS, callbacks=[StochasticWeightAveraging(0.1)])
    rates: list[float] = []
    train(lambda: Regression(rates), trainer={"callbacks": lambda: [StochasticWeightAveraging(0.1)]})
    assert rates == expected


def test_a_logger_gets_the_rows_of_every_replica(tmp_path: Any) -> None:
    folder = str(tmp_path)
    train(lambda: Regression([]), trainer={"logger": lambda: CSVLogger(folder, version=0), "log_every_n_steps": 1})
    rows = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()
    assert len(rows) == 1 + EPOCHS * BATCHES


# Names that validation logs as well


class ValidationLogsLoss(Regression):
    """Only validation logs "loss"."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("loss", 0 * self.line(batch[0]).sum() + 10.0 - self.trainer.current_epoch)

    def val_dataloader(self) -> Any:
        return whole()


class BothLogLoss(ValidationLogsLoss):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss


def test_a_loss_that_only_validation_logs_is_that_of_validation() -> None:
    outcome = train(lambda: ValidationLogsLoss([]), metric="loss", at_most=8.0)
    assert outcome.steps == 3 * BATCHES  # 10, 9, 8 at the ends of epochs


@pytest.mark.parametrize(("kind", "options"), [(BothLogLoss, {}), (ValidationLogsLoss, {"num_sanity_val_steps": 0})])
def test_a_name_of_both_training_and_validation_is_an_error(kind: type[Regression], options: dict[str, Any]) -> None:
    for at_most in (-1.0, 1e9):
        with pytest.raises(InputError, match="both training and validation give a metric='loss'"):
            train(lambda: kind([]), metric="loss", at_most=at_most, trainer=options)


def test_a_metric_that_early_stopping_misses_is_one_error() -> None:
    with pytest.raises(InputError, match=r"own: Early stopping conditioned on metric `f1`"):
        train(lambda: Regression([]), trainer={"callbacks": lambda: [EarlyStopping("f1")]})


def test_an_object_that_is_not_a_callback_is_named() -> None:
    with pytest.raises(InputError, match=r"own: trainer callbacks hold 3; each must be a Lightning Callback"):
        train(lambda: Regression([]), trainer={"callbacks": lambda: [3]})


def test_estimated_steps_are_the_budget() -> None:
    seen: list[float] = []

    class Asking(Regression):
        def configure_optimizers(self) -> Any:
            seen.extend((float(self.trainer.estimated_stepping_batches), float(self.trainer.max_epochs or math.nan)))
            return super().configure_optimizers()

    train(lambda: Asking([]), budget=37)
    assert seen == [37, 10]
