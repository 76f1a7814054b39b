"""lossact compare: one command from a table of runs to all pairs."""

import csv
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import lossact
from lossact.cli import main
from lossact.conditions.reading import read_runs
from lossact.report.comparison import Question, RunComparison, compare_runs
from tests.conftest import SHARED

RACE = SHARED / "data" / "speedrun" / "val_loss.csv"
MEANS = {"slow": 0.5, "fast": 0.2, "middle": 0.35}


def rows(sizes: dict[str, int], *, steps: Sequence[int] = (0, 10, 20)) -> list[tuple[object, ...]]:
    rng = np.random.default_rng(0)
    return [
        (name, run, step, round(1 - step / 20 * (1 - MEANS[name]) + rng.normal(0, 0.01), 5))
        for name, n in sizes.items()
        for run in range(n)
        for step in steps
    ]


def write(path: Path, table: Sequence[Sequence[object]], header: Sequence[str] = ("by", "run", "step", "loss")) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *table])
    return str(path)


@pytest.fixture
def table(tmp_path: Path) -> list[str]:
    path = write(tmp_path / "runs.csv", rows({"slow": 8, "fast": 9, "middle": 10}))
    return ["compare", path, "--by", "by", "--run", "run", "--step", "step", "--lower"]


def test_the_table_shows_every_condition_and_pair(table: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(table) == 0
    out = capsys.readouterr().out
    assert "loss at step 20, lower is better: 3 conditions, 27 recorded runs; a fixed number" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("slow", "fast", "middle"))] == [
        "fast", "middle", "slow", "fast", "fast", "middle",
    ]  # fmt: skip
    assert len(re.findall(r"^\w+ +better +\w+", out, flags=re.MULTILINE)) == 3
    assert "Holm's correction for 3 pairs" in " ".join(out.split())


