"""Activation functions with their first derivatives, accurate in both tails.

All are elementwise, on tensors of any shape and floating type.

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
        name: what a configuration calls it.
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
    """Return sigmoid(z) sigmoid(-z); sigmoid(z) (1 - sigmoid(z)) would lose the right tail.

    Args:
        z: input of the unit, any shape.

    Returns:
        the derivative in z, in the shape and dtype of z.

    >>> sigmoid_derivative(torch.tensor([0.0, 200.0], dtype=torch.float64))
    tensor([2.5000e-01, 1.3839e-87], dtype=torch.float64)
    """
    return torch.sigmoid(z) * torch.sigmoid(-z)


def relu_derivative(z: Tensor) -> Tensor:
    """Return 1 where z > 0, else 0, as torch.relu has it at the kink; NaN stays NaN.

    Args:
        z: input of the unit, any shape.

    Returns:
        the derivative in z, in the shape and dtype of z.

    >>> relu_derivative(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 1.])
    """
    return torch.where(z.isnan(), z, (z > 0).to(z.dtype))


def tanh_derivative(z: Tensor) -> Tensor:
    """Return 1 - tanh(z)^2, computed as 4 sigmoid(2z) sigmoid(-2z).

    Args:
        z: input of the unit, any shape.

    Returns:
        the derivative in z, in the shape and dtype of z.

    >>> tanh_derivative(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.4200])
    """
    return 4 * sigmoid_derivative(2 * z)


def leaky_relu(z: Tensor) -> Tensor:
    """Return z where z > 0, else 0.01 z.

    Args:
        z: input of the unit, any shape.

    Returns:
        the activation, in the shape and dtype of z.

    >>> leaky_relu(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([-0.0200,  0.0000,  2.0000])
    """
    return torch.where(z > 0, z, NEGATIVE_SLOPE * z)


def leaky_relu_derivative(z: Tensor) -> Tensor:
    """Return 1 where z > 0, else 0.01, as torch has it at the kink; NaN stays NaN.

    Args:
        z: input of the unit, any shape.

    Returns:
        the derivative in z, in the shape and dtype of z.

    >>> leaky_relu_derivative(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([0.0100, 0.0100, 1.0000])
    """
    return torch.where(z.isnan(), z, NEGATIVE_SLOPE + (1 - NEGATIVE_SLOPE) * (z > 0).to(z.dtype))


def softplus(z: Tensor) -> Tensor:
    """Return ln(1 + exp(z)); torch's own returns z from 20 on, which is 1e-10 off.

    Args:
        z: input of the unit, any shape.

    Returns:
        the activation, in the shape and dtype of z.

    >>> softplus(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000e+00, 6.9315e-01, 1.0000e+03])
    """
    return torch.logaddexp(z, torch.zeros_like(z))


def gelu(z: Tensor) -> Tensor:
    """Return z times the normal distribution function of z, by way of erfc, which keeps the left tail.

    Args:
        z: input of the unit, any shape.

    Returns:
        the activation, in the shape and dtype of z.

    >>> gelu(torch.tensor([-10.0, 0.0, 1.0], dtype=torch.float64))
    tensor([-7.6199e-23,  0.0000e+00,  8.4134e-01], dtype=torch.float64)
    """
    return z * _normal_distribution(z)


def gelu_derivative(z: Tensor) -> Tensor:
    """Return the normal distribution function of z, plus z times the normal density.

    Args:
        z: input of the unit, any shape.

    Returns:
        the derivative in z, in the shape and dtype of z.

    >>> gelu_derivative(torch.tensor([0.0, 1.0]))
    tensor([0.5000, 1.0833])
    """
    return _normal_distribution(z) + z * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def silu(z: Tensor) -> Tensor:
    """Return z sigmoid(z).

    Args:
        z: input of the unit, any shape.

    Returns:
        the activation, in the shape and dtype of z.

    >>> silu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])
    """
    return z * torch.sigmoid(z)


def silu_derivative(z: Tensor) -> Tensor:
    """Return sigmoid(z) (1 + z sigmoid(-z)).

    Args:
        z: input of the unit, any shape.

    Returns:
        the derivative in z, in the shape and dtype of z.

    >>> silu_derivative(torch.tensor([0.0, 1.0]))
    tensor([0.5000, 0.9277])
    """
    return torch.sigmoid(z) * (1 + z * torch.sigmoid(-z))


def _normal_distribution(z: Tensor) -> Tensor:
    distribution: Tensor = 0.5 * torch.special.erfc(-z / math.sqrt(2))
    return distribution


def sigmoid_pullback(gradient: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """Return the gradient times a (1 - a), elementwise, where a = sigmoid(z).

    Args:
        gradient: d loss / da, in the shape of a.
        z: input of the unit; not used, since a tells all.
        a: sigmoid(z).

    Returns:
        d loss / dz, in the shape of a.
    """
    product: Tensor = torch.ops.aten.sigmoid_backward(gradient, a)
    return product


def relu_pullback(gradient: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """Return the gradient where a = relu(z) > 0, else 0.

    Args:
        gradient: d loss / da, in the shape of a.
        z: input of the unit; not used, since a tells all.
        a: relu(z).

    Returns:
        d loss / dz, in the shape of a.
    """
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
