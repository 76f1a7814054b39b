"""What a built-in network is, without torch: its shape, its activation and how its weights start."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_choice, check_count, check_number

ACTIVATION_NAMES = ("relu", "sigmoid")


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """Flatten -> Linear(features, hidden) -> activation -> Linear(hidden, 1), read as the logit of p(label = 1).

    Attributes:
        activation: of the hidden layer.
        hidden: units in the hidden layer, >= 1.
        initial_scale: factor > 0 on the standard deviation of the initial weights.
    """

    activation: str
    hidden: int = 4
    initial_scale: float = 1.0

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ACTIVATION_NAMES)
        check_count("hidden", self.hidden, hint=4)
        check_number("initial_scale", self.initial_scale, above=0, hint=1.0)

    def initial_parameters(self, features: int, generator: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Weights normal with variance 2 / (fan_in + fan_out), times `initial_scale` squared; biases 0.

        The draws depend on the shape alone, so networks that differ in activation start from the same weights.

        Returns:
            Arrays by the names of the MLP module's state_dict, in its order.

        Reference: Glorot and Bengio, AISTATS 2010.
        """
        parameters: dict[str, NDArray[np.float64]] = {}
        for layer, fan_in, fan_out in (("hidden", features, self.hidden), ("output", self.hidden, 1)):
            deviation = self.initial_scale * math.sqrt(2 / (fan_in + fan_out))
            parameters[f"{layer}.weight"] = deviation * generator.standard_normal((fan_out, fan_in))
            parameters[f"{layer}.bias"] = np.zeros(fan_out)
        return parameters

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        return {
            "kind": "mlp",
            "activation": self.activation,
            "hidden": self.hidden,
            "initial_scale": self.initial_scale,
        }

    def __str__(self) -> str:
        return f"{self.activation} MLP with {self.hidden} hidden units"
