"""What the engine asks of many networks stacked as one."""

import math
from typing import Protocol

from torch import Tensor

from lossact.models.config import CNNConfig, MLPConfig
from lossact.replicas.cnn import StackedCNN
from lossact.replicas.mlp import StackedMLP


class StackedNetwork(Protocol):
    """R networks of one shape with a loss. Frozen and hashable: compiled steps are kept by it."""

    def __hash__(self) -> int: ...

    def arrange_images(self, images: Tensor) -> Tensor:
        """(sets, batch, height, width) images in the layout that `loss_and_gradient` reads."""

    def loss_and_gradient(self, parameters: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (replicas,), accuracy (replicas,) and gradient (replicas, size) at `parameters` (replicas, size)."""

    def bias_mask(self) -> Tensor:
        """(size,) with True where a parameter is a bias."""


def stacked_network(config: MLPConfig | CNNConfig, image_shape: tuple[int, int], loss: str) -> StackedNetwork:
    """The stacked form of a built-in network."""
    if isinstance(config, CNNConfig):
        config.feature_shape(image_shape)
        return StackedCNN(image_shape, config.channels, config.kernel, config.activation, loss)
    return StackedMLP(math.prod(image_shape), config.hidden, config.activation, loss)
