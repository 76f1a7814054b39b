"""Values that a LightningModule logged last, against plain Trainer fits."""

from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.seed import seed_everything
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lossact import Best, LightningCondition, Loss, evaluate, faster, higher, lower
from lossact.errors import ClaimError, InputError
from lossact.running.runner import train_jobs
from lossact.running.stacking import replica_seed
from lossact.training.compute_config import ComputeConfig

DOUBLE = ComputeConfig(precision="64-true")
EPOCH, BUDGET = 4, 10  # batches an epoch; the budget ends in the middle of one


class Classifier(LightningModule):
    def __init__(self, learning_rate: float = 0.1) -> None:
        super().__init__()
        self.layer, self.learning_rate = nn.Linear(4, 3), learning_rate

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self.layer(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)

    def _rows(self, seed: int, n: int) -> TensorDataset:
        inputs = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
        return TensorDataset(inputs, inputs[:, :3].argmax(1))

    def train_dataloader(self) -> Any:
        return DataLoader(self._rows(0, 8 * EPOCH), batch_size=8, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self._rows(1, 40), batch_size=40)


class Restless(Classifier):
    """Its loss goes up and down."""

    def __init__(self) -> None:
        super().__init__(learning_rate=20.0)


def condition(**changes: Any) -> LightningCondition:
    given: dict[str, Any] = {"module": Classifier, "measures": ["val_loss", "train_loss"], "budget": BUDGET}
    return LightningCondition(**given | changes)


def trained_values(given: LightningCondition) -> dict[str, Any]:
    (block,) = train_jobs([(given, 0)], 0, DOUBLE)
    assert block.one_at_a_time == ""
    return dict(block.trials.values)


@pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")  # of the plain Trainer
@pytest.mark.parametrize("stacked", [True, False])
def test_values_are_those_of_a_plain_fit_of_the_budget(stacked: bool) -> None:
    """val_loss is that of the weights after the last update, although the budget ends within an epoch."""
    values = trained_values(condition(stacked=stacked))
    for replica in range(2):
        seed_everything(replica_seed(0, replica), verbose=False)
        module = Classifier()
        quiet: dict[str, Any] = {
            "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "precision": "64-true",
            "enable_model_summary": False, "accelerator": "cpu",
        }  # fmt: skip
        trainer = Trainer(max_steps=BUDGET, num_sanity_val_steps=0, **quiet)
        trainer.fit(module)
        assert values["train_loss"][replica] == pytest.approx(float(trainer.callback_metrics["train_loss"]), rel=1e-12)
        (result,) = Trainer(**quiet).validate(module, verbose=False)
        assert values["val_loss"][replica] == pytest.approx(result["val_loss"], rel=1e-12)


class Noted(Callback):
    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {"train_loss": [], "val_loss": []}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.values["train_loss"].append(float(trainer.callback_metrics["train_loss"]))

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self.values["val_loss"].append(float(trainer.callback_metrics["val_loss"]))


@pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")  # of the plain Trainer
@pytest.mark.parametrize("stacked", [True, False])
def test_the_best_of_what_was_logged(stacked: bool) -> None:
    measures = ["val_loss", Best("val_loss", "min"), Best("train_loss")]
    given = condition(module=Restless, measures=measures, stacked=stacked, budget=5 * EPOCH)
    assert given.value_names == ("val_loss", "best val_loss", "best train_loss")
    values = trained_values(given)
    for replica in range(2):
        seed_everything(replica_seed(0, replica), verbose=False)
        noted = Noted()
        Trainer(
            max_steps=5 * EPOCH, num_sanity_val_steps=0, callbacks=[noted], precision="64-true", accelerator="cpu",
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        ).fit(Restless())  # fmt: skip
        assert values["best val_loss"][replica] == pytest.approx(min(noted.values["val_loss"]), rel=1e-12)
        assert values["best train_loss"][replica] == pytest.approx(max(noted.values["train_loss"]), rel=1e-12)
    assert (values["best val_loss"] < values["val_loss"]).any()


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ([Best(Loss())], "must be names of numbers that the module logs, or Best of one"),
        ({"loss": "val_loss"}, "must be names of numbers that the module logs, or Best of one"),
        ("val_loss", "must be names of numbers that the module logs, or Best of one"),
        ([Best("val_loss"), Best("val_loss", "min")], "names one twice"),
        ([""], "cannot be a measure's name"),
    ],
)
def test_measures_that_are_none(measures: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        condition(measures=measures)


def test_a_best_of_what_nobody_logs_is_an_error() -> None:
    with pytest.raises(InputError, match=r"measures: 'f1' was never logged in 10 updates"):
        list(train_jobs([(condition(measures=[Best("f1")]), 0)], 0, DOUBLE))


def test_claims_about_the_best_of_what_was_logged() -> None:
    slow, fast = (
        condition(measures=[Best("val_loss", "min")], config={"learning_rate": rate}, name=f"rate {rate}")
        for rate in (1e-3, 0.3)
    )
    verdict = evaluate(lower("best val_loss", fast, than=slow), max_replicas=32)
    assert verdict.name == "supported"


def test_replicas_train_to_their_budget_and_meet_a_target_on_the_way() -> None:
    measured = trained_values(condition())
    both = condition(metric="val_loss", at_most=100.0)
    (block,) = train_jobs([(both, 0)], 0, DOUBLE)
    assert block.trials.steps.tolist() == [EPOCH] * 16
    for name, values in measured.items():
        assert np.array_equal(values, block.trials.values[name])


def test_a_replica_without_a_finite_value_diverged() -> None:
    given = condition(module=lambda: Classifier(1e308), measures=["val_loss"])
    (block,) = train_jobs([(given, 0)], 0, DOUBLE)
    assert block.trials.diverged.all()


class NotANumber(Classifier):
    """Its weights are NaN after the first update, and it logs a constant."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("constant", torch.ones(()))
        return super().training_step(batch, batch_idx) * torch.nan


@pytest.mark.parametrize("stacked", [True, False])
def test_a_replica_whose_weights_are_not_finite_diverged_whatever_it_logs(stacked: bool) -> None:
    given = condition(module=NotANumber, measures=["constant"], stacked=stacked)
    (block,) = train_jobs([(given, 0)], 0, DOUBLE)
    assert block.trials.diverged.all()
    targeted = condition(module=NotANumber, measures=(), metric="constant", at_least=2.0, stacked=stacked)
    (block,) = train_jobs([(targeted, 0)], 0, DOUBLE)
    assert block.trials.diverged.all()


def test_claims_about_logged_values() -> None:
    def rated(rate: float) -> LightningCondition:
        return condition(module=lambda: Classifier(rate), measures=["val_loss"], name=f"rate {rate}")

    verdict = evaluate(higher("val_loss", rated(1e-3), than=rated(0.3)), max_replicas=32)
    assert verdict.name == "supported"
    assert verdict.difference is not None
    assert verdict.difference.value > 0
    with pytest.raises(ClaimError, match="has no target to reach"):
        evaluate(faster(rated(1e-3), than=rated(0.3)))


@pytest.mark.parametrize("stacked", [True, False])
def test_a_measure_that_nobody_logs_is_an_error(stacked: bool) -> None:
    with pytest.raises(
        InputError, match=r"measures: 'f1' was never logged in 10 updates; the module logged train_loss"
    ):
        list(train_jobs([(condition(measures=["f1"], stacked=stacked), 0)], 0, DOUBLE))


class Counting(Classifier):
    """Counts the steps of all replicas that were trained one at a time."""

    steps = 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        Counting.steps += 1
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("wanted", [{"measures": ["valloss"]}, {"measures": (), "metric": "Val/loss", "at_most": 0.1}])
def test_a_misspelt_name_ends_the_first_fit_after_its_first_epoch(
    wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counting, "steps", 0)
    given = condition(module=Counting, stacked=False, budget=1000 * EPOCH, **wanted)
    with pytest.raises(InputError, match=r"is not logged, only train_loss, val_loss; did you mean 'val_loss'\?"):
        list(train_jobs([(given, 0)], 0, DOUBLE))
    assert Counting.steps == EPOCH


def test_so_it_does_where_replicas_are_fitted_together() -> None:
    given = condition(stacked=True, budget=1000 * EPOCH, measures=["val_loss", "trainloss"])
    with pytest.raises(InputError, match=r"'trainloss' is not logged, only train_loss, val_loss; did you mean"):
        list(train_jobs([(given, 0)], 0, DOUBLE))


class Late(Classifier):
    """Logs a name from its third epoch on."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch >= 2:
            self.log("train_loss_ema", torch.ones(()))
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("stacked", ["auto", False])
def test_another_name_may_come_later(stacked: bool | str) -> None:
    given = condition(module=Late, measures=["train_loss_ema"], stacked=stacked, budget=5 * EPOCH)
    (block,) = train_jobs([(given, 0)], 0, DOUBLE)
    assert (block.trials.values["train_loss_ema"] == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": ()}, "metric=None must be the name of a logged metric"),
        ({"at_least": 0.5}, "metric=None must be the name of a logged metric"),
        ({"metric": "val_loss"}, "at_least"),
        ({"measures": "val_loss"}, "measures='val_loss' must be names of numbers"),
    ],
)
def test_what_is_neither_a_target_nor_a_measure_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        condition(**changes)


def test_measures_are_part_of_the_content() -> None:
    assert condition(measures=["val_loss"]).content() != condition().content()
