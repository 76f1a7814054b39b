"""Steps of a LightningModule's replicas that are recorded do what plain ones do; on a CPU, without CUDA graphs."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric

from lossact.training.recorded_steps import ReadsPositionError, RecordedSteps, Unread
from lossact.training.stacked_lightning import StackedLightningModule
from tests.replicas.recorder import record_changes
from tests.running import changing_modules as changing
from tests.running import epoch_end_modules as ending
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import Row, condition, recorded_stacked
from tests.running.test_stacked_lightning import STACKED

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")

LONGER = 14  # updates: plain, recorded, compared, and replayed after that
Made = list[RecordedSteps]


def dropping() -> nn.Module:
    # Batch norm takes a bias before it away: its gradient would be rounding alone, of which Adam makes whole steps.
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.Linear(8, 2))


RECORDED = {name: given for name, given in STACKED.items() if given.module is not posted.ReadsTheTrainer} | {
    "batch norm and dropout": condition(partial(posted.Classifier, dropping)),
    "a buffer that is assigned anew": condition(changing.RunningLoss),
}


def recording_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Any, Any], Callable[[], None]] | None = None
) -> Made:
    """Have steps be recorded; what records them is added to the list that is returned."""
    made: Made = []

    def recorded_steps(module: StackedLightningModule) -> RecordedSteps:
        buffers = list(module.buffers_by_name.values())

        def record(run: Callable[[], None]) -> Callable[[], None]:
            replay = record_changes(buffers, run)
            return replay if wrong is None else wrong(module, replay)

        made.append(RecordedSteps(module.template, buffers, module.metric_calls, module.epoch_end, record))
        return made[-1]

    monkeypatch.setattr(StackedLightningModule, "_recorded_steps", recorded_steps)
    return made


def assert_same_bits(recorded: list[list[Row]], plain: list[list[Row]]) -> None:
    for rows, expected in zip(recorded, plain, strict=True):
        assert len(rows) == len(expected)
        for row, other in zip(rows, expected, strict=True):
            assert row.keys() == other.keys()
            for name, value in other.items():
                assert torch.equal(row[name], value) if isinstance(value, Tensor) else row[name] == value, name


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_steps_equal_plain_ones_bit_for_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = replace(RECORDED[name], budget=LONGER)
    plain = recorded_stacked(given)
    made = recording_on_a_cpu(monkeypatch)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="steps of a LightningModule")
        assert_same_bits(recorded_stacked(given), plain)
    (only,) = made
    assert only.works
    assert only.recordings


class LooksAtIncompleteBatches(ending.Appending):
    """It appends, and then looks at a number, as no recording may."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        super().validation_step(batch, batch_idx)
        if len(batch[1]) < 8 and batch[1].sum().item() < 0:
            self.outputs.clear()


def test_what_was_appended_before_a_recording_failed_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = condition(LooksAtIncompleteBatches, budget=LONGER)
    plain = recorded_stacked(given)
    recording_on_a_cpu(monkeypatch)
    with pytest.warns(UserWarning, match="looks at numbers while updates are recorded"):
        assert_same_bits(recorded_stacked(given), plain)


def test_slices_are_recorded_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossact.running.lightning_stackability.step_width", lambda *_: 1)
    given = replace(RECORDED["batch norm and dropout"], budget=LONGER)
    plain = recorded_stacked(given)
    made = recording_on_a_cpu(monkeypatch)
    assert_same_bits(recorded_stacked(given), plain)
    assert made[0].recordings


class ByBatch(posted.Classifier):
    """Its loss falls with the index of the batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) / (1 + batch_idx)


class FirstBatchAlone(posted.Classifier):
    """It logs of the first batch of an epoch alone."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss * (1.0 if batch_idx == 0 else 0.5))
        return loss


class AsksInVain(posted.Classifier):
    """It goes on where there is no Trainer, which it asks for in incomplete batches alone."""

    def __init__(self) -> None:
        super().__init__(dropping)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        try:
            share = 1 / (1 + self.current_epoch) if len(batch[0]) < 8 else 1.0
        except Exception:  # as people write
            share = 1.0
        return super().training_step(batch, batch_idx) * share


