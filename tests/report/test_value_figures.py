"""Pictures of values: what is drawn is what was measured, also where it is degenerate."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from numpy.typing import NDArray

from lossact.claims.value_samples import Sample, ValueSamples
from lossact.claims.verdict_summary import Estimate
from lossact.report.charts import curve_charts, moments_chart, value_chart
from lossact.report.figure import save_figure
from lossact.report.html import write_html
from lossact.report.run_info import RunInfo
from lossact.report.value_axes import HALF_HEIGHT, MOST_LINES, MOST_POINTS, Span, swarm
from lossact.report.value_figures import value_panels, values_figure
from lossact.storage import Curves
from tests.report.test_report import read, stored
from tests.report.test_table import result

RNG = np.random.default_rng(3)
A, B = RNG.normal(93, 1, 64), RNG.normal(92, 1, 64)
ESTIMATE = Estimate("median difference", 1.02, 0.61, 1.4, 0.95, "points", "accuracy")


def sample(name: str, numbers: Any, **fields: Any) -> Sample:
    return Sample(name, tuple(np.asarray(numbers, dtype=float).tolist()), **fields)


def pair(a: Any = A, b: Any = B, *, estimate: Estimate | None = ESTIMATE, **fields: Any) -> ValueSamples:
    difference = sample("a minus b", np.subtract(a, b), estimate=estimate)
    given: dict[str, Any] = {"values": (sample("a", a), sample("b", b)), "compared": (difference,)}
    return ValueSamples("accuracy", **{"unit": "%", "compared_unit": "points", "margins": (0.5,)} | given | fields)


def drawn(axes: Axes, name: str) -> list[Any]:
    return [artist for artist in axes.get_children() if artist.get_gid() == name]


def line(axes: Axes, name: str) -> NDArray[np.float64]:
    (artist,) = drawn(axes, name)
    return np.asarray(artist.get_xydata(), dtype=np.float64)


def points(axes: Axes, row: int) -> NDArray[np.float64]:
    (patch,) = drawn(axes, f"points-{row}")
    assert isinstance(patch, PathPatch)
    return np.asarray(patch.get_path().vertices)[::2]


def words(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


def test_each_replica_is_a_point_and_each_condition_a_box() -> None:
    axes, _ = values_figure(pair()).axes
    for row, values in enumerate((A, B)):
        np.testing.assert_array_equal(points(axes, row)[:, 0], np.sort(values))
        assert np.abs(points(axes, row)[:, 1] - row).max() <= HALF_HEIGHT + 1e-9
        assert line(axes, f"median-{row}")[:, 0] == pytest.approx([np.median(values)] * 2)
        box = line(axes, f"box-{row}")[:, 0]
        assert (box.min(), box.max()) == pytest.approx(tuple(np.percentile(values, [25, 75])))
    assert axes.get_xlabel() == "accuracy (%)"
    assert words(axes) == "a\nb"


def test_differences_have_their_estimate_as_it_is_printed_the_zero_line_and_the_margin() -> None:
    _, axes = values_figure(pair()).axes
    np.testing.assert_array_equal(points(axes, 0)[:, 0], np.sort(A - B))
    assert line(axes, "interval")[:, 0].tolist() == [0.61, 1.4]
    assert line(axes, "estimate")[:, 0].tolist() == [1.02]
    assert not drawn(axes, "no-bound")
    for name, place in (("zero", 0), ("margin", 0.5)):
        (lines,) = drawn(axes, name)
        assert {x for segment in lines.get_segments() for x, _ in segment} == {place}
    caption = value_panels(pair())[1].caption
    assert f"diamond and bar: {ESTIMATE}" in caption
    assert caption.endswith("dashed: 0.5 points")


def test_an_interval_without_an_end_has_an_arrow_and_keeps_to_the_axis() -> None:
    _, axes = values_figure(pair(estimate=replace(ESTIMATE, low=-math.inf, high=math.inf))).axes
    assert {artist.get_marker() for artist in drawn(axes, "no-bound")} == {"<", ">"}
    assert line(axes, "interval")[:, 0] == pytest.approx(axes.get_xlim())


def test_an_unknown_estimate_draws_nothing() -> None:
    _, axes = values_figure(pair(estimate=replace(ESTIMATE, value=math.nan, low=-math.inf, high=math.inf))).axes
    assert not drawn(axes, "estimate")
    _, axes = values_figure(pair(estimate=replace(ESTIMATE, value=math.nan, low=math.nan, high=math.nan))).axes
    assert not drawn(axes, "interval")


def test_replicas_without_a_value_are_in_words() -> None:
    a = A.copy()
    a[[1, 5, 9]] = np.nan
    differences = A - B
    differences[[1, 5]], differences[9] = -np.inf, np.nan
    samples = pair(values=(sample("a", a, diverged=2), sample("b", B)), compared=(sample("a minus b", differences),))
    values, compared = values_figure(samples).axes
    assert words(values) == "a: 2 of 64 diverged, 1 of 64 undefined\nb"
    assert words(compared) == "a minus b: 1 of 64 undefined, 2 with one diverged"
    np.testing.assert_array_equal(points(values, 0)[:, 0], np.sort(a[~np.isnan(a)]))
    assert "a, median" in value_panels(samples)[0].description
    assert "64 replicas, 3 without a value" in value_panels(samples)[0].description


def test_a_condition_of_which_all_diverged_is_an_empty_row() -> None:
    nothing = np.full(64, np.nan)
    samples = pair(nothing, B, values=(sample("a", nothing, diverged=64), sample("b", B)), estimate=None)
    values, compared = values_figure(samples).axes
    assert not drawn(values, "points-0")
    assert "a: 64 of 64 diverged" in words(values)
    assert not drawn(compared, "points-0")
    assert "a, none of 64 has a value" in value_panels(samples)[0].description


def test_values_far_beyond_all_others_are_in_words_and_leave_the_others_readable() -> None:
    a = A.copy()
    a[:2] = 1e30, 2e30
    axes = values_figure(pair(a)).axes[0]
    assert np.diff(axes.get_xlim())[0] < 20
    assert words(axes).startswith("a: 2 at 1e+30 to 2e+30")
    np.testing.assert_array_equal(points(axes, 0)[:, 0], np.sort(a)[:-2])


@pytest.mark.parametrize("values", [[93.0], [93.0] * 64, [0.0] * 3, [-1e-30] * 4, [1e300] * 4])
def test_a_single_replica_and_equal_values_have_a_picture(values: list[float], tmp_path: Path) -> None:
    figure = values_figure(pair(values, values, estimate=replace(ESTIMATE, value=0, low=0, high=0)))
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert low < points(axes, 0)[0, 0] < high
    save_figure(figure, tmp_path / "figure")


def test_thousands_of_replicas_are_quantiles() -> None:
    many = RNG.normal(size=2048)
    samples = pair(many, -many)
    axes = values_figure(samples).axes[0]
    shown = points(axes, 0)[:, 0]
    assert (len(shown), shown[0], shown[-1]) == (MOST_POINTS, many.min(), many.max())
    assert np.quantile(shown, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(many, [0.1, 0.5, 0.9]), abs=0.05)
    assert f"points: {MOST_POINTS} quantiles of 2048 replicas" in value_panels(samples)[0].caption
    assert line(axes, "median-0")[0, 0] == np.median(many)


def test_points_of_a_column_lie_apart_and_equal_data_give_equal_pictures() -> None:
    numbers = np.sort(np.repeat([1.0, 2.0, 3.0], [1, 7, 40]))
    offsets = swarm(numbers, Span(0, 4))
    for value in (1.0, 2.0, 3.0):
        column = np.sort(offsets[numbers == value])
        assert len(set(column.round(9))) == len(column)
        assert np.abs(column).max() <= HALF_HEIGHT + 1e-9
    np.testing.assert_array_equal(swarm(numbers, Span(0, 4)), offsets)


def test_a_trend_is_a_line_a_replica_and_the_medians_by_setting() -> None:
    columns = [RNG.normal(k, size=100) for k in range(3)]
    columns[1][4] = np.nan
    rows = tuple(sample(f"s{k}", column) for k, column in enumerate(columns))
    samples = ValueSamples("loss", values=rows, settings=(1, 4, 16))
    (axes,) = values_figure(samples).axes
    replicas = drawn(axes, "replica")
    assert len(replicas) == MOST_LINES
    for index, artist in enumerate(replicas):
        np.testing.assert_array_equal(artist.get_xydata()[:, 1], [column[index] for column in columns])
    np.testing.assert_allclose(
        line(axes, "medians"), np.stack([[1, 4, 16], [np.nanmedian(column) for column in columns]], axis=1)
    )
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "4", "16"]
    caption = value_panels(samples)[0].caption
    assert caption == "Loss: faint: the first 40 of 100 replicas; bold: medians; without a value: 1"


def test_a_measure_at_several_moments_is_a_line_through_them() -> None:
    condition = stored("a")
    column = np.array([0.25, 0.5, 0.75, np.nan])
    condition.trials.values.update({"accuracy@2": column, "accuracy@5": 1 - column, "accuracy": column, "loss": column})  # type: ignore[attr-defined]
    updates, values = condition.values_by_update("accuracy")
    assert updates.tolist() == [2, 5, 10]
    np.testing.assert_array_equal(values, np.stack([column, 1 - column, column], axis=1))
    chart = moments_chart([condition], pair())
    assert chart is not None
    caption, picture = chart
    assert caption.endswith("left out for want of a value: 1")
    (path,) = re.findall(r'<g id="series-0">\s*<path d="([^"]*)"', str(picture))
    assert len(re.findall("[ML]", path)) == 3
    assert moments_chart([condition], replace(pair(), measure="loss")) is None


def test_curves_are_drawn_where_they_were_measured() -> None:
    condition = stored()
    condition.content["condition"]["measured_every"] = 4
    chart = str(curve_charts([condition])["loss"])
    (path,) = re.findall(r'<g id="series-0">\s*<path d="([^"]*)"', chart)
    assert len(re.findall("[ML]", path)) == len([0, 4, 8, 10])
    condition.content["condition"]["measured_every"] = 10  # start and end alone are no curve
    assert curve_charts([condition]) == {}


def test_the_loss_is_not_drawn_again_as_a_metric() -> None:
    condition = stored()
    assert condition.curves is not None
    same = Curves(condition.curves.loss, condition.curves.loss.copy(), condition.curves.gradient_norm)
    assert list(curve_charts([replace(condition, curves=same)])) == ["loss"]


def test_curves_without_a_target_say_on_which_examples() -> None:
    condition = stored(steps=(0, 0, 0, 0))
    condition.content["condition"] |= {"target": None, "measures": {"accuracy": {"kind": "accuracy"}}}
    assert list(curve_charts([condition])) == ["loss on training examples", "accuracy on training examples"]


def test_a_page_shows_medians_and_pictures_that_can_be_read_aloud(tmp_path: Path) -> None:
    hostile = "<b>$x$</b>"
    samples = replace(pair(), values=(sample(hostile, A), sample("b", B)))
    counts = [replace(each, has_target=False) for each in result().verdict.conditions]
    conditions = (replace(counts[0], name=hostile), replace(counts[1], name="b"))
    claim = result(value_samples=(samples,), verdict=replace(result().verdict, conditions=conditions))
    write_html(tmp_path / "x.html", [claim], {}, RunInfo())
    page = read(tmp_path / "x.html")
    assert "b" not in page.tags
    assert "median accuracy (%)" in page.text
    assert f"{np.median(A):.4g}" in page.text
    assert f"b, median {np.median(B):.4g}" in (tmp_path / "x.html").read_text()


@pytest.mark.parametrize("replicas", [64, 2048])
def test_pictures_of_a_pair_take_less_than_30_kilobytes(replicas: int) -> None:
    samples = pair(RNG.normal(size=replicas), RNG.normal(size=replicas))
    assert sum(len(value_chart(panel)) for panel in value_panels(samples)) < 30_000
