"""Losses of one output against its target, unreduced, with their first derivatives.

Each has two forms: of the output p itself, however it was computed, and of the logit z where p = sigmoid(z), which
keeps the tails that p has rounded away. Arguments are floating tensors that broadcast together; targets y of the
cross-entropy are in [0, 1], of the hinge loss in {0, 1}. The squared error carries no factor 1/2, the cross-entropy is
in nats, Huber's threshold is 1, and the hinge loss reads y = 0 as -1. Undefined values are NaN, infinite ones inf.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lossact.functional.activations import sigmoid_derivative, softplus

HUBER_THRESHOLD = 1.0

Elementwise = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """A loss against a target y, elementwise.

    Attributes:
        name: what a configuration calls it.
        function: (p, y) -> loss, or (z, y) -> loss in SIGMOID_LOSSES.
        derivative: its derivative in the first argument.
    """

    name: str
    function: Elementwise
    derivative: Elementwise


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Return (p - y)^2, without a factor 1/2.

    Args:
        output: p, any shape.
        target: y, broadcast against the output.

    Returns:
        the loss, in the shape of both broadcast together.

    >>> squared_error(torch.tensor([0.25, 1.0]), torch.tensor([1.0, 1.0]))
    tensor([0.5625, 0.0000])
    """
    return (output - target) ** 2


