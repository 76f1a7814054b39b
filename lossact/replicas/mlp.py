"""Many MLPs as one: forward and backward in closed form, a batched matrix product per layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lossact.functional import ACTIVATIONS, SIGMOID_LOSSES, correct
from lossact.replicas.exact_mean import exact_mean


@dataclass(frozen=True)
class StackedMLP:
    """R networks Flatten -> Linear -> activation -> Linear(hidden, 1) with a loss of the sigmoid output.

    Parameters are one tensor (replicas, size), each row a network's state_dict flattened in its order.

    Attributes:
        features, hidden: the layer widths.
        activation, loss: names in ACTIVATIONS and SIGMOID_LOSSES.
    """

    features: int
    hidden: int
    activation: str
    loss: str

    @property
    def size(self) -> int:
        """Parameters of one network."""
        return self.hidden * (self.features + 2) + 1

    @property
    def constants(self) -> dict[str, int]:
        """What the program in C++ is compiled for."""
        return {"FEATURES": self.features, "HIDDEN": self.hidden}

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of one example."""
        return 1, self.features

    @property
    def fan_in(self) -> int:
        """What a unit of the hidden layer sees."""
        return self.features

    def n_inputs(self, batch: int) -> int:
        """Return how many numbers a set of so many examples is, arranged."""
        return self.features * batch

    def arrange_inputs(self, inputs: Tensor) -> Tensor:
        """Lay out (sets, batch, height, width) as (sets, features, batch), which `loss_and_gradient` reads."""
        return inputs.flatten(2).transpose(1, 2).contiguous()

    def loss_and_gradient(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean loss over the batch, accuracy and gradient of every replica.

        Args:
            parameters: (replicas, size).
            inputs: (sets, features, batch) as `arrange_inputs` lays them out, sets = replicas or 1 (shared).
            targets: (sets, batch) in {0, 1}.

        Returns:
            loss (replicas,), accuracy (replicas,) in [0, 1], gradient (replicas, size).
        """
        activation, loss = ACTIVATIONS[self.activation], SIGMOID_LOSSES[self.loss]
        weight, bias, out_weight, out_bias = self._split(parameters)
        replicas = len(parameters)
        target = targets.unsqueeze(1)
        batch = targets.shape[1]

        z = _product(weight, inputs) + bias
        a = activation.function(z)
        # One output unit: too thin for a matrix routine, and a compiler melts the sum into what surrounds it.
        logit = (out_weight * a).sum(1, keepdim=True) + out_bias
        losses = loss.function(logit, target).mean((1, 2))
        accuracy = exact_mean(correct(logit, target), (1, 2))

        d_logit = loss.derivative(logit, target) / batch
        d_z = activation.pullback(out_weight * d_logit, z, a)
        gradient = torch.cat(
            (
                _product(d_z, inputs.transpose(1, 2)).view(replicas, -1),
                d_z.sum(2),
                (d_logit * a).sum(2),
                d_logit.sum(2),
            ),
            dim=1,
        )
        return losses, accuracy, gradient

    def measure(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and accuracy (replicas,)."""
        loss, accuracy, _ = self.loss_and_gradient(parameters, inputs, targets)
        return loss, accuracy

    @property
    def layers(self) -> dict[str, int]:
        """Layer name to its number of parameters, in order."""
        return {"hidden": self.hidden * (self.features + 1), "output": self.hidden + 1}

    def bias_mask(self) -> Tensor:
        """Return (size,) with True where a parameter is a bias."""
        h, w = self.hidden, self.hidden * self.features
        mask = torch.zeros(self.size, dtype=torch.bool)
        mask[w : w + h] = True
        mask[-1] = True
        return mask

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        h, f = self.hidden, self.features
        weight, bias, out_weight, out_bias = torch.split(parameters, [h * f, h, h, 1], dim=1)
        return weight.reshape(-1, h, f), bias.unsqueeze(2), out_weight.unsqueeze(2), out_bias.unsqueeze(2)


def _product(stacked: Tensor, inputs: Tensor) -> Tensor:
    """Return (R, m, k) x (R or 1, k, n): a batch of matrix products, or a single one where all replicas share them."""
    if len(inputs) == len(stacked):
        return torch.bmm(stacked, inputs)
    rows = stacked.reshape(-1, stacked.shape[2])
    return torch.mm(rows, inputs[0]).view(len(stacked), stacked.shape[1], -1)
