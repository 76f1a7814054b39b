"""A mesh over weights and biases whose lines follow the level lines of a neuron."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lossact.checks import check_choice
from lossact.functional.activations import ACTIVATIONS
from lossact.functional.neuron import Neuron
from lossact.functional.surfaces import QUANTITIES, Grid, Quantity

_Function = Callable[[Tensor], Tensor]
GapKind = Literal["infinite", "undefined", "beyond the limit"]

REFINEMENTS = 6  # knots between a breakpoint and its neighbours, at halved distances
BISECTIONS = 60
FINEST = 100  # rows between the lowest and the highest value, where a quantity is steep
POLE = 3.0  # times the 90% quantile of |value|, above which an unbounded quantity is cut off
RANGES = {  # of weight and bias: where each activation has its structure
    "sigmoid": (-6.0, 6.0), "relu": (-1.0, 1.0), "tanh": (-3.0, 3.0), "leaky_relu": (-1.0, 1.0),
    "softplus": (-4.0, 4.0), "gelu": (-2.0, 2.0), "silu": (-3.0, 3.0),
}  # fmt: skip


@dataclass(frozen=True)
class Gap:
    """A range of z in which a quantity has no value to draw.

    Attributes:
        low, high: its ends.
        kind: "infinite", "undefined", or "beyond the limit" where the quantity grows without bound.
    """

    low: float
    high: float
    kind: GapKind


@dataclass(frozen=True, eq=False)
class Mesh:
    """One quantity of a neuron along z = w x + b, and the level lines of z in the plane of w and b.

    A quantity depends on w and b through z alone. So each row of the mesh is a level line, and no facet between two
    rows is cut by a ridge. A row of NaN separates pieces between which the quantity jumps or has no value.

    Attributes:
        neuron, quantity, grid: what the mesh shows; of the grid only the ranges, x and y count.
        z: (rows,) increasing where not NaN.
        w, b: (rows, across) points on each level line, from one side of the rectangle to the other.
        values: (rows,) the quantity on each level line; finite where z is.
        limit: largest |value| shown, None where the quantity is bounded.
        gaps: where nothing is shown.
    """

    neuron: Neuron
    quantity: Quantity
    grid: Grid
    z: Tensor
    w: Tensor
    b: Tensor
    values: Tensor
    limit: float | None
    gaps: tuple[Gap, ...]


def profile(neuron: Neuron, quantity: Quantity, z: Tensor, *, x: float, y: float) -> Tensor:
    """Return a quantity as a function of z = w x + b alone.

    Args:
        neuron: the neuron.
        quantity: "output", "loss", "gradient_w" or "gradient_b".
        z: any shape, float64.
        x, y: input and target.

    Returns:
        The shape of z; NaN where undefined, inf where infinite.
    """
    check_choice("quantity", quantity, QUANTITIES)
    weight = torch.zeros_like(z)
    x_tensor, y_tensor = torch.tensor(x, dtype=z.dtype), torch.tensor(y, dtype=z.dtype)
    match quantity:
        case "output":
            return neuron.output(weight, z, x_tensor)
        case "loss":
            return neuron.loss_value(weight, z, x_tensor, y_tensor)
        case "gradient_b":
            return neuron.gradient_b(weight, z, x_tensor, y_tensor)
        case "gradient_w":
            return neuron.gradient_w(weight, z, x_tensor, y_tensor)


def mesh(neuron: Neuron, quantity: Quantity, grid: Grid, *, across: int = 2) -> Mesh:
    """Return a mesh along z = w x + b and across it.

    Args:
        neuron: the neuron.
        quantity: "output", "loss", "gradient_w" or "gradient_b".
        grid: ranges of weight and bias, input and target; `resolution` rows are evenly spaced in z, and more lie at
            kinks, poles and edges.
        across: points on each level line, >= 2.

    Returns:
        the mesh, its rows in increasing z.
    """
    corners = [w * grid.x + b for w in grid.w for b in grid.b]
    low, high = min(corners), max(corners)
    even = torch.linspace(low, high, grid.resolution, dtype=torch.float64)
    breaks = _breakpoints(neuron, grid, even)
    step, offset = (high - low) / (grid.resolution - 1), 1e-9 * (high - low)
    near = [step * 0.5**k for k in range(1, REFINEMENTS + 1)] + [offset]
    around = torch.tensor([point + side * d for point in breaks for d in near for side in (-1, 1)], dtype=torch.float64)
    knots = torch.cat((even, around)).sort().values
    for point in breaks:  # at a pole a rounded knot would have a value without meaning
        knots = knots[(knots - point).abs() >= offset / 2]
        even = even[(even - point).abs() >= offset / 2]
    knots = knots[(knots >= low) & (knots <= high)]

    def values_at(z: Tensor) -> Tensor:
        return profile(neuron, quantity, z, x=grid.x, y=grid.y)

    limit = _limit(values_at(even), values_at(knots))
    knots, shown = _with_edges(knots, values_at, limit)
    knots = _refined(knots, values_at(knots), shown, offset)
    shown = _is_shown(values_at(knots), limit)
    values = values_at(knots)
    jumps = _jumps(knots, values, shown, breaks, offset)
    gaps = _gaps(knots, shown, values_at)
    z, values = _separated(knots, values, shown, jumps)
    w, b = level_lines(z, grid, across)
    return Mesh(neuron, quantity, grid, z, w, b, values, limit, gaps)


def _breakpoints(neuron: Neuron, grid: Grid, even: Tensor) -> list[float]:
    """Return the z at which an activation or a loss may have a kink, a jump, a pole or the edge of its domain."""
    levels = [0.0, 1.0]
    if neuron.loss == "huber":
        levels += [grid.y - 1, grid.y + 1]
    if neuron.loss == "hinge" and grid.y != 0.5:
        levels.append(1 / (2 * grid.y - 1))
    activation = ACTIVATIONS[neuron.activation].function
    kinks = {0.0} if even[0] < 0 < even[-1] else set()
    outputs = activation(even)
    for level in levels:
        above = outputs > level
        for k in torch.nonzero(above[1:] != above[:-1]).flatten().tolist():
            kinks.add(_bisected(even[k], even[k + 1], lambda z, level=level: activation(z) > level))  # type: ignore[misc]
    points = sorted(kinks)
    width = 1e-6 * float(even[-1] - even[0])
    return [point for k, point in enumerate(points) if k == 0 or point - points[k - 1] > width]


def _bisected(low: Tensor, high: Tensor, holds: _Function) -> float:
    """Return the last point, seen from `low`, at which a predicate is what it is at `low`."""
    at_low = bool(holds(low))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if bool(holds(middle)) == at_low:
            low = middle
        else:
            high = middle
    return float(low)


def _limit(even: Tensor, knots: Tensor) -> float | None:
    """Return where an unbounded quantity is cut off: 1, 2 or 5 times a power of ten; None for a bounded one."""
    if bool(knots.isfinite().all()):
        return None
    finite = even[even.isfinite()].abs()
    if not finite.numel():
        return None
    usual = float(torch.quantile(finite, 0.9))
    if float(knots[knots.isfinite()].abs().max()) <= POLE * usual or usual == 0:
        return None
    power = 10.0 ** math.floor(math.log10(usual))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= usual)


def _with_edges(knots: Tensor, values_at: _Function, limit: float | None) -> tuple[Tensor, Tensor]:
    """Return the knots with the edges of what is shown among them, and which of them are shown."""

    def is_shown(z: Tensor) -> Tensor:
        return _is_shown(values_at(z), limit)

    shown = is_shown(knots)
    edges = []
    for k in torch.nonzero(shown[1:] != shown[:-1]).flatten().tolist():
        inner, outer = (knots[k], knots[k + 1]) if shown[k] else (knots[k + 1], knots[k])
        edges.append(_bisected(inner, outer, is_shown))
    knots = torch.cat((knots, torch.tensor(edges, dtype=torch.float64))).sort().values
    return knots, is_shown(knots)


def _is_shown(values: Tensor, limit: float | None) -> Tensor:
    return values.isfinite() if limit is None else values.isfinite() & (values.abs() <= limit)


def _refined(knots: Tensor, values: Tensor, shown: Tensor, offset: float) -> Tensor:
    """Return the knots, and more between those whose values differ by much."""
    if not bool(shown.any()):
        return knots
    span = values[shown].max() - values[shown].min()
    more = [knots]
    for k in torch.nonzero(shown[1:] & shown[:-1] & (knots.diff() > 4 * offset)).flatten().tolist():
        pieces = int((values[k + 1] - values[k]).abs() / span.clamp(min=1e-300) * FINEST) + 1
        if pieces > 1:
            more.append(torch.linspace(float(knots[k]), float(knots[k + 1]), pieces + 1, dtype=torch.float64)[1:-1])
    return torch.cat(more).sort().values


def _jumps(knots: Tensor, values: Tensor, shown: Tensor, breaks: list[float], offset: float) -> set[int]:
    """Return the knots after which the quantity jumps."""
    size = float(values[shown].abs().max()) if bool(shown.any()) else 0.0
    jumps = set()
    for point in breaks:
        k = int(torch.searchsorted(knots, torch.tensor(point, dtype=torch.float64))) - 1
        if not 0 <= k < len(knots) - 1 or not (shown[k] and shown[k + 1]):
            continue
        is_close = knots[k + 1] - knots[k] < 4 * offset
        if is_close and abs(float(values[k + 1] - values[k])) > 1e-6 * size:
            jumps.add(k)
    return jumps


def _gaps(knots: Tensor, shown: Tensor, values_at: _Function) -> tuple[Gap, ...]:
    gaps = []
    start = None
    for k in range(len(knots)):
        if not shown[k] and start is None:
            start = max(k - 1, 0)
        if start is not None and (shown[k] or k == len(knots) - 1):
            low, high = float(knots[start]), float(knots[k])
            middle = values_at(torch.tensor((low + high) / 2, dtype=torch.float64))
            kind: GapKind = "undefined" if middle.isnan() else "infinite" if middle.isinf() else "beyond the limit"
            gaps.append(Gap(low, high, kind))
            start = None
    return tuple(gaps)


def _separated(knots: Tensor, values: Tensor, shown: Tensor, jumps: set[int]) -> tuple[Tensor, Tensor]:
    """Return z and values of what is shown, with a NaN between pieces."""
    z: list[float] = []
    kept: list[float] = []
    for k in range(len(knots)):
        if shown[k]:
            z.append(float(knots[k]))
            kept.append(float(values[k]))
        if (not shown[k] or k in jumps) and z and not math.isnan(z[-1]):
            z.append(math.nan)
            kept.append(math.nan)
    if z and math.isnan(z[-1]):
        del z[-1], kept[-1]
    return torch.tensor(z, dtype=torch.float64), torch.tensor(kept, dtype=torch.float64)


def level_lines(z: Tensor, grid: Grid, across: int) -> tuple[Tensor, Tensor]:
    """Return weights and biases (rows, across) on each line w x + b = z within the ranges of a grid.

    Args:
        z: (rows,) levels that the grid reaches.
        grid: its ranges of weight and bias, and its input.
        across: points on each line, >= 2.

    Returns:
        the weights and the biases, both (rows, across).
    """
    (w_low, w_high), (b_low, b_high) = grid.w, grid.b
    if grid.x == 0:
        start, end = torch.full_like(z, w_low), torch.full_like(z, w_high)
    else:
        ends = torch.stack(((z - b_low) / grid.x, (z - b_high) / grid.x))
        start = ends.amin(0).clamp(w_low, w_high)
        end = ends.amax(0).clamp(w_low, w_high)
    share = torch.linspace(0, 1, across, dtype=torch.float64)
    w = (start[:, None] + (end - start)[:, None] * share).clamp(w_low, w_high)
    return w, (z[:, None] - w * grid.x).clamp(b_low, b_high)
