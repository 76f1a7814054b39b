import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from lossact.functional import ACTIVATIONS, LOSSES, RANGES, Grid, Mesh, Neuron, mesh

QUANTITIES = ("output", "loss", "gradient_w", "gradient_b")
INPUTS = (1.0, -0.7, 0.0, 2.5)


def value(shown: Mesh, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The quantity over the plane, from the neuron and not from the mesh."""
    x, y = (torch.tensor(number, dtype=torch.float64) for number in (shown.grid.x, shown.grid.y))
    neuron = shown.neuron
    if shown.quantity == "output":
        return neuron.output(w, b, x)
    function = {"loss": neuron.loss_value, "gradient_w": neuron.gradient_w, "gradient_b": neuron.gradient_b}
    return function[shown.quantity](w, b, x, y)


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("x", INPUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_point_is_a_value_of_the_neuron_at_its_place(activation: str, x: float, quantity: str) -> None:
    for loss in LOSSES:
        grid = Grid(RANGES[activation], RANGES[activation], resolution=31, x=x, y=0.3)
        shown = mesh(Neuron(activation, loss), quantity, grid, across=4)  # type: ignore[arg-type]
        rows = shown.z.isfinite()
        assert bool((shown.w[rows] * x + shown.b[rows] - shown.z[rows, None]).abs().max() < 1e-12)
        for points, (low, high) in ((shown.w[rows], grid.w), (shown.b[rows], grid.b)):
            assert low - 1e-12 < float(points.min()) <= float(points.max()) < high + 1e-12
        at_place = value(shown, shown.w[rows], shown.b[rows])
        drawn = shown.values[rows, None].expand_as(at_place)
        # w x + b is rounded; at a pole or a jump that may fall on the other side.
        close = torch.isclose(at_place, drawn, rtol=1e-5, atol=1e-9, equal_nan=True)
        assert float(close.double().mean()) > 0.9, (loss, quantity)
        assert bool(shown.values[rows].isfinite().all())


def test_gaps_are_where_the_loss_has_no_value() -> None:
    shown = mesh(Neuron("relu", "cross_entropy"), "loss", Grid((-1, 1), (-1, 1), resolution=41))
    below, above = shown.gaps
    assert (below.kind, above.kind) == ("infinite", "undefined")
    assert (below.low, above.high) == (-2, 2)
    # The loss grows without bound towards p = 0 and p = 1, and is cut off where -(ln p + ln(1 - p)) / 2 is the limit.
    assert shown.limit == 2
    edge = (1 - math.sqrt(1 - 4 * math.exp(-4))) / 2
    assert below.high == pytest.approx(edge, rel=1e-9)
    assert above.low == pytest.approx(1 - edge, rel=1e-9)
    assert float(shown.values.max()) == pytest.approx(2, rel=1e-9)


def test_a_jump_separates_pieces_and_a_kink_lies_between_two_close_rows() -> None:
    gradient = mesh(Neuron("relu", "l2"), "gradient_w", Grid((-1, 1), (-1, 1), resolution=40))
    (separator,) = torch.nonzero(gradient.z.isnan()).flatten().tolist()
    assert -1e-8 < float(gradient.z[separator - 1]) < 0 < float(gradient.z[separator + 1]) < 1e-8
    assert float(gradient.values[separator - 1]) == 0
    assert float(gradient.values[separator + 1]) == pytest.approx(-1)
    loss = mesh(Neuron("relu", "l2"), "loss", Grid((-1, 1), (-1, 1), resolution=40))
    assert not bool(loss.z.isnan().any())
    ((low, high),) = [(low, high) for low, high in pairwise(loss.z.tolist()) if low < 0 < high]
    assert high - low < 1e-7


@pytest.mark.parametrize(("activation", "loss"), [("sigmoid", "l2"), ("relu", "cross_entropy"), ("gelu", "huber")])
def test_rows_are_close_where_the_quantity_is_steep(activation: str, loss: str) -> None:
    grid = Grid(RANGES[activation], RANGES[activation], resolution=61)
    values = mesh(Neuron(activation, loss), "gradient_b", grid).values.numpy()
    steps = np.abs(np.diff(values))
    assert np.nanmax(steps) < 0.03 * (np.nanmax(values) - np.nanmin(values))


def test_nothing_is_drawn_where_nothing_is_defined() -> None:
    shown = mesh(Neuron("relu", "cross_entropy"), "loss", Grid((2, 3), (1, 2), resolution=5))
    assert len(shown.z) == len(shown.values) == 0
    assert [(gap.low, gap.high, gap.kind) for gap in shown.gaps] == [(3, 5, "undefined")]
