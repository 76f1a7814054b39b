"""lossact surfaces: pictures of one neuron."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.description = (
        "The surfaces of one neuron, output p = act(w x + b) and its loss against y: figures as PNG and SVG, and a "
        "page to turn them by hand. Without options the ten figures of the report."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; made where missing")
    parser.add_argument("--activation", nargs="+", default=["sigmoid", "relu"], metavar="NAME")
    parser.add_argument("--loss", nargs="+", default=["l2", "cross_entropy"], metavar="NAME")
    parser.add_argument("--x", type=float, default=1.0, help="input (default: 1)")
    parser.add_argument("--y", type=float, default=0.5, help="target (default: 0.5)")
    parser.add_argument("--w", type=float, nargs=2, default=[-10, 10], metavar=("LOW", "HIGH"), help="range of weights")
    parser.add_argument("--b", type=float, nargs=2, default=[-10, 10], metavar=("LOW", "HIGH"), help="range of biases")
    parser.add_argument("--resolution", type=int, default=161, metavar="N", help="points along an axis (default: 161)")
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

    from lossact.checks import check_count, check_number
    from lossact.functional import Grid, Neuron, descend
    from lossact.report.surfaces import draw_surfaces, save_descent
    from lossact.report.surfaces_page import write_page

    grid = Grid(tuple(parsed.w), tuple(parsed.b), parsed.resolution, parsed.x, parsed.y)
    neurons = [Neuron(activation, loss) for activation in parsed.activation for loss in parsed.loss]
    check_number("learning_rate", parsed.learning_rate, above=0, hint=0.15)
    check_count("steps", parsed.steps, at_least=1, hint=300)
    for start in parsed.descent:
        for name, value in zip("wb", start, strict=True):
            check_number(f"descent's {name}", value, hint=2)
    parsed.out.mkdir(parents=True, exist_ok=True)
    written = draw_surfaces(parsed.out, parsed.activation, parsed.loss, grid)
    if parsed.descent:
        w, b = torch.tensor(parsed.descent, dtype=torch.float64).T
        x, y = (torch.tensor(value, dtype=torch.float64) for value in (grid.x, grid.y))
        for neuron in neurons:
            path = descend(neuron, w, b, x, y, learning_rate=parsed.learning_rate, steps=parsed.steps)
            written.append(save_descent(parsed.out, neuron, path, grid, learning_rate=parsed.learning_rate))
    page = write_page(parsed.out, neurons[0], grid)
    for name, title in written:
        print(f"{title:45} {parsed.out / name}.png, .svg")
    print(f"{'To turn by hand':45} {page}")
