from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

import lossact
from lossact import SGD, Accuracy, Adam, Arrays, Condition, Measure, Metric, MLPConfig
from lossact.data.dataset import Dataset
from lossact.errors import InputError
from tests.conftest import report_condition


def test_equal_content_is_an_equal_condition() -> None:
    a = report_condition()
    assert a == replace(a, name="another name")
    assert hash(a) == hash(replace(a, name="another name"))
    for change in ({"loss": "l2"}, {"budget": 999}, {"version": "2"}, {"target": Accuracy().at_least(0.9)}):
        assert a != replace(a, **change)


def net(width: int) -> nn.Module:
    return nn.Linear(2, width)


def squares(outputs: Any, targets: Any, power: int = 2) -> Any:
    return (outputs - targets) ** power


def test_a_condition_is_called_after_its_network_and_loss() -> None:
    base = Condition(
        network=partial(net, width=1),
        loss=nn.MSELoss(),
        data=Arrays(np.ones((2, 2)), np.ones((2, 1))),
        optimizer=SGD(learning_rate=0.1),
        target=Metric(partial(squares, power=4)).at_most(0.1),
        budget=1,
    )
    assert (base.name, base.metric_name) == ("net/MSELoss", "squares")
    assert replace(base, loss=partial(partial(squares, power=2)), name="").name == "net/squares"
    assert replace(base, network=MLPConfig(activation="relu"), loss="l2", name="").name == "relu/l2"


