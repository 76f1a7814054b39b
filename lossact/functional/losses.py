"""Losses of a sigmoid output, taken from the logit, unreduced, with their first derivatives.

Conventions: the squared error carries no factor 1/2; the cross-entropy is in nats. Targets lie in [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SigmoidLoss:
    """A loss of p = sigmoid(z) against a target y, as functions of the logit z.

    Attributes:
        name: the word it is chosen by.
        function: (z, y) -> loss, elementwise.
        derivative: (z, y) -> d loss / dz, elementwise.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]


def sigmoid_squared_error(logit: Tensor, target: Tensor) -> Tensor:
    """(sigmoid(z) - y)^2, elementwise."""
    return (torch.sigmoid(logit) - target) ** 2


def sigmoid_squared_error_derivative(logit: Tensor, target: Tensor) -> Tensor:
    """2 (p - y) p (1 - p) with p = sigmoid(z), elementwise."""
    p = torch.sigmoid(logit)
    return 2 * (p - target) * p * (1 - p)


def sigmoid_cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    """-(y ln p + (1 - y) ln(1 - p)) with p = sigmoid(z), elementwise, in nats.

    Written as max(z, 0) - z y + ln(1 + exp(-|z|)), which neither overflows nor loses the tails. The maximum is taken as
    (z + |z|) / 2, for then autograd is right at z = 0 too, where a network of dead ReLU units starts.
    """
    size = logit.abs()
    return 0.5 * (logit + size) - logit * target + torch.log1p(torch.exp(-size))


def sigmoid_cross_entropy_derivative(logit: Tensor, target: Tensor) -> Tensor:
    """P - y with p = sigmoid(z), elementwise."""
    return torch.sigmoid(logit) - target


SIGMOID_LOSSES = {
    loss.name: loss
    for loss in (
        SigmoidLoss("cross_entropy", sigmoid_cross_entropy, sigmoid_cross_entropy_derivative),
        SigmoidLoss("l2", sigmoid_squared_error, sigmoid_squared_error_derivative),
    )
}
