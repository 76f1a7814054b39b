"""LightningModules whose replicas are fitted together on a GPU, their steps in CUDA graphs, are those of the CPU."""

from dataclasses import replace

import pytest
import torch

from lossact.training.compute_config import ComputeConfig
from lossact.training.recorded_steps import RecordedSteps
from lossact.training.stacked_lightning import StackedLightningModule
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import assert_equal_rows, condition, recorded_stacked
from tests.running.test_recorded_steps import LONGER, RECORDED, assert_same_bits

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # Lightning's advice to train on the GPU, for one
]

CUDA = ComputeConfig(device="cuda", precision="64-true")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[RecordedSteps]:
    """What records steps, one a fit."""
    made: list[RecordedSteps] = []
    make = StackedLightningModule._recorded_steps

    def noted(module: StackedLightningModule) -> RecordedSteps | None:
        recorded = make(module)
        made.extend([] if recorded is None else [recorded])
        return recorded

    monkeypatch.setattr(StackedLightningModule, "_recorded_steps", noted)
    return made


# Normal numbers are drawn by another formula on a GPU, so that a CPU's are no reference for them.
@pytest.mark.parametrize("name", sorted(RECORDED.keys() - {"variational autoencoder"}))
def test_steps_in_cuda_graphs_equal_the_cpu_in_double_precision(name: str, made: list[RecordedSteps]) -> None:
    given = replace(RECORDED[name], budget=LONGER)
    on_a_gpu = recorded_stacked(given, CUDA)
    (only,) = made
    assert only.works
    assert only.recordings
    for rows, expected in zip(on_a_gpu, recorded_stacked(given), strict=True):
        assert_equal_rows(rows, expected)


@pytest.mark.parametrize("name", ["classifier", "batch norm and dropout", "variational autoencoder"])
def test_steps_in_cuda_graphs_repeat_bit_for_bit(name: str) -> None:
    config = ComputeConfig(device="cuda")
    assert_same_bits(recorded_stacked(RECORDED[name], config), recorded_stacked(RECORDED[name], config))


def test_steps_that_read_the_trainer_go_on_plainly(made: list[RecordedSteps]) -> None:
    given = condition(posted.ReadsTheTrainer, budget=LONGER)
    with pytest.warns(UserWarning, match="they read the Trainer"):
        recorded_stacked(given, CUDA)
    assert not made[0].works
