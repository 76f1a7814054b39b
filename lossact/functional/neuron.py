"""One neuron with one input: its output, its loss and the gradients in weight and bias."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lossact.checks import check_choice, check_count, check_number
from lossact.functional.activations import ACTIVATIONS
from lossact.functional.losses import LOSSES, SIGMOID_LOSSES


@dataclass(frozen=True)
class Neuron:
    """Output p = act(w x + b), loss of p against a target y.

    All methods are elementwise on tensors that broadcast together, and exact to rounding: with a sigmoid they are
    computed from the logit. Where a loss is undefined, as the cross-entropy of an output outside [0, 1], they return
    NaN, and where it is infinite, inf.

    Attributes:
        activation: a name in ACTIVATIONS.
        loss: a name in LOSSES.

    Raises:
        InputError: a name is not known.

    >>> w, b, x, y = (torch.tensor(value) for value in (0.0, 0.0, 1.0, 1.0))
    >>> Neuron("sigmoid", "l2").gradient_w(w, b, x, y)
    tensor(-0.2500)
    """

    activation: str
    loss: str

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("loss", self.loss, LOSSES)

    def output(self, w: Tensor, b: Tensor, x: Tensor) -> Tensor:
        """Return p = act(w x + b).

        Args:
            w: weight.
            b: bias.
            x: input. All three broadcast together.

        Returns:
            the output, in their common shape.
        """
        return ACTIVATIONS[self.activation].function(w * x + b)

    def loss_value(self, w: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of the output against y.

        Args:
            w: weight.
            b: bias.
            x: input.
            y: target. All four broadcast together.

        Returns:
            the loss, in their common shape.
        """
        z = w * x + b
        if self.activation == "sigmoid":
            return SIGMOID_LOSSES[self.loss].function(z, y)
        return LOSSES[self.loss].function(ACTIVATIONS[self.activation].function(z), y)

    def gradient_b(self, w: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return d loss / db = d loss / dz = d loss / dp act'(z).

        Args:
            w: weight.
            b: bias.
            x: input.
            y: target. All four broadcast together.

        Returns:
            the derivative in the bias, in their common shape.
        """
        z = w * x + b
        if self.activation == "sigmoid":
            return SIGMOID_LOSSES[self.loss].derivative(z, y)
        activation = ACTIVATIONS[self.activation]
        return LOSSES[self.loss].derivative(activation.function(z), y) * activation.derivative(z)

    def gradient_w(self, w: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return d loss / dw = x d loss / dz.

        Args:
            w: weight.
            b: bias.
            x: input.
            y: target. All four broadcast together.

        Returns:
            the derivative in the weight, in their common shape.
        """
        return x * self.gradient_b(w, b, x, y)


@dataclass(frozen=True, eq=False)
class Descent:
    """The path of gradient descent.

    Attributes:
        w, b: (steps + 1, starts), before each step and after the last.
        loss, output: (steps + 1, starts), at these points.
    """

    w: Tensor
    b: Tensor
    loss: Tensor
    output: Tensor


def descend(neuron: Neuron, w: Tensor, b: Tensor, x: Tensor, y: Tensor, *, learning_rate: float, steps: int) -> Descent:
    """Run plain gradient descent on many neurons at once, each from its own start.

    Args:
        neuron: what learns.
        w, b: (starts,) where they start.
        x, y: (starts,) or scalars, the one example each learns.
        learning_rate: > 0.
        steps: >= 1.

    Returns:
        The path of weights, biases, losses and outputs.

    Raises:
        InputError: learning rate or steps break their rule.
    """
    check_number("learning_rate", learning_rate, above=0, hint=0.15)
    check_count("steps", steps, hint=300)
    path = []
    for _ in range(steps + 1):
        path.append((w, b))
        slope = neuron.gradient_b(w, b, x, y)
        w, b = w - learning_rate * x * slope, b - learning_rate * slope
    all_w, all_b = (torch.stack(points) for points in zip(*path, strict=True))
    return Descent(all_w, all_b, neuron.loss_value(all_w, all_b, x, y), neuron.output(all_w, all_b, x))
