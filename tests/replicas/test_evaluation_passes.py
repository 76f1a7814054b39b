"""What a network does in evaluation mode alone is found before training, or right; against plain loops."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional

from lossact import SGD, Accuracy, Arrays, Condition, Loss, Metric, OfNetwork, record_snapshots, replicate
from lossact.errors import InputError
from lossact.training.compute_config import ComputeConfig

DOUBLE = ComputeConfig(precision="64-true", threads=1)
RNG = np.random.default_rng(0)
INPUTS, VALIDATION = RNG.standard_normal((32, 4)), RNG.standard_normal((24, 4))
LABELS, VALIDATION_LABELS = ((each[:, 0] > 0).astype(np.int64) for each in (INPUTS, VALIDATION))
DATA = Arrays(INPUTS, LABELS, validation=(VALIDATION, VALIDATION_LABELS))
BUDGET = 20


def condition(network: Any, **changes: Any) -> Condition:
    given: dict[str, Any] = {
        "network": network, "loss": functional.cross_entropy, "optimizer": SGD(learning_rate=0.5), "data": DATA,
        "budget": BUDGET, "measures": {"loss": Loss(split="validation")},
    }  # fmt: skip
    return Condition(**given | changes)


class LowRank(nn.Linear):
    """Adds a product of two small matrices to a weight that stays; eval() merges them, train() takes that back."""

    def __init__(self) -> None:
        super().__init__(4, 6)
        self.down, self.up = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.zeros(6, 2))
        self.weight.requires_grad_(False)
        self.merged = False

    def train(self, mode: bool = True) -> "LowRank":
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.up @ self.down).detach()
            self.merged = not mode
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return outputs if self.merged else outputs + inputs @ self.down.T @ self.up.T


class Rebinding(LowRank):
    """Merges into another tensor, also of a weight that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.weight.requires_grad_(True)

    def train(self, mode: bool = True) -> "Rebinding":
        nn.Linear.train(self, mode)
        if mode == self.merged:
            self.weight.data = self.weight.data + (-1 if mode else 1) * (self.up @ self.down).detach()
            self.merged = not mode
        return self


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(4, 2), 0
        self.cache: Tensor | None = None

    def forward(self, inputs: Tensor) -> Any:
        return self.linear(inputs)


class Counting(Layer):
    def forward(self, inputs: Tensor) -> Any:
        self.calls += not self.training
        return self.linear(inputs) * (self.calls + 1)


class Caching(Layer):
    def forward(self, inputs: Tensor) -> Any:
        if not self.training and self.cache is None:
            self.cache = self.linear.weight.detach() * 2
        return self.linear(inputs) if self.cache is None else inputs @ self.cache.T


class DrawingFromNumpy(Layer):
    def forward(self, inputs: Tensor) -> Any:
        noise = 0.0 if self.training else np.random.normal()  # noqa: NPY002
        return self.linear(inputs) + noise * inputs[:, :2]


class Drawing(Layer):
    def forward(self, inputs: Tensor) -> Any:
        outputs = self.linear(inputs)
        return outputs if self.training else outputs + torch.rand_like(outputs)


class Looking(Layer):
    """Keeps what it computed, to be looked at."""

    def forward(self, inputs: Tensor) -> Any:
        self.seen = self.linear(inputs).detach()
        return self.linear(inputs)


