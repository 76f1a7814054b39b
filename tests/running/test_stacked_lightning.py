"""Replicas of a LightningModule that are fitted at once are those that are fitted one at a time."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping

from lossact import Experiment, LightningCondition, Store, evaluate, not_worse
from lossact.errors import InputError
from lossact.running.runner import train_jobs
from lossact.running.stacked_fit import fit_stacked
from lossact.training.stackable import NotStackableError
from tests.running import epoch_end_modules as ending
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import (
    DOUBLE,
    REPLICAS,
    assert_equal_outcomes,
    assert_equal_rows,
    condition,
    fitted_alone,
    members,
    recorded_alone,
    recorded_stacked,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")

STACKED: dict[str, LightningCondition] = {
    "classifier": condition(posted.Classifier),
    "data drawn for each": condition(posted.Classifier, posted.Drawn),
    "schedule by step": condition(posted.Scheduled),
    "schedule by epoch": condition(posted.ByEpoch),
    "schedule over all updates": condition(posted.OneCycle),
    "state before the first step": condition(posted.Accumulators),
    "autoencoder, a dict returned": condition(posted.Autoencoder),
    "gru tagger": condition(posted.Tagger),
    "residual network": condition(partial(posted.Classifier, posted.Residual)),
    "transformer with dropout": condition(partial(posted.Classifier, posted.Encoder)),
    "variational autoencoder": condition(posted.Variational),
    "a metric object": condition(posted.WithMetricObjects),
    "metric objects of every use": condition(posted.WithManyMetrics),
    "tensors appended to a list": condition(ending.Appending),
    "outputs of several loaders appended": condition(ending.AppendingDicts, posted.SeveralLoaders),
    "a metric computed at the end of an epoch": condition(ending.ComputesAtTheEnd),
    "dict batches": condition(posted.OfDicts, posted.Named),
    "several validation loaders": condition(posted.OfSeveralLoaders, posted.SeveralLoaders),
    "loss weighted by a buffer": condition(posted.Weighted),
    "reads the trainer": condition(posted.ReadsTheTrainer),
    "clipping by norm, accumulation": condition(
        posted.Classifier, trainer={"gradient_clip_val": 0.1, "accumulate_grad_batches": 2}
    ),
    "clipping by value": condition(
        posted.Classifier, trainer={"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}
    ),
    "equal gradients, clipped": condition(posted.TwoOffsets, trainer={"gradient_clip_val": 0.1}),
    "equal gradients, added to in place": condition(posted.TwoOffsets),
    "few epochs": condition(posted.Classifier, trainer={"max_epochs": 2}),
    "validation within an epoch": condition(posted.Classifier, trainer={"val_check_interval": 2}),
    "part of the batches": condition(posted.Classifier, trainer={"limit_train_batches": 2, "num_sanity_val_steps": 1}),
}


@pytest.mark.parametrize("name", STACKED)
def test_replicas_fitted_at_once_are_those_fitted_alone(name: str) -> None:
    stacked = recorded_stacked(STACKED[name])
    alone = [recorded_alone(STACKED[name], replica) for replica in REPLICAS]
    for rows, expected in zip(stacked, alone, strict=True):
        assert_equal_rows(rows, expected)
    assert stacked[0][0]["loss"] != stacked[1][0]["loss"]


class DrawnRate(posted.Classifier):
    """Its optimizer's factory holds a rate that it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.make_optimizer = partial(torch.optim.SGD, lr=float(torch.rand(())))

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(self.parameters())


class DrawnHook(posted.Classifier):
    """A hook of its network holds a number that it draws."""

    def __init__(self) -> None:
        super().__init__()
        scale = torch.rand(())
        self.network.register_forward_hook(lambda module, args, output: output * scale)


ONE_AT_A_TIME: list[tuple[LightningCondition, str]] = [
    (condition(posted.Collected), "it holds a MetricCollection, metrics"),
    (condition(posted.ComputesItsMetric), r"its steps compute or reset self\.accuracy"),
    (condition(posted.CountsOneMetricTwice), "it logs one metric object in training and in validation"),
    (condition(ending.ReadsItsList), r"its steps read self\.outputs"),
    (condition(ending.KeepsItsList), r"its on_validation_epoch_end leaves items in self\.outputs"),
    (condition(ending.KeepsTheBest), r"its on_validation_epoch_end changes self\.best"),
    (condition(ending.StopsItself), r"its code sets trainer\.should_stop"),
    (condition(ending.DrawsAtTheEnd), "its on_validation_epoch_end draws random numbers"),
    (condition(posted.Remembering), "its training_step changes self.newest"),
    (condition(DrawnRate), "its make_optimizer differs between replicas"),
    (condition(DrawnHook), r"its network\.forward_hooks differs between replicas"),
    (condition(posted.TwoOptimizers), "it optimizes manually"),
    (condition(posted.ReadsNumbers), r"it calls \.item\(\) or branches on a tensor's value"),
    (condition(posted.Branching), r"it calls \.item\(\) or branches"),
    (condition(posted.Clamping), "it defines on_train_batch_end"),
    (condition(posted.ByCurvature), "its optimizer LBFGS"),
    (condition(posted.Classifier, posted.Augmented), "reading its data draws random numbers"),
    (condition(posted.Classifier, trainer={"callbacks": Callback}), "its Trainer has the callback Callback"),
]


@pytest.mark.parametrize(("given", "reason"), ONE_AT_A_TIME, ids=[reason for _, reason in ONE_AT_A_TIME])
def test_why_replicas_are_fitted_one_at_a_time_is_said(given: LightningCondition, reason: str) -> None:
    with pytest.raises(NotStackableError, match=reason):
        fit_stacked(members(given), 0, DOUBLE)


