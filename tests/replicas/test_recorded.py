"""Updates that are recorded and replayed do what plain ones do; on a CPU, with a recorder in place of a CUDA graph."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossact import EMA, SGD, SWA, Accuracy, Adam, Condition, Loss, Metric, Partition, TorchOptimizer, cosine
from lossact.replicas import torch_optimizers
from lossact.replicas.draws_operator import draw
from lossact.replicas.draws_philox import MASK, NORMAL, UNIFORM, tensor_draw
from lossact.replicas.population import Population
from lossact.replicas.recorded import RecordedUpdates, Updates
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedReplicasModule
from tests.conftest import cnn_condition, report_condition
from tests.replicas.recorder import record_on_a_cpu
from tests.replicas.test_any_training import DOUBLE, condition

REPLICAS = range(4)
SMALL = SGD(learning_rate=0.1, momentum=0.9)


def drawing_network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))


def network_with_running_statistics() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def attention_network() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.Unflatten(1, (2, 1)), nn.Linear(1, 4), layer, nn.Flatten(), nn.Linear(8, 3))


def convolutional_network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 36), nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(),
        nn.Conv2d(4, 2, 3, stride=2), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def spread(outputs: Tensor, targets: Tensor) -> Any:
    return np.std(outputs.numpy()) + targets.numpy().mean()


def numpys_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.tensor(np.mean(outputs.detach().numpy().argmax(1) == targets.numpy()))


def is_matrix(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1


CONDITIONS: dict[str, Condition] = {
    "MLP": report_condition("sigmoid", "l2", budget=120),
    "MLP, a schedule": replace(
        report_condition(budget=120),
        optimizer=SGD(learning_rate=cosine(0.3, warmup=20), momentum=0.9, weight_decay=1e-3),
    ),
    "CNN": cnn_condition("relu", "l2", budget=45),
    "some diverge": replace(
        report_condition(budget=120), optimizer=SGD(learning_rate=3e3, momentum=0.99, weight_decay=0.2)
    ),
    "minibatches": condition(SMALL, batch_size=8, budget=65),
    "validation, now and then": condition(
        Adam(learning_rate=0.02, weight_decay=1e-2),
        batch_size=8,
        budget=130,
        measured_every=3,
        target=Accuracy(split="validation").at_least(1.0),
    ),
    "loss as target": condition(SMALL, budget=75, target=Loss().at_most(0.4)),
    "dropout": condition(SMALL, network=drawing_network, batch_size=8, budget=65),
    "batch norm": condition(SMALL, network=network_with_running_statistics, batch_size=8, budget=65),
    "attention": condition(SMALL, network=attention_network, batch_size=8, budget=65),
    "convolutions": condition(SMALL, network=convolutional_network, batch_size=8, budget=65),
    "weighted loss": condition(SMALL, loss=nn.CrossEntropyLoss(torch.tensor([1.0, 5.0, 0.2]).double()), budget=65),
    "accumulated": condition(SMALL, batch_size=8, accumulate=2, budget=65),
    "two optimizers, clipped": condition(
        Partition(is_matrix, Adam(learning_rate=cosine(0.02)), SMALL), clip_norm=0.5, budget=65
    ),
    "EMA": condition(SMALL, average=EMA(0.9), batch_size=8, budget=65, measures={"end": Accuracy()}),
    "SWA": condition(
        SMALL, average=SWA(start=13, every=3), budget=65, target=Accuracy(split="validation").at_least(1.0)
    ),
    "values on the way": condition(SMALL, budget=70, target=None, measures={"end": Accuracy()}, measured_at=(13, 40)),
}


def trained(
    condition: Condition,
    record: Callable[[StackedReplicasModule], RecordedUpdates | None],
    compute_config: ComputeConfig = DOUBLE,
) -> tuple[StackedReplicasModule, Any]:
    module = stacked_training(condition, 0, REPLICAS, compute_config, curves_of=len(REPLICAS))
    assert isinstance(module, StackedReplicasModule)
    module._recorded_updates = partial(record, module)  # type: ignore[method-assign]
    fit(module, compute_config)
    assert module.recorded is None  # what it holds is freed
    return module, module.outcome()


def recorded(module: StackedReplicasModule) -> RecordedUpdates:
    assert module.population.can_be_recorded
    return RecordedUpdates(module.population, module._updates, partial(record_on_a_cpu, module.population))


def assert_same(outcome: Any, expected: Any) -> None:
    for name in ("steps_to_target", "reached", "diverged", "loss", "metric", "gradient_norm"):
        np.testing.assert_array_equal(getattr(outcome, name), getattr(expected, name), err_msg=name)
    for name, values in expected.values.items():
        np.testing.assert_array_equal(outcome.values[name], values, err_msg=name)


def recorded_as_plain(given: Condition, compute_config: ComputeConfig = DOUBLE) -> Any:
    """Compare training that is recorded with training that is not, bit for bit; return its outcome."""
    made: list[RecordedUpdates] = []

    def noted(module: StackedReplicasModule) -> RecordedUpdates:
        made.append(recorded(module))
        return made[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        module, outcome = trained(given, noted, compute_config)
    (only,) = made
    assert only.works
    assert only.recordings
    plain, expected = trained(given, lambda _: None, compute_config)
    assert_same(outcome, expected)
    for held, other in zip(module.population.state_tensors, plain.population.state_tensors, strict=True):
        assert torch.equal(held.nan_to_num(), other.nan_to_num())
    return outcome


@pytest.mark.parametrize("name", CONDITIONS)
def test_recorded_updates_equal_plain_ones_bit_for_bit(name: str) -> None:
    expected = recorded_as_plain(CONDITIONS[name])
    if name == "some diverge":
        assert expected.diverged.any()


@pytest.mark.parametrize("name", ["MLP", "CNN", "minibatches", "dropout", "accumulated", "EMA"])
def test_mixed_precision_is_recorded_too(name: str) -> None:
    outcome = recorded_as_plain(CONDITIONS[name], ComputeConfig(precision="bf16-mixed"))
    assert np.isfinite(outcome.loss).all()


def test_a_recording_that_fails_leaves_training_as_it_was() -> None:
    def fails(module: StackedReplicasModule) -> RecordedUpdates:
        def record(run: Callable[[], None]) -> Callable[[], None]:
            record_on_a_cpu(module.population, run)
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

        return RecordedUpdates(module.population, module._updates, record)

    with pytest.warns(
        UserWarning, match="cannot be recorded as a CUDA graph .operation not permitted when stream is capturing."
    ):
        _, outcome = trained(CONDITIONS["minibatches"], fails)
    assert_same(outcome, trained(CONDITIONS["minibatches"], lambda _: None)[1])


def shifted(population: Population, replay: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        population.state_tensors[2].add_(0.1)
        replay()

    return run


def idle(population: Population, replay: Callable[[], None]) -> Callable[[], None]:
    return lambda: None


@pytest.mark.parametrize("wrong", [shifted, idle])
@pytest.mark.parametrize("measured_every", [1, 10])
def test_a_recording_that_gives_other_numbers_is_found_and_left(wrong: Callable[..., Any], measured_every: int) -> None:
    def wrongly_recorded(module: StackedReplicasModule) -> RecordedUpdates:
        population = module.population

        def record(run: Callable[[], None]) -> Callable[[], None]:
            return wrong(population, record_on_a_cpu(population, run))  # type: ignore[no-any-return]

        return RecordedUpdates(population, module._updates, record)

    measured = replace(CONDITIONS["minibatches"], measured_every=measured_every)
    with pytest.warns(UserWarning, match="give other numbers when they are recorded"):
        _, outcome = trained(measured, wrongly_recorded)
    assert_same(outcome, trained(measured, lambda _: None)[1])


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_updates_that_fit_into_memory_go_on_where_their_recording_does_not() -> None:
    def full(module: StackedReplicasModule) -> RecordedUpdates:
        def record(run: Callable[[], None]) -> Callable[[], None]:
            raise OUT_OF_MEMORY

        return RecordedUpdates(module.population, module._updates, record)

    with pytest.warns(UserWarning, match=r"\(CUDA out of memory.*goes on.* A recording takes memory of its own"):
        _, outcome = trained(CONDITIONS["minibatches"], full)
    assert_same(outcome, trained(CONDITIONS["minibatches"], lambda _: None)[1])


def test_memory_that_runs_out_without_a_recording_is_for_the_launch_to_halve() -> None:
    def full(module: StackedReplicasModule) -> RecordedUpdates:
        taken: list[Updates] = []

        def take(updates: Updates) -> tuple[Tensor, Tensor]:
            taken.append(updates)
            if len(taken) == 1:  # before the first recording
                return module._updates(updates)
            raise OUT_OF_MEMORY

        return RecordedUpdates(module.population, take, partial(record_on_a_cpu, module.population))

    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="goes on without"):
        trained(CONDITIONS["minibatches"], full)


def counted(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.tensor(float((outputs.argmax(1) == targets).float().mean()))


@pytest.mark.filterwarnings("ignore:metric counted is measured replica by replica")
@pytest.mark.parametrize(
    "changes",
    [
        {"stacked": False},
        {"optimizer": TorchOptimizer(torch.optim.SGD, lr=0.01)},
        {"target": Metric(counted).at_least(0.95)},
    ],
)
def test_what_python_decides_between_updates_is_not_recorded(changes: dict[str, Any]) -> None:
    module = stacked_training(condition(**{"optimizer": SMALL, **changes}), 0, REPLICAS, DOUBLE)
    assert not module.population.can_be_recorded


CAPTURABLE = ("Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adadelta", "Adamax", "ASGD", "Rprop")


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch's optimisers take a CPU for a device whose steps can be captured."""
    monkeypatch.setattr(torch_optimizers, "CAPTURING", ("cpu",))
    for name in {name.lower() for name in CAPTURABLE}:
        module = sys.modules[f"torch.optim.{name}"]
        if hasattr(module, "_get_capturable_supported_devices"):
            monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"])