def test_all_forms_say_the_same(table: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = {kind: tmp_path / f"out.{kind}" for kind in ("json", "html", "markdown")}
    assert main([*table, *(f"--{kind}={path}" for kind, path in paths.items())]) == 0
    out = capsys.readouterr().out
    content = json.loads(paths["json"].read_text())
    main([*table, "--json", "-"])
    assert json.loads(capsys.readouterr().out) == content
    assert content["lossact"] == lossact.__version__
    assert content["fixed_number"] is True
    page, markdown = paths["html"].read_text(), paths["markdown"].read_text()
    for pair in content["pairs"]:
        sentence = (
            f"{pair['superiority']['value']:.3f} [{pair['superiority']['low']:.3f}, {pair['superiority']['high']:.3f}]"
        )
        assert sentence in out
        assert sentence in page
        assert sentence.replace("[", r"\[").replace("]", r"\]") in markdown
    assert page.count("<circle") == 27
    assert "a fixed number" in page
    assert "a fixed number" in markdown
    assert not re.search(r'(?:src|href)="http', page)


def test_values_agree_with_scipy(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.csv", rows({"slow": 8, "fast": 9, "middle": 10}))
    conditions = read_runs(path, condition="by", run="run", step="step")
    comparison = compare_runs(conditions, Question(lower=True))
    values = {name: condition.final_values() for name, condition in conditions.items()}
    for pair in comparison.pairs:
        expected = stats.mannwhitneyu(values[pair.better], values[pair.worse], method="exact")
        assert pair.p_value == pytest.approx(expected.pvalue)
    for row in comparison.conditions:
        assert row.description is not None
        assert row.description.interquartile_mean == pytest.approx(stats.trim_mean(values[row.name], 0.25))
        assert row.description.deviation == pytest.approx(np.std(values[row.name], ddof=1))


def test_holm_is_statsmodels(tmp_path: Path) -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(5)
    decided = 0
    for _ in range(20):
        table = [(name, run, rng.normal(shift, 1)) for name, shift in zip("abcd", rng.normal(0, 1, 4), strict=True)
                 for run in range(9)]  # fmt: skip
        path = write(tmp_path / "runs.csv", table, ("by", "run", "loss"))
        comparison = compare_runs(read_runs(path, condition="by", run="run"), Question())
        rejected, *_ = multipletests([pair.p_value for pair in comparison.pairs], alpha=0.05, method="holm")
        assert [pair.is_decided for pair in comparison.pairs] == rejected.tolist()
        decided += sum(rejected)
    assert 0 < decided < 120


def test_no_interval_contradicts_its_verdict(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        table = [
            (name, run, round(rng.normal(shift, 1), 1))
            for name, shift in zip("abc", rng.normal(0, 1.5, 3), strict=True)
            for run in range(int(rng.integers(2, 14)))
        ]
        path = write(tmp_path / "runs.csv", table, ("by", "run", "loss"))
        for pair in compare_runs(read_runs(path, condition="by", run="run"), Question()).pairs:
            assert pair.advantage is not None
            assert (pair.superiority.low >= 0.5) >= pair.is_decided
            assert (pair.superiority.low <= 0.5) >= (not pair.is_decided)
            assert pair.advantage.low >= 0 if pair.is_decided else pair.advantage.low <= 0
            assert pair.superiority.low <= pair.superiority.value <= pair.superiority.high


def test_what_so_few_runs_cannot_decide_is_said_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "runs.csv", rows({"slow": 3, "fast": 3, "middle": 20}))
    assert main(["compare", path, "--by", "by", "--run", "run", "--step", "step", "--lower"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("cannot be decided: fast and slow. 3 and 3 runs give no p below 0.1, and 0.05 is needed here")
    assert re.search(r"needs about [4-9] runs of each; too few to decide", out)


def test_a_step_that_some_lack_leaves_them_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = [*rows({"slow": 6, "fast": 6}), *rows({"middle": 6}, steps=(0, 15, 20))]
    path = write(tmp_path / "runs.csv", table)
    command = ["compare", path, "--by", "by", "--run", "run", "--step", "step", "--lower"]
    assert main([*command, "--at", "10"]) == 0
    out = capsys.readouterr().out
    assert "left out: middle lacks step 10; its runs have 0 and 15 nearby" in out
    assert re.findall(r"^(\w+) +better +(\w+)", out, flags=re.MULTILINE) == [("fast", "slow")]
    assert main([*command, "--at", "last-common"]) == 0
    assert "loss at step 20" in capsys.readouterr().out


def test_a_target_compares_steps_and_ends_hide_orders(tmp_path: Path) -> None:
    table = [*rows({"fast": 8, "slow": 8}), *rows({"middle": 8}, steps=(0, 10))]
    path = write(tmp_path / "runs.csv", table)
    conditions = read_runs(path, condition="by", run="run", step="step")
    comparison = compare_runs(conditions, Question(target=0.55, lower=True))
    assert {row.name: row.n_reached for row in comparison.conditions} == {"fast": 8, "middle": 0, "slow": 8}
    hidden = {frozenset((pair.better, pair.worse)): pair.superiority.undetermined for pair in comparison.pairs}
    assert hidden[frozenset(("middle", "slow"))] == 64
    assert all(not pair.is_decided for pair in comparison.pairs if pair.superiority.undetermined)


def test_pairs_and_one_against_the_rest(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 1, 8)
    table = [(k, *(base[k] + shift + rng.normal(0, 0.01) for shift in (0, 0.1, 0.2))) for k in range(8)]
    path = write(tmp_path / "wide.csv", table, ("seed", "a", "b", "c"))
    paired = compare_runs(read_runs(path, run="seed", pair="seed"), Question(against="b"))
    assert [(pair.better, pair.worse, pair.is_decided) for pair in paired.pairs] == [("c", "b", True), ("b", "a", True)]
    assert all(pair.p_value == pytest.approx(2 / 2**8) for pair in paired.pairs)
    unpaired = compare_runs(read_runs(path, run="seed"), Question(against="b"))
    assert not any(pair.is_decided for pair in unpaired.pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--value", "acc"], "no column --value 'acc'"),
        (["--finished-only"], "--finished-only is for .* does not say how runs ended; leave it out"),
        (["--at", "soon"], "--at 'soon' must be a step"),
        (["--at", "7"], "--at 7: 0 of 3 conditions recorded that step; all recorded step 20"),
        (["--against", "lion"], "--against 'lion' is no condition; choose one of slow, fast, middle"),
        (["--alpha", "0.7"], "--alpha 0.7 must be > 0 and < 0.5"),
        (["--html", "."], "--html=.: is a folder, but must be a file; name a file in it"),
        (["--json", "x.out", "--html", "./x.out"], "--json and --html are both x.out; give each its own file"),
        (["--pair", "step"], "more than one pair|two runs of pair"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], message: str, table: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*table, *options])
    assert end.value.code == 2
    printed, error = capsys.readouterr()
    assert not printed
    assert re.match(f"lossact compare: .*(?:{message})", error)
    assert error.count("\n") == 1


HOSTILE = [
    "\x1b[31mred\x07",
    "<script>alert(1)</script>",
    "a|b`c*",
    '"><img src=x onerror=y>',
    "n" * 500,
    "{{ 7 * 7 }}",
]


def test_hostile_names_are_shown_and_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    path = write(
        tmp_path / "runs.csv", [(name, k, rng.normal()) for name in HOSTILE for k in range(4)], ("by", "run", "x")
    )
    page, markdown = tmp_path / "page.html", tmp_path / "page.md"
    assert main(["compare", path, "--by", "by", "--run", "run", f"--html={page}", f"--markdown={markdown}"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert max(map(len, out.splitlines())) < 250
    text = page.read_text()
    assert "<script" not in text
    assert "<img" not in text
    assert "49" not in re.findall(r"<td>([^<]*)</td>", text)
    lines = [line for line in markdown.read_text().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7}


def test_a_comparison_loads_nothing_heavy(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.csv", rows({"slow": 5, "fast": 5}))
    program = (
        "import sys\nfrom lossact.cli import main\n"
        f"main(['compare', {path!r}, '--by', 'by', '--run', 'run', '--step', 'step', '--html', 'out.html'])\n"
        "print([m for m in ('torch', 'lightning', 'wandb', 'matplotlib', 'pandas', 'scipy.stats') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(lossact.__file__).parents[1])}, timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


DOCS = Path(__file__).parents[1] / "docs" / "recorded-runs.md"


def test_the_page_shows_what_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    (table, command, shown), *_ = re.findall(
        r"```text\n(.*?)```\n\n```sh\nlossact (.*?)\n```\n\n```text\n(.*?)```", DOCS.read_text(), flags=re.DOTALL
    )
    (tmp_path / "accuracy.csv").write_text(table)
    assert main(command.split()) == 0
    assert capsys.readouterr().out == shown


def test_the_page_shows_curves_and_what_python_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    page = DOCS.read_text().partition("## Curves")[2].partition("## How it is decided")[0]
    make, decide, decide_values = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(make, {})
    command, shown = re.findall(r"```sh\nlossact (.*?)\n```\n\n```text\n(.*?)```", page, flags=re.DOTALL)[0]
    assert main(command.split()) == 0
    assert capsys.readouterr().out == shown
    table = re.findall(r"```text\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)[0]
    (tmp_path / "accuracy.csv").write_text(table)
    for program in (decide, decide_values):
        exec(program, {})
        assert f"```text\n{capsys.readouterr().out}```" in page


@pytest.mark.parametrize("cell", ["", "nan"])
def test_the_page_shows_what_a_wrong_cell_says(
    cell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = re.findall(r"```text\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)[0]
    lines = table.splitlines()
    lines[14] = lines[14].rpartition(",")[0] + "," + cell
    (tmp_path / "accuracy.csv").write_text("\n".join(lines))
    with pytest.raises(SystemExit):
        main(["compare", "accuracy.csv", "--by", "optimizer", "--run", "run"])
    assert capsys.readouterr().err in DOCS.read_text()


# The optimiser race (docs/recorded-runs.md)

STEPS = {
    "adamh": 4875, "muonh": 3325, "normuonh": 3250, "contra_muon": 3225, "normuon_floor": 3250, "muloco_normuonh": 3210,
    "newton_muon": 3275, "contra_soft_muon": 3030, "contranormuown": 2995, "tuned_muon": 3250,
}  # fmt: skip
TARGET, SIGMA, P_OF_THE_RACE = 3.28, 0.0013, 0.001


@pytest.fixture(scope="module")
def race() -> dict[str, lossact.RecordedRuns]:
    if not RACE.is_file():
        pytest.skip(f"the race's numbers are not at {RACE}; they are no part of this project")
    return read_runs(RACE, condition="optimizer", run="run", step="step")


def race_pairs(race: dict[str, lossact.RecordedRuns], **question: object) -> RunComparison:
    return compare_runs(race, Question(lower=True, **question))  # type: ignore[arg-type]


def test_which_records_of_the_race_hold(race: dict[str, lossact.RecordedRuns]) -> None:
    from lossact.stats.recorded import decide_at_most, student_t

    by_sign, by_t, by_rule = set(), set(), set()
    for name, step in STEPS.items():
        values = race[name].values_at(step)
        assert values is not None, name
        if decide_at_most(values, TARGET, alpha=P_OF_THE_RACE).verdict == "supported":
            by_sign.add(name)
        if student_t(values, TARGET, alpha=P_OF_THE_RACE).p_below < P_OF_THE_RACE:
            by_t.add(name)
        if stats.norm.sf((TARGET - values.mean()) * math.sqrt(len(values)) / SIGMA) < P_OF_THE_RACE:
            by_rule.add(name)
    assert by_rule == set(STEPS)
    assert by_t == set(STEPS) - {"tuned_muon"}
    assert by_sign == {"muonh", "normuonh", "contra_muon", "contra_soft_muon", "contranormuown"}
    # Five and eight runs cannot reach p < 0.001 by signs, however good they are.
    assert {name for name in STEPS if 0.5 ** len(race[name]) > P_OF_THE_RACE} == {"adamh", "normuon_floor"}


def test_claims_about_the_race_say_what_its_table_says(race: dict[str, lossact.RecordedRuns]) -> None:
    for name, step in STEPS.items():
        verdict = lossact.evaluate(lossact.at_most(f"val_loss@{step}", race[name], TARGET), alpha=P_OF_THE_RACE)
        shown = name in {"muonh", "normuonh", "contra_muon", "contra_soft_muon", "contranormuown"}
        assert verdict.name == ("supported" if shown else "inconclusive"), name
    decided = lossact.lower("val_loss@3000", race["muonh"], than=race["adamh"])
    still_open = lossact.lower("val_loss@3000", race["newton_muon"], than=race["tuned_muon"])
    assert lossact.evaluate(decided, family_size=45).name == "supported"
    assert lossact.evaluate(still_open).name == "inconclusive"
    with pytest.raises(
        lossact.LossactError, match=r"30 of 30 runs of contra_soft_muon lack step 3200 .* val_loss@3000"
    ):
        lossact.lower("val_loss@3200", race["contra_muon"], than=race["contra_soft_muon"])


def test_which_pairs_of_the_race_differ_at_step_3000(race: dict[str, lossact.RecordedRuns]) -> None:
    comparison = race_pairs(race, at="last-common")
    assert comparison.subject == "val_loss at step 3000, lower is better"
    open_pairs = {frozenset((pair.better, pair.worse)) for pair in comparison.pairs if not pair.is_decided}
    assert len(comparison.pairs) == 45
    assert open_pairs == {
        frozenset(("normuon_floor", "newton_muon")),
        frozenset(("normuon_floor", "tuned_muon")),
        frozenset(("newton_muon", "muloco_normuonh")),
        frozenset(("newton_muon", "tuned_muon")),
        frozenset(("muloco_normuonh", "tuned_muon")),
    }


def test_spacings_of_the_race_hide_which_came_first(race: dict[str, lossact.RecordedRuns]) -> None:
    comparison = race_pairs(race, target=3.28)
    assert sum(pair.is_decided for pair in comparison.pairs) == 24
    assert any("not all runs were recorded at the same steps" in note for note in comparison.notes)


def test_an_empty_cell_of_a_wide_table_has_a_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "wide.csv"
    table.write_text("adam,sgd\n0.8,0.7\n0.9,\n")
    with pytest.raises(SystemExit):
        main(["compare", str(table)])
    assert "line 3: sgd='' is no number; for unequal numbers of runs give each run a row" in capsys.readouterr().err


def test_metrics_of_a_folder_of_logs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path)])
    assert f"{tmp_path}: no metrics.csv, TensorBoard event file or offline W&B run" in capsys.readouterr().err
    logs = tmp_path / "adam" / "version_0"
    logs.mkdir(parents=True)
    (logs / "metrics.csv").write_text("epoch,step,val_acc,loss\n0,1,0.5,1.0\n")
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path)])
    assert "which metric? Give --value ..., one of val_acc, loss" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("measure", "options", "said"),
    [
        ("val_loss", [], True), ("val_loss", ["--lower"], False), ("Error", [], True), ("rmse10", [], True),
        ("accuracy", [], False), ("lossless", [], False),
    ],
)  # fmt: skip
def test_a_name_of_what_is_often_lower_is_noted(
    measure: str, options: list[str], said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "runs.csv"
    rows = [f"{name},{index + offset}" for name, offset in (("a", 0.1), ("b", 0.2)) for index in range(6)]
    table.write_text("\n".join([f"by,{measure}", *rows, ""]))
    main(["compare", str(table), "--by", "by", *options])
    assert (f"note: higher {measure} is taken for better" in capsys.readouterr().out) == said
