"""Activation functions with their first derivatives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """An elementwise activation and its derivative.

    Attributes:
        name: the word it is chosen by.
        function: z -> a, any shape.
        derivative: (z, a) -> da/dz, any shape; a is passed because some derivatives are cheapest in it.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]


def sigmoid_derivative(z: Tensor, a: Tensor) -> Tensor:
    """A (1 - a), the derivative of a = sigmoid(z)."""
    return a * (1 - a)


def relu_derivative(z: Tensor, a: Tensor) -> Tensor:
    """1 where z > 0, else 0: the convention of torch.relu at the kink."""
    return (z > 0).to(z.dtype)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("relu", torch.relu, relu_derivative),
        Activation("sigmoid", torch.sigmoid, sigmoid_derivative),
    )
}