def test_gradient_norms_are_of_the_numbers_that_each_moment_draws() -> None:
    norms = []
    for record in (recorded, lambda _: None):
        module = stacked_training(CONDITIONS["dropout"], 0, REPLICAS, DOUBLE, curves_of=4, updates_per_step=5)
        module._recorded_updates = partial(record, module)  # type: ignore[method-assign]
        fit(module, DOUBLE)
        norms.append(module.outcome().gradient_norm)
    assert norms[0].shape[1] == 13
    np.testing.assert_array_equal(norms[0], norms[1])


@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize("name", CAPTURABLE)
def test_steps_of_torchs_optimisers_are_recorded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = getattr(torch.optim, name)
    lr = cosine(0.02, warmup=5) if kind in torch_optimizers.TENSOR_RATES else 0.02
    given = condition(TorchOptimizer(kind, lr=lr), batch_size=8, budget=40, target=Loss().at_most(0.5))
    outcome = recorded_as_plain(given)
    monkeypatch.setattr(torch_optimizers, "CAPTURING", ())
    _, ordinary = trained(given, lambda _: None)
    np.testing.assert_allclose(outcome.loss, ordinary.loss, rtol=1e-6)


@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize(
    "optimizer",
    [
        TorchOptimizer(torch.optim.Adam, lr=0.02, capturable=False),
        TorchOptimizer(torch.optim.Adam, lr=0.02, capturable=True),
        TorchOptimizer(
            torch.optim.Adam, lr=0.02, groups=lambda net: [{"params": list(net.parameters()), "capturable": False}]
        ),
        Partition(is_matrix, TorchOptimizer(torch.optim.NAdam, lr=0.02), SMALL),
    ],
)
def test_whoever_says_capturable_is_recorded_too(optimizer: Any) -> None:
    outcome = recorded_as_plain(condition(optimizer, batch_size=8, budget=40, target=Loss().at_most(0.5)))
    assert np.isfinite(outcome.loss).all()


