"""Training on a GPU that is pretended: every tensor is where it must be, and nothing recorded waits for the GPU."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_map_only
from torchmetrics.classification import MulticlassF1Score

from lossact import Accuracy, Best, Condition, Loss, Metric, OfNetwork, TorchOptimizer, cosine, replicate
from lossact.errors import InputError
from lossact.replicas.torch_optimizers import TENSOR_RATES
from lossact.running.external import train_one
from lossact.running.runner import fit
from lossact.running.snapshots import record_snapshots
from lossact.running.stacking import replica_seed, stacked_training
from lossact.running.training_module import training_module
from lossact.training.compute_config import ComputeConfig
from lossact.training.quiet import trainer_environment
from lossact.training.single import SingleNetworkModule
from lossact.training.stacked import StackedOutcome
from tests.conftest import train_blocks
from tests.replicas.pretended_gpu import GPU, Graphs
from tests.replicas.shares import OPTIONS, soon_all_right
from tests.replicas.test_any_training import condition
from tests.replicas.test_recorded import CAPTURABLE, CONDITIONS, SMALL, numpys_accuracy, spread
from tests.running.stacked_and_alone import assert_equal_rows, recorded_stacked
from tests.running.test_stacked_lightning import STACKED

pytestmark = pytest.mark.slow
ON_CPU, ON_GPU = (ComputeConfig(device=device, precision="64-true", threads=1) for device in ("cpu", "cuda"))


def outcome_of(given: Condition, config: ComputeConfig) -> StackedOutcome:
    module = stacked_training(given, 0, range(4), config, curves_of=4)
    fit(module, config)
    return module.outcome()


def assert_the_same(given: Condition) -> None:
    here, there = (outcome_of(given, config) for config in (ON_CPU, ON_GPU))
    np.testing.assert_allclose(there.loss, here.loss, rtol=1e-8)
    np.testing.assert_array_equal(there.steps_to_target, here.steps_to_target)
    assert there.values.keys() == here.values.keys()
    for name, values in here.values.items():
        np.testing.assert_allclose(there.values[name], values, rtol=1e-8)


@pytest.mark.parametrize("name", CONDITIONS)
def test_training_there_is_training_on_the_cpu(name: str, pretended_gpu: type[Graphs]) -> None:
    assert_the_same(CONDITIONS[name])
    assert pretended_gpu.made


@pytest.mark.parametrize("name", CAPTURABLE)
def test_torchs_optimisers_are_recorded(name: str, pretended_gpu: type[Graphs]) -> None:
    kind = getattr(torch.optim, name)
    lr = cosine(0.02, warmup=5) if kind in TENSOR_RATES else 0.02
    assert_the_same(condition(TorchOptimizer(kind, lr=lr), batch_size=8, budget=40, target=Loss().at_most(0.5)))
    assert pretended_gpu.made


def test_torchs_other_optimisers_train_plainly(pretended_gpu: type[Graphs]) -> None:
    for kind in (torch.optim.Adagrad, torch.optim.SGD):
        assert_the_same(condition(TorchOptimizer(kind, lr=0.02), batch_size=8, budget=40))
    assert not pretended_gpu.made


def test_networks_side_by_side(pretended_gpu: type[Graphs]) -> None:
    assert_the_same(replace(CONDITIONS["dropout"], stacked=False))
    assert not pretended_gpu.made


def norm_of_weights(network: nn.Module) -> float:
    return float(sum(parameter.norm() for parameter in network.parameters()))


@pytest.mark.filterwarnings("ignore:metric .* is measured replica by replica")
def test_measures_and_targets_read_outputs_on_the_cpu(pretended_gpu: type[Graphs]) -> None:
    measures = {
        "spread": Metric(spread), "F1": Metric(MulticlassF1Score(num_classes=3)), "loss": Loss(split="validation"),
        "norm": OfNetwork(norm_of_weights),
    }  # fmt: skip
    assert_the_same(replace(CONDITIONS["minibatches"], measures=measures, measured_at=(7,)))
    assert_the_same(replace(CONDITIONS["minibatches"], target=Metric(numpys_accuracy).at_least(0.9)))


def accuracy_by_numpy(outputs: Tensor, targets: Tensor) -> Tensor:
    return numpys_accuracy(outputs.cpu(), targets.cpu())


@pytest.mark.filterwarnings("ignore:metric .* is measured replica by replica")
@pytest.mark.parametrize("stacked", [True, False])
def test_a_target_may_be_computed_on_the_cpu(stacked: bool, pretended_gpu: type[Graphs]) -> None:
    assert_the_same(replace(CONDITIONS["minibatches"], stacked=stacked, target=Metric(accuracy_by_numpy).at_least(0.9)))
    assert not pretended_gpu.made


def distilled(outputs: Tensor, targets: Tensor, *, teacher: nn.Module, parts: dict[str, Any]) -> Tensor:
    answer: Tensor = teacher(torch.ones_like(outputs))
    loss: Tensor = functional.cross_entropy(outputs, targets, weight=parts["weight"])
    return loss + (outputs - answer).square().mean()


def test_modules_and_tensors_among_the_arguments_of_a_loss_are_moved(pretended_gpu: type[Graphs]) -> None:
    teacher = nn.Linear(3, 3).double().requires_grad_(False)
    loss = partial(distilled, teacher=teacher, parts={"weight": WEIGHT, "names": ["teacher"]})
    for stacked in (True, False):
        assert_the_same(condition(SMALL, loss=loss, budget=20, stacked=stacked))
    assert pretended_gpu.made


WEIGHT = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)


def weighted_by_a_tensor_of_the_cpu(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, weight=WEIGHT)


class Looks(nn.Linear):
    """It looks at a number in Python."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return outputs * (2.0 if float(torch.ones((), device=inputs.device)) > 0 else 1.0)


