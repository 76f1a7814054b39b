"""Activation functions with their first derivatives, right to the last digits in both tails.

Reference: Goodfellow, Bengio and Courville, Deep Learning, MIT Press 2016, section 6.3; Hendrycks and Gimpel, Gaussian
error linear units, 2016.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

NEGATIVE_SLOPE = 0.01

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """An elementwise activation and its derivative.

    Attributes:
        name: the word it is chosen by.
        function: z -> a, any shape.
        derivative: z -> da/dz, any shape.
        pullback: (d loss/da, z, a) -> d loss/dz, the product with the derivative in one pass over memory; to the
            precision of training, not of the tails.
    """

    name: str
    function: Function
    derivative: Function
    pullback: Callable[[Tensor, Tensor, Tensor], Tensor]


def sigmoid_derivative(z: Tensor) -> Tensor:
    """Sigmoid(z) sigmoid(-z): 1 - sigmoid(z) would lose the right tail."""
    return torch.sigmoid(z) * torch.sigmoid(-z)


def relu_derivative(z: Tensor) -> Tensor:
    """1 where z > 0, else 0: the convention of torch.relu at the kink; NaN stays NaN."""
    return torch.where(z.isnan(), z, (z > 0).to(z.dtype))


def tanh_derivative(z: Tensor) -> Tensor:
    """1 - tanh(z)^2, as 4 sigmoid(2z) sigmoid(-2z)."""
    return 4 * sigmoid_derivative(2 * z)


def leaky_relu(z: Tensor) -> Tensor:
    """Z where z > 0, else 0.01 z."""
    return torch.where(z > 0, z, NEGATIVE_SLOPE * z)


def leaky_relu_derivative(z: Tensor) -> Tensor:
    """1 where z > 0, else 0.01: the convention of torch at the kink; NaN stays NaN."""
    return torch.where(z.isnan(), z, NEGATIVE_SLOPE + (1 - NEGATIVE_SLOPE) * (z > 0).to(z.dtype))


def softplus(z: Tensor) -> Tensor:
    """Ln(1 + exp(z)); torch's own becomes z from 20 on, which is 1e-10 off."""
    return torch.logaddexp(z, torch.zeros_like(z))


def gelu(z: Tensor) -> Tensor:
    """Z times the normal distribution function of z, by way of erfc, which keeps the left tail."""
    return z * _normal_distribution(z)


def gelu_derivative(z: Tensor) -> Tensor:
    """The normal distribution function of z, plus z times the normal density."""
    return _normal_distribution(z) + z * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def silu(z: Tensor) -> Tensor:
    """Z sigmoid(z)."""
    return z * torch.sigmoid(z)


def silu_derivative(z: Tensor) -> Tensor:
    """Sigmoid(z) (1 + z sigmoid(-z))."""
    return torch.sigmoid(z) * (1 + z * torch.sigmoid(-z))


def _normal_distribution(z: Tensor) -> Tensor:
    distribution: Tensor = 0.5 * torch.special.erfc(-z / math.sqrt(2))
    return distribution


def sigmoid_pullback(gradient: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """The product gradient a (1 - a)."""
    product: Tensor = torch.ops.aten.sigmoid_backward(gradient, a)
    return product


def relu_pullback(gradient: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """The gradient where a > 0, else 0."""
    product: Tensor = torch.ops.aten.threshold_backward(gradient, a, 0)
    return product


def _pullback(gradient: Tensor, z: Tensor, a: Tensor, *, derivative: Function) -> Tensor:
    return gradient * derivative(z)


def _plain(name: str, function: Function, derivative: Function) -> Activation:
    return Activation(name, function, derivative, partial(_pullback, derivative=derivative))


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("sigmoid", torch.sigmoid, sigmoid_derivative, sigmoid_pullback),
        Activation("relu", torch.relu, relu_derivative, relu_pullback),
        _plain("tanh", torch.tanh, tanh_derivative),
        _plain("leaky_relu", leaky_relu, leaky_relu_derivative),
        _plain("softplus", softplus, torch.sigmoid),
        _plain("gelu", gelu, gelu_derivative),
        _plain("silu", silu, silu_derivative),
    )
}
