"""LightningModules that train one at a time behave as in a plain Trainer fit."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lossact import LightningCondition
from lossact.errors import InputError
from lossact.running.external import train_one
from lossact.running.outcome import ReplicaOutcome
from lossact.training.compute_config import ComputeConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")

SETTING = ComputeConfig(threads=1)
SEED = 7
EPOCHS = 10
BATCHES = 4  # an epoch
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def points() -> DataLoader[Any]:
    x = torch.linspace(-1, 1, 64).reshape(16, 4)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16 // BATCHES)


class Regression(LightningModule):
    """A linear regression that notes its learning rates; subclasses choose the optimizer and its schedule."""

    def __init__(self, rates: list[float]) -> None:
        super().__init__()
        self.line, self.rates = nn.Linear(4, 1), rates

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        loss = nn.functional.mse_loss(self.line(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.5)


class ByEpoch(Regression):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1 - e / self.trainer.max_epochs)]


class CosineByEpoch(Regression):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)]


class ByStep(Regression):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class WithOwnData(ByEpoch):
    """Its loader comes from the module, and is made in setup."""

    def setup(self, stage: str) -> None:
        self.loader = points()

    def train_dataloader(self) -> Any:
        return self.loader


def fit_alone(make: Callable[[], LightningModule], data: Any, **options: Any) -> LightningModule:
    with torch.random.fork_rng():
        seed_everything(SEED, verbose=False)
        module = make()
        trainer = Trainer(accelerator="cpu", num_sanity_val_steps=0, **QUIET | options)
        trainer.fit(module, train_dataloaders=None if data is None else data())
    return module


def train(make: Callable[[], LightningModule], *, data: Any = points, **changes: Any) -> ReplicaOutcome:
    values: dict[str, Any] = {"metric": "train_loss", "at_most": -1.0, "budget": EPOCHS * BATCHES, "name": "own"}
    return train_one(LightningCondition(module=make, data=data, **values | changes), SEED, SETTING)


@pytest.mark.parametrize("kind", [ByEpoch, CosineByEpoch, ByStep, WithOwnData])
@pytest.mark.parametrize(
    ("options", "accumulate"), [({}, 1), ({"max_epochs": EPOCHS}, 1), ({"accumulate_grad_batches": 2}, 2)]
)
def test_schedules_are_those_of_a_fit_of_as_many_epochs(
    kind: type[Regression], options: dict[str, Any], accumulate: int
) -> None:
    data = None if kind is WithOwnData else points
    expected: list[float] = []
    fit_alone(lambda: kind(expected), data, max_epochs=EPOCHS, accumulate_grad_batches=accumulate)
    rates: list[float] = []
    train(lambda: kind(rates), data=data, budget=EPOCHS * BATCHES // accumulate, trainer=options)
    assert rates == expected
    assert len(set(rates)) > BATCHES


def test_a_linear_schedule_over_the_epochs_ends_near_zero() -> None:
    rates: list[float] = []
    train(lambda: ByEpoch(rates))
    assert rates[::BATCHES] == pytest.approx([0.5 * (1 - epoch / EPOCHS) for epoch in range(EPOCHS)])


def test_max_epochs_ends_a_fit_before_its_budget() -> None:
    rates: list[float] = []
    outcome = train(lambda: Regression(rates), trainer={"max_epochs": 2})
    assert outcome.steps is None
    assert len(rates) == 2 * BATCHES


def test_a_budget_within_an_epoch_is_kept() -> None:
    rates: list[float] = []
    train(lambda: ByEpoch(rates), budget=6)
    assert len(rates) == 6
    assert rates[0] == 0.5
    assert rates[-1] == 0.25  # the second of two epochs


class Endless(IterableDataset[Any]):
    """Points without a length."""

    def __iter__(self) -> Any:
        return iter(points().dataset)


def endless() -> DataLoader[Any]:
    return DataLoader(Endless(), batch_size=4)


@pytest.mark.parametrize("kind", [ByEpoch, CosineByEpoch])
def test_a_schedule_over_unknown_epochs_is_an_error(kind: type[Regression]) -> None:
    with pytest.raises(InputError, match=r"own: configure_optimizers reads trainer.max_epochs, .*\"max_epochs\": ...}"):
        train(lambda: kind([]), data=endless)
    expected: list[float] = []
    fit_alone(lambda: kind(expected), endless, max_epochs=EPOCHS)
    rates: list[float] = []
    train(lambda: kind(rates), data=endless, trainer={"max_epochs": EPOCHS})
    assert rates == expected


class Plateau(Regression):
    """Its learning rate falls where validation no longer improves."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self.line(batch[0]), batch[1]))

    def val_dataloader(self) -> Any:
        return points()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.9)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


class ManualSchedule(Regression):
    """Steps its schedule by hand at the end of each epoch."""

    def __init__(self, rates: list[float]) -> None:
        super().__init__(rates)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        loss = super().training_step(batch, batch_idx)
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        if self.trainer.is_last_batch:
            schedule: Any = self.lr_schedulers()
            schedule.step()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        epochs = self.trainer.max_epochs or 0
        return [optimizer], [torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=epochs)]