def looking() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), Looks(8, 3))


def test_what_is_elsewhere_and_what_waits_is_found(pretended_gpu: type[Graphs]) -> None:
    """As on a GPU; else the tests above would show nothing."""
    with pytest.raises(InputError, match=r"Expected all tensors .*; what network, loss and target make"):
        next(train_blocks(condition(SMALL, loss=weighted_by_a_tensor_of_the_cpu), 0, [0], ON_GPU))
    with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph .called a synchronizing CUDA operation"):
        assert_the_same(condition(SMALL, network=looking))
    assert not pretended_gpu.made
    assert torch.ones(3, device=GPU).device == GPU


@pytest.mark.parametrize("name", ["batch norm", "minibatches"])
def test_what_is_shown_of_networks_there(name: str, pretended_gpu: type[Graphs]) -> None:
    given = replace(CONDITIONS[name], measures={"best": Best(Loss(), "min"), "end": Accuracy()})
    (here, networks), (there, others) = (shown(given, config) for config in (ON_CPU, ON_GPU))
    for measure, values in here.items():
        np.testing.assert_allclose(there[measure], values, rtol=1e-8)
    assert len(networks) > 3
    for network, expected in zip(others, networks, strict=True):
        for key, tensor in expected.state_dict().items():
            torch.testing.assert_close(network.state_dict()[key], tensor, rtol=1e-8, atol=1e-12)


def shown(given: Condition, config: ComputeConfig) -> tuple[Mapping[str, Any], list[nn.Module]]:
    trained = replicate(given, replicas=3, compute_config=config)
    snapshots, _, _ = record_snapshots(given, 0, [0, 2], every=30, compute_config=config)
    return trained.trials.values, [*trained.networks, *(each for snapshot in snapshots for each in snapshot.networks)]


@pytest.mark.parametrize("name", ["weighted loss", "dropout", "validation, now and then"])
def test_one_network_by_itself(name: str, pretended_gpu: type[Graphs]) -> None:
    losses = []
    for accelerator in ("cpu", "cuda"):
        module = training_module(CONDITIONS[name], 0, [1])
        assert isinstance(module, SingleNetworkModule)
        trainer = Trainer(
            accelerator=accelerator, precision="64-true", max_epochs=-1, max_steps=30, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        with trainer_environment(1):
            trainer.validate(module, verbose=False)  # in inference mode, whose tensors cannot be learned from
            trainer.fit(module)
        losses.append(torch.stack(module.losses).cpu())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-8, atol=0)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_a_lightning_module_by_itself(pretended_gpu: type[Graphs]) -> None:
    for name in ("classifier", "metric objects of every use", "loss weighted by a buffer"):
        given = replace(STACKED[name], budget=6)
        here, there = (train_one(given, replica_seed(0, 0), config, draws_for=(0, 0)) for config in (ON_CPU, ON_GPU))
        assert there.values == pytest.approx(here.values, rel=1e-8)
        assert there.diverged == here.diverged


@pytest.mark.parametrize("name", STACKED)
@pytest.mark.filterwarnings(
    "ignore:You defined a `validation_step`", "ignore:steps of a LightningModule", "ignore:.*LeafSpec.*"
)
def test_lightning_modules_there_are_those_on_the_cpu(name: str, pretended_gpu: type[Graphs]) -> None:
    given = replace(STACKED[name], budget=14)
    here, there = (recorded_stacked(given, config) for config in (ON_CPU, ON_GPU))
    for rows, expected in zip(there, here, strict=True):
        assert_equal_rows(tree_map_only(Tensor, Tensor.cpu, rows), expected)
    assert bool(pretended_gpu.made) == (name != "reads the trainer")


@pytest.mark.parametrize("name", OPTIONS)
def test_all_of_49_right_answers_are_a_share_of_1(name: str, pretended_gpu: type[Graphs]) -> None:
    right = torch.ones(49, dtype=torch.float64, device="cuda")
    assert float(right.mean().cpu()) < 1
    given = soon_all_right(name, 49)
    assert_the_same(given)
    assert outcome_of(given, ON_GPU).reached.all()