def test_a_condition_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        report_condition().budget = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(learning_rate=-0.1), "learning_rate=-0.1 must be > 0; try 0.1"),
        (lambda: SGD(learning_rate=float("inf")), "learning_rate=inf must be > 0; try 0.1"),
        (lambda: SGD(learning_rate="fast"), "learning_rate='fast' must be > 0; try 0.1"),  # type: ignore[arg-type]
        (lambda: SGD(learning_rate=1, momentum=1.0), "momentum=1.0 must be >= 0 and < 1; try 0.9"),
        (lambda: SGD(learning_rate=1, weight_decay=-1), "weight_decay=-1 must be >= 0; try 0.0005"),
        (lambda: SGD(learning_rate=1, bias_gradient_scale=0), "bias_gradient_scale=0 must be > 0; try 1.0"),
        (lambda: Accuracy().at_least(0), "at_least=0 must be > 0 and <= 1; try 1.0"),
        (lambda: Accuracy().at_least(1.2), "at_least=1.2 must be > 0 and <= 1; try 1.0"),
        (
            lambda: MLPConfig(activation="swish"),
            "activation='swish' is not known; choose one of gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh",
        ),
        (lambda: MLPConfig(activation="relu", hidden=0), "hidden=0 must be an integer >= 1; try 4"),
        (lambda: MLPConfig(activation="relu", initial_scale=0), "initial_scale=0 must be > 0; try 1.0"),
        (
            lambda: report_condition(loss="logistic"),
            "loss='logistic' is not known; choose one of cross_entropy, hinge, huber, l2",
        ),
        (lambda: report_condition(budget=0), "budget=0 must be an integer >= 1; try 1000"),
    ],
)
def test_bad_values_are_named(make: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        make()  # type: ignore[operator]
    assert str(error.value) == message


MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "an argument that torch's has": (
        "Adam", {"lr": 0.1}, "Adam has no argument lr=0.1; it takes learning_rate, beta1, beta2, epsilon, weight_decay"
    ),
    "a misspelt argument": (
        "AdamW", {"wieght_decay": 0.1},
        "AdamW has no argument wieght_decay=0.1; did you mean weight_decay? It takes learning_rate, beta1, beta2, "
        "epsilon, weight_decay",
    ),
    "an argument of another lossact": ("Condition", {"optimiser": 3}, "Condition has no argument optimiser=3; did you"),
    "a missing argument": ("SGD", {}, "SGD: missing a required argument: 'learning_rate'; write arguments by name"),
    "a measure": ("Accuracy", {"splits": "validation"}, "Accuracy has no argument splits='validation'; did you mean"),
    "data": ("RandomImages", {"n": 3}, "RandomImages has no argument n=3; it takes n_images, height"),
    "a network": ("MLPConfig", {"layers": 2}, "MLPConfig has no argument layers=2; it takes activation, hidden"),
    "a function": ("FunctionCondition", {"budgets": 9}, "FunctionCondition has no argument budgets=9; did you mean"),
    "a module": ("LightningCondition", {"modul": 9}, "LightningCondition has no argument modul=9; did you mean"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_arguments_that_do_not_exist_are_named(mistake: str) -> None:
    name, arguments, message = MISTAKES[mistake]
    with pytest.raises(InputError) as error:
        getattr(lossact, name)(**arguments)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


api: Any = lossact
CALLS: dict[str, tuple[Callable[..., Any], str]] = {
    "what it is compared with": (
        lambda a: api.faster(a, a),
        "faster: too many positional arguments; write arguments by name, as in faster(condition, than=..., ratio=...)",
    ),
    "nothing to compare with": (
        lambda a: api.faster(a),
        "faster: missing a required argument: 'than'; write arguments by name, as in faster(condition, than=...)",
    ),
    "a condition under another name": (
        lambda a: api.faster(a, then=a),
        "faster has no argument then=...; did you mean than? It takes condition, than, ratio",
    ),
    "a seed of an experiment": (
        lambda a: api.evaluate(a, seed=5),
        "evaluate has no argument seed=5; an Experiment has, so write experiment=Experiment(seed=...)",
    ),
    "a folder for a store": (lambda _: api.Experiment(".lossact"), "Experiment: too many positional arguments"),
    "a draw without its generator": (
        lambda _: api.GeneratedData(lambda: None),
        "draw=<lambda>() cannot be called as draw(generator)",
    ),
    "a number for a store": (lambda _: api.Store(3), "directory=3 must be a path"),
    "no peak": (lambda _: api.cosine(), "cosine: missing a required argument: 'peak'; write"),
}


@pytest.mark.parametrize("mistake", CALLS)
def test_calls_that_cannot_be_made_are_errors_before_anything_is_trained(mistake: str) -> None:
    call, message = CALLS[mistake]
    with pytest.raises(InputError) as error:
        call(api.FunctionCondition(train=lambda seed: 3, budget=5))
    assert str(error.value).startswith(message)


def test_the_number_of_replicas_is_an_integer(tmp_path: Path) -> None:
    with api.Store(tmp_path) as store, pytest.raises(InputError, match="replicas='4' must be an integer >= 1; try 64"):
        api.Experiment(store=store).trials([api.FunctionCondition(train=lambda seed: 3, budget=5)], "4")


def test_arguments_are_given_by_name() -> None:
    with pytest.raises(InputError, match=r"SGD: too many positional arguments; write arguments by name, as in"):
        SGD(0.1)  # type: ignore[call-arg]


class Lion(Adam):
    """Overrides the update, which lossact would not call."""

    kind: ClassVar[str] = "lion"

    def update(self, weights: Any, gradient: Any) -> Any:
        return weights - self.learning_rate * gradient.sign()


class Renamed(SGD):
    """Another name, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Slower(Adam):
    """Another default, and one number more, which no rule reads."""

    learning_rate: float = 1e-4
    lookahead: int = 5


@pytest.mark.parametrize(
    "optimizer", [Lion(learning_rate=0.1), Renamed(learning_rate=0.1), Slower()], ids=["rule", "name", "number"]
)
def test_a_subclass_of_an_optimizer_does_not_train_as_its_parent(optimizer: Adam) -> None:
    with pytest.raises(InputError, match=rf"^optimizer={type(optimizer).__name__}\(.* must be one of SGD, Adam, AdamW"):
        replace(report_condition(), optimizer=optimizer)


class Flipped(Arrays):
    """Other examples, whose key would be that of its parent's."""

    def sample(self, generator: np.random.Generator) -> Dataset:
        drawn = super().sample(generator)
        return Dataset(-drawn.inputs, drawn.targets)


class Wide(MLPConfig):
    def initial_parameters(self, *arguments: Any) -> Any:
        return {name: 9 * value for name, value in super().initial_parameters(*arguments).items()}


class OwnAccuracy(Accuracy):
    def compute(self, outputs: Any, targets: Any) -> Any:
        return outputs > targets


class OwnMeasure(Measure):
    split = "training"
    name = "own"

    def content(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"data": Flipped(np.ones((2, 2, 2)), np.arange(2.0))}, r"^data=Flipped\(.* must be one of RandomIm"),
        (lambda: {"network": Wide(hidden=4, activation="relu")}, r"^network=Wide\(.* must be one of MLPConfig, CNNC"),
        (lambda: {"target": OwnAccuracy().at_least(0.9)}, r"^measure=OwnAccuracy\(.* of your own.*take Metric\(f\)"),
        (lambda: {"target": OwnMeasure().at_most(0.9)}, r"^measure=.*OwnMeasure .* of your own"),
        (lambda: {"measures": {"x": OwnAccuracy()}}, r"^measures\['x'\]=OwnAccuracy\(.* of your own"),
    ],
    ids=["data", "network", "target", "measure", "value"],
)  # fmt: skip
def test_a_subclass_whose_methods_would_not_be_used_is_refused(
    make: Callable[[], dict[str, Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        replace(report_condition(), **make())
