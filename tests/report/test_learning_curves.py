from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lossact.palette import INK, PAPER, SERIES
from lossact.report.charts import order_chart
from lossact.report.curve_axes import N_SINGLE_RUNS
from lossact.report.figure import save_figure
from lossact.report.learning_curves import arrivals_figure, curves_figure, measured_order, order_figure, runs_in_order
from lossact.report.stored import StoredCondition
from tests.report.test_report import stored


def three() -> list[StoredCondition]:
    """Over four replicas; steps of 0 never arrive within the budget of 10."""
    return [stored("a", (5, 9, 2, 0)), stored("b", (1, 4, 3, 0)), stored("c", (2, 0, 5, 0))]


def test_the_measured_order_is_by_mean_rank_and_those_that_never_arrive_share_the_last() -> None:
    # Ranks of a: 3 2 1 2; of b: 1 1 2 2; of c: 2 3 3 2, ties at their middle.
    assert measured_order(three()) == [1, 0, 2]


def test_a_single_run_shows_an_order_where_all_arrive_in_it() -> None:
    assert runs_in_order(three()) == (1, 4)
    assert runs_in_order([three()[1], three()[0]]) == (2, 4)


def test_arrivals_are_drawn_to_the_budget_and_named_at_their_end() -> None:
    figure = arrivals_figure(three())
    (axes,) = figure.axes
    lines = [line for line in axes.get_lines() if line.get_gid() is not None]
    for line, condition in zip(lines, three(), strict=True):
        steps = condition.trials.steps[condition.trials.reached]
        np.testing.assert_allclose(
            np.asarray(line.get_ydata()), [(steps <= update).mean() * len(steps) / 4 for update in range(11)]
        )
    assert axes.get_xlim() == (0, 10)
    names = [text for text in axes.texts if text.get_text()]
    assert [text.get_text() for text in names] == ["a  75%", "b  75%", "c  50%"] or len(names) == 3
    heights = sorted(text.xyann[1] for text in axes.texts)  # type: ignore[attr-defined]
    assert all(high - low > 0.07 for low, high in pairwise(heights))


@pytest.mark.parametrize("ends", [(10, 10, 10, 10), (0, 0, 0, 0), (1, 0, 10, 10)])
def test_names_keep_clear_of_each_other_and_of_the_edges(ends: tuple[int, ...]) -> None:
    conditions = [stored(f"condition {k}", (end, end, end, end)) for k, end in enumerate(ends)]
    heights = sorted(text.xyann[1] for text in arrivals_figure(conditions).axes[0].texts)  # type: ignore[attr-defined]
    assert all(high - low > 0.07 for low, high in pairwise(heights))
    assert -0.01 <= heights[0] <= heights[-1] <= 1.01


def test_curves_show_the_median_a_band_and_single_runs() -> None:
    condition = stored(steps=(3,) * 9, replicas=9)
    loss = curves_figure([condition]).axes[0]
    single = [line for line in loss.get_lines() if line.get_gid() == "single-run"]
    assert len(single) == N_SINGLE_RUNS
    assert condition.curves is not None
    np.testing.assert_array_equal(np.asarray(single[2].get_ydata()), condition.curves.loss[2])
    (median,) = (line for line in loss.get_lines() if line.get_gid() == "series-0")
    np.testing.assert_allclose(np.asarray(median.get_ydata()), np.median(condition.curves.loss, axis=0), rtol=1e-6)
    assert len(loss.collections) == 1


def test_curves_without_a_metric_show_the_loss_alone() -> None:
    condition = stored()
    assert condition.curves is not None
    same = replace(condition, curves=replace(condition.curves, metric=condition.curves.loss))
    assert [axes.get_ylabel() for axes in curves_figure([condition]).axes] == ["loss", "accuracy"]
    assert [axes.get_ylabel() for axes in curves_figure([same]).axes] == ["loss"]


def test_the_order_figure_names_each_condition_twice_and_counts_single_runs(tmp_path: Path) -> None:
    _, svg = save_figure(order_figure(three()), tmp_path / "order")
    words = [text.strip() for text in ElementTree.parse(svg).getroot().itertext() if text.strip()]
    for name in "abc":
        assert words.count(name) == 2
    assert any("shows the claimed order in 1 of 4 (25%)" in text for text in words)
    assert str(order_chart(three())).count(">a<") == 2


def test_an_svg_has_dark_colours_for_its_light_ones(tmp_path: Path) -> None:
    _, svg = save_figure(order_figure(three()), tmp_path / "order")
    text = svg.read_text()
    dark = text.partition("prefers-color-scheme: dark")[2].partition("</style>")[0]
    for colour in (INK, PAPER, SERIES[0], SERIES[1], SERIES[2]):
        assert f'fill: {colour.light}"]{{fill:{colour.dark}' in dark or f'stroke: {colour.light}"]' in dark
    before = svg.read_bytes()
    save_figure(order_figure(three()), tmp_path / "order")
    assert svg.read_bytes() == before
