"""Describe built-in networks without torch: shape, activation and initial weights."""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_choice, check_count, check_number, checked_arguments
from lossact.errors import InputError

ACTIVATION_NAMES = ("gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh")


def glorot(
    shapes: dict[str, tuple[int, ...]], generator: np.random.Generator, *, scale: float = 1.0
) -> dict[str, NDArray[np.float64]]:
    """Draw normal weights of variance scale^2 * 2 / (fan_in + fan_out); biases are 0.

    The draws depend on the shapes alone, so networks that differ in activation start from the same weights.

    Args:
        shapes: layer name to the shape of its weight, (out, in) or (out, in, height, width).
        generator: where the draws come from, layer by layer.
        scale: factor > 0 on the standard deviation.

    Returns:
        `<layer>.weight` and `<layer>.bias` for each layer.

    Reference: Glorot and Bengio, Understanding the difficulty of training deep feedforward networks, AISTATS 2010.
    """
    parameters: dict[str, NDArray[np.float64]] = {}
    for layer, (fan_out, fan_in, *window) in shapes.items():
        deviation = scale * math.sqrt(2 / ((fan_in + fan_out) * math.prod(window)))
        parameters[f"{layer}.weight"] = deviation * generator.standard_normal((fan_out, fan_in, *window))
        parameters[f"{layer}.bias"] = np.zeros(fan_out)
    return parameters


class NetworkConfig(ABC):
    """Describe a network, and how its replicas are trained together: MLPConfig, CNNConfig or ModuleFactory.

    Attributes:
        block: replicas that are trained and stored together.
        blocks_at_once: blocks in a launch.
        updates_per_step: updates in one training_step.
    """

    block: ClassVar[int]
    blocks_at_once: ClassVar[int]
    updates_per_step: ClassVar[int]

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class MLPConfig(NetworkConfig):
    """Flatten -> Linear(features, hidden) -> activation -> Linear(hidden, 1), read as the logit of p(label = 1).

    Args:
        activation: of the hidden layer.
        hidden: units in the hidden layer, >= 1.
        initial_scale: factor > 0 on the standard deviation of the initial weights.

    Raises:
        InputError: a value breaks its rule.
    """

    block: ClassVar[int] = 64
    blocks_at_once: ClassVar[int] = 8
    blocks_in_a_kernel: ClassVar[int] = 64  # of a GPU
    updates_per_step: ClassVar[int] = 100

    activation: str
    hidden: int = 4
    initial_scale: float = 1.0

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ACTIVATION_NAMES)
        check_count("hidden", self.hidden, hint=4)
        check_number("initial_scale", self.initial_scale, above=0, hint=1.0)

    def initial_parameters(
        self, image_shape: tuple[int, ...], generator: np.random.Generator
    ) -> dict[str, NDArray[np.float64]]:
        """Draw Glorot's weights; biases are 0.

        Args:
            image_shape: of one image.
            generator: the replica's own.

        Returns:
            arrays by name, in the order of the MLP module's state_dict.
        """
        features = math.prod(image_shape)
        shapes: dict[str, tuple[int, ...]] = {"hidden": (self.hidden, features), "output": (1, self.hidden)}
        return glorot(shapes, generator, scale=self.initial_scale)

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""
        return {"kind": "mlp", **asdict(self)}

    def __str__(self) -> str:
        return f"{self.activation} MLP with {self.hidden} hidden units"


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class CNNConfig(NetworkConfig):
    """Two convolutions (stride 1, no padding), each with its activation -> Flatten -> Linear(features, 1), a logit.

    Args:
        activation: after both convolutions.
        channels: of the first and the second convolution, each >= 1.
        kernel: side of the square windows, >= 1.
        initial_scale: factor > 0 on the standard deviation of the initial weights.

    Raises:
        InputError: a value breaks its rule.
    """

    block: ClassVar[int] = 16
    blocks_at_once: ClassVar[int] = 1
    updates_per_step: ClassVar[int] = 25

    activation: str
    channels: tuple[int, int] = (16, 8)
    kernel: int = 7
    initial_scale: float = 1.0

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ACTIVATION_NAMES)
        if not isinstance(self.channels, tuple) or len(self.channels) != 2:
            raise InputError(f"channels={self.channels!r} must be two integers; try (16, 8)")
        for number in self.channels:
            check_count("channels", number, hint=8)
        check_count("kernel", self.kernel, hint=7)
        check_number("initial_scale", self.initial_scale, above=0, hint=1.0)

    def feature_shape(self, image_shape: tuple[int, int]) -> tuple[int, int, int]:
        """Return (channels, height, width) after the second convolution.

        Args:
            image_shape: (height, width) of one image.

        Returns:
            what the last layer sees.

        Raises:
            InputError: the images are smaller than both windows need.
        """
        height, width = (side - 2 * (self.kernel - 1) for side in image_shape)
        if height < 1 or width < 1:
            raise InputError(
                f"kernel={self.kernel} leaves nothing of {image_shape[0]}x{image_shape[1]} images after two "
                f"convolutions; try {max(1, (min(image_shape) + 1) // 2)} or less"
            )
        return (self.channels[1], height, width)

    def initial_parameters(
        self, image_shape: tuple[int, int], generator: np.random.Generator
    ) -> dict[str, NDArray[np.float64]]:
        """Draw Glorot's weights; biases are 0.

        Args:
            image_shape: (height, width) of one image.
            generator: the replica's own.

        Returns:
            arrays by name, in the order of the CNN module's state_dict.
        """
        first, second = self.channels
        shapes: dict[str, tuple[int, ...]] = {
            "first": (first, 1, self.kernel, self.kernel),
            "second": (second, first, self.kernel, self.kernel),
            "output": (1, math.prod(self.feature_shape(image_shape))),
        }
        return glorot(shapes, generator, scale=self.initial_scale)

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""
        return {"kind": "cnn", **asdict(self)}

    def __str__(self) -> str:
        return f"{self.activation} CNN with {self.channels[0]} and {self.channels[1]} channels"
