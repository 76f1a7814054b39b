"""Claims about how fast and how well a small network learns to classify points of three classes."""

import numpy as np
import pytest
from torch import nn
from torch.nn import functional

from lossact import SGD, Accuracy, Adam, Condition, GeneratedData, Loss, cosine, faster, lower


def clouds(generator):
    """Return 150 training and 150 validation points, new ones for each replica."""

    def draw():
        classes = generator.integers(0, 3, 150)
        centres = np.array([[0.0, 1.5], [1.3, -0.8], [-1.3, -0.8]])
        return centres[classes] + 0.5 * generator.standard_normal((150, 2)), classes

    inputs, targets = draw()
    return inputs, targets, draw()


def network():
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))


def cross_entropy(outputs, classes):
    return functional.cross_entropy(outputs, classes, reduction="none")


def condition(name, optimizer, **changes):
    given = {"target": Accuracy(split="validation").at_least(0.9), "budget": 200}  # at most this many updates
    return Condition(
        name=name,
        network=network,
        loss=cross_entropy,  # one value per example
        optimizer=optimizer,
        data=GeneratedData(clouds),
        batch_size=30,
        **given | changes,
    )


@pytest.mark.claim("Adam is faster than gradient descent, both with a learning rate of 0.01")
def test_adam_is_faster():
    return faster(condition("Adam", Adam(learning_rate=0.01)), than=condition("SGD", SGD(learning_rate=0.01)))


@pytest.mark.claim("momentum makes gradient descent faster", recorded="supported")  # fails on any other verdict
def test_momentum_is_faster():
    momentum = condition("momentum 0.9", SGD(learning_rate=0.01, momentum=0.9))
    return faster(momentum, than=condition("SGD", SGD(learning_rate=0.01)))


@pytest.mark.claim("a learning rate that falls along a cosine ends at a lower loss than a constant one")
def test_cosine_ends_lower():
    to_the_end = {"target": None, "measures": {"loss": Loss(split="validation")}, "measured_every": 200}
    return lower(
        "loss",
        condition("cosine", Adam(learning_rate=cosine(0.1)), **to_the_end),
        than=condition("constant", Adam(learning_rate=0.1), **to_the_end),
    )