@pytest.mark.parametrize("metric", ["train_loss", "train_loss_epoch", "val_loss", "val_acc", "loss"])
def test_the_target_is_met_after_as_many_updates_as_alone(metric: str) -> None:
    module: Any = posted.Weighted if metric == "loss" else posted.Scheduled
    sense: dict[str, Any] = {"at_least": 0.8} if metric == "val_acc" else {"at_most": 0.6}
    given = condition(module, metric=metric, budget=20, **{"at_most": None, **sense})
    together = fit_stacked(members(given), 0, DOUBLE)
    alone = [fitted_alone(given, replica) for replica in REPLICAS]
    assert [outcome.steps for outcome in together] == [outcome.steps for outcome in alone]
    assert [outcome.diverged for outcome in together] == [outcome.diverged for outcome in alone]


@pytest.mark.parametrize(
    ("module", "metric", "at_least"), [(ending.Appending, "val_mean", 0.05), (ending.ComputesAtTheEnd, "val_acc", 0.8)]
)
def test_the_target_may_be_logged_at_the_end_of_validation(module: Any, metric: str, at_least: float) -> None:
    given = condition(
        module, metric=metric, at_most=None, at_least=at_least, measures=[metric], budget=20,
        trainer={"callbacks": lambda: [EarlyStopping(metric, patience=2)]},
    )  # fmt: skip
    together = fit_stacked([(given, replica) for replica in REPLICAS], 0, DOUBLE)
    for outcome, replica in zip(together, REPLICAS, strict=True):
        assert_equal_outcomes(outcome, fitted_alone(given, replica))
    assert any(outcome.steps for outcome in together)


def test_bits_do_not_depend_on_the_replicas_that_were_fitted_before() -> None:
    given = condition(partial(posted.Classifier, posted.Encoder), metric="train_loss", at_most=0.5, budget=6)
    (alone,) = train_jobs([(given, 1)], 0, DOUBLE)
    both = list(train_jobs([(given, 0), (given, 1)], 0, DOUBLE))
    assert both[1].first_replica == alone.first_replica == 16
    assert both[1].trials.steps.tolist() == alone.trials.steps.tolist()
    assert both[1].trials.run_digests is not None
    assert alone.trials.run_digests is not None
    assert np.array_equal(both[1].trials.run_digests, alone.trials.run_digests)


def test_auto_fits_one_at_a_time_and_keeps_the_reason_where_it_must() -> None:
    given = condition(posted.Branching, metric="train_loss", at_most=0.1, budget=1)
    (block,) = train_jobs([(given, 0)], 0, DOUBLE)
    assert block.one_at_a_time == "it calls .item() or branches on a tensor's value"
    assert len(block.trials) == 16
    (stacked,) = train_jobs([(condition(posted.Classifier, budget=1), 0)], 0, DOUBLE)
    assert stacked.one_at_a_time == ""


def test_the_verdict_says_why_replicas_were_fitted_one_at_a_time() -> None:
    conditions = [
        condition(posted.Branching, metric="train_loss", at_most=m, budget=1, name=f"at {m}") for m in (0.1, 0.2)
    ]
    with Store(None) as store:
        verdict = evaluate(
            not_worse(conditions[1], than=conditions[0]), max_replicas=16,
            experiment=Experiment(store=store, compute_config=DOUBLE),
        )  # fmt: skip
        (note,) = [note for note in verdict.warnings if "one at a time" in note]
        assert note == (
            "replicas of at 0.2 and at 0.1 were fitted one at a time, because it calls .item() or branches on a "
            "tensor's value"
        )


def test_stacked_true_makes_it_an_error_and_false_never_tries() -> None:
    with pytest.raises(InputError, match=r"cannot be fitted together, because it calls .* leave stacked=True out"):
        list(train_jobs([(condition(posted.Branching, stacked=True), 0)], 0, DOUBLE))
    given = condition(posted.Classifier, stacked=False, budget=1)
    (block,) = train_jobs([(given, 0)], 0, DOUBLE)
    assert len(block.trials) == 2
    assert block.one_at_a_time == ""


def test_the_mode_is_part_of_the_content() -> None:
    modes: list[Any] = ["auto", True, False]
    contents = [condition(posted.Classifier, stacked=mode).content()["stacked"] for mode in modes]
    assert contents == modes
    with pytest.raises(InputError, match="stacked='yes' must be 'auto', True or False"):
        condition(posted.Classifier, stacked="yes")


def test_a_metric_that_nobody_logs_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"metric='nothing' was never logged in 2 updates; the module logged train_loss"
    ):
        fit_stacked(members(condition(posted.Classifier, metric="nothing", budget=2)), 0, DOUBLE)


def test_the_generators_of_the_process_go_on() -> None:
    before = torch.get_rng_state()
    fit_stacked(members(condition(partial(posted.Classifier, posted.Encoder), budget=1)), 0, DOUBLE)
    assert torch.equal(before, torch.get_rng_state())


class Exploding(posted.Classifier):
    """Its loss is infinite from the third update on."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx) / float(self.global_step < 2)
        self.log("exploding", loss)
        return loss


def test_a_metric_that_stops_being_finite_is_a_replica_that_diverged() -> None:
    given = condition(Exploding, metric="exploding", at_most=1e-9, budget=5)
    together = fit_stacked(members(given), 0, DOUBLE)
    alone = [fitted_alone(given, replica) for replica in REPLICAS]
    assert [outcome.diverged for outcome in together] == [outcome.diverged for outcome in alone] == [True, True]
