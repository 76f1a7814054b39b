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
        pullback: (d loss/da, z, a) -> d loss/dz, the product with the derivative in one pass over memory.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]
    pullback: Callable[[Tensor, Tensor, Tensor], Tensor]


def sigmoid_derivative(z: Tensor, a: Tensor) -> Tensor:
    """A (1 - a), the derivative of a = sigmoid(z)."""
    return a * (1 - a)


def relu_derivative(z: Tensor, a: Tensor) -> Tensor:
    """1 where z > 0, else 0: the convention of torch.relu at the kink."""
    return (z > 0).to(z.dtype)


def sigmoid_pullback(gradient: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """The product gradient a (1 - a)."""
    product: Tensor = torch.ops.aten.sigmoid_backward(gradient, a)
    return product


def relu_pullback(gradient: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """The gradient where a > 0, else 0."""
    product: Tensor = torch.ops.aten.threshold_backward(gradient, a, 0)
    return product


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("relu", torch.relu, relu_derivative, relu_pullback),
        Activation("sigmoid", torch.sigmoid, sigmoid_derivative, sigmoid_pullback),
    )
}
