"""Conditions whose replicas soon answer all of a number of examples right, so that the share is 1."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from lossact import Accuracy, Adam, Arrays, CNNConfig, Condition, MLPConfig


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


# Of how many examples; in double precision 49 times the rounded 1/49 is less than 1.
OPTIONS: dict[str, Callable[[int], dict[str, Any]]] = {
    "a network of one's own": lambda _: {"network": linear, "loss": nn.CrossEntropyLoss()},
    "accumulated": lambda n: {
        "network": linear,
        "loss": nn.CrossEntropyLoss(),
        "batch_size": n,
        "accumulate": n,
        "budget": 20,
    },
    "MLP": lambda _: {"network": MLPConfig(activation="sigmoid"), "loss": "cross_entropy"},
    "CNN": lambda _: {"network": CNNConfig(activation="relu", channels=(4, 4), kernel=2), "loss": "cross_entropy"},
}


def soon_all_right(name: str, n: int) -> Condition:
    """Return a condition that learns the mean brightness of so many images of 4 x 4."""
    labels = np.arange(n) % 2
    images = np.random.default_rng(0).uniform(0, 0.5, (n, 4, 4)) + labels[:, None, None]
    options = {"budget": 300, **OPTIONS[name](n)}
    return Condition(
        data=Arrays(images, labels), optimizer=Adam(learning_rate=0.05), target=Accuracy().at_least(1.0), **options
    )
