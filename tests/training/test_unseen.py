"""A test on data that a function draws is a test on examples that were not learned."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lossact import Accuracy, Adam, Condition, GeneratedData
from lossact.errors import InputError
from lossact.running.training_module import training_module

X = np.random.default_rng(0).standard_normal((40, 3))
Y = (X[:, 0] > 0).astype(float)


def fixed(generator: np.random.Generator) -> Any:
    return X, Y


def shuffled(generator: np.random.Generator) -> Any:
    order = generator.permutation(40)
    return X[order], Y[order]


def own_seed(generator: np.random.Generator) -> Any:
    return np.random.default_rng(3).standard_normal((40, 3)), Y


def split(generator: np.random.Generator) -> Any:
    order = generator.permutation(40)
    return X[order[:36]], Y[order[:36]], (X[order[36:]], Y[order[36:]])


def fresh(generator: np.random.Generator) -> Any:
    inputs = generator.standard_normal((40, 3))
    return inputs, (inputs[:, 0] > 0).astype(float)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def module(draw: Any, replicas: int) -> Any:
    condition = Condition(
        network=network,
        loss=loss,
        optimizer=Adam(),
        data=GeneratedData(draw),
        target=Accuracy().at_least(0.9),
        budget=5,
    )
    return training_module(condition, 0, range(replicas))


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("draw", [fixed, shuffled, own_seed])
def test_a_draw_that_is_the_training_set_is_refused(draw: Any, replicas: int) -> None:
    with pytest.raises(InputError, match="the same examples for every generator, so a test would measure training"):
        module(draw, replicas).test_dataloader()


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_draw_of_many_training_examples_is_said(replicas: int) -> None:
    with pytest.warns(UserWarning, match=r"3[2-6] of the 36 examples of the test were also learned"):
        module(split, replicas).test_dataloader()


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_fresh_draw_is_a_test(replicas: int) -> None:
    inputs, _ = next(iter(module(fresh, replicas).test_dataloader()))
    assert inputs.shape[-2:] == (40, 3)