class AsksAnew(posted.Classifier):
    """It makes another error of one."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        try:
            share = 1 / (1 + batch_idx)
        except Exception as error:
            raise RuntimeError("a bad index") from error
        return super().training_step(batch, batch_idx) * share


class AsksWhatItIs(posted.Classifier):
    """It takes what is no integer for the first batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        share = 1 / (1 + batch_idx) if isinstance(batch_idx, int) else 1.0
        return super().training_step(batch, batch_idx) * share


class LogsTheIndex(posted.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_index", batch_idx)
        return super().validation_step(batch, batch_idx)


class AppendsTheIndex(posted.Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Any] = []

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.outputs.append({"index": batch_idx, "loss": functional.cross_entropy(self(batch[0]), batch[1])})

    def on_validation_epoch_end(self) -> None:
        self.log("val_loss", sum(each["loss"] / (1 + each["index"]) for each in self.outputs))
        self.outputs.clear()


class MeasuresTheIndex(posted.Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.mean = MeanMetric()

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.mean.update(functional.cross_entropy(self(batch[0]), batch[1]), batch_idx + 1)
        self.log("val_mean", self.mean)


class MeasuresByIndex(MeasuresTheIndex):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.mean.update(functional.cross_entropy(self(batch[0]), batch[1]), batch_idx)
        self.log("val_mean", self.mean)


class AsksForATensor(posted.Classifier):
    """Torch takes the index of the batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) + torch.full((), batch_idx, dtype=torch.double)


@pytest.mark.parametrize(
    ("module", "read"),
    [
        (posted.ReadsTheTrainer, "the Trainer"),
        (ByBatch, "batch_idx"),
        (FirstBatchAlone, "batch_idx"),
        (AsksInVain, "the Trainer"),
        (AsksAnew, "batch_idx"),
        (AsksWhatItIs, "batch_idx"),
        (LogsTheIndex, "batch_idx"),
        (AppendsTheIndex, "batch_idx"),
        (MeasuresTheIndex, "batch_idx"),
        (MeasuresByIndex, "batch_idx"),
        (AsksForATensor, "batch_idx"),
    ],
)
def test_steps_that_read_where_they_are_are_not_recorded(
    module: Any, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = condition(module, budget=LONGER)
    plain = recorded_stacked(given)
    made = recording_on_a_cpu(monkeypatch)
    with pytest.warns(UserWarning, match=f"steps of a LightningModule cannot be recorded .* \\(they read {read}\\)"):
        assert_same_bits(recorded_stacked(given), plain)
    assert not made[0].works


def shifted(module: StackedLightningModule, replay: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        replay()
        module.buffers_by_name["network.1.running_mean"].add_(0.1)

    return run


def idle(module: StackedLightningModule, replay: Callable[[], None]) -> Callable[[], None]:
    return lambda: None


def failing(module: StackedLightningModule, replay: Callable[[], None]) -> Callable[[], None]:
    raise RuntimeError("operation not permitted when stream is capturing\nmore")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (shifted, "give other numbers when they are recorded"),
        (idle, "give other numbers when they are recorded"),
        (failing, "operation not permitted when stream is capturing"),
    ],
)
def test_a_recording_that_fails_or_is_wrong_is_left(
    wrong: Callable[..., Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = replace(RECORDED["batch norm and dropout"], budget=LONGER)
    plain = recorded_stacked(given)
    recording_on_a_cpu(monkeypatch, wrong)
    with pytest.warns(UserWarning, match=reason):
        assert_same_bits(recorded_stacked(given), plain)


@pytest.mark.parametrize(
    "use",
    [
        lambda it: it + 1, lambda it: 1 - it, lambda it: it == 0, lambda it: it != 0, lambda it: it < 3, bool, int, str,
        repr, hash, list, len,  lambda it: it.real, lambda it: it % 2, lambda it: 2**it, lambda it: f"{it:03d}",
        lambda it: range(it), lambda it: [0, 1][it], lambda it: torch.ones(2) * it, lambda it: it[0],
        lambda it: isinstance(it, int),
    ],
)  # fmt: skip
def test_whatever_is_done_with_what_is_not_to_be_read_is_seen(use: Callable[[Any], Any]) -> None:
    unread = Unread("batch_idx")
    with pytest.raises(ReadsPositionError, match="batch_idx"):
        use(unread)
    assert vars(unread)["was_read"]