class Recording(Layer):
    """Keeps what it computed in evaluation, and counts how often it is switched; nothing of it is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Tensor | None = None
        self.all_seen: list[Tensor] = []
        self.switched = 0

    def train(self, mode: bool = True) -> "Recording":
        self.switched += 1
        super().train(mode)
        return self

    def forward(self, inputs: Tensor) -> Any:
        outputs = self.linear(inputs)
        if not self.training:
            self.seen = outputs.detach()
            self.all_seen.append(self.seen)
        return outputs


def low_rank() -> nn.Module:
    return nn.Sequential(LowRank(), nn.Tanh(), nn.Linear(6, 2))


def rebinding() -> nn.Module:
    return nn.Sequential(Rebinding(), nn.Tanh(), nn.Linear(6, 2))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (low_rank, r"network's train\(\) or eval\(\) changes its '0.weight'"),
        (Counting, "network changes its 'calls' in its forward pass"),
        (Caching, "network changes its 'cache' in its forward pass"),
        (DrawingFromNumpy, "draws from numpy's or Python's generators"),
    ],
)
def test_what_stacked_replicas_would_share_in_evaluation_is_refused(network: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replicate(condition(network), replicas=2)


def plain(network: Callable[[], nn.Module], start: nn.Module) -> float:
    """The validation loss of a network trained in a plain loop."""
    module = network().double()
    module.load_state_dict(start.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    inputs, labels, validation, validation_labels = map(torch.tensor, (INPUTS, LABELS, VALIDATION, VALIDATION_LABELS))
    for _ in range(BUDGET):
        optimizer.zero_grad()
        functional.cross_entropy(module.train()(inputs), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return functional.cross_entropy(module.eval()(validation), validation_labels).item()


def validation_loss(network: nn.Module) -> Any:
    dtype = next(network.parameters()).dtype
    outputs = network(torch.tensor(VALIDATION, dtype=dtype))
    return functional.cross_entropy(outputs, torch.tensor(VALIDATION_LABELS)).detach()


@pytest.mark.parametrize("network", [low_rank, rebinding])
def test_networks_side_by_side_are_switched_by_their_own_train_and_eval(network: Any) -> None:
    measures = {"loss": Loss(split="validation"), "of network": OfNetwork(validation_loss)}
    given = condition(network, stacked=False, measured_at=(0, 7), measures=measures)
    snapshots, *_ = record_snapshots(given, 0, range(3), every=BUDGET, compute_config=DOUBLE)
    trained = replicate(given, replicas=3, compute_config=DOUBLE)
    for replica, start in enumerate(snapshots[0].networks):
        expected = plain(network, start.train())
        assert trained.trials.values["loss"][replica] == pytest.approx(expected, rel=1e-9)
        assert trained.trials.values["of network"][replica] == pytest.approx(expected, rel=1e-9)
        for shown in (trained.networks[replica], snapshots[-1].networks[replica]):
            assert float(validation_loss(shown)) == pytest.approx(expected, rel=1e-9)


def test_what_is_kept_to_be_looked_at_may_be_stacked() -> None:
    given = condition(Recording, measured_at=(0, 7))
    values = [
        replicate(each, replicas=3, compute_config=DOUBLE).trials.values["loss"]
        for each in (given, condition(Recording, measured_at=(0, 7), stacked=False), condition(Layer))
    ]
    for other in values[1:]:
        np.testing.assert_allclose(values[0], other, rtol=1e-12)


@pytest.mark.parametrize("stacked", [True, False])
def test_random_numbers_of_evaluation_are_each_replicas_own(stacked: bool) -> None:
    given = condition(Drawing, stacked=stacked)
    four, two = (replicate(given, replicas=n, compute_config=DOUBLE).trials.values["loss"] for n in (4, 2))
    np.testing.assert_allclose(four[:2], two, rtol=1e-12)
    other = replicate(condition(Drawing, stacked=not stacked), replicas=4, compute_config=DOUBLE)
    np.testing.assert_allclose(four, other.trials.values["loss"], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize(
    "network", [lambda: nn.utils.weight_norm(nn.Linear(4, 2)), Looking], ids=["weight norm", "kept"]
)
def test_networks_are_copied_without_what_passes_left_in_them(network: Any, stacked: bool) -> None:
    def norm(module: nn.Module) -> Any:
        return torch.linalg.vector_norm(torch.cat([each.detach().flatten() for each in module.parameters()]))

    given = condition(network, stacked=stacked, measures={"norm": OfNetwork(norm), "loss": Loss(split="validation")})
    trained = replicate(given, replicas=2, compute_config=DOUBLE)
    snapshots, *_ = record_snapshots(given, 0, range(2), every=BUDGET, compute_config=DOUBLE)
    for replica, module in enumerate(trained.networks):
        assert trained.trials.values["norm"][replica] == pytest.approx(float(norm(module)))
        loss = functional.cross_entropy(module(torch.tensor(VALIDATION)), torch.tensor(VALIDATION_LABELS))
        assert trained.trials.values["loss"][replica] == pytest.approx(loss.item())
        assert float(norm(snapshots[-1].networks[replica])) == pytest.approx(float(norm(module)))


class Answer(NamedTuple):
    logits: Any
    past: Any


class Odd:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


ANSWERS: dict[str, tuple[Any, Any]] = {
    "a dict with None": (lambda logits: {"logits": logits, "past": None}, lambda outputs: outputs["logits"]),
    "a tuple with None": (lambda logits: (logits, None), lambda outputs: outputs[0]),
    "a tuple with a number": (lambda logits: (3, logits), lambda outputs: outputs[1]),
    "a named tuple": (lambda logits: Answer(logits, "none"), lambda outputs: outputs.logits),
}


def answering(wrap: Any) -> Any:
    class Wrapped(Layer):
        def forward(self, inputs: Tensor) -> Any:
            return wrap(self.linear(inputs))

    return Wrapped


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("kind", ANSWERS)
def test_outputs_may_hold_what_is_no_tensor(kind: str, stacked: bool) -> None:
    wrap, logits_of = ANSWERS[kind]

    def loss(outputs: Any, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits_of(outputs), targets)

    found = replicate(condition(answering(wrap), loss=loss, stacked=stacked), replicas=2, compute_config=DOUBLE)
    expected = replicate(condition(Layer, stacked=stacked), replicas=2, compute_config=DOUBLE)
    np.testing.assert_allclose(found.trials.values["loss"], expected.trials.values["loss"], rtol=1e-12)


@pytest.mark.parametrize("stacked", [True, False])
def test_a_target_may_be_of_outputs_whose_first_part_is_no_tensor(stacked: bool) -> None:
    def loss(outputs: Any, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs[1], targets)

    def right(outputs: Any, targets: Tensor) -> Tensor:
        correct: Tensor = outputs[1].argmax(1) == targets
        return correct.double()

    target = Metric(right, split="validation").at_least(0.8)
    given = condition(answering(lambda logits: (None, logits)), loss=loss, stacked=stacked, measures={}, target=target)
    plainly = condition(Layer, measures={}, target=Accuracy(split="validation").at_least(0.8))
    found, expected = (replicate(each, replicas=4, compute_config=DOUBLE).trials for each in (given, plainly))
    assert found.steps.tolist() == expected.steps.tolist()
    snapshots, *_ = record_snapshots(given, 0, range(2), every=BUDGET, compute_config=DOUBLE)
    assert len(snapshots) >= 2  # networks are copied between passes


@pytest.mark.parametrize("stacked", [True, False])
def test_outputs_of_a_class_of_their_own_are_named(stacked: bool) -> None:
    def loss(outputs: Any, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs.logits, targets)

    with pytest.raises(InputError, match="network returned a Odd, which cannot be measured"):
        replicate(condition(answering(Odd), loss=loss, stacked=stacked), replicas=2)


@pytest.mark.filterwarnings("ignore:metric .* is measured replica by replica")
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("metric", [torchmetrics.F1Score, torchmetrics.Precision, torchmetrics.Recall])
def test_metric_objects_that_vmap_does_not_take(metric: Any) -> None:
    given = metric(task="multiclass", num_classes=2, average="macro")
    steps = []
    for stacked in (True, False):
        target = Metric(given, split="validation").at_least(0.8)
        trained = replicate(condition(Layer, measures={}, target=target, stacked=stacked), replicas=8)
        steps.append(trained.trials.steps)
    assert steps[0].tolist() == steps[1].tolist()
    assert steps[0].any()


def ending_in_a_sigmoid() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 1), nn.Sigmoid(), nn.Flatten(0))


def one_logit() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square()


@pytest.mark.parametrize(
    ("network", "targets", "message"),
    [
        (ending_in_a_sigmoid, LABELS.astype(float), "takes logits, and network ends in a sigmoid"),
        (one_logit, LABELS + 1.0, "needs targets of 0 and 1, or -1 and 1, and these go from 1 to 2"),
        (one_logit, INPUTS[:, 0], "needs targets of 0 and 1, or -1 and 1"),
    ],
)
def test_accuracy_of_one_output_is_that_of_logits_against_two_labels(network: Any, targets: Any, message: str) -> None:
    for given in ({"measures": {"accuracy": Accuracy()}}, {"measures": {}, "target": Accuracy().at_least(0.8)}):
        with pytest.raises(InputError, match=message):
            replicate(condition(network, loss=squared, data=Arrays(INPUTS, targets), **given), replicas=2)
    replicate(condition(network, loss=squared, data=Arrays(INPUTS, targets), measures={"loss": Loss()}), replicas=2)


def test_labels_of_validation_are_looked_at_where_accuracy_is_measured_there() -> None:
    data = Arrays(INPUTS, LABELS.astype(float), validation=(INPUTS, LABELS + 1.0))
    given = partial(condition, one_logit, loss=squared, data=data)
    for wrong in (
        given(measures={"accuracy": Accuracy(split="validation")}, target=None),
        given(measures={}, target=Accuracy(split="validation").at_least(0.8)),
    ):
        with pytest.raises(InputError, match="and those of validation go from 1 to 2"):
            replicate(wrong, replicas=2)
    replicate(given(measures={"accuracy": Accuracy()}, target=None), replicas=2)


def test_labels_of_minus_one_and_one_and_smoothed_ones_have_an_accuracy() -> None:
    accuracies = []
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.1, 0.9)):  # the last are smoothed
        data = Arrays(INPUTS, np.where(LABELS == 1, high, low))

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return functional.softplus(torch.where(targets > 0.5, -outputs, outputs))

        given = condition(one_logit, loss=loss, data=data, measures={"accuracy": Accuracy()})
        accuracies.append(replicate(given, replicas=4).trials.values["accuracy"])
    assert accuracies[0].tolist() == accuracies[1].tolist() == accuracies[2].tolist()
    assert accuracies[0].mean() > 0.8