def squared_error_derivative(output: Tensor, target: Tensor) -> Tensor:
    """Return 2 (p - y).

    Args:
        output: p, any shape.
        target: y, broadcast against the output.

    Returns:
        the derivative in p, in the shape of both broadcast together.

    >>> squared_error_derivative(torch.tensor([0.25, 1.0]), torch.tensor([1.0, 1.0]))
    tensor([-1.5000,  0.0000])
    """
    return 2 * (output - target)


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return -(y ln p + (1 - y) ln(1 - p)), in nats; inf where p is 0 or 1 and y is not, NaN outside [0, 1].

    Args:
        output: p in [0, 1], any shape.
        target: y in [0, 1], broadcast against the output.

    Returns:
        the loss, in the shape of both broadcast together.

    >>> cross_entropy(torch.tensor([0.5, 0.0, 1.5]), torch.tensor([1.0, 1.0, 1.0]))
    tensor([0.6931,    inf,    nan])
    """
    gain: Tensor = torch.xlogy(target, output) + torch.special.xlog1py(1 - target, -output)
    return torch.where((output >= 0) & (output <= 1), -gain, torch.nan)


def cross_entropy_derivative(output: Tensor, target: Tensor) -> Tensor:
    """Return (1 - y) / (1 - p) - y / p, with 0 / 0 = 0 where y is 0 or 1; NaN outside [0, 1].

    Args:
        output: p in [0, 1], any shape.
        target: y in [0, 1], broadcast against the output.

    Returns:
        the derivative in p, in the shape of both broadcast together.

    >>> cross_entropy_derivative(torch.tensor([0.5, 0.5, 1.5]), torch.tensor([1.0, 0.0, 1.0]))
    tensor([-2.,  2., nan])
    """
    of_one = torch.where(target == 0, target, target / output)
    of_zero = torch.where(target == 1, 1 - target, (1 - target) / (1 - output))
    defined = (output >= 0) & (output <= 1)
    return torch.where(defined, of_zero - of_one, torch.nan)


def hinge(output: Tensor, target: Tensor) -> Tensor:
    """Return max(0, 1 - (2 y - 1) p); p is the score; targets 0 and 1 are read as -1 and 1.

    Args:
        output: p, any shape.
        target: y, each 0 or 1, broadcast against the output.

    Returns:
        the loss, in the shape of both broadcast together.

    >>> hinge(torch.tensor([2.0, 0.5, -0.5]), torch.tensor([1.0, 1.0, 0.0]))
    tensor([0.0000, 0.5000, 0.5000])
    """
    return torch.relu(1 - (2 * target - 1) * output)


def hinge_derivative(output: Tensor, target: Tensor) -> Tensor:
    """Return 1 - 2 y where the margin (2 y - 1) p is below 1, else 0.

    Args:
        output: p, any shape.
        target: y, each 0 or 1, broadcast against the output.

    Returns:
        the derivative in p, in the shape of both broadcast together.

    >>> hinge_derivative(torch.tensor([2.0, 0.5, -0.5]), torch.tensor([1.0, 1.0, 0.0]))
    tensor([-0., -1.,  1.])
    """
    sign = 1 - 2 * target
    return torch.where((1 + sign * output).isnan(), torch.nan, torch.where(1 + sign * output > 0, sign, 0 * sign))


def huber(output: Tensor, target: Tensor) -> Tensor:
    """Return (p - y)^2 / 2 where |p - y| <= 1, else |p - y| - 1/2.

    Args:
        output: p, any shape.
        target: y, broadcast against the output.

    Returns:
        the loss, in the shape of both broadcast together.

    Reference: Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35, 1964.

    >>> huber(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 0.0]))
    tensor([0.1250, 2.5000])
    """
    return _huber(output - target)


def huber_derivative(output: Tensor, target: Tensor) -> Tensor:
    """Return p - y, cut off at -1 and 1.

    Args:
        output: p, any shape.
        target: y, broadcast against the output.

    Returns:
        the derivative in p, in the shape of both broadcast together.

    >>> huber_derivative(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 0.0]))
    tensor([0.5000, 1.0000])
    """
    return (output - target).clamp(-HUBER_THRESHOLD, HUBER_THRESHOLD)


def sigmoid_error(logit: Tensor, target: Tensor) -> Tensor:
    """Return sigmoid(z) - y, as (1 - y) sigmoid(z) - y sigmoid(-z), which does not round to 0 where p is near y = 1.

    Args:
        logit: z, any shape.
        target: y in [0, 1], broadcast against the logit.

    Returns:
        the difference, in the shape of both broadcast together; it is the derivative of the cross-entropy in z.

    >>> sigmoid_error(torch.tensor([0.0, 40.0], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64))
    tensor([ 5.0000e-01, -4.2484e-18], dtype=torch.float64)
    """
    return (1 - target) * torch.sigmoid(logit) - target * torch.sigmoid(-logit)


def sigmoid_squared_error(logit: Tensor, target: Tensor) -> Tensor:
    """Return (sigmoid(z) - y)^2.

    Args:
        logit: z, any shape.
        target: y, broadcast against the logit.

    Returns:
        the loss, in the shape of both broadcast together.

    >>> sigmoid_squared_error(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor([0.2500])
    """
    return sigmoid_error(logit, target) ** 2


def sigmoid_squared_error_derivative(logit: Tensor, target: Tensor) -> Tensor:
    """Return 2 (p - y) p (1 - p) with p = sigmoid(z).

    Args:
        logit: z, any shape.
        target: y, broadcast against the logit.

    Returns:
        the derivative in z, in the shape of both broadcast together.

    >>> sigmoid_squared_error_derivative(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor([-0.2500])
    """
    return 2 * sigmoid_error(logit, target) * sigmoid_derivative(logit)


def sigmoid_cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    """Return -(y ln p + (1 - y) ln(1 - p)) with p = sigmoid(z), in nats.

    Written as y softplus(-z) + (1 - y) softplus(z), which neither overflows nor cancels, and whose autograd is right at
    z = 0 too, where a network of dead ReLU units starts.

    Args:
        logit: z, any shape.
        target: y in [0, 1], broadcast against the logit.

    Returns:
        the loss, in the shape of both broadcast together.

    >>> sigmoid_cross_entropy(torch.tensor([0.0, -1000.0]), torch.tensor([1.0, 1.0]))
    tensor([6.9315e-01, 1.0000e+03])
    """
    return target * softplus(-logit) + (1 - target) * softplus(logit)


def sigmoid_hinge(logit: Tensor, target: Tensor) -> Tensor:
    """Return 1 - (2 y - 1) p with p = sigmoid(z), as sigmoid(-z) + 2 (1 - y) p; it never falls below 0.

    Args:
        logit: z, any shape.
        target: y, each 0 or 1, broadcast against the logit.

    Returns:
        the loss, in the shape of both broadcast together.

    >>> sigmoid_hinge(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor([0.5000, 1.5000])
    """
    return torch.sigmoid(-logit) + 2 * (1 - target) * torch.sigmoid(logit)


def sigmoid_hinge_derivative(logit: Tensor, target: Tensor) -> Tensor:
    """Return (1 - 2 y) p (1 - p) with p = sigmoid(z), which never reaches the margin 1.

    Args:
        logit: z, any shape.
        target: y, each 0 or 1, broadcast against the logit.

    Returns:
        the derivative in z, in the shape of both broadcast together.

    >>> sigmoid_hinge_derivative(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor([-0.2500,  0.2500])
    """
    return (1 - 2 * target) * sigmoid_derivative(logit)


def sigmoid_huber(logit: Tensor, target: Tensor) -> Tensor:
    """Return the Huber loss of p = sigmoid(z).

    Args:
        logit: z, any shape.
        target: y, broadcast against the logit.

    Returns:
        the loss, in the shape of both broadcast together.

    >>> sigmoid_huber(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor([0.1250])
    """
    return _huber(sigmoid_error(logit, target))


def sigmoid_huber_derivative(logit: Tensor, target: Tensor) -> Tensor:
    """Return p - y, cut off at -1 and 1, times p (1 - p), with p = sigmoid(z).

    Args:
        logit: z, any shape.
        target: y, broadcast against the logit.

    Returns:
        the derivative in z, in the shape of both broadcast together.

    >>> sigmoid_huber_derivative(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor([-0.1250])
    """
    return sigmoid_error(logit, target).clamp(-HUBER_THRESHOLD, HUBER_THRESHOLD) * sigmoid_derivative(logit)


def _huber(error: Tensor) -> Tensor:
    size = error.abs()
    return torch.where(size <= HUBER_THRESHOLD, 0.5 * error**2, size - 0.5 * HUBER_THRESHOLD)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("l2", squared_error, squared_error_derivative),
        Loss("cross_entropy", cross_entropy, cross_entropy_derivative),
        Loss("hinge", hinge, hinge_derivative),
        Loss("huber", huber, huber_derivative),
    )
}
SIGMOID_LOSSES = {
    loss.name: loss
    for loss in (
        Loss("l2", sigmoid_squared_error, sigmoid_squared_error_derivative),
        Loss("cross_entropy", sigmoid_cross_entropy, sigmoid_error),
        Loss("hinge", sigmoid_hinge, sigmoid_hinge_derivative),
        Loss("huber", sigmoid_huber, sigmoid_huber_derivative),
    )
}
