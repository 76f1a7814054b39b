"""lossact map: where a claim holds."""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lossact.errors import ClaimError

if TYPE_CHECKING:
    from lossact.experiment.runner import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.description = (
        "The verdict of a claim over a grid of two numbers of its conditions. Every cell starts with one block of "
        "replicas, and those that are still open get more. What is stored is not trained again."
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
    parser.add_argument("--store", default=".lossact", metavar="PATH|none", help="default: .lossact")
    parser.add_argument("--exploratory", action="store_true", help="each cell at alpha, and not at alpha / cells")
    parser.add_argument(
        "--confirm", choices=["best"], help="test the cell most favourable to the claim again, on fresh replicas"
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Make the map, write its picture and say what it shows."""
    from lossact.claims import evaluate
    from lossact.claims.collect import collect_hypotheses
    from lossact.claims.map import Axis, map_claim
    from lossact.experiment import Experiment, Store, default_setting
    from lossact.report.figure import save_figure
    from lossact.report.map import map_figure

    axes = {name: Axis.parse(getattr(parsed, name)) for name in "xy"}
    found = collect_hypotheses([parsed.claim])
    if len(found) > 1:
        raise ClaimError(f"{parsed.claim}: {len(found)} claims there; give one, as {next(iter(found))}")
    ((node, hypothesis),) = found.items()
    with closing(Store(None if parsed.store == "none" else parsed.store)) as store:
        setting = default_setting(compiled=True)
        experiment = Experiment(seed=parsed.seed, store=store, setting=setting, progress=_progress)
        one = map_claim(
            hypothesis, **axes, experiment=experiment, alpha=parsed.alpha, delta=parsed.delta,
            max_replicas=parsed.max_replicas, exploratory=parsed.exploratory,
        )  # fmt: skip
        parsed.out.mkdir(parents=True, exist_ok=True)
        name = f"map_{node.rpartition('::')[2].removeprefix('test_')}"
        written = save_figure(map_figure(one), parsed.out / name)
        verdicts = [cell.verdict for cell in one.decisions]
        shares = ", ".join(f"{word} in {verdicts.count(word)}" for word in ("supported", "refuted", "inconclusive"))
        print(f"{hypothesis!r}\n{len(verdicts)} cells: {shares}; {experiment.trained_replicas} replicas trained")
        x, y = one.best()
        print(f"most favourable: {one.x.path} = {x:g}, {one.y.path} = {y:g}")
        if parsed.confirm:
            fresh = Experiment(seed=parsed.seed + 1, store=store, setting=setting, progress=_progress)
            again = evaluate(
                one.at(x, y), alpha=parsed.alpha, delta=parsed.delta, max_replicas=parsed.max_replicas, experiment=fresh
            )
            print(f"on fresh replicas (seed {parsed.seed + 1}): {again}")
    for path in written:
        print(path)


def _progress(progress: "Progress") -> None:
    if sys.stderr.isatty():
        end = "\r" if not progress.finished else "\033[K\r"
        line = f"training {progress.what}: update {progress.update} of {progress.budget}"
        print(f"\033[K{line}", end=end, file=sys.stderr, flush=True)
