"""Small networks on scikit-learn's handwritten digits: 8x8 images of ten classes, no download."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn
from torch.nn import functional as f

from lossact import SGD, Accuracy, Arrays, Condition

CROSS_ENTROPY = partial(f.cross_entropy, reduction="none")
Initialiser = Callable[[Tensor, Tensor], None]


def uniform_by_fan_in(weight: Tensor, bias: Tensor) -> None:
    """The old rule: U(-1/sqrt(n), 1/sqrt(n)) with n inputs, biases 0."""
    nn.init.uniform_(weight, -1 / math.sqrt(weight.shape[1]), 1 / math.sqrt(weight.shape[1]))
    nn.init.zeros_(bias)


def glorot(weight: Tensor, bias: Tensor) -> None:
    """Glorot and Bengio (2010), uniform; biases 0."""
    nn.init.xavier_uniform_(weight)
    nn.init.zeros_(bias)


def he(weight: Tensor, bias: Tensor) -> None:
    """He et al. (2015), normal; biases 0."""
    nn.init.kaiming_normal_(weight, nonlinearity="relu")
    nn.init.zeros_(bias)


def mlp(
    activation: type[nn.Module], depth: int, width: int, initialise: Initialiser, batch_norm: bool = False
) -> nn.Module:
    """64 inputs, `depth` hidden layers of `width` units, ten outputs."""
    layers: list[nn.Module] = []
    for inputs in (64, *[width] * (depth - 1)):
        layers.append(nn.Linear(inputs, width))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(activation())
    network = nn.Sequential(*layers, nn.Linear(width, 10))
    for layer in network:
        if isinstance(layer, nn.Linear):
            initialise(layer.weight.data, layer.bias.data)
    return network


@pytest.fixture(scope="session")
def digits() -> Arrays:
    """1,200 digits to learn from and 597 to be judged by, pixels in [0, 1]."""
    datasets = pytest.importorskip(
        "sklearn.datasets", reason="digits come with scikit-learn: pip install lossact[test]"
    )
    images, classes = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, classes = images[order] / 16, classes[order].astype(np.int64)
    return Arrays(images[:1200], classes[:1200], validation=(images[1200:], classes[1200:]))


@pytest.fixture(scope="session")
def on_digits(digits: Arrays) -> Callable[..., Condition]:
    """Makes a condition: minibatches of 32, until 90% of the validation digits are told."""

    def make(name: str, network: Any, **changes: Any) -> Condition:
        given: dict[str, Any] = {
            "loss": CROSS_ENTROPY, "optimizer": SGD(learning_rate=0.1), "data": digits, "batch_size": 32,
            "budget": 400, "target": Accuracy(0.9, on="validation"), "measured_every": 10,
        }  # fmt: skip
        return Condition(name=name, network=network, **given | changes)

    return make
