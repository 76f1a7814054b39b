"""What a notebook shows of a verdict."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from lossact import Experiment, evaluate, exact, faster, higher
from tests.claims.test_values import A, B, trials, verdict_on
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


def test_a_claim_about_values_has_their_medians_and_no_picture_of_a_target() -> None:
    columns = np.linspace(0, 1, 20), np.linspace(-1, 0, 20)
    lost = np.arange(20) == 19
    html = verdict_on(higher("m", A, than=B), trials(columns[0]), trials(columns[1], lost))._repr_html_()
    assert "<th>replicas</th><th>median m</th><th>diverged</th>" in html
    assert f"<td>A</td><td>20</td><td>{np.median(columns[0]):.6g}</td><td></td>" in html
    assert f"<td>B</td><td>20</td><td>{np.median(columns[1][:19]):.6g}</td><td>1</td>" in html
    assert "<svg" not in html


def test_a_theorem_has_no_picture() -> None:
    html = evaluate(exact("0 = 0", deviations=lambda: [0.0], tolerance=1))._repr_html_()
    assert "SUPPORTED" in html
    assert "<svg" not in html
