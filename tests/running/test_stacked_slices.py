"""Steps of a LightningModule's replicas, a slice of them at a time, are those of all at once."""

import pytest
import torch

from lossact.replicas.slices import GPU_NUMBERS, STEP_NUMBERS, step_width
from lossact.running.stacked_fit import fit_stacked
from tests.running.stacked_and_alone import (
    DOUBLE,
    REPLICAS,
    assert_equal_outcomes,
    assert_equal_rows,
    fitted_alone,
    members,
    recorded_alone,
    recorded_stacked,
)
from tests.running.test_stacked_lightning import STACKED

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("name", STACKED)
def test_replicas_in_slices_are_those_fitted_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossact.running.lightning_stackability.step_width", lambda *_: 1)
    for rows, replica in zip(recorded_stacked(STACKED[name]), REPLICAS, strict=True):
        assert_equal_rows(rows, recorded_alone(STACKED[name], replica))


@pytest.mark.parametrize("name", ["transformer with dropout", "metric objects of every use", "data drawn for each"])
def test_an_uneven_last_slice_is_as_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossact.running.lightning_stackability.step_width", lambda *_: 2)
    given, replicas = STACKED[name], (0, 5, 7)
    for outcome, replica in zip(fit_stacked(members(given, replicas), 0, DOUBLE), replicas, strict=True):
        assert_equal_outcomes(outcome, fitted_alone(given, replica))


@pytest.mark.parametrize(
    ("replicas", "size", "device", "width"),
    [
        (64, 0, CPU, 64),  # that cannot be counted
        (64, STEP_NUMBERS // 64, CPU, 64),
        (64, STEP_NUMBERS // 63, CPU, 32),
        (64, STEP_NUMBERS // 14, CPU, 13),  # five slices, the last of 12
        (64, 2 * STEP_NUMBERS, CPU, 1),
        (1, STEP_NUMBERS, CPU, 1),
        (64, STEP_NUMBERS // 14, CUDA, 64),
        (64, GPU_NUMBERS // 16, CUDA, 16),
    ],
)
def test_slices_are_about_as_wide_as_each_other(replicas: int, size: int, device: torch.device, width: int) -> None:
    assert step_width(replicas, size, device) == width
