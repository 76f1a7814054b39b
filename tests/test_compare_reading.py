"""Recorded runs as people have them: what `lossact compare` reads rightly, says, or refuses."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossact import higher, read_runs
from lossact.claims.evaluate import evaluate
from lossact.cli import main
from lossact.errors import LossactError


def written(path: Path, header: str, rows: Iterable[Iterable[object]]) -> str:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main(["compare", *arguments, "--json", "-"])
    return dict(json.loads(capsys.readouterr().out))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["compare", *arguments])
    assert end.value.code == 2
    return capsys.readouterr().err


def logged(folder: Path, values: Iterable[float], *, hyperparameters: str = "") -> None:
    folder.mkdir(parents=True)
    written(folder / "metrics.csv", "step,acc", enumerate(values))
    if hyperparameters:
        (folder / "hparams.yaml").write_text(hyperparameters)


def test_numbers_that_differ_by_rounding_tie_as_in_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a", k, repr((0.1 + 0.2) * 2**k)) for k in range(8)] + [("b", k, repr(0.3 * 2**k)) for k in range(8)]
    table = written(tmp_path / "t.csv", "opt,seed,acc", rows)
    for columns in (["--pair", "seed"], ["--run", "seed"]):
        (pair,) = compared(capsys, table, "--by", "opt", *columns)["pairs"]
        assert (pair["verdict"], pair["advantage"]["value"]) == ("inconclusive", 0)
    runs = read_runs(table, condition="opt", pair="seed")
    assert evaluate(higher("acc", runs["a"], than=runs["b"])).name == "inconclusive"


def test_a_plan_for_pairs_counts_ties(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(name, k, 0.5 + (k < 3) * (name == "a")) for name in "ab" for k in range(20)]
    table = written(tmp_path / "t.csv", "opt,seed,acc", rows)
    (pair,) = compared(capsys, table, "--by", "opt", "--pair", "seed")["pairs"]
    assert pair["runs_to_decide"] == int(np.ceil(7.849 / (4 * 0.5**2) * 20 / 3))


def test_ties_are_named_where_they_leave_nothing_to_decide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(name, k, 0.5 + (k == 0) * (name == "a")) for name in "ab" for k in range(20)]
    table = written(tmp_path / "t.csv", "opt,seed,acc", rows)
    main(["compare", table, "--by", "opt", "--run", "seed"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "So many of 20 and 20 runs tie that they give no p below 1" in printed
    assert "too many ties to decide" in printed


def test_a_bound_is_not_called_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    rows = [(name, k, rng.normal()) for name in "ab" for k in range(401)]
    table = written(tmp_path / "t.csv", "opt,seed,acc", rows)
    main(["compare", table, "--by", "opt", "--run", "seed"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "two-sided at 0.05: rank-sum test, by an upper bound of p: there are too many runs to count" in printed
    assert "exact" not in printed


@pytest.mark.parametrize("name", ["_step", "trainer/global_step", "timestep", "Epoch"])
def test_columns_of_steps_are_told_by_their_names(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(opt, seed, step, 1 / (step + seed + 1)) for opt in "ab" for seed in range(2) for step in range(3)]
    table = written(tmp_path / "t.csv", f"opt,seed,{name},loss", rows)
    assert f"'{name}' counts steps" in refusal(capsys, table, "--by", "opt", "--value", "loss")


def test_small_numbers_of_few_digits_are_no_copies(tmp_path: Path) -> None:
    levels = [1e-5, 2e-5, 3e-5, 1e-5, 2e-5, 3e-5, 2e-5, 3e-5]
    table = written(tmp_path / "t.csv", "opt,lr", ((name, value) for name in "ab" for value in levels))
    assert set(read_runs(table, condition="opt")) == {"a", "b"}


def test_honest_tables_of_few_uneven_levels_are_read(tmp_path: Path) -> None:
    """By chance each number of both conditions occurs an even number of times in one table of 40."""
    rng = np.random.default_rng(0)
    for _ in range(400):
        rows = [(name, value) for name in "ab" for value in rng.choice([1.0, 0.99, 0.5], 16, p=[0.6, 0.2, 0.2])]
        assert set(read_runs(written(tmp_path / "t.csv", "opt,acc", rows), condition="opt")) == {"a", "b"}


def test_a_curve_without_a_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"opt": name, "seed": k, "step": [0, 1], "loss": [1.0, k / 8]} for name in "ab" for k in range(4)]
    lines.append({"opt": "a", "seed": 9, "step": [], "loss": []})
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    error = refusal(capsys, str(tmp_path / "t.jsonl"), "--by", "opt", "--run", "seed", "--step", "step", "--lower")
    assert "t.jsonl, line 9: loss holds no number; a run that broke off before its first is a result" in error


def test_runs_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for k in range(12):
        for name in "ab":
            logged(tmp_path / name / f"version_{k}", [0.5, k / 16 + (name == "a") / 32])
    runs = read_runs(tmp_path, value="acc")
    assert [run.name for run in runs["a"].runs] == [f"a/version_{k}" for k in range(12)]


def no_log(folder: Path) -> None:
    (folder / "a" / "version_9").mkdir()
    (folder / "a" / "version_9" / "hparams.yaml").write_text("lr: 1\n")


def other_kind(folder: Path) -> None:
    (folder / "c" / "version_0").mkdir(parents=True)
    (folder / "c" / "version_0" / "events.out.tfevents.1.host").write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_log, "a/version_9 has hparams.yaml and no log. A run that broke off before its first value is a result"),
        (other_kind, "c/version_0 has no log of the kind that a/version_0 has; give a folder with logs of one kind"),
    ],
)
def test_no_run_of_a_folder_is_lost(change: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    for name in "ab":
        for k in range(3):
            logged(tmp_path / name / f"version_{k}", [0.5, k / 4])
    change(tmp_path)
    with pytest.raises(LossactError, match=message):
        read_runs(tmp_path, value="acc")


@pytest.mark.parametrize("argument", ["run", "step"])
def test_logs_have_runs_and_steps_of_their_own(argument: str, tmp_path: Path) -> None:
    logged(tmp_path / "a" / "version_0", [0.5])
    with pytest.raises(LossactError, match=f"{argument}='epoch' is for tables, and logs have their own; leave it out"):
        read_runs(tmp_path, value="acc", **{argument: "epoch"})  # type: ignore[arg-type]


def test_hyperparameters_may_hold_tuples(tmp_path: Path) -> None:
    for k in range(4):
        text = f"betas: !!python/tuple\n- 0.9\n- 0.999\nlr: {k % 2}\n"
        logged(tmp_path / "x" / f"version_{k}", [0.5, k / 4], hyperparameters=text)
    assert set(read_runs(tmp_path, value="acc", condition="lr")) == {"0", "1"}


def test_a_run_resumed_from_a_checkpoint_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    curves = {(name, k): rng.normal(size=10) for name in "ab" for k in range(3)}
    rows = [(name, k, step, curves[name, k][step]) for name, k in curves for step in range(10)]
    rows = [row for row in rows if not (row[0] == "a" and row[1] == 0 and row[2] > 6)]
    rows += [("a", 9, step, curves["a", 0][step]) for step in range(5, 10)]
    table = written(tmp_path / "t.csv", "opt,run,step,loss", rows)
    error = refusal(capsys, table, "--by", "opt", "--run", "run", "--step", "step", "--at", "6")
    assert "run '9' of 'a' begins at step 5 with the values of run '0', which ends at step 6" in error


def test_sparse_rewards_are_no_resumed_runs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for name in "ab":
        for k in range(10):
            steps = np.cumsum(rng.integers(5, 20, 12))
            rows += [(name, k, step, int(rng.random() < 0.2 + 0.05 * at)) for at, step in enumerate(steps)]
    table = written(tmp_path / "t.csv", "opt,run,step,reward", rows)
    assert set(read_runs(table, condition="opt", run="run", step="step")) == {"a", "b"}


def test_logs_of_a_prediction_and_of_a_second_logger_are_no_runs(tmp_path: Path) -> None:
    for name in "ab":
        for k in range(3):
            logged(tmp_path / name / f"version_{k}", [0.5, k / 4])
        (tmp_path / name / "tb").mkdir()
        (tmp_path / name / "tb" / "events.out.tfevents.1.host").write_bytes(b"")
    (tmp_path / "a" / "version_3").mkdir()
    (tmp_path / "a" / "version_3" / "hparams.yaml").write_text("lr: 1\n")
    written(tmp_path / "a" / "version_3" / "predictions.csv", "replica", [])
    assert [len(each.runs) for each in read_runs(tmp_path, value="acc").values()] == [3, 3]


def test_orders_that_are_hidden_make_p_a_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(name, k, step, step / 10) for name in "ab" for k in range(6) for step in range(4 if k < 2 else 9)]
    table = written(tmp_path / "t.csv", "opt,run,step,acc", rows)
    given = [table, "--by", "opt", "--run", "run", "--step", "step", "--target", "0.6"]
    assert not compared(capsys, *given)["pairs"][0]["p_is_exact"]
    main(["compare", *given])
    assert "rank-sum test, by an upper bound of p: runs hide which came first" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_log_of_the_folder_that_is_read_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        for k in range(3):
            logged(tmp_path / name / f"version_{k}", [0.5, k / 4])
    log = tmp_path / "a" / "version_0" / "metrics.csv"
    assert "would be lost" in refusal(capsys, str(tmp_path), "--value", "acc", "--json", str(log))
    compared(capsys, str(tmp_path), "--value", "acc", "--html", str(tmp_path / "new.html"))


def test_what_is_read_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = written(tmp_path / "t.csv", "opt,acc", [(name, k / 8) for name in "ab" for k in range(4)])
    before = Path(table).read_text()
    for option in ("--json", "--html", "--markdown"):
        assert "is what is read, and would be lost" in refusal(capsys, table, "--by", "opt", option, table)
    assert Path(table).read_text() == before


def test_decimals_follow_spreads_not_rounding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a", 0.1)] * 6 + [("b", 0.1 + k / 100) for k in range(6)]
    main(["compare", written(tmp_path / "t.csv", "opt,acc", rows), "--by", "opt"])
    assert "0.1000" not in capsys.readouterr().out
    rows = [(name, (k + 1) * 1.5e-14 + (name == "b") * 1e-15) for name in "ab" for k in range(4)]
    main(["compare", written(tmp_path / "u.csv", "opt,acc", rows), "--by", "opt"])
    assert "3.75e-14" in capsys.readouterr().out
    rows = [(name, 0.5 + (k + 2 * (name == "b")) * 1e-10) for name in "ab" for k in range(4)]
    main(["compare", written(tmp_path / "v.csv", "opt,acc", rows), "--by", "opt"])
    assert "0.50000000015" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"condition": 3}, "condition=3 must be the name of a column; try condition='3'"),
        ({"condition": "opt", "extendable": "no"}, "extendable='no' must be True or False"),
    ],
)
def test_arguments_of_other_types_are_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", "opt,acc", [(name, k / 8) for name in "ab" for k in range(4)])
    with pytest.raises(LossactError, match=message):
        read_runs(table, **given)


@pytest.mark.parametrize("option", [["--alpha", "1e-17"], ["--alpha", "1e-310"], ["--target", "nan"]])
def test_extreme_options_end_in_a_sentence(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = written(tmp_path / "t.csv", "opt,acc", [(name, k / 8) for name in "ab" for k in range(4)])
    assert f"lossact compare: {option[0]} " in refusal(capsys, table, "--by", "opt", *option)
