import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from lossact.cli import main
from lossact.fingerprint import fingerprint
from lossact.report.charts import curve_charts, evidence_chart, reach_chart
from lossact.report.files import write_whole
from lossact.report.folder import write_folder
from lossact.report.formatting import short_name
from lossact.report.html import write_html
from lossact.report.markdown import write_markdown
from lossact.report.run_info import RunInfo
from lossact.report.sparklines import condition_lines
from lossact.report.stored import StoredCondition
from lossact.storage import Curves, Trials
from tests.pytest_plugin.conftest import CLAIMS, CONDITIONS
from tests.report.browser import CHROMIUM, opened
from tests.report.test_table import result

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>$x_|`"


class Reader(HTMLParser):
    """Collects text, tags and everything a page could load."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()
        self.loads: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def stored(name: str = "ReLU/L2", steps: tuple[int, ...] = (3, 8, 0, 0), *, replicas: int = 4) -> StoredCondition:
    """A condition of budget 10 with curves; steps of 0 never arrive."""
    trials = Trials(np.array(steps), np.array(steps) > 0, np.zeros(replicas, bool), 10)
    falling = np.linspace(1, 0, 11, dtype=np.float32) * np.arange(1, replicas + 1, dtype=np.float32)[:, None]
    content = {
        "condition": {"budget": 10, "loss": "l2", "network": {"kind": "mlp", "hidden": len(name)}, "batch_size": None},
        "block": 4,
        "setting": {"precision": "32-true", "threads": 2},
    }
    return StoredCondition(name, content, trials, Curves(falling, 1 - falling, np.zeros((4, 0, 0), np.float32)), ("x",))


GROWTH = {"replicas": [1.0, 20.0, 40.0], "log_support": [0.1, 0.2, 0.3], "log_refute": [0.5, 7.0, 900.0]}


def test_the_page_says_what_the_table_says_and_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "new" / "claims.html"
    claim = result(keys=(("ReLU/L2", "a"), ("ReLU/CE", "b")), evidence_path=GROWTH, thresholds=(0.5, 0.6))
    conditions = {"a": stored(), "b": stored("ReLU/cross", (1, 2, 3, 4))}
    write_html(page, [claim], conditions, RunInfo(seed=3, flags=("--claims-seed", "3")))
    page_read = read(page)
    for words in (
        "REFUTED",
        "Win probability 0.144, 99.3% confidence sequence [0.095, 0.263] within 1000 updates; 512 replicas",
        "On record: supported",
        "140 of 512",
        "> 1000",
        "seed 3, up to 2048 replicas, cpu; 32-true, 2 threads",
        "in 2 of 512",
        "280 (line) decides; dotted: decided at replica 19",
        "SUPPORTED: shown to be above 0.5. REFUTED: shown to be below 0.6.",
        "Loss: median and 80% band of 4 replicas",
        "pytest claims/test_x.py::test_a7 --claims-seed 3",
        "network.kindmlp",
        "network.hidden710",
    ):
        assert words in re.sub(r"\s+", " ", page_read.text).replace(" ", "") or words in re.sub(
            r"\s+", " ", page_read.text
        )
    assert page_read.loads
    assert all(str(load).startswith("#") for load in page_read.loads)
    assert "script" not in page_read.tags
    assert "url(" not in page.read_text().replace("url(#", "")


def test_hostile_text_is_shown_and_not_run(tmp_path: Path) -> None:
    hostile = dict.fromkeys(("statement", "source", "sentence", "family"), HOSTILE)
    claim = result(**hostile, warnings=(HOSTILE,), keys=((HOSTILE, "a"),), evidence_path=GROWTH, thresholds=(0.5, 0.6))
    first, second = claim.verdict.conditions
    verdict = replace(claim.verdict, conditions=(replace(first, name=HOSTILE), second), reason=HOSTILE)
    claim = replace(claim, verdict=verdict)
    condition = stored(HOSTILE)
    condition.content["condition"]["target"] = {"measure": {"function": {"name": HOSTILE}}}
    write_folder(tmp_path, [claim], {"a": condition}, RunInfo(flags=(HOSTILE,)))
    page_read = read(tmp_path / "index.html")
    assert page_read.text.count(HOSTILE) >= 9
    assert not page_read.tags & {"script", "img"}
    markdown = (tmp_path / "report.md").read_text()
    assert not re.search(r"(?<!\\)<(script|img)", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL))
    (row,) = (line for line in markdown.splitlines() if line.startswith("| ❌"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    assert json.loads((tmp_path / "verdicts.json").read_text())["claims"][0]["statement"] == HOSTILE


@pytest.mark.parametrize("write", [write_whole, lambda path, text: path.write_text(text)])
def test_a_file_that_cannot_be_written_leaves_the_old_one(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    path = tmp_path / "verdicts.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):  # in the middle, as when a disk is full
        write(path, "new" * 10_000 + "\ud800")
    assert (path.read_text() == "old") == (write is write_whole)
    assert list(tmp_path.iterdir()) == [path]


def test_claims_of_one_parametrised_test_can_be_told_apart(tmp_path: Path) -> None:
    claims = [result(id=f"x[1].py::test_a[{rate}]", statement="faster") for rate in ("0.1", "0.5-x::y")]
    page, markdown = tmp_path / "claims.html", tmp_path / "claims.md"
    write_html(page, [*claims, result(id="x[1].py::test_b", statement="slower")], {}, RunInfo(seed=3))
    write_markdown(markdown, claims, RunInfo(seed=3))
    text = read(page).text
    for title in ("faster [0.1]", "faster [0.5-x::y]"):
        assert text.count(title) == 2, title  # in the table, and above the claim's own section
        assert markdown.read_text().count(title) >= 1
    assert [short_name(claim) for claim in claims] == ["a[0.1]", "a[0.5-x::y]"]
    assert text.count("slower") == 2
    assert "slower [" not in text


def test_markdown_holds_every_verdict(tmp_path: Path) -> None:
    write_markdown(tmp_path / "report.md", [result(), result(id="x::test_b", recorded=None)], RunInfo(seed=3))
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# 2 claims: 2 refuted\n")
    assert "7 claims, alpha 0.025/7 a side, delta 0.1, seed 3, up to 2048 replicas, cpu" in text
    assert "| ❌ REFUTED | s (report 1.4c) | 0.144 | [0.095, 0.263] | 512 | supported |" in text
    assert "- the curves cross" in text
    assert "- reached the target: ReLU/L2 27%, ReLU/CE 85%, 3 diverged" in text
    assert "```\npytest claims/test_x.py::test_a7\n```" in text


def points(chart: str, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(points, 2) of a line in a chart, in its own units: shares of width and height."""
    (path,) = re.findall(rf'<g id="{name}">\s*<path d="([^"]*)"', chart)
    return np.array([[float(number) for number in pair] for pair in re.findall(r"[ML] (\S+) (\S+)", path)])


def test_the_reach_chart_is_one_minus_kaplan_meier() -> None:
    line = points(reach_chart([stored(steps=(3, 8, 0, 0))]), "series-0")
    height = (line[0, 1] - line[:, 1]) / (line[0, 1] - line[-1, 1])  # from nobody to the last value
    assert sorted(set(height.round(3))) == [0, 0.5, 1]
    width = (line[:, 0] - line[0, 0]) / (line[-1, 0] - line[0, 0])
    assert width[np.argmax(height > 0.4)] == pytest.approx(0.3, abs=0.001)
    assert width[np.argmax(height > 0.9)] == pytest.approx(0.8, abs=0.001)


def test_charts_draw_evidence_and_medians() -> None:
    chart = evidence_chart(GROWTH, needed=80, decided_at=12)
    assert len(points(chart, "log_support")) == 3
    assert np.isfinite(points(chart, "log_refute")).all()
    loss, metric = curve_charts([stored()]).values()
    for chart in (loss, metric):
        line = points(chart, "series-0")  # straight from the median of 1 … 4 to 0
        assert np.diff(line[:, 1]) == pytest.approx((line[-1, 1] - line[0, 1]) / (len(line) - 1), rel=1e-3)


def test_a_condition_that_diverges_leaves_the_others_readable() -> None:
    sick, well = stored("sick"), stored("well")
    assert sick.curves is not None
    sick.curves.loss[:, 5:] = np.float32(1e30)
    sick.curves.loss[1:, 7:] = np.inf
    sick.curves.metric[:, 7:] = np.nan
    sick.trials.diverged[:] = True
    line = points(next(iter(curve_charts([sick, well]).values())), "series-1")
    assert np.ptp(line[:, 1]) > 50  # of 180
    assert list(curve_charts([sick])) == ["loss", "accuracy"]
    assert condition_lines([sick, well], width=120)[1].endswith("2.5 to nan")


def test_a_metric_may_be_called_loss() -> None:
    condition = stored()
    condition.content["condition"]["target"] = {"measure": {"function": {"name": "project.loss"}}}
    assert list(curve_charts([condition])) == ["loss", "loss (metric)"]


def test_a_condition_without_a_target_has_a_metric_all_the_same() -> None:
    condition = stored()
    condition.content["condition"]["target"] = None
    assert list(curve_charts([condition])) == ["loss", "accuracy"]


def test_attributes_of_an_object_are_named_as_settings_are(tmp_path: Path) -> None:
    conditions = {}
    for key, smoothing in (("a", 0.0), ("b", 0.2)):
        conditions[key] = stored()
        loss = fingerprint(nn.CrossEntropyLoss(label_smoothing=smoothing), "loss")
        conditions[key].content["condition"]["loss"] = loss
    claim = result(keys=(("ReLU/L2", "a"), ("ReLU/CE", "b")), thresholds=(0.5, 0.6))
    write_html(tmp_path / "x.html", [claim], conditions, RunInfo())
    text = (tmp_path / "x.html").read_text()
    assert "<td>loss.function.label_smoothing</td><td>0.0</td><td>0.2</td>" in text
    assert "<dt>loss.function.reduction</dt>" in text
    assert "hooks" not in text
    for key, lift in (("a", 1), ("b", 2)):
        conditions[key].content["condition"]["config"] = {"dict": {"lift": lift}}  # a setting of a user's own
    write_html(tmp_path / "x.html", [claim], conditions, RunInfo())
    assert "<td>config.dict.lift</td><td>1</td><td>2</td>" in (tmp_path / "x.html").read_text()


def test_conditions_that_this_process_has_not_leave_their_charts_out(tmp_path: Path) -> None:
    write_html(tmp_path / "x.html", [result(keys=(("ReLU/L2", "a"),), thresholds=(0.5, 0.6))], {}, RunInfo())
    assert "svg" in read(tmp_path / "x.html").tags
    assert "median and 80% band" not in read(tmp_path / "x.html").text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_opens_the_folder_without_errors_or_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    file = tmp_path / f"test_{tmp_path.name}.py"  # pytest in pytest shares its modules
    file.write_text(CONDITIONS + CLAIMS)
    assert main(["report", file.name, "--out", "report", "--claims-seed", "5"]) == 0
    assert "report: " in capfd.readouterr().out
    page = tmp_path / "report" / "index.html"
    assert (page.parent / "report.md").exists()
    text = read(page).text
    assert f"pytest {file.name}::test_true --claims-seed 5" in text
    assert re.search(r"Accuracy: median and 80% band of \d+ replicas", text)
    assert opened(page, tmp_path) == ([], set())
    # What would be seen if there were something to see:
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://elsewhere.invalid/x.png"><script>nothing()</script>')
    errors, hosts = opened(bad, tmp_path / "report")
    assert "nothing is not defined" in errors[0]
    assert hosts == {"elsewhere.invalid"}


@pytest.mark.slow
def test_a_claim_that_crashes_is_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    file = tmp_path / f"test_{tmp_path.name}.py"
    file.write_text(f"{CONDITIONS}{CLAIMS}\n@pytest.mark.claim('s')\ndef test_crash():\n    raise RuntimeError('oh')\n")
    with pytest.raises(SystemExit) as stopped:
        main(["report", "--out", "report", "-k", "true or crash", file.name, "--claims-alpha", "0.0123456789"])
    assert stopped.value.code == 2
    assert "1 of the claims could not be decided; the report names them" in capfd.readouterr().err
    text = read(tmp_path / "report" / "index.html").text
    assert f"Not decided: {file.name}::test_crash (" in text
    assert "RuntimeError" in text
    assert f"pytest {file.name}::test_true --claims-alpha 0.0123456789" in text
    assert "not decided: " in (tmp_path / "report" / "report.md").read_text()


def test_a_file_that_cannot_be_read_is_no_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_broken.py").write_text("def test_a(:\n")
    with pytest.raises(SystemExit) as stopped:
        main(["report", "test_broken.py", "--out", "report"])
    assert stopped.value.code == 2
    assert "no report is written" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py", "--out", "report"], "nothing.py: no report is written, for the reason that pytest gives above"),
        (["x.py", "--out", "report.html"], "--out=report.html must be a folder; pytest --claims-html writes a single"),
        (["--out", "report"], "no PATH is given; name a folder of claims, or FILE::NAME"),
        (["x.py", "--out", "report", "--claims-seed", "x"], "x.py --claims-seed x: no report is written"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["report", *arguments])
    assert stopped.value.code == 2
    printed = capfd.readouterr()
    assert f"lossact report: {message}" in printed.err
    assert "Traceback" not in printed.out + printed.err
    assert not Path("report").exists()