@pytest.mark.usefixtures("capturing")
def test_a_checkpoint_goes_on_where_steps_are_captured_and_where_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    given = condition(TorchOptimizer(torch.optim.Adam, lr=cosine(0.02)), batch_size=8, budget=6)
    states, losses = {}, {}
    for captures in (True, False):
        monkeypatch.setattr(torch_optimizers, "CAPTURING", ("cpu",) if captures else ())
        module, outcome = trained(given, lambda _: None)
        states[captures], losses[captures] = module.population.state_dict(), outcome.loss
    for captures in (True, False):
        monkeypatch.setattr(torch_optimizers, "CAPTURING", ("cpu",) if captures else ())
        module = stacked_training(given, 0, REPLICAS, DOUBLE)
        module.population.load_state_dict(states[not captures])
        (group,) = module.population.optimizer.optimizer.param_groups  # type: ignore[attr-defined]
        assert group["capturable"] == captures
        assert isinstance(group["lr"], Tensor) == captures
        loss, _ = module.population.advance(module.inputs, module.targets, 1, first=5, criterion=None)
        assert loss.isfinite().all()


@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize(
    "optimizer",
    [
        TorchOptimizer(torch.optim.SGD, lr=0.1),
        TorchOptimizer(torch.optim.Adagrad, lr=0.1),
        TorchOptimizer(torch.optim.NAdam, lr=cosine(0.1)),
        TorchOptimizer(torch.optim.Adam, lr=0.1, weight_decay=cosine(0.1)),
        TorchOptimizer(torch.optim.Adafactor, lr=0.1),
    ],
)
def test_steps_that_torch_cannot_capture_are_not_recorded(optimizer: TorchOptimizer) -> None:
    assert not stacked_training(condition(optimizer), 0, REPLICAS, DOUBLE).population.can_be_recorded


