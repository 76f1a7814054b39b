"""What a notebook shows of a verdict."""

import re
from dataclasses import replace
from xml.etree import ElementTree

from lossact import Experiment, evaluate, exact, faster
from tests.conftest import report_condition

EASY = replace(report_condition(budget=60), name="<b>easy</b>")
HARD = replace(report_condition(loss="l2", budget=60), name="hard")


def test_the_picture_shows_who_had_reached_the_target_when(experiment: Experiment) -> None:
    verdict = evaluate(faster(EASY, than=HARD), experiment=experiment, max_replicas=64)
    html = verdict._repr_html_()
    assert verdict.name.upper() in html
    assert "&lt;b&gt;easy&lt;/b&gt;" in html
    assert "<b>easy" not in html
    assert f"<td>{verdict.conditions[0].reached} of 64</td>" in html
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", html).group())  # type: ignore[union-attr]
    lines = [line.get("points", "").split() for line in svg.iter("polyline")]
    assert len(lines) == 2
    for line, condition in zip(lines, verdict.conditions, strict=True):
        heights = [float(point.partition(",")[2]) for point in line]
        assert heights == sorted(heights, reverse=True)  # the share never falls
        assert abs((180 - heights[-1]) / 170 - condition.reached / 64) < 1e-3


def test_a_theorem_has_no_picture() -> None:
    html = evaluate(exact("0 = 0", deviations=lambda: [0.0], tolerance=1))._repr_html_()
    assert "SUPPORTED" in html
    assert "<svg" not in html
