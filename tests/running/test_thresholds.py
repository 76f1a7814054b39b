"""Thresholds are compared in the precision in which a value was computed, for every kind of condition."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lossact import SGD, Arrays, Condition, Experiment, FunctionCondition, LightningCondition, Loss, Metric
from lossact.replicas.engine import StoppingCriterion
from lossact.replicas.threshold import meets
from lossact.running.external import train_one
from lossact.training.compute_config import ComputeConfig

SETTING = ComputeConfig(threads=1)
DOWN, UP = (0.7, 0.9, 0.95, 0.99), (0.05, 0.1, 0.2, 0.3)  # float32 rounds the first down, the second up
TYPES: tuple[Any, ...] = (np.float16, np.float32, np.float64)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("number", DOWN + UP)
def test_a_number_meets_itself_and_its_neighbours_decide(dtype: Any, number: float) -> None:
    value = dtype(number)
    less, more = (np.nextafter(value, dtype(end)) for end in (-9, 9))
    assert meets(np.array([less, value, more]), at_least=number).tolist() == [False, True, True]
    assert meets(np.array([less, value, more]), at_most=number).tolist() == [True, True, False]
    tensor = torch.from_numpy(np.array([less, value, more]))
    assert meets(tensor, at_least=number).tolist() == [False, True, True]


def test_nan_integers_and_numbers_beyond_a_type() -> None:
    assert meets(np.array([np.nan, 1.0]), at_least=1.0).tolist() == [False, True]
    assert meets(np.array([np.inf, 1.0]), at_least=1.0).tolist() == [True, True]
    assert meets(np.array([-np.inf, -3.0]), at_most=-2.0).tolist() == [False, True]  # a loss of a run that diverged
    assert meets(torch.tensor([-torch.inf, -3.0]), at_most=-2.0).tolist() == [False, True]
    assert meets(torch.tensor([1, 2**24 + 1]), at_least=2**24 + 0.5).tolist() == [False, True]
    assert meets(np.array([0, 1]), at_least=0.5).tolist() == [False, True]
    assert meets(np.array([1.0], dtype=np.float16), at_most=1e9).tolist() == [True]
    assert not meets(float("nan"), at_most=0.0)


def function_curves() -> dict[str, Any]:
    return {
        "tensor": lambda values: torch.tensor(values),
        "tensor with a gradient": lambda values: torch.tensor(values, requires_grad=True) * 1,
        "double tensor": lambda values: torch.tensor(values, dtype=torch.float64),
        "half tensor": lambda values: torch.tensor(values, dtype=torch.float16),
        "bfloat16 tensor": lambda values: torch.tensor(values, dtype=torch.bfloat16),
        "array": lambda values: np.array(values, dtype=np.float32),
        "double array": lambda values: np.array(values),
        "half array": lambda values: np.array(values, dtype=np.float16),
        "list": lambda values: list(values),
        "list of scalars": lambda values: [np.float32(value) for value in values],
        "list of tensors": lambda values: [torch.tensor(value, requires_grad=True) for value in values],
        "list of bfloat16 tensors": lambda values: [torch.tensor(value, dtype=torch.bfloat16) for value in values],
        "mixed list": lambda values: [0.5, *(np.float32(value) for value in values[1:])],
        "tuple": tuple,
    }


@pytest.mark.parametrize("kind", function_curves())
def test_a_curve_meets_its_threshold_in_its_own_precision(kind: str) -> None:
    for number, side in [*((n, "at_least") for n in DOWN), *((n, "at_most") for n in UP)]:
        target: dict[str, Any] = {side: number}
        condition = FunctionCondition(train=Returning(kind, [0.5, number, number]), budget=2, **target)
        assert train_one(condition, 1, SETTING).steps == 1


class Returning:
    """A training function that returns a curve of a certain type."""

    def __init__(self, kind: str, values: list[float]) -> None:
        self.kind, self.values = kind, values

    def __call__(self, seed: int) -> Any:
        return function_curves()[self.kind](self.values)


def test_the_case_of_a_float32_curve(experiment: Experiment) -> None:
    def train(seed: int) -> Tensor:
        return torch.tensor([0.5, 0.9, 0.9])

    (trials,) = experiment.trials([FunctionCondition(train=train, at_least=0.9, budget=2)], 2)
    assert trials.reached.tolist() == [True, True]
    assert trials.steps.tolist() == [1, 1]


class Logs(LightningModule):
    """Logs the share of right answers, or of wrong ones, of 20 examples."""

    def __init__(self, right: int, how: str, *, of_errors: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.right, self.how, self.of_errors = right, how, of_errors

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        is_right = torch.arange(20) < self.right
        counted = ~is_right if self.of_errors else is_right
        values: dict[str, Callable[[], Any]] = {
            "mean": lambda: counted.float().mean(),
            "ratio": lambda: counted.sum() / len(counted),
            "number": lambda: int(counted.sum()) / len(counted),
            "double": lambda: counted.double().mean(),
        }
        value = values[self.how]()
        self.log("metric", value)
        return self.layer(batch[0]).sum()  # type: ignore[no-any-return]

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.ones(4, 1)))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")
@pytest.mark.parametrize("how", ["mean", "ratio", "number", "double"])
@pytest.mark.parametrize(
    ("right", "threshold"),
    [
        (19, {"at_least": 0.95}), (18, {"at_least": 0.9}), (14, {"at_least": 0.7}),
        (18, {"at_most": 0.1}), (19, {"at_most": 0.05}), (14, {"at_most": 0.3}), (16, {"at_most": 0.2}),
    ],
)  # fmt: skip
def test_a_logged_share_meets_the_threshold_that_it_equals(how: str, right: int, threshold: dict[str, float]) -> None:
    def module() -> LightningModule:
        return Logs(right, how, of_errors="at_most" in threshold)

    condition = LightningCondition(module=module, metric="metric", budget=1, **threshold)  # type: ignore[arg-type]
    assert train_one(condition, 1, SETTING).steps == 0


@pytest.mark.parametrize(("number", "at_most"), [*((n, False) for n in DOWN), *((n, True) for n in UP)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_engine_decides_as_conditions_do(number: float, at_most: bool, dtype: torch.dtype) -> None:
    criterion = StoppingCriterion(number, at_most=at_most)
    values = torch.tensor([number - 0.01, number, number + 0.01], dtype=dtype)
    engine = criterion.score(values, values) >= criterion.lowest_score
    side: dict[str, Any] = {"at_most" if at_most else "at_least": number}
    assert engine.tolist() == meets(values, **side).tolist()
    assert engine[1]


def constant(outputs: Tensor, targets: Tensor) -> Tensor:
    return targets + 0 * outputs.reshape(targets.shape)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("number", [0.1, 0.3])
def test_a_stacked_replica_meets_a_threshold_that_it_equals(
    experiment: Experiment, number: float, stacked: bool
) -> None:
    inputs, targets = np.ones((4, 1)), np.full(4, number)
    for target in (Loss().at_most(number), Metric(constant).at_most(number), Metric(constant).at_least(number)):
        condition = Condition(
            network=small_network, loss=constant, optimizer=SGD(learning_rate=0.1), data=Arrays(inputs, targets),
            target=target, budget=2, stacked=stacked,
        )  # fmt: skip
        (trials,) = experiment.trials([condition], 2)
        assert trials.reached.all()
        assert not trials.steps.any()


def small_network() -> nn.Module:
    return nn.Linear(1, 1)
