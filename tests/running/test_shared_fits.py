"""Conditions that differ in numbers of their config share a fit, and have the trials of fits of their own."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau
from torchmetrics.classification import BinaryAccuracy

from lossact import LightningCondition
from lossact.running.jobs import BlockJob, Progress, TrainedBlock
from lossact.running.runner import group_blocks, train_jobs
from lossact.running.stacked_fit import fit_stacked
from lossact.training.compute_config import ComputeConfig
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import DOUBLE, condition, fitted_alone

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")


class Tuned(posted.Waving):
    """Batch norm and dropout, and numbers that reach the optimizer alone."""

    def __init__(self, rate: float = 0.05, decay: float = 0.0, **numbers: float) -> None:
        super().__init__(
            lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.2), nn.Linear(5, 2))
        )
        self.save_hyperparameters()
        self.rate, self.numbers = rate, SimpleNamespace(**numbers)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=self.rate, weight_decay=self.hparams.decay)  # type: ignore[attr-defined]


class WithSchedule(Tuned):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.NAdam(self.parameters(), lr=self.rate, momentum_decay=self.hparams.decay)  # type: ignore[attr-defined]
        assert self.trainer.max_steps is not None
        schedule = CosineAnnealingLR(optimizer, self.trainer.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Watching(Tuned):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.rate, momentum=0.9)
        schedule = ReduceLROnPlateau(optimizer, factor=self.hparams.factor, patience=0)  # type: ignore[attr-defined]
        return {"optimizer": optimizer, "lr_scheduler": schedule, "monitor": "val_wave"}


class Stopping(Tuned):
    def configure_callbacks(self) -> Any:
        return [EarlyStopping("val_wave", patience=int(self.numbers.patience))]


class InGroups(Tuned):
    def configure_optimizers(self) -> Any:
        decayed = [parameter for parameter in self.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.numbers.of_weights}, {"params": others}]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


class Started(Tuned):
    """Its number is in its weights and in a buffer, which every replica has for itself."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(scale)

    def forward(self, inputs: Any) -> Any:
        return super().forward(inputs) * self.scale  # type: ignore[operator]


def differing(module: Any, name: str, values: Any, **config: float) -> list[LightningCondition]:
    target = {"metric": "train_loss", "at_most": 0.6, "budget": 14, "stacked": True}
    return [condition(module, config={**config, name: value}, name=f"{name} {value}", **target) for value in values]


def never_met(conditions: list[LightningCondition]) -> list[LightningCondition]:
    return [replace(each, at_most=-1.0) for each in conditions]


