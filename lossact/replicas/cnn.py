"""Many CNNs as one: both convolutions as matrix products over strips of rows.

A convolution with k x k windows is, for the output row y, the product of the strip of rows y … y + k - 1 with a band
matrix that holds the kernel once for each output column. With channels last a strip of consecutive rows is one
contiguous run of numbers, so that all strips are views and nothing is copied to be multiplied. The band's zeros make
1.4 to 1.6 times the arithmetic of the convolution itself, and the products run near the machine's rate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from lossact.functional import ACTIVATIONS, SIGMOID_LOSSES, correct
from lossact.replicas.exact_mean import exact_mean

GROUP = 5


def band(kernel: Tensor, columns: int) -> Tensor:
    """Return band matrices (R, k x (columns + k - 1) x in, columns x out) of (R, out, in, k, k) kernels.

    Rows go through the strip (row, column, input channel), columns through (output column, output channel).
    """
    replicas, outputs, inputs, side, _ = kernel.shape
    taps = kernel.permute(0, 3, 4, 2, 1)
    matrix = kernel.new_zeros(replicas, side, columns + side - 1, inputs, columns, outputs)
    for column in range(columns):
        matrix[:, :, column : column + side, :, column, :] = taps
    return matrix.view(replicas, side * (columns + side - 1) * inputs, columns * outputs)


def unband(gradient: Tensor, inputs: int, outputs: int, side: int, columns: int) -> Tensor:
    """Return the gradient of `band`: (R, rows, columns) to (R, out, in, k, k)."""
    full = gradient.view(-1, side, columns + side - 1, inputs, columns, outputs)
    taps = full[:, :, :side, :, 0, :].clone()
    for column in range(1, columns):
        taps += full[:, :, column : column + side, :, column, :]
    return taps.permute(0, 4, 3, 1, 2)


@dataclass(frozen=True)
class StackedCNN:
    """R networks conv -> activation -> conv -> activation -> Linear(features, 1) with a loss of the sigmoid output.

    Parameters are one tensor (replicas, size), each row a network's state_dict flattened in its order.

    Attributes:
        image_shape: (height, width).
        channels: of the first and second convolution.
        kernel: side of the windows.
        activation, loss: names in ACTIVATIONS and SIGMOID_LOSSES.
    """

    image_shape: tuple[int, int]
    channels: tuple[int, int]
    kernel: int
    activation: str
    loss: str

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of one network's parameters, in order."""
        (first, second), k = self.channels, self.kernel
        _, (height, width) = self._sides()
        return [(first, 1, k, k), (first,), (second, first, k, k), (second,), (second * height * width,), (1,)]

    @property
    def size(self) -> int:
        """Parameters of one network."""
        return sum(self._sizes())

    @property
    def units(self) -> int:
        """Units of both convolutions."""
        return sum(
            channels * height * width for channels, (height, width) in zip(self.channels, self._sides(), strict=True)
        )

    @property
    def constants(self) -> dict[str, int]:
        """What the program in C++ is compiled for."""
        (height, width), (first, second) = self.image_shape, self.channels
        images = {"HEIGHT": height, "WIDTH": width, "GROUP": self._group(width - self.kernel + 1)}
        return {**images, "FIRST": first, "SECOND": second, "SIDE": self.kernel}

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of one example."""
        return self.image_shape

    @property
    def fan_in(self) -> int:
        """What a unit of the second layer sees."""
        return self.channels[0] * self.kernel**2

    def n_inputs(self, batch: int) -> int:
        """Return how many numbers a set of so many examples is, arranged."""
        (height, width), _ = self._sides()
        group = self._group(width)
        return batch * height * (width // group) * (self.kernel * (group + self.kernel - 1) + 1)

    def arrange_inputs(self, inputs: Tensor) -> Tensor:
        """Lay out (sets, batch, height, width) as (sets, batch x rows x groups, strip + 1), the first layer's strips.

        Each strip is what a group of neighbouring output columns sees, and a 1 that the bias is multiplied with.
        """
        (_, width), _ = self._sides()
        group = self._group(width)
        strips = inputs.unfold(2, self.kernel, 1).unfold(3, group + self.kernel - 1, group)
        return pad(strips.reshape(len(inputs), -1, self.kernel * (group + self.kernel - 1)), (0, 1), value=1.0)

    def loss_and_gradient(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean loss over the batch, accuracy and gradient of every replica.

        Args:
            parameters: (replicas, size).
            inputs: as `arrange_inputs` lays them out, sets = replicas or 1 (shared).
            targets: (sets, batch) in {0, 1}.

        Returns:
            loss (replicas,), accuracy (replicas,) in [0, 1], gradient (replicas, size).
        """
        activation, loss = ACTIVATIONS[self.activation], SIGMOID_LOSSES[self.loss]
        replicas, batch = len(parameters), targets.shape[1]
        (first, second), k = self.channels, self.kernel
        (height1, width1), (height2, width2) = self._sides()
        group = self._group(width1)
        flat = torch.split(parameters, self._sizes(), dim=1)
        kernel1, bias1, kernel2, bias2 = (
            part.reshape(replicas, *shape) for part, shape in zip(flat[:4], self.shapes[:4], strict=True)
        )
        # The linear layer's weights come channel by channel, the features pixel by pixel.
        weight = flat[4].view(replicas, second, height2 * width2).transpose(1, 2).reshape(replicas, -1, 1)
        strips1 = inputs.expand(replicas, -1, -1)
        row1, row2 = width1 * first, width2 * second

        band1 = torch.cat((band(kernel1, group), bias1.repeat(1, group).unsqueeze(1)), dim=1)
        z1 = torch.bmm(strips1, band1).view(replicas, batch, height1 * row1)
        a1 = activation.function(z1)
        band2 = band(kernel2, width2)
        strips2 = [a1[:, :, y * row1 : (y + k) * row1] for y in range(height2)]
        row_bias = bias2.repeat(1, width2).unsqueeze(1)
        z2 = torch.cat([torch.baddbmm(row_bias, strip, band2) for strip in strips2], dim=2)
        a2 = activation.function(z2)
        logit = torch.baddbmm(flat[5].unsqueeze(2), a2, weight).squeeze(2)

        losses = loss.function(logit, targets).mean(1)
        accuracy = exact_mean(correct(logit, targets), 1)

        d_logit = (loss.derivative(logit, targets) / batch).unsqueeze(2)
        d_weight = torch.bmm(a2.transpose(1, 2), d_logit)
        d_z2 = activation.pullback(d_logit * weight.transpose(1, 2), z2, a2)
        d_rows = torch.split(d_z2, row2, dim=2)
        d_band2, d_a1 = torch.zeros_like(band2), torch.zeros_like(a1, dtype=parameters.dtype)
        for y in range(height2):
            d_band2 = torch.baddbmm(d_band2, strips2[y].transpose(1, 2), d_rows[y])
            d_a1[:, :, y * row1 : (y + k) * row1] += torch.bmm(d_rows[y], band2.transpose(1, 2))
        d_z1 = activation.pullback(d_a1, z1, a1).view(replicas, -1, group * first)
        d_band1 = torch.bmm(strips1.transpose(1, 2), d_z1)

        gradient = torch.cat(
            (
                unband(d_band1[:, :-1], 1, first, k, group).flatten(1),
                d_band1[:, -1].view(replicas, group, first).sum(1),
                unband(d_band2, first, second, k, width2).flatten(1),
                d_z2.sum(1).view(replicas, -1, second).sum(1),
                d_weight.view(replicas, height2 * width2, second).transpose(1, 2).flatten(1),
                d_logit.sum(1),
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
        sizes = self._sizes()
        return {name: sum(sizes[2 * k : 2 * k + 2]) for k, name in enumerate(("first", "second", "output"))}

    def bias_mask(self) -> Tensor:
        """Return (size,) with True where a parameter is a bias."""
        return torch.cat([torch.full((size,), k % 2 == 1, dtype=torch.bool) for k, size in enumerate(self._sizes())])

    def _sizes(self) -> list[int]:
        return [torch.Size(shape).numel() for shape in self.shapes]

    def _sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return (height, width) after each convolution."""
        height, width = self.image_shape
        cut = self.kernel - 1
        return (height - cut, width - cut), (height - 2 * cut, width - 2 * cut)

    def _group(self, width: int) -> int:
        """Return how many output columns share a strip of the first layer: the width's largest divisor up to GROUP."""
        return max(group for group in range(1, GROUP + 1) if width % group == 0)
