"""Learning rate schedules and epochs are those of a plain Trainer fit."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lossact.errors import InputError
from tests.running.plain_fits import BATCHES, EPOCHS, Regression, fit_alone, points, train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")


class ByEpoch(Regression):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        return [optimizer], [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1 - e / (self.trainer.max_epochs or 0))
        ]


class CosineByEpoch(Regression):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs or 0)]


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