SHARED = {
    "rate": differing(Tuned, "rate", (0.001, 0.05, 0.3)),
    "decay": differing(Tuned, "decay", (0.0, 0.1, 2.0)),
    "rate with a schedule": differing(WithSchedule, "rate", (0.01, 0.1), decay=0.004),
    "decay of momentum": differing(WithSchedule, "decay", (0.004, 0.1)),
    "a schedule of each replica": never_met(differing(Watching, "factor", (0.5, 0.1), rate=0.3)),
    "early stopping": never_met(differing(Stopping, "patience", (0, 2))),
    "groups": differing(InGroups, "of_weights", (0.0, 0.1)),
    "start and buffer": differing(Started, "scale", (0.5, 1.0)),
}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many conditions each fit had."""
    counts: list[int] = []

    def counted(members: Any, *given: Any) -> Any:
        outcomes = fit_stacked(members, *given)
        counts.append(len({of for of, _ in members}))
        return outcomes

    monkeypatch.setattr("lossact.running.fits_together.fit_stacked", counted)
    return counts


def trained(conditions: list[LightningCondition], blocks: int = 1) -> dict[BlockJob, TrainedBlock]:
    jobs: list[BlockJob] = [(each, block) for each in conditions for block in range(blocks)]
    of_jobs = {(block.condition, block.first_replica // 16): block for block in train_jobs(jobs, 0, DOUBLE)}
    assert of_jobs.keys() == set(jobs)
    return of_jobs


def assert_same_trials(block: TrainedBlock, expected: TrainedBlock) -> None:
    np.testing.assert_array_equal(block.trials.steps, expected.trials.steps)
    np.testing.assert_array_equal(block.trials.reached, expected.trials.reached)
    np.testing.assert_array_equal(block.trials.diverged, expected.trials.diverged)
    assert block.trials.run_digests is not None
    assert expected.trials.run_digests is not None
    np.testing.assert_array_equal(block.trials.run_digests, expected.trials.run_digests)  # metrics and weights


@pytest.mark.parametrize("name", SHARED)
def test_trials_are_bit_for_bit_those_of_each_condition_by_itself(name: str, fits: list[int]) -> None:
    conditions = SHARED[name]
    together = trained(conditions)
    assert fits == [len(conditions)]
    for each in conditions:
        (alone,) = trained([each]).values()
        assert_same_trials(together[each, 0], alone)
    assert len({block.trials.run_digests.tobytes() for block in together.values()}) == len(conditions)


@pytest.mark.parametrize("name", ["decay", "rate with a schedule", "a schedule of each replica"])
def test_outcomes_are_those_of_one_fit_a_replica(name: str) -> None:
    for (given, _), block in trained(SHARED[name]).items():
        for replica in (0, 5):
            alone = fitted_alone(given, replica)  # type: ignore[arg-type]
            assert (alone.steps or 0) == block.trials.steps[replica]
    measured = [replace(each, measures=["val_loss"], at_most=None, metric=None) for each in SHARED[name]]
    for (given, _), block in trained(measured).items():
        alone = fitted_alone(given, 3)  # type: ignore[arg-type]
        assert block.trials.values["val_loss"][3] == pytest.approx(alone.values["val_loss"], rel=1e-9)


def test_several_blocks_share_fits_of_four(fits: list[int]) -> None:
    conditions = SHARED["rate"]
    together = trained(conditions, blocks=2)
    assert fits == [3, 2]
    for each in conditions:
        for job, alone in trained([each], blocks=2).items():
            assert_same_trials(together[job], alone)


class ReadsItsRate(Tuned):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) * (1 + self.rate)


class ReadsItsDecay(Tuned):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) + 0 * self.hparams.get("decay", 0.0)


class ReadsAll(Tuned):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        super().validation_step(batch, batch_idx)
        self.log("sum", float(sum(dict(self.hparams).values())))


class Drops(Tuned):
    def __init__(self, share: float) -> None:
        super().__init__()
        self.network[3].p = share  # type: ignore[index]


class ByClosure(Tuned):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.scaled = lambda loss: loss * factor

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.scaled(super().training_step(batch, batch_idx))  # type: ignore[no-untyped-call]


class Hooked(Tuned):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.network.register_forward_hook(lambda _module, _inputs, outputs: outputs * factor)


def made_anew(factor: float) -> Any:
    class Scaled(Tuned):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * factor

    return Scaled()


class Wide(Tuned):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(6, width), nn.Linear(width, 2))


class Thresholded(Tuned):
    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.accuracy = BinaryAccuracy(threshold=threshold)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.accuracy(self(batch[0]).softmax(1)[:, 1], batch[1])
        self.log("val_share", self.accuracy)


class ByNumber(Tuned):
    def configure_optimizers(self) -> Any:
        kind = torch.optim.SGD if self.rate > 0.1 else torch.optim.Adam
        return kind(self.parameters(), lr=self.rate)


class Accumulated(Tuned):
    def configure_optimizers(self) -> Any:
        return torch.optim.Adagrad(self.parameters(), initial_accumulator_value=self.rate)


SEPARATE = [
    (differing(ReadsItsRate, "rate", (0.05, 0.2)), "its steps read rate, which differs between conditions"),
    (differing(ReadsItsDecay, "decay", (0.0, 0.2)), "its steps read decay, which differs between conditions"),
    (differing(ReadsAll, "decay", (0.0, 0.2)), "its steps read decay, which differs between conditions"),
    (differing(Drops, "share", (0.1, 0.2)), "its steps read network.3.p, which differs between conditions"),
    (differing(ByClosure, "factor", (1.0, 0.5)), "its steps read scaled, which differs between conditions"),
    (differing(Hooked, "factor", (1.0, 0.5)), "its network._forward_hooks differs between conditions"),
    (differing(made_anew, "factor", (1.0, 0.5)), "its class differs between conditions"),
    (differing(Wide, "width", (3, 4)), "its parameters differ in shape between replicas"),
    (differing(Thresholded, "threshold", (0.4, 0.6)), "its accuracy.threshold differs between conditions"),
    (differing(ByNumber, "rate", (0.05, 0.2)), "what it configures differs in more than numbers between conditions"),
    (differing(Accumulated, "rate", (0.1, 0.2)), "what it configures differs in more than numbers between conditions"),
]


@pytest.mark.parametrize(("conditions", "reason"), SEPARATE, ids=[of[0].module.__name__ for of, _ in SEPARATE])
def test_conditions_that_cannot_share_a_fit_have_one_each(
    conditions: list[LightningCondition], reason: str, fits: list[int]
) -> None:
    said: list[Progress] = []
    blocks = list(train_jobs([(each, 0) for each in conditions], 0, DOUBLE, said.append))
    assert fits == [1, 1]
    assert all(f"each condition by itself, because {reason}" in progress.text for progress in said)
    assert [progress.finished for progress in said] == [False, True]
    assert [block.one_at_a_time for block in blocks] == ["", ""]
    for block, each in zip(blocks, conditions, strict=True):
        (alone,) = trained([each]).values()
        assert_same_trials(block, alone)


def test_what_is_fitted_one_at_a_time_has_the_reason_of_its_own() -> None:
    class Branching(posted.Branching):
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.rate = rate

    given = [condition(Branching, config={"rate": rate}, name=f"{rate}", budget=1) for rate in (0.1, 0.2)]
    for block in trained(given).values():
        assert block.one_at_a_time == "it calls .item() or branches on a tensor's value"


def test_conditions_that_differ_in_numbers_are_grouped_for_one_machine_and_for_several() -> None:
    conditions = [*SHARED["rate"], condition(partial(Tuned, 0.1)), replace(SHARED["rate"][0], stacked=False)]
    jobs: list[BlockJob] = [(each, block) for each in conditions for block in range(4)]
    assert sorted(len(launch) for launch in group_blocks(jobs, ComputeConfig())) == [4, 4, 12]
    for slots, widest in ((1, 4), (5, 4), (10, 2), (40, 1)):
        launches = group_blocks(jobs, ComputeConfig(), slots=slots)
        assert max(map(len, launches)) == widest
        assert sorted(map(str, (job for launch in launches for job in launch))) == sorted(map(str, jobs))


def test_a_launch_of_several_conditions_is_described() -> None:
    said: list[Progress] = []
    list(train_jobs([(each, 0) for each in SHARED["rate"]], 0, DOUBLE, said.append))
    assert str(said[-1]).startswith("training rate 0.001 and 2 more, replicas 0 to 15: update ")
