"""lossact surfaces: pictures of one neuron."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossact.functional import Grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "The surfaces of one neuron, output p = act(w x + b) and its loss against y: figures as PNG and SVG, their "
        "profiles against w x + b, one sheet of all, and a page to turn them by hand. By default these are the ten "
        "figures of the report."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; made where missing")
    parser.add_argument("--activation", nargs="+", default=["sigmoid", "relu"], metavar="NAME")
    parser.add_argument("--loss", nargs="+", default=["l2", "cross_entropy"], metavar="NAME")
    parser.add_argument("--x", type=float, default=1.0, help="input (default: 1)")
    parser.add_argument("--y", type=float, default=0.5, help="target (default: 0.5)")
    parser.add_argument(
        "--w", type=float, nargs=2, metavar=("LOW", "HIGH"), help="range of weights (default: the activation's)"
    )
    parser.add_argument(
        "--b", type=float, nargs=2, metavar=("LOW", "HIGH"), help="range of biases (default: the activation's)"
    )
    parser.add_argument(
        "--resolution", type=int, default=121, metavar="N", help="rows along w x + b, at least (default: 121)"
    )
    parser.add_argument(
        "--descent", type=float, nargs=2, action="append", default=[], metavar=("W", "B"),
        help="also follow gradient descent from this start; may be given again",
    )  # fmt: skip
    parser.add_argument("--learning-rate", type=float, default=0.15, help="of the descent (default: 0.15)")
    parser.add_argument("--steps", type=int, default=300, help="of the descent (default: 300)")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Draw and write."""
    import torch

    from lossact.checks import check_choice, check_count, check_number
    from lossact.functional import ACTIVATIONS, RANGES, Grid, Neuron, descend
    from lossact.report.descent import save_descent
    from lossact.report.figure import save_figure
    from lossact.report.files import check_output_folder
    from lossact.report.profiles import profile_figure
    from lossact.report.surfaces import draw_sheet, draw_surfaces
    from lossact.report.surfaces_page import write_page

    for activation in parsed.activation:
        check_choice("activation", activation, ACTIVATIONS)
    neurons = [Neuron(activation, loss) for activation in parsed.activation for loss in parsed.loss]
    grids = {
        activation: Grid(
            tuple(parsed.w or RANGES[activation]),
            tuple(parsed.b or RANGES[activation]),
            parsed.resolution,
            parsed.x,
            parsed.y,
        )
        for activation in parsed.activation
    }
    check_count("resolution", parsed.resolution, at_least=2, at_most=2001, hint=121)
    check_number("learning_rate", parsed.learning_rate, above=0, hint=0.15)
    check_count("steps", parsed.steps, at_least=1, hint=300)
    for start in parsed.descent:
        for name, value in zip("wb", start, strict=True):
            check_number(f"descent's {name}", value, hint=2)
    check_output_folder(parsed.out)
    parsed.out.mkdir(parents=True, exist_ok=True)
    written = draw_surfaces(parsed.out, parsed.activation, parsed.loss, grids)
    for activation, grid in grids.items():
        name = f"profile_{activation}"
        save_figure(profile_figure(activation, parsed.loss, grid), parsed.out / name)
        written.append((name, f"Profile of {activation}: loss and gradient"))
    written.append(draw_sheet(parsed.out, parsed.activation, parsed.loss, grids))
    if parsed.descent:
        w, b = torch.tensor(parsed.descent, dtype=torch.float64).T
        x, y = (torch.tensor(value, dtype=torch.float64) for value in (parsed.x, parsed.y))
        for neuron in neurons:
            path = descend(neuron, w, b, x, y, learning_rate=parsed.learning_rate, steps=parsed.steps)
            grid = _around(grids[neuron.activation], parsed)
            written.append(save_descent(parsed.out, neuron, path, grid, learning_rate=parsed.learning_rate))
    page = write_page(parsed.out, parsed.activation, parsed.loss, grids)
    for name, title in written:
        print(f"{title:45} {parsed.out / name}.png, .svg")
    print(f"{'To turn by hand':45} {page}")


def _around(grid: "Grid", parsed: argparse.Namespace) -> "Grid":
    """Return the grid with ranges that hold every start of a descent, where the user gave none."""
    ranges: dict[str, Any] = {}
    for k, name in enumerate("wb"):
        low, high = getattr(grid, name)
        starts = [start[k] for start in parsed.descent]
        if getattr(parsed, name) is None:
            low, high = min(low, *(1.2 * start for start in starts)), max(high, *(1.2 * start for start in starts))
        ranges[name] = (low, high)
    return replace(grid, **ranges)
