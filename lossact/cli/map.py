"""lossact map: where a claim holds."""

import argparse
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lossact.errors import ClaimError, InputError

if TYPE_CHECKING:
    from lossact.running.jobs import Progress

MOST_CELLS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.description = (
        "The verdict of a claim over a grid of two numbers of its conditions. Every cell starts with one block of "
        "replicas, and those that are still open get more. What is stored is not trained again. Writes a picture (PNG, "
        "SVG) and a page that tells each cell's numbers."
    )
    parser.add_argument("claim", metavar="CLAIM", help="one claim, as pytest selects it: FILE::NAME")
    for name in "xy":
        parser.add_argument(
            f"--{name}", required=True, metavar="PATH=LOW:HIGH[:log]:COUNT",
            help="a number of the conditions, such as optimizer.learning_rate=1e-3:1:log:12",
        )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; made where missing")
    parser.add_argument("--alpha", type=float, default=0.025, help="a side, for the whole map (default: 0.025)")
    parser.add_argument("--delta", type=float, default=0.1, help="the smallest margin that matters (default: 0.1)")
    parser.add_argument("--max-replicas", type=int, default=2048, metavar="N", help="in a cell (default: 2048)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", metavar="DIR", help="what --claims-data is to pytest")
    parser.add_argument("--store", default=".lossact", metavar="PATH|none", help="default: .lossact")
    parser.add_argument(
        "--executor", choices=["local", "ray"], default="local",
        help="where replicas train: in this process (default), or on Ray, RAY_ADDRESS's or this machine's own",
    )  # fmt: skip
    parser.add_argument("--exploratory", action="store_true", help="each cell at alpha, and not at alpha / cells")
    parser.add_argument(
        "--confirm", choices=["best"], help="test the cell most favourable to the claim again, on fresh replicas"
    )
    parser.add_argument(
        "--compiled", action="store_true",
        help="compile the step: faster where cells need many replicas; shares no trials with pytest",
    )  # fmt: skip
    parser.add_argument(
        "--wandb", choices=["offline", "online", "disabled"], default="disabled", help="log the map (default: disabled)"
    )
    parser.add_argument("--yes", action="store_true", help=f"also more than {MOST_CELLS:,} cells")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Make the map, write its pictures and say what it shows.

    Standard output holds this alone. What others print meanwhile goes to standard error: a user's claim or network, and
    Ray, which tells there of each node that it loses, in thirty lines.
    """
    say = partial(print, file=sys.stdout)
    with redirect_stdout(sys.stderr):
        _make(parsed, say)


def _make(parsed: argparse.Namespace, say: Callable[[object], None]) -> None:
    from lossact.claims import evaluate
    from lossact.claims.map import Axis, map_claim
    from lossact.executors.choose import make_executor
    from lossact.experiment import Experiment, default_compute_config
    from lossact.pytest_plugin.collect import collect_hypotheses
    from lossact.report.figure import save_figure
    from lossact.report.map import map_figure
    from lossact.report.map_page import write_map_page
    from lossact.storage import Store

    begin = time.perf_counter()
    x, y = Axis.parse(parsed.x), Axis.parse(parsed.y)
    n_cells = len(x.values) * len(y.values)
    if n_cells > MOST_CELLS and not parsed.yes:
        raise InputError(f"x and y make {n_cells:,} cells, more than {MOST_CELLS:,}; take fewer, or add --yes")
    data = ["--claims-data", parsed.data] if parsed.data else []
    found = collect_hypotheses([parsed.claim, *data])
    if len(found) > 1:
        raise ClaimError(f"{parsed.claim}: {len(found)} claims there; give one, as {next(iter(found))}")
    ((node, hypothesis),) = found.items()
    parsed.out.mkdir(parents=True, exist_ok=True)
    name = "map_" + re.sub(r"[^\w.=-]+", "_", node.partition("::")[2].removeprefix("test_")).strip("_")
    with (
        Store(None if parsed.store == "none" else parsed.store) as store,
        closing(make_executor(parsed.executor)) as executor,
    ):
        levels = {"alpha": parsed.alpha, "delta": parsed.delta, "max_replicas": parsed.max_replicas}
        compute_config = default_compute_config(compiled=parsed.compiled, is_remote=executor.is_remote)

        def experiment(seed: int) -> Experiment:
            return Experiment(
                seed=seed,
                store=store,
                compute_config=compute_config,
                curves=False,
                progress=_progress,
                executor=executor,
            )

        here = experiment(parsed.seed)
        one = map_claim(hypothesis, x=x, y=y, experiment=here, exploratory=parsed.exploratory, **levels)
        written = save_figure(map_figure(one), parsed.out / name)
        written.append(write_map_page(parsed.out / f"{name}.html", one))
        say(f"{one}\n{here.trained_replicas:,} replicas trained, {time.perf_counter() - begin:.0f} s")
        best = one.best()
        say(f"most favourable: {x.path} = {best[0]:g}, {y.path} = {best[1]:g}")
        if parsed.confirm:
            again = evaluate(one.at(*best), experiment=experiment(parsed.seed + 1), **levels)
            say(f"on fresh replicas (seed {parsed.seed + 1}): {again}")
        if parsed.wandb != "disabled":
            from lossact.report.wandb_runs import log_map

            say(log_map(one, written[0], store, mode=parsed.wandb))
    for path in written:
        say(path)


def _progress(progress: "Progress") -> None:
    if sys.stderr.isatty():
        end = "\r" if not progress.finished else "\033[K\r"
        line = str(progress)[: shutil.get_terminal_size().columns - 1]
        print(f"\033[K{line}", end=end, file=sys.stderr, flush=True)
