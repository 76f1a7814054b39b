from dataclasses import FrozenInstanceError, replace

import pytest

from lossact import SGD, Accuracy, MLPConfig
from lossact.errors import InputError
from tests.conftest import report_condition


def test_equal_content_is_an_equal_condition() -> None:
    a = report_condition()
    assert a == replace(a, name="another name")
    assert hash(a) == hash(replace(a, name="another name"))
    for change in ({"loss": "l2"}, {"budget": 999}, {"version": "2"}, {"target": Accuracy().at_least(0.9)}):
        assert a != replace(a, **change)


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
