"""`lossact map`: decide a claim over a grid of two hyperparameters."""

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
    """Add the command's options."""
    parser.description = (
        "Decide a claim in every cell of a grid over two numbers of its conditions. Each cell starts with one block "
        "of replicas, and undecided cells get more. Stored trials are not trained again. Writes a figure (PNG, SVG) "
        "and an HTML page with the numbers of each cell."
    )
    parser.add_argument("claim", metavar="CLAIM", help="one claim, in pytest's form FILE::NAME")
    for name in "xy":
        parser.add_argument(
            f"--{name}", required=True, metavar="PATH=VALUES",
            help="a number of the conditions and its values: optimizer.learning_rate=1e-3:1:log:12 (lowest, highest, "
            "how many; evenly spaced without log), or batch_size=16,32,64",
        )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder, created if missing")
    parser.add_argument(
        "--alpha", type=float, default=0.025, help="one-sided error probability for the whole map (default: 0.025)"
    )
    parser.add_argument("--delta", type=float, default=0.1, help="smallest margin over 1/2 that matters (default: 0.1)")
    parser.add_argument(
        "--max-replicas",
        type=int,
        default=2048,
        metavar="N",
        help="largest number of replicas in a cell (default: 2048)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the experiment (default: 0)")
    parser.add_argument(
        "--data", metavar="DIR", help="read data sets from .npy files in this folder, like --claims-data"
    )
    parser.add_argument(
        "--store", default=".lossact", metavar="PATH|none", help="folder that keeps trials (default: .lossact)"
    )
    parser.add_argument(
        "--executor", choices=["local", "ray"], default="local",
        help="train in this process (default), or on Ray: the cluster at RAY_ADDRESS, else a private one here",
    )  # fmt: skip
    parser.add_argument(
        "--accelerator", choices=["cpu", "cuda", "mps"], default="cpu", help="where cells train (default: cpu)"
    )
    parser.add_argument("--exploratory", action="store_true", help="decide each cell at alpha instead of alpha / cells")
    parser.add_argument(
        "--confirm", choices=["best"], help="decide the most favourable cell once more, on fresh replicas"
    )
    compilers = parser.add_mutually_exclusive_group()
    compilers.add_argument(
        "--compiled", action="store_true",
        help="compile your networks, whatever the budget: faster where much is trained; shares no trials with pytest",
    )  # fmt: skip
    compilers.add_argument(
        "--eager", action="store_true", help="train without a compiler, as pytest --claims-eager does"
    )
    parser.add_argument(
        "--wandb",
        choices=["offline", "online", "disabled"],
        default="disabled",
        help="log the map to W&B (default: disabled)",
    )
    parser.add_argument("--yes", action="store_true", help=f"allow more than {MOST_CELLS:,} cells")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Make the map, write its figures and print its summary.

    Only the summary goes to standard output. Whatever a user's claim or network, or Ray, prints meanwhile goes to
    standard error.
    """
    print_summary = partial(print, file=sys.stdout)
    with redirect_stdout(sys.stderr):
        _make_map(parsed, print_summary)


def _make_map(parsed: argparse.Namespace, print_summary: Callable[[object], None]) -> None:
    from lossact.claims import evaluate
    from lossact.claims.axis import Axis
    from lossact.claims.map import map_claim
    from lossact.executors.choose import make_executor
    from lossact.experiment import Experiment, default_compute_config
    from lossact.pytest_plugin.collect import collect_hypotheses
    from lossact.report.figure import save_figure
    from lossact.report.files import check_output_folder
    from lossact.report.map import map_figure
    from lossact.report.map_page import check_no_other_map, write_map_page
    from lossact.requirements import check_requirements
    from lossact.storage import Store

    begin = time.perf_counter()
    check_requirements(["wandb"] if parsed.wandb != "disabled" else [])
    check_output_folder(parsed.out)
    x, y = Axis.parse(parsed.x), Axis.parse(parsed.y)
    n_cells = len(x.values) * len(y.values)
    if n_cells > MOST_CELLS and not parsed.yes:
        raise InputError(f"x and y make {n_cells:,} cells, more than {MOST_CELLS:,}; take fewer, or add --yes")
    data = ["--claims-data", parsed.data] if parsed.data else []
    hypotheses = collect_hypotheses([parsed.claim, *data])
    if len(hypotheses) > 1:
        raise ClaimError(f"{parsed.claim}: {len(hypotheses)} claims there; give one, as {next(iter(hypotheses))}")
    ((node, hypothesis),) = hypotheses.items()
    parsed.out.mkdir(parents=True, exist_ok=True)
    name = "map_" + re.sub(r"[^\w.=-]+", "_", node.partition("::")[2].removeprefix("test_")).strip("_")
    page = parsed.out / f"{name}.html"
    place = str(Path(parsed.claim.partition("::")[0]).resolve()) + "::" + node.partition("::")[2]
    check_no_other_map(page, place, [x.path, y.path])
    with (
        Store(None if parsed.store == "none" else parsed.store) as store,
        closing(make_executor(parsed.executor)) as executor,
    ):
        levels = {"alpha": parsed.alpha, "delta": parsed.delta, "max_replicas": parsed.max_replicas}
        compute_config = default_compute_config(
            device=parsed.accelerator,
            compiled=not parsed.eager and (parsed.compiled or "auto"),
            is_remote=executor.is_remote,
        )

        def experiment(seed: int) -> Experiment:
            return Experiment(
                seed=seed,
                store=store,
                compute_config=compute_config,
                curves=False,
                progress=_progress,
                executor=executor,
            )

        of_map = experiment(parsed.seed)
        claim_map = map_claim(hypothesis, x=x, y=y, experiment=of_map, exploratory=parsed.exploratory, **levels)
        written = save_figure(map_figure(claim_map), parsed.out / name)
        written.append(write_map_page(page, claim_map, of=place))
        seconds = time.perf_counter() - begin
        print_summary(f"{claim_map}\n{of_map.trained_replicas:,} replicas trained, {seconds:.0f} s")
        best = claim_map.best()
        print_summary(f"most favourable: {x.path} = {best[0]:g}, {y.path} = {best[1]:g}")
        if parsed.confirm:
            confirmed = evaluate(claim_map.at(*best), experiment=experiment(parsed.seed + 1), **levels)
            print_summary(f"on fresh replicas (seed {parsed.seed + 1}): {confirmed}")
        if parsed.wandb != "disabled":
            from lossact.report.wandb_runs import log_map

            print_summary(log_map(claim_map, written[0], store, mode=parsed.wandb))
    for path in written:
        print_summary(path)


def _progress(progress: "Progress") -> None:
    if sys.stderr.isatty():
        end = "\r" if not progress.finished else "\033[K\r"
        line = str(progress)[: shutil.get_terminal_size().columns - 1]
        print(f"\033[K{line}", end=end, file=sys.stderr, flush=True)
