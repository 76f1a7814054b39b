"""What the engine asks of many networks stacked as one."""

import math
from typing import Protocol

from torch import Tensor

from lossact.errors import InputError
from lossact.models.config import CNNConfig, MLPConfig
from lossact.replicas.cnn import StackedCNN
from lossact.replicas.mlp import StackedMLP


class StackedNetwork(Protocol):
    """R networks of one shape with a loss. Frozen and hashable: compiled steps are kept by it."""

    def __hash__(self) -> int: ...

    def arrange_inputs(self, inputs: Tensor) -> Tensor:
        """Return (sets, batch, height, width) images in the layout that `loss_and_gradient` reads."""

    def loss_and_gradient(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (replicas,), metric (replicas,) and gradient (replicas, size) at `parameters` (replicas, size)."""

    def measure(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and metric (replicas,) at `parameters`, where nothing is to be learned."""

    @property
    def layers(self) -> dict[str, int]:
        """Layer name to its number of parameters, in order; empty where a gradient cannot be looked at in passing."""

    def bias_mask(self) -> Tensor:
        """Return (size,) with True where a parameter is a bias."""


def image_sides(config: CNNConfig, image_shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (height, width) of the images that a CNN sees.

    Raises:
        InputError: the inputs are no images.
    """
    if len(image_shape) != 2:
        raise InputError(f"{config}: inputs of shape {image_shape} are no images; (height, width) is needed")
    return (image_shape[0], image_shape[1])


def stacked_network(config: MLPConfig | CNNConfig, image_shape: tuple[int, ...], loss: str) -> StackedNetwork:
    """Return the stacked form of a built-in network."""
    if isinstance(config, CNNConfig):
        height, width = image_sides(config, image_shape)
        config.feature_shape((height, width))
        return StackedCNN((height, width), config.channels, config.kernel, config.activation, loss)
    return StackedMLP(math.prod(image_shape), config.hidden, config.activation, loss)
