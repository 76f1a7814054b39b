"""Networks for digits and for sums, and the ways in which their weights start."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lossact import Arrays

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


MODULUS = 23


class Sums(nn.Module):
    """Two numbers below MODULUS, embedded, one hidden layer, their sum modulo MODULUS."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(MODULUS, 32)
        self.hidden = nn.Linear(64, 128)
        self.output = nn.Linear(128, MODULUS)

    def forward(self, pairs: Tensor) -> Tensor:
        return self.output(torch.relu(self.hidden(self.embedding(pairs).flatten(1))))  # type: ignore[no-any-return]


def all_sums() -> Arrays:
    """Every pair of numbers: 423 to learn from and 106 to be judged by."""
    first, second = np.divmod(np.arange(MODULUS**2), MODULUS)
    pairs, sums = np.stack([first, second], axis=1), (first + second) % MODULUS
    order = np.random.default_rng(0).permutation(len(pairs))
    learned, left_out = order[: len(pairs) * 4 // 5], order[len(pairs) * 4 // 5 :]
    return Arrays(pairs[learned], sums[learned], validation=(pairs[left_out], sums[left_out]))
