"""LightningModules and training functions that lossact knows nothing of."""

import threading
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lossact import Experiment, FunctionCondition, LightningCondition, Store, evaluate, faster
from lossact.errors import LossactError
from lossact.running.runner import train_jobs
from lossact.running.stacking import replica_seed
from lossact.storage.key import trial_key
from lossact.training.compute_config import ComputeConfig

SETTING = ComputeConfig(threads=1)


class Line(LightningModule):
    """Fits a line, and logs how far off it is."""

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.line, self.rate = nn.Linear(3, 1), rate

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.mse_loss(self.line(x).squeeze(1), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", nn.functional.mse_loss(self.line(x).squeeze(1), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


class TwoOptimizers(Line):
    def configure_optimizers(self) -> Any:
        return [super().configure_optimizers(), super().configure_optimizers()]


class Points(LightningDataModule):
    def setup(self, stage: str) -> None:
        x = torch.randn(48, 3)
        self.examples = TensorDataset(x, x @ torch.tensor([1.0, -2.0, 0.5]))

    def train_dataloader(self) -> Any:
        return DataLoader(self.examples, batch_size=16, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.examples, batch_size=48)


LOCK: Any = threading.Lock()  # its content cannot be read


def condition(rate: float = 0.1, **changes: Any) -> LightningCondition:
    given: dict[str, Any] = {
        "module": partial(Line, rate), "data": Points, "metric": "train_loss", "at_most": 0.05, "budget": 60,
        "stacked": False,
        "name": f"rate {rate}",
    }  # fmt: skip
    return LightningCondition(**given | changes)


def losses_alone(replica: int, budget: int) -> list[float]:
    """Training losses by a fit of one's own, one before each update."""

    class Recording(Line):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            losses.append(float(loss.detach()))
            return loss

    losses: list[float] = []
    with torch.random.fork_rng():
        seed_everything(replica_seed(0, replica), verbose=False)
        trainer = Trainer(
            max_steps=budget, max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu", num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(Recording(0.1), datamodule=Points())
    return losses


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")
def test_a_lightning_module_meets_its_target_where_a_plain_fit_does() -> None:
    (block,) = train_jobs([(condition(), 1)], 0, SETTING)
    assert block.first_replica == 2
    for trial, replica in zip(block.trials, (2, 3), strict=True):
        alone = losses_alone(replica, 60)
        met = [k for k, loss in enumerate(alone) if loss <= 0.05]
        assert met
        assert trial.steps_to_target == met[0]


def test_a_validation_metric_counts_after_the_updates_of_its_epoch() -> None:
    (block,) = train_jobs([(condition(metric="val_loss"), 0)], 0, SETTING)
    assert block.trials.reached.all()
    assert (block.trials.steps % 3 == 0).all()  # three batches an epoch


def test_the_loss_that_training_step_returns_needs_no_log() -> None:
    both = [next(train_jobs([(condition(metric=metric), 0)], 0, SETTING)) for metric in ("train_loss", "loss")]
    assert both[0].trials.steps.tolist() == both[1].trials.steps.tolist()


def test_accumulated_losses_are_those_that_training_step_returns() -> None:
    options = {"accumulate_grad_batches": 3}
    both = [
        next(train_jobs([(condition(metric=metric, trainer=options), 0)], 0, SETTING))
        for metric in ("train_loss", "loss")
    ]
    assert both[0].trials.steps.tolist() == both[1].trials.steps.tolist()


class AtTheEnd(Line):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss


def test_a_loss_that_is_logged_at_the_end_of_an_epoch_counts_then() -> None:
    (block,) = train_jobs([(condition(module=AtTheEnd, metric="loss"), 0)], 0, SETTING)
    assert block.trials.reached.all()
    assert (block.trials.steps % 3 == 0).all()


def test_random_numbers_go_on_as_if_nothing_had_been() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state()
    list(train_jobs([(condition(budget=3), 0)], 0, SETTING))
    assert torch.equal(before, torch.get_rng_state())
    assert np.random.random() == np.random.RandomState(5).random()  # noqa: NPY002


def test_divergence_is_a_separate_flag() -> None:
    (block,) = train_jobs([(condition(1e20), 0)], 0, SETTING)
    assert block.trials.diverged.all()
    assert not block.trials.reached.any()


def test_claims_about_lightning_modules_are_decided(tmp_path: Any) -> None:
    with Store(tmp_path) as store:
        experiment = Experiment(store=store, compute_config=SETTING)
        verdict = evaluate(faster(condition(0.1), than=condition(0.01)), experiment=experiment, max_replicas=32)
        assert verdict.name == "supported"
        trained = experiment.trained_replicas
        again = evaluate(faster(condition(0.1), than=condition(0.01)), experiment=experiment, max_replicas=32)
        assert again.decision == verdict.decision
        assert experiment.trained_replicas == trained == 2 * verdict.decision.replicas


class Late(Line):
    """Tells at the end of an epoch, after a callback's turn."""

    def on_train_epoch_end(self) -> None:
        self.log("epochs", float(self.current_epoch + 1))


class Doubled(Line):
    """Two optimizers, whose steps on one batch are one update."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.step()
        self.log("steps", float(self.global_step))

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"module": Late, "metric": "epochs", "at_most": None, "at_least": 2.0, "budget": 6}, 6),
        ({"module": Late, "metric": "epochs", "at_most": None, "at_least": 1.0, "budget": 3}, 3),
        ({"module": Doubled, "metric": "steps", "at_most": None, "at_least": 4.0, "budget": 8}, 1),
        ({"module": Doubled, "metric": "val_loss", "at_most": 1e9, "budget": 5}, 3),
    ],
)
def test_metrics_count_at_the_ends_of_epochs_and_with_several_optimizers(
    changes: dict[str, Any], expected: int | None
) -> None:
    (block,) = train_jobs([(condition(**changes), 0)], 0, SETTING)
    assert [trial.steps_to_target for trial in block.trials] == [expected] * 2


def steps(seed: int, slowness: int = 1) -> int | None:
    steps = int(np.random.default_rng(seed).integers(5, 50)) * slowness
    return steps if steps <= 80 else None


def curve(seed: int, slowness: int = 1) -> Any:
    return 1 - np.exp(-np.arange(81) / (10 * slowness)) + 0 * seed


def test_functions_return_updates_or_curves() -> None:
    (block,) = train_jobs([(FunctionCondition(train=steps, config={"slowness": 2}, budget=80), 3)], 0, SETTING)
    for trial, replica in zip(block.trials, (6, 7), strict=True):
        assert trial.steps_to_target == steps(replica_seed(0, replica), 2)
    (block,) = train_jobs([(FunctionCondition(train=curve, at_least=0.9, budget=80), 0)], 0, SETTING)
    assert block.trials.steps.tolist() == [24, 24]  # 10 ln 10 = 23.03
    verdict = evaluate(
        faster(
            FunctionCondition(train=steps, budget=80, name="plain"),
            than=FunctionCondition(train=steps, config={"slowness": 3}, budget=80, name="slow"),
        )
    )
    assert verdict.name == "supported"


def test_what_is_trained_is_in_the_key() -> None:
    def key(condition: Any) -> str:
        return trial_key(condition, 0, SETTING)

    same = FunctionCondition(train=steps, config={"slowness": 2}, budget=80)
    assert same == FunctionCondition(train=steps, config={"slowness": 2}, budget=80, name="other")
    assert hash(same) == hash(FunctionCondition(train=steps, config={"slowness": 2}, budget=80))
    conditions = [
        same,
        FunctionCondition(train=curve, config={"slowness": 2}, at_least=0.5, budget=80),
        FunctionCondition(train=steps, config={"slowness": 3}, budget=80),
        FunctionCondition(train=steps, config={"slowness": 2}, budget=81),
        FunctionCondition(train=steps, config={"slowness": 2}, budget=80, version="2"),
        condition(), condition(0.2), condition(metric="val_loss"), condition(at_most=0.1), condition(budget=61),
        condition(at_most=None, at_least=0.05), condition(trainer={"gradient_clip_val": 1.0}), condition(version="2"),
        condition(data=lambda: Points()),
    ]  # fmt: skip
    assert len({key(condition) for condition in conditions}) == len(conditions)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: condition(metric="f1"), r"'f1' was never logged in \d+ updates; the module logged train_loss"),
        (lambda: condition(module=TwoOptimizers), "Training with multiple optimizers is only supported with manual"),
        (lambda: condition(module=lambda: 3), r"module made int; it must return a LightningModule"),
        (lambda: condition(module=3), r"module=3 must be a function that is called as module\(\)"),
        (lambda: condition(data=3), r"data=3 must be a function that is called as data\(\)"),
        (lambda: condition(metric=""), r"metric='' must be the name of a logged metric"),
        (lambda: condition(at_least=1.0), r"at_least=1.0 and at_most=0.05: give exactly one of the two"),
        (lambda: condition(budget=0), r"budget=0 must be an integer >= 1"),
        (lambda: condition(trainer={"max_steps": 5}), r"'max_steps': ...} cannot be given: it is set by"),
        (lambda: condition(trainer={"no_such": 5}), r"the Trainer does not take its options .*no_such"),
        (lambda: condition(module=partial(Line, rate=LOCK)), r"module holds <unlocked .* content cannot be read"),
        (lambda: condition(module=lambda seed: 3), r"module=<lambda>\(seed\) cannot be called as module\(\)"),
        (lambda: FunctionCondition(train=3, budget=9), r"train=3 must be a function"),  # type: ignore[arg-type]
        (lambda: FunctionCondition(train=lambda: 3, budget=9), r"train=<lambda>\(\) cannot be called as train\(seed\)"),
        (lambda: FunctionCondition(train=lambda seed: 3, config={"x": 1}, budget=9), r"as train\(seed, x=...\) \(got"),
        (lambda: FunctionCondition(train=lambda seed: 3, config=5, budget=9), r"config=5 must be a dict"),  # type: ignore[arg-type]
        (lambda: FunctionCondition(train=lambda seed: "x", budget=9), r"train returned 'x'; return updates"),
        (lambda: FunctionCondition(train=lambda seed: 10, budget=9), r"10; updates must be an integer from 0 to"),
        (lambda: FunctionCondition(train=lambda seed: 1.5, budget=9), r"returned 1.5; updates must be an integer"),
        (lambda: FunctionCondition(train=lambda seed: [1, 2], budget=9), r"a curve; give the condition at_least"),
        (
            lambda: FunctionCondition(train=lambda seed: [0] * 11, at_least=1, budget=9),
            r"a curve of 11 values; 1 to budget \+ 1 = 10 are needed",
        ),
        (
            lambda: FunctionCondition(train=lambda seed: None, at_least=1, budget=9),
            r"train returned None, and the condition has a threshold, so train returns .* is its return missing\?",
        ),
        (
            lambda: FunctionCondition(train=lambda seed: 5, at_least=1, budget=9),
            r"returned 5, and the condition has a threshold, so train returns the metric's curve: a list of numbers; a "
            "value after the last update goes into a dict, with measures= naming it",
        ),
        (lambda: FunctionCondition(train=lambda seed, a: 0, config={"a": LOCK}, budget=9), r"config holds <unlocked"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make: Any, message: str) -> None:
    with pytest.raises(LossactError, match=message):  # noqa: PT012 - made at once, or when it is trained
        made = make()
        list(train_jobs([(made, 0)], 0, SETTING))


def test_a_target_met_at_the_start_is_an_error() -> None:
    ready = FunctionCondition(train=lambda seed: 0, budget=80, name="ready")
    with pytest.raises(LossactError, match="ready: all 8 replicas met the target before any update"):
        evaluate(faster(FunctionCondition(train=steps, budget=80), than=ready))
