"""Outputs and losses as people have them, each with the value that a plain torch loop gives."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.utils.checkpoint import checkpoint
from torchmetrics.classification import MulticlassAccuracy

from lossact import Accuracy, Adam, Arrays, Condition, Loss, Metric
from lossact.errors import InputError
from lossact.replicas.objective import Objective
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.stacked import StackedOutcome
from tests.replicas.against_alone import DOUBLE, check_equal_to_alone, make_condition, network_alone, plain_sgd

RNG = np.random.default_rng(0)
X, CLASSES = RNG.standard_normal((24, 4)), RNG.integers(0, 3, 24)
WEIGHTS = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)


def classifier() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def outcome_of(condition: Condition, replicas: int = 4) -> StackedOutcome:
    module = stacked_training(condition, 0, range(replicas), DOUBLE, curves_of=replicas)
    fit(module, DOUBLE)
    return module.outcome()


def with_ignored(targets: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(targets)) % 2 == 0, targets, -100)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (nn.CrossEntropyLoss(weight=WEIGHTS), CLASSES),
        (nn.CrossEntropyLoss(weight=WEIGHTS, reduction="none"), CLASSES),
        (partial(f.cross_entropy, weight=WEIGHTS, reduction="none"), CLASSES),
        (nn.CrossEntropyLoss(reduction="none"), with_ignored(CLASSES)),
        (nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES),
    ],
    ids=["weighted mean", "weighted", "weighted function", "masked", "smoothed"],
)
def test_weighted_masked_and_smoothed_losses_are_torchs_objective(loss: Any, targets: np.ndarray) -> None:
    arguments: dict[str, Any] = {"label_smoothing": getattr(loss, "label_smoothing", 0.0)}
    weight = loss.keywords["weight"] if isinstance(loss, partial) else loss.weight
    torchs = partial(f.cross_entropy, weight=weight, **arguments)
    check_equal_to_alone(make_condition(classifier, loss, X, targets), classifier, torchs)


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(weight=WEIGHTS), partial(f.cross_entropy, weight=WEIGHTS), partial(f.cross_entropy)]
)
def test_a_loss_has_its_tensors_where_it_is_computed(loss: Any) -> None:
    """The meta device stands for a GPU: what lies elsewhere ends in torch's error there, too."""
    objective = Objective(loss, metric=partial(f.cross_entropy, weight=WEIGHTS))
    outputs, targets = torch.randn(24, 3).double(), torch.tensor(CLASSES)
    moved = objective.on(torch.device("meta"))
    there = moved.evaluate(outputs.to("meta"), targets.to("meta"))
    assert all(value.is_meta for value in there)
    assert moved.on(torch.device("meta")) is moved
    assert moved.on(torch.device("cpu")) is objective
    here = objective.mean_loss(outputs, targets)
    weight = None if isinstance(loss, partial) and not loss.keywords else WEIGHTS
    torch.testing.assert_close(here, f.cross_entropy(outputs, targets, weight=weight))


def bce(outputs: Tensor, targets: Tensor) -> Tensor:
    return f.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def share_of_labels(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs > 0) == (targets > 0.5)).double().mean()


LABELS_X = np.random.default_rng(0).standard_normal((48, 6))
LABELS = (LABELS_X[:, :4] > 0).astype(float)


def labels_condition(target: Any) -> Condition:
    return Condition(
        network=partial(nn.Linear, 6, 4), loss=bce, optimizer=Adam(learning_rate=0.3), data=Arrays(LABELS_X, LABELS),
        target=target, budget=100,
    )  # fmt: skip


def test_accuracy_of_several_labels_asks_which_is_meant() -> None:
    with pytest.raises(InputError, match=r"several labels an example; say what counts: Metric\(f\)"):
        stacked_training(labels_condition(Accuracy().at_least(0.9)), 0, range(2), DOUBLE)


def test_the_share_of_labels_that_are_right_is_a_metric() -> None:
    outcome = outcome_of(labels_condition(Metric(share_of_labels).at_least(0.9)), 16)
    assert outcome.reached.all()
    x, y = torch.from_numpy(LABELS_X), torch.from_numpy(LABELS)
    for row in range(3):
        network = network_alone(partial(nn.Linear, 6, 4), row)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.3)
        steps = 0
        while share_of_labels(network(x), y) < 0.9:
            optimizer.zero_grad()
            torch.autograd.backward(bce(network(x), y).mean())
            optimizer.step()
            steps += 1
        assert outcome.steps_to_target[row] == steps


class Filter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(5, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfft(torch.fft.rfft(x) * self.w, n=8)
        return out


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets) ** 2


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "side by side"])
def test_complex_weights_learn_their_imaginary_parts(stacked: bool) -> None:
    x = np.random.default_rng(0).standard_normal((40, 8))
    y = np.fft.irfft(np.fft.rfft(x) * np.array([1, 1j, -1, 1j, 1]), n=8)
    condition = make_condition(Filter, squared, x, y, optimizer=Adam(learning_rate=0.1), stacked=stacked)
    check_equal_to_alone(
        condition, Filter, lambda outputs, targets: squared(outputs, targets).mean(),
        lambda network: torch.optim.Adam(network.parameters(), lr=0.1), updates=20,
    )  # fmt: skip


def autoencoder() -> nn.Module:
    return nn.Conv2d(1, 1, 3, padding=1)


