"""Claims about how a small network of one's own learns to tell three clouds of points apart."""

import numpy as np
import pytest
from torch import nn
from torch.nn import functional

from lossact import SGD, Accuracy, Adam, Condition, GeneratedData, faster


def clouds(generator):
    """150 points of three classes to learn from, and 150 to be judged by: fresh for every replica."""

    def draw():
        classes = generator.integers(0, 3, 150)
        centres = np.array([[0.0, 1.5], [1.3, -0.8], [-1.3, -0.8]])
        return centres[classes] + 0.5 * generator.standard_normal((150, 2)), classes

    return *draw(), draw()


def network():
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))


def cross_entropy(outputs, classes):
    return functional.cross_entropy(outputs, classes, reduction="none")


def condition(name, optimizer):
    return Condition(
        name=name,
        network=network,
        loss=cross_entropy,  # one loss an example
        optimizer=optimizer,
        data=GeneratedData(clouds),
        batch_size=30,
        target=Accuracy(split="validation").at_least(0.9),
        budget=200,  # updates
    )


@pytest.mark.claim("Adam at a learning rate of 0.01 is faster than plain gradient descent at 0.01")
def test_adam_is_faster():
    return faster(condition("Adam", Adam(learning_rate=0.01)), than=condition("SGD", SGD(learning_rate=0.01)))


@pytest.mark.claim("momentum makes it faster", recorded="supported")  # fails where another verdict is measured
def test_momentum_is_faster():
    momentum = condition("momentum 0.9", SGD(learning_rate=0.01, momentum=0.9))
    return faster(momentum, than=condition("SGD", SGD(learning_rate=0.01)))
