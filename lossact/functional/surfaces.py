"""Output, loss and gradients of a neuron over a grid of weights and biases."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lossact.checks import check_choice, check_count, check_number
from lossact.errors import InputError
from lossact.functional.neuron import Neuron

Quantity = Literal["output", "loss", "gradient_w", "gradient_b"]
RANGE_LIMIT = 1e9  # largest |weight| or |bias|, and one over the smallest range of them
QUANTITIES: tuple[Quantity, ...] = ("output", "loss", "gradient_w", "gradient_b")


@dataclass(frozen=True)
class Grid:
    """Where surfaces are computed.

    Attributes:
        w, b: (lowest, highest) weight and bias.
        resolution: points along each axis, >= 2.
        x, y: input and target.

    Raises:
        InputError: a range is empty or not finite, or the resolution below 2.
    """

    w: tuple[float, float] = (-10.0, 10.0)
    b: tuple[float, float] = (-10.0, 10.0)
    resolution: int = 81
    x: float = 1.0
    y: float = 0.5

    def __post_init__(self) -> None:
        for name in ("w", "b"):
            low, high = getattr(self, name)
            check_number(f"{name}'s lowest value", low, at_least=-RANGE_LIMIT, at_most=RANGE_LIMIT, hint=-10)
            check_number(f"{name}'s highest value", high, at_least=-RANGE_LIMIT, at_most=RANGE_LIMIT, hint=10)
            if not high - low > (abs(low) + abs(high)) / RANGE_LIMIT + 1 / RANGE_LIMIT:
                raise InputError(f"{name}={low:g},{high:g} must be a range from low to high; try -10,10")
        check_count("resolution", self.resolution, at_least=2, hint=81)
        check_number("x", self.x, hint=1)
        if abs(self.x) > RANGE_LIMIT:
            check_number("x", self.x, at_least=-RANGE_LIMIT, at_most=RANGE_LIMIT, hint=1)
        check_number("y", self.y, hint=0.5)

    def axes(self) -> tuple[Tensor, Tensor]:
        """Return weights (resolution,) and biases (resolution,), in double precision.

        Points lie on multiples of a power of two some 1e-8 of the range wide, so that w + b is exact: where it should
        be 0 it is, and not a rounding error whose logarithm would look like a slope of the surface.
        """
        w, b = (torch.linspace(low, high, self.resolution, dtype=torch.float64) for low, high in (self.w, self.b))
        wide, narrow = sorted((high - low for low, high in (self.w, self.b)), reverse=True)
        unit = 2.0 ** (math.floor(math.log2(wide)) - 24)
        if narrow < 1e-3 * wide:  # too fine for a common unit, and no diagonal of the picture
            return w, b
        return torch.round(w / unit) * unit, torch.round(b / unit) * unit


@dataclass(frozen=True, eq=False)
class Surface:
    """One quantity of a neuron over a grid.

    Attributes:
        neuron, quantity, grid: what was computed, and where.
        values: (biases, weights) float64; NaN where undefined, inf where infinite.
    """

    neuron: Neuron
    quantity: Quantity
    grid: Grid
    values: Tensor


def surface(neuron: Neuron, quantity: Quantity, grid: Grid) -> Surface:
    """Compute a quantity at every point of a grid.

    Args:
        neuron: whose output, loss or gradients.
        quantity: "output", "loss", "gradient_w" or "gradient_b".
        grid: the weights and biases.

    Returns:
        The values, (biases, weights).

    Raises:
        InputError: the quantity is not known.

    >>> surface(Neuron("sigmoid", "l2"), "output", Grid(resolution=3)).values
    tensor([[2.0612e-09, 4.5398e-05, 5.0000e-01],
            [4.5398e-05, 5.0000e-01, 9.9995e-01],
            [5.0000e-01, 9.9995e-01, 1.0000e+00]], dtype=torch.float64)
    """
    check_choice("quantity", quantity, QUANTITIES)
    w_axis, b_axis = grid.axes()
    b, w = torch.meshgrid(b_axis, w_axis, indexing="ij")
    x, y = (torch.tensor(value, dtype=torch.float64) for value in (grid.x, grid.y))
    if quantity == "output":
        values = neuron.output(w, b, x)
    elif quantity == "loss":
        values = neuron.loss_value(w, b, x, y)
    else:
        gradient = neuron.gradient_w if quantity == "gradient_w" else neuron.gradient_b
        values = gradient(w, b, x, y)
    return Surface(neuron, quantity, grid, values)