def test_a_loss_target_asks_for_no_accuracy() -> None:
    x = np.random.default_rng(0).standard_normal((32, 1, 6, 6))
    condition = Condition(
        network=autoencoder, loss=squared, optimizer=Adam(learning_rate=0.02), data=Arrays(x, x),
        target=Loss().at_most(0.5), budget=60,
    )  # fmt: skip
    outcome = outcome_of(condition)
    data = torch.from_numpy(x)
    for row in range(4):
        network = network_alone(autoencoder, row)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        steps = 0
        while (loss := squared(network(data), data).mean()) > 0.5:
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            steps += 1
        assert outcome.reached[row]
        assert outcome.steps_to_target[row] == steps


def test_accuracy_of_a_tuple_names_the_way_out() -> None:
    class Pair(nn.Linear):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return super().forward(x), x

    condition = make_condition(
        partial(Pair, 4, 3), lambda outputs, targets: f.cross_entropy(outputs[0], targets), X, CLASSES,
        target=Accuracy().at_least(0.9),
    )  # fmt: skip
    with pytest.raises(InputError, match=r"accuracy of outputs \(shape .* is not defined; give the target a measure"):
        stacked_training(condition, 0, range(2), DOUBLE)


class AddsInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 8, dtype=x.dtype)
        h += self.a(x)
        out: Tensor = self.b(h)
        return out


class Checkpointed(AddsInPlace):
    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.a, x, use_reentrant=False)
        out: Tensor = self.b(hidden)
        return out


class Branching(AddsInPlace):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.a(x) * (2.0 if bool(self.a.weight[0, 0] > 0) else 1.0))
        return out


def scripted() -> nn.Module:
    network: nn.Module = torch.jit.script(classifier())
    return network


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
@pytest.mark.parametrize(
    "make", [AddsInPlace, Checkpointed, Branching, scripted], ids=["in place", "checkpoint", "branch", "script"]
)
def test_what_cannot_be_stacked_trains_side_by_side(make: Any) -> None:
    def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
        return f.cross_entropy(outputs, targets)

    with pytest.raises(InputError, match=r"cannot be stacked by torch.func.vmap .*Condition\(stacked=False\)"):
        stacked_training(make_condition(make, cross_entropy, X, CLASSES), 0, [0, 5], DOUBLE)
    side_by_side = make_condition(make, cross_entropy, X, CLASSES, stacked=False)
    check_equal_to_alone(side_by_side, make, cross_entropy, plain_sgd)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(3)), "0 is a LazyLinear whose shape is not known yet; .* run the network"),
        (lambda: nn.Sequential(nn.Embedding(9, 3, sparse=True)), "0 is an Embedding with sparse gradients.*sparse=Tr"),
    ],
)
def test_modules_that_no_replicas_take_name_the_way_out(make: Any, message: str) -> None:
    for stacked in (True, False):
        with pytest.raises(InputError, match=message):
            stacked_training(make_condition(make, squared, X, X[:, :3], stacked=stacked), 0, [0], DOUBLE)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_lazy_network_that_ran_once_trains() -> None:
    def make() -> nn.Module:
        network = nn.Sequential(nn.LazyLinear(3))
        network(torch.zeros(1, 4))
        return network

    check_equal_to_alone(
        make_condition(make, squared, X, X[:, :3]), make, lambda outputs, targets: squared(outputs, targets).mean()
    )


def by_one_hot(outputs: Tensor, targets: Tensor) -> Tensor:
    """one_hot counts classes, which vmap cannot."""
    predicted, true = f.one_hot(torch.cat((outputs.argmax(1), targets))).chunk(2)
    return (predicted * true).sum(1).double().mean()


def by_argmax(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).double().mean()


def measured_curve(metric: Any) -> np.ndarray:
    loss = partial(f.cross_entropy, reduction="none")
    condition = make_condition(classifier, loss, X, CLASSES, budget=8, target=Metric(metric).at_least(1.0))
    return outcome_of(condition, 3).metric


def test_a_metric_that_vmap_cannot_take_is_measured_replica_by_replica() -> None:
    with pytest.warns(UserWarning, match="metric by_one_hot is measured replica by replica"):
        curve = measured_curve(by_one_hot)
    np.testing.assert_allclose(curve, measured_curve(by_argmax), rtol=1e-6)


def test_a_metric_of_torchmetrics_is_that_of_each_batch() -> None:
    curve = measured_curve(MulticlassAccuracy(3, average="micro"))
    np.testing.assert_allclose(curve, measured_curve(by_argmax), rtol=1e-6)


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "side by side"])
def test_batch_norm_is_measured_by_its_running_statistics(stacked: bool) -> None:
    """A single validation example has no batch statistics."""
    loss = partial(f.cross_entropy, reduction="none")
    data = Arrays(X, CLASSES, validation=(X[:1], CLASSES[:1]))
    condition = Condition(
        network=with_batch_norm, loss=loss, optimizer=Adam(learning_rate=0.01), data=data, budget=4,
        target=Loss(split="validation").at_most(-1.0), stacked=stacked,
    )  # fmt: skip
    outcome = outcome_of(condition, 2)
    x, y = torch.from_numpy(X), torch.from_numpy(CLASSES)
    for row in range(2):
        network = network_alone(with_batch_norm, row)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        curve = []
        for _ in range(5):
            network.eval()
            with torch.no_grad():
                curve.append(f.cross_entropy(network(x[:1]), y[:1]).item())
            network.train()
            optimizer.zero_grad()
            torch.autograd.backward(f.cross_entropy(network(x), y))
            optimizer.step()
        np.testing.assert_allclose(outcome.loss[row], curve, rtol=1e-9)
