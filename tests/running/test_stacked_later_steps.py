"""What a LightningModule does only in later steps is seen, and its replicas are then fitted one at a time."""

import pytest

from lossact import LightningCondition
from lossact.running.stacked_fit import fit_stacked
from lossact.training.compute_config import ComputeConfig
from lossact.training.stackable import NotStackableError
from tests.running import changing_modules as changing
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import (
    DOUBLE,
    REPLICAS,
    assert_equal_rows,
    condition,
    fitted_alone,
    recorded_alone,
    recorded_stacked,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")

ONE_AT_A_TIME: list[tuple[LightningCondition, str]] = [
    (condition(changing.HeadFromLater), r"its loss depends on other\.weight in some steps and not in others"),
    (condition(changing.HeadUntilLater), r"its loss depends on other\.weight in some steps and not in others"),
    (condition(changing.HeadsInTurn), r"its loss depends on other\.weight in some steps and not in others"),
    (condition(changing.Unfreezes), "its training_step freezes parameters, or has them trained"),
    (condition(changing.DrawsLater), "its training_step draws from numpy's or Python's generators"),
    (condition(changing.RemembersLater), r"its steps? changes? self\.counted|its training_step changes self\.counted"),
    (condition(changing.CountsInValidation), "its validation_step changes buffers"),
    (condition(changing.BestInABuffer), "its on_validation_epoch_end changes parameters or buffers"),
    (condition(changing.BestInPlace), "its on_validation_epoch_end changes parameters or buffers"),
    (condition(changing.AppendsInTraining), "its training_step (appends to a list|changes self.sizes)"),
    (condition(changing.FreezesInConfigure), "configure_optimizers changes parameters or buffers"),
    (condition(changing.ClampsAfterwards), "its optimizer has hooks"),
    (condition(changing.ReadsWhatLoggersGot), r"its steps read trainer\.logged_metrics"),
    (condition(changing.FromAGenerator), "it holds an iterator, weights"),
    (condition(changing.OneNameForTwoLoaders, posted.SeveralLoaders), "it logs 'v' for several validation loaders"),
    (condition(posted.Classifier, changing.noisy_tail), "its data change from one reading to the next"),
]


@pytest.mark.parametrize(
    ("given", "reason"), ONE_AT_A_TIME, ids=[getattr(given.module, "__name__", "") for given, _ in ONE_AT_A_TIME]
)
def test_why_replicas_are_fitted_one_at_a_time_is_said(given: LightningCondition, reason: str) -> None:
    with pytest.raises(NotStackableError, match=reason):
        fit_stacked([(given, replica) for replica in REPLICAS], 0, DOUBLE)


def test_a_buffer_that_is_assigned_anew_is_that_of_a_fit_alone() -> None:
    given = condition(changing.RunningLoss)
    for rows, replica in zip(recorded_stacked(given), REPLICAS, strict=True):
        assert_equal_rows(rows, recorded_alone(given, replica))


@pytest.mark.parametrize(
    "given",
    [
        condition(changing.LogsEverySecondEpoch, metric=None, at_most=None, measures=["mean"], budget=12),
        condition(posted.Classifier, trainer={"gradient_clip_val": -0.05}, measures=["train_loss"]),
    ],
    ids=["a metric that some epochs log", "a negative clip, which Lightning takes for none"],
)
def test_values_are_those_of_fits_alone(given: LightningCondition) -> None:
    together = fit_stacked([(given, replica) for replica in REPLICAS], 0, DOUBLE)
    for outcome, replica in zip(together, REPLICAS, strict=True):
        alone = fitted_alone(given, replica)
        assert outcome.values == pytest.approx(alone.values, rel=1e-6)  # metrics' sums are float32


def test_rounding_of_single_precision_is_no_difference_long_after_the_start() -> None:
    """Trained to a loss near zero, where gradients are small differences of large numbers."""
    given = condition(changing.AppendsProbabilities, metric=None, at_most=None, measures=["surest"], budget=300)
    together = fit_stacked([(given, replica) for replica in REPLICAS], 0, ComputeConfig(threads=1))
    assert [outcome.values["surest"] > 0.9 for outcome in together] == [True, True]


def test_a_bias_before_batch_norm_has_a_gradient_of_rounding_alone() -> None:
    """Batch norm takes away what the bias adds, so that its gradient is a sum of terms that cancel."""
    given = condition(changing.BiasBeforeBatchNorm, metric="train_loss", budget=120)
    together = fit_stacked([(given, replica) for replica in range(16)], 0, ComputeConfig(threads=1))
    assert len(together) == 16