@pytest.mark.parametrize(("device", "precision", "records"), [
    ("cuda", "64-true", True), ("cuda", "bf16-mixed", True), ("cpu", "64-true", False), ("mps", "32-true", False)
])  # fmt: skip
def test_updates_are_recorded_on_cuda_alone(
    device: str, precision: str, records: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = stacked_training(CONDITIONS["minibatches"], 0, REPLICAS, DOUBLE)
    assert isinstance(module, StackedReplicasModule)
    monkeypatch.setattr("lossact.training.stacked.CudaGraphs", lambda: record_on_a_cpu)
    monkeypatch.setattr(StackedReplicasModule, "device", SimpleNamespace(type=device))
    monkeypatch.setattr(StackedReplicasModule, "trainer", SimpleNamespace(precision=precision))
    assert (module._recorded_updates() is not None) == records


@pytest.mark.parametrize("kind", [UNIFORM, NORMAL, MASK])
def test_draws_at_a_moment_in_a_tensor_are_those_at_its_number(kind: str) -> None:
    replicas, key, stage = torch.arange(3), (5, 6), 1 << 56
    for batch in (0, 7, 2**40):
        by_number = tensor_draw(replicas, key, (11, stage | batch), 10, kind, number=0.3)
        assert torch.equal(
            tensor_draw(replicas, key, (11, torch.tensor(batch) + stage), 10, kind, number=0.3), by_number
        )
        drawn = draw(replicas, key, [11, stage], [10], kind, 0.3, torch.float32, torch.tensor(batch))
        assert torch.equal(drawn, draw(replicas, key, [11, stage | batch], [10], kind, 0.3, torch.float32))
