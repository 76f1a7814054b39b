"""Make the pictures of docs/ and of the README: python docs/make_pictures.py, from the project's root.

What the store .lossact holds is not trained again; `pytest claims/report` fills it, and for the picture of values
`pytest claims/literature`.
"""

import argparse
from pathlib import Path

from lossact import Experiment, Store, evaluate
from lossact.claims.family import declared_family
from lossact.functional import RANGES, Grid, Neuron, mesh
from lossact.pytest_plugin.collect import collect_hypotheses
from lossact.report.figure import save_figure
from lossact.report.learning_curves import arrivals_figure, curves_figure, order_figure
from lossact.report.profiles import error_figure, profile_figure
from lossact.report.stored import StoredCondition
from lossact.report.surfaces import ACROSS, draw_sheet, surface_figure
from lossact.report.value_figures import values_figure

OUT = Path(__file__).parent / "pictures"
ACTIVATIONS, LOSSES = ["sigmoid", "relu"], ["l2", "cross_entropy"]
FINAL_VALUES = Path("claims/literature/test_final_values.py")
LEARNING_SPEED = "claims/report/test_learning_speed.py"
# The colour of a condition is the same in all pictures: that of its place in the report's order.
SERIES = {"ReLU/L2": 0, "sigmoid/CE": 1, "ReLU/CE": 2, "sigmoid/L2": 3, "CNN ReLU/CE": 2}


def trained(claim: str, store: Store, *, replicas: int) -> list[StoredCondition]:
    """Return the conditions of a claim with their trials and curves."""
    (hypothesis,) = collect_hypotheses([claim]).values()
    experiment = Experiment(store=store)
    stored = []
    for condition, trials in zip(
        hypothesis.conditions, experiment.trials(hypothesis.conditions, replicas), strict=True
    ):
        curves = experiment.curves(condition)
        content = store.content(experiment.key(condition))
        stored.append(StoredCondition(condition.name, content, trials, curves and curves.first(len(trials)), ()))
    return stored


def keep_svg(name: str) -> None:
    """Delete the PNG beside an SVG."""
    (OUT / f"{name}.png").unlink()


def draw_neuron() -> None:
    """Draw part 1: one neuron."""
    grids = {name: Grid(RANGES[name], RANGES[name], resolution=121) for name in ACTIVATIONS}
    draw_sheet(OUT, ACTIVATIONS, LOSSES, grids)
    keep_svg("all_surfaces")
    for loss in LOSSES:
        shown = mesh(Neuron("sigmoid", loss), "gradient_w", grids["sigmoid"], across=ACROSS)
        save_figure(surface_figure(shown), OUT / f"gradient_sigmoid_{loss}", dpi=110)
        keep_svg(f"gradient_sigmoid_{loss}")
    for name in ACTIVATIONS:
        save_figure(profile_figure(name, LOSSES, grids[name]), OUT / f"profile_{name}")
        keep_svg(f"profile_{name}")
    save_figure(error_figure(), OUT / "gradient_by_error")
    keep_svg("gradient_by_error")


def draw_training(store: Store) -> None:
    """Draw part 2: networks that learn."""
    four = trained(f"{LEARNING_SPEED}::test_a8_order_of_the_four", store, replicas=512)
    save_figure(order_figure(four, title="The report's order, and the measured one"), OUT / "order")
    save_figure(curves_figure(four, series=[SERIES[condition.name] for condition in four]), OUT / "curves", dpi=110)
    (OUT / "curves.svg").unlink()
    scaled = trained(f"{LEARNING_SPEED}::test_a5_gap_grows_with_initial_scale", store, replicas=512)
    series = [SERIES.get(condition.name, 4 + k) for k, condition in enumerate(scaled)]
    figure = arrivals_figure(
        scaled, series=series, title="Sigmoid units, from usual weights and from four times as large"
    )
    save_figure(figure, OUT / "initial_scale")
    (cnn,) = trained("claims/report/test_cnn.py::test_a13_cnn_arrives", store, replicas=128)
    save_figure(curves_figure([cnn], series=[SERIES[cnn.name]]), OUT / "cnn", dpi=110)
    keep_svg("initial_scale")
    (OUT / "cnn.svg").unlink()


def draw_values(store: Store) -> None:
    """Draw what a claim about values rests on, at the level that its family leaves it."""
    (hypothesis,) = collect_hypotheses([f"{FINAL_VALUES}::test_cosine_ends_higher"]).values()
    family = declared_family(FINAL_VALUES.parent)
    assert family is not None
    verdict = evaluate(hypothesis, family_size=family.size, experiment=Experiment(store=store))
    (samples,) = verdict.value_samples
    save_figure(values_figure(samples), OUT / "values")
    keep_svg("values")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default=".lossact", help="where trials are kept (default: .lossact)")
    OUT.mkdir(exist_ok=True)
    draw_neuron()
    with Store(parser.parse_args().store) as opened:
        draw_training(opened)
        draw_values(opened)
