"""lossact curves: how conditions learn."""

import argparse
import re
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lossact.errors import ClaimError, InputError, LossactError

if TYPE_CHECKING:
    from lossact.conditions import BaseCondition
    from lossact.report.stored import StoredCondition
    from lossact.storage import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Figures of how conditions learn, as PNG and SVG: loss and metric against the update (median, band and single "
        "runs), the share of replicas that have arrived, and for a claim about an order the claimed order beside the "
        "measured one. What is stored is not trained again."
    )
    parser.add_argument(
        "selection", metavar="CLAIM|CONDITION", nargs="+",
        help="a claim as pytest selects it, FILE::NAME, or a condition that a Python file defines, also FILE::NAME",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; made where missing")
    parser.add_argument("--replicas", type=int, default=512, metavar="N", help="of each condition (default: 512)")
    parser.add_argument("--title", default="", help="of the figures that show all conditions")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--data", metavar="DIR", help="what --claims-data is to pytest")
    parser.add_argument("--store", default=".lossact", metavar="PATH|none", help="default: .lossact")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Train what is missing, draw, and name the files.

    Standard output holds these alone; what a user's claim prints goes to standard error.
    """
    say = partial(print, file=sys.stdout)
    with redirect_stdout(sys.stderr):
        for path in _draw(parsed):
            say(path)


def _draw(parsed: argparse.Namespace) -> list[Path]:
    from lossact.checks import check_count
    from lossact.report.figure import save_figure
    from lossact.report.files import check_output_folder
    from lossact.report.learning_curves import arrivals_figure, curves_figure, order_figure
    from lossact.storage import Store

    check_count("replicas", parsed.replicas, hint=512)
    check_output_folder(parsed.out)
    conditions, is_ordering = _conditions(parsed)
    parsed.out.mkdir(parents=True, exist_ok=True)
    with Store(None if parsed.store == "none" else parsed.store) as store:
        trained = _trained(conditions, store, parsed)
    written: list[Path] = []
    slugs = _slugs([condition.name for condition in trained])
    with_curves = [k for k, condition in enumerate(trained) if condition.has_curves]
    for k in with_curves:
        written += save_figure(curves_figure([trained[k]], series=[k]), parsed.out / f"curves_{slugs[k]}")
    if 1 < len(trained) == len(with_curves):
        written += save_figure(curves_figure(trained), parsed.out / "curves")
    arriving = [k for k, condition in enumerate(trained) if condition.has_target]
    if arriving:
        figure = arrivals_figure([trained[k] for k in arriving], title=parsed.title, series=arriving)
        written += save_figure(figure, parsed.out / "arrivals")
    not_kept = [each.name for each in trained if each.curves is None and each.content["condition"].get("network")]
    if not_kept:
        print(
            f"note: the store has no curves of {', '.join(not_kept)}, as after lossact map; another --store, or none, "
            "has them",
            file=sys.stderr,
        )
    if is_ordering:
        written += save_figure(order_figure(trained, title=parsed.title), parsed.out / "order")
    if not written:
        raise ClaimError(
            f"{' '.join(parsed.selection)}: there is no target to reach and no curve to draw; lower measured_every= "
            "for curves, and see the values themselves with lossact report"
        )
    return written


def _conditions(parsed: argparse.Namespace) -> tuple[list["BaseCondition"], bool]:
    """Return the selected conditions, each once, and whether they are in a claimed order."""
    from lossact.pytest_plugin.collect import collect_hypotheses

    data = ["--claims-data", parsed.data] if parsed.data else []
    conditions: list[BaseCondition] = []
    orderings = []
    for selected in parsed.selection:
        file, _, name = selected.partition("::")
        if name and not name.startswith("test"):
            conditions.append(_defined(Path(file), name))
            continue
        hypotheses = collect_hypotheses([selected, *data])
        orderings += [hypothesis.is_ordering for hypothesis in hypotheses.values()]
        conditions += [condition for hypothesis in hypotheses.values() for condition in hypothesis.conditions]
    unique = list(dict.fromkeys(conditions))
    if not unique:
        raise ClaimError(f"{' '.join(parsed.selection)}: nothing is trained there; give a claim about conditions")
    return unique, orderings == [True] and len(parsed.selection) == 1


def _defined(file: Path, name: str) -> "BaseCondition":
    """Return the condition that a Python file defines under a name."""
    from importlib.util import module_from_spec, spec_from_file_location

    from lossact.conditions import BaseCondition

    if file.suffix != ".py" or not file.is_file():
        raise InputError(f"{file}::{name}: there is no Python file {file}")
    module_name = file.stem if file.stem not in sys.modules else f"{file.stem}_of_lossact_curves"
    spec = spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    sys.path.insert(0, str(file.resolve().parent))  # as pytest does
    try:
        spec.loader.exec_module(module)
    except LossactError:
        raise
    except Exception as error:
        raise InputError(f"{file}: {type(error).__name__}: {error}") from error
    condition = getattr(module, name, None)
    if not isinstance(condition, BaseCondition):
        raise InputError(
            f"{file}::{name} must be a claim (its name begins with test_) or a condition at the top level of the file; "
            f"it is {condition!r}"
        )
    return condition


def _trained(conditions: list["BaseCondition"], store: "Store", parsed: argparse.Namespace) -> list["StoredCondition"]:
    from lossact.experiment import Experiment
    from lossact.report.stored import StoredCondition

    experiment = Experiment(seed=parsed.seed, store=store)
    trained = []
    for condition, trials in zip(conditions, experiment.trials(conditions, parsed.replicas), strict=True):
        curves = experiment.curves(condition)
        content = store.content(experiment.key(condition))
        kept = None if curves is None else curves.first(len(trials))
        trained.append(StoredCondition(condition.name, content, trials, kept, ()))
    return trained


def _slugs(names: list[str]) -> list[str]:
    """Return a part of a file name for each name, no two alike."""
    slugs: list[str] = []
    for name in names:
        slug = re.sub(r"\W+", "_", name).strip("_") or "condition"
        number = sum(re.fullmatch(rf"{slug}(_\d+)?", other) is not None for other in slugs)
        slugs.append(f"{slug}_{number + 1}" if slug in slugs else slug)
    return slugs