@pytest.mark.parametrize("kind", [Plateau, ManualSchedule])
def test_schedules_by_a_metric_or_by_hand_are_those_of_a_plain_fit(kind: type[Regression]) -> None:
    expected: list[float] = []
    fit_alone(lambda: kind(expected), points, max_epochs=EPOCHS)
    rates: list[float] = []
    train(lambda: kind(rates))
    assert rates == expected
    assert len(set(rates)) > 5


class SkipsEverySecond(Regression):
    def __init__(self, rates: list[float]) -> None:
        super().__init__(rates)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        loss = super().training_step(batch, batch_idx)
        if batch_idx % 2:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()


def test_the_budget_counts_updates_where_not_every_batch_is_one() -> None:
    rates: list[float] = []
    train(lambda: SkipsEverySecond(rates), budget=6)
    assert len(rates) == 12


# Optimizers that take several steps, or call training_step several times, in one update


class WithLBFGS(Regression):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=1, max_iter=20, line_search_fn="strong_wolfe")


def whole() -> DataLoader[Any]:
    dataset: Any = points().dataset
    return DataLoader(dataset, batch_size=16)


def first_loss() -> float:
    losses: list[float] = []

    class Noting(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            losses.append(float(loss.detach()))
            return loss

    fit_alone(lambda: Noting([]), whole, max_steps=1)
    return losses[0]


class Returned(WithLBFGS):
    """Logs nothing."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.line(batch[0]), batch[1])


class ErrorByTorchmetrics(WithLBFGS):
    def __init__(self, rates: list[float]) -> None:
        from torchmetrics import MeanSquaredError

        super().__init__(rates)
        self.error = MeanSquaredError()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        outputs = self.line(batch[0])
        self.error(outputs, batch[1])
        self.log("train_loss", self.error, on_step=True, on_epoch=False)
        return nn.functional.mse_loss(outputs, batch[1])


@pytest.mark.parametrize(
    ("kind", "metric"), [(WithLBFGS, "train_loss"), (Returned, "loss"), (ErrorByTorchmetrics, "train_loss")]
)
def test_lbfgs_meets_its_target_after_its_first_update_not_before(kind: type[Regression], metric: str) -> None:
    start = first_loss()
    assert start > 0.05
    outcome = train(lambda: kind([]), data=whole, metric=metric, at_most=0.01)
    assert outcome.steps == 1
    assert train(lambda: kind([]), data=whole, metric=metric, at_most=start * 1.01).steps == 0


class Manual(Regression):
    """Gradient descent by hand, its parameters split over some optimizers, each of which takes some steps."""

    def __init__(self, optimizers: int, repeats: int = 1) -> None:
        super().__init__([])
        self.automatic_optimization = False
        self.n_optimizers, self.repeats = optimizers, repeats

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        loss = nn.functional.mse_loss(self.line(batch[0]), batch[1])
        self.log("train_loss", loss)
        optimizers: Any = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for _ in range(self.repeats):
            for optimizer in optimizers:
                optimizer.step()

    def configure_optimizers(self) -> Any:
        parameters = list(self.line.parameters())
        parts = [parameters] if self.n_optimizers == 1 else [[parameter] for parameter in parameters]
        return [torch.optim.SGD(part, lr=0.5 / self.repeats) for part in parts]


def test_one_descent_takes_as_many_updates_however_many_optimizers_share_it() -> None:
    automatic = train(lambda: Regression([]), at_most=0.02)
    assert automatic.steps is not None
    assert automatic.steps > 3
    steps = {
        (optimizers, repeats): train(lambda o=optimizers, r=repeats: Manual(o, r), at_most=0.02).steps  # type: ignore[misc]
        for optimizers in (1, 2)
        for repeats in (1, 2)
    }
    assert set(steps.values()) == {automatic.steps}


class Twice(torch.optim.SGD):
    """Two steps on one batch, the loss computed before each, as in sharpness-aware minimization."""

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = closure()
        super().step()
        closure()
        super().step()
        return loss


class StepsTwice(Regression):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.rates[-1] = float(loss.detach())
        return loss

    def configure_optimizers(self) -> Any:
        return Twice(self.parameters(), lr=0.2)


def test_the_first_of_several_losses_on_a_batch_is_the_one_before_its_update() -> None:
    losses: list[float] = []
    outcome = train(lambda: StepsTwice(losses), at_most=0.05)
    assert outcome.steps == next(k for k, loss in enumerate(losses[::2]) if loss <= 0.05)
    assert outcome.steps > 0


@pytest.mark.parametrize("optimizers", [1, 2])
def test_a_budget_holds_as_many_updates_however_many_optimizers_share_it(optimizers: int) -> None:
    reached = train(lambda: Manual(optimizers), at_most=0.02).steps
    assert reached is not None
    assert train(lambda: Manual(optimizers), at_most=0.02, budget=reached + 1).steps == reached
    assert train(lambda: Manual(optimizers), at_most=0.02, budget=reached - 1).steps is None


# Callbacks and loggers


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
    trainer: dict[str, Any] = {
        "factory": {"callbacks": lambda: [Average()]},
        "single": {"callbacks": Average},
        "instance": {"callbacks": [Average()]},
        "module": {},
    }[way]
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


def test_what_is_no_callback_is_named() -> None:
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
