"""Recorded runs in tables: what is read, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossact import (
    read_runs,
)
from lossact.errors import InputError
from tests.conditions.recorded_tables import HEADER, Row, curves, read, table, write


def test_a_long_table_gives_steps_to_the_target(tmp_path: Path) -> None:
    runs = table(tmp_path, {"adam": [3, 4, 12], "sgd": [5, 6, 7]})
    assert list(runs) == ["adam", "sgd"]
    steps = runs["adam"].steps_to_target()
    assert steps.reached.tolist() == [True, True, False]
    assert steps.steps.tolist()[:2] == [3, 4]
    assert steps.ends.tolist() == [10, 10, 10]
    assert runs["adam"].budget == runs["sgd"].budget == 10


def test_order_of_rows_and_of_columns_does_not_matter(tmp_path: Path) -> None:
    rows = curves({"adam": [3, 4], "sgd": [5, 6]})
    shuffled = [tuple(reversed(rows[k])) for k in np.random.default_rng(0).permutation(len(rows))]
    first = read(write(tmp_path / "a.csv", rows))
    second = read(write(tmp_path / "b.csv", shuffled, list(reversed(HEADER))))
    for name in first:
        by_name = {run.name: run for run in second[name].runs}
        for run in first[name].runs:
            assert np.array_equal(run.values, by_name[run.name].values)


def test_the_key_is_the_tables_content(tmp_path: Path) -> None:
    rows = curves({"adam": [3, 4], "sgd": [5, 6]})
    first = read(write(tmp_path / "a.csv", rows))["adam"]
    again = read(write(tmp_path / "b.csv", rows))["adam"]
    assert first == again
    assert first.key == again.key
    rows[0] = (*rows[0][:3], 77.0)
    assert read(write(tmp_path / "c.csv", rows))["adam"].key != first.key
    assert first.to_target(at_most=1.0).key != first.key


def test_json_lines_long_and_as_curves_equal_the_csv(tmp_path: Path) -> None:
    rows = curves({"adam": [3, 4], "sgd": [5, 6]})
    expected = read(write(tmp_path / "a.csv", rows))
    long = tmp_path / "long.jsonl"
    long.write_text("\n".join(json.dumps(dict(zip(HEADER, row, strict=True))) for row in rows))
    whole: dict[tuple[object, object], dict[str, Any]] = {}
    for name, run, step, loss in rows:
        fields = whole.setdefault((name, run), {"optimizer": name, "run": run, "step": [], "loss": []})
        fields["step"].append(step)
        fields["loss"].append(loss)
    as_curves = tmp_path / "curves.jsonl"
    as_curves.write_text("\n".join(map(json.dumps, whole.values())))
    for path in (long, as_curves):
        assert read(path) == expected


def test_a_wide_table_pairs_by_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "wide.csv", [(seed, 0.9 + seed / 1000, 0.8 + seed / 777) for seed in range(6)], "sab")
    runs = read_runs(path, run="s", pair="s")
    assert list(runs) == ["a", "b"]
    assert [run.pair for run in runs["a"].runs] == list("012345")
    assert not runs["a"].has_steps


def test_semicolons_tabs_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    for delimiter in ";\t":
        path = tmp_path / "table.csv"
        lines = [delimiter.join(map(str, row)) for row in [HEADER, *curves({"adam": [3, 4], "sgd": [5, 6]})]]
        path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
        assert list(read(path)) == ["adam", "sgd"]


GOOD = curves({"adam": [3, 4], "sgd": [5, 6]})
NUMBERS = [("a", k, 0.5 + k / 997) for k in range(10)]
BAD_TABLES: dict[str, tuple[list[Row] | None, dict[str, Any], str]] = {
    "missing column": (
        GOOD,
        {"condition": "optimiser"},
        r"no column condition='optimiser'.*did you mean 'optimizer'\?",
    ),
    "missing value column": (GOOD, {"value": "acc"}, "no column value='acc'; it has optimizer, run, step, loss"),
    "text for a number": ([*GOOD, ("sgd", 1, 11, "low")], {}, r"runs.csv, line 46: loss='low' is no number"),
    "empty cell": ([*GOOD, ("sgd", 1, 11, "")], {}, "line 46: loss='' is no number"),
    "no condition named": (
        GOOD,
        {"condition": None, "run": "run"},
        r"if optimizer names .* say condition='optimizer'",
    ),
    "NaN": ([*GOOD, ("sgd", 1, 11, "nan")], {}, "line 46: loss='nan' must be a finite number; drop the row"),
    "infinity": ([*GOOD, ("sgd", 1, 11, "-inf")], {}, "must be a finite number"),
    "a step twice": ([*GOOD, ("sgd", 1, 3, 0.5)], {}, r"run '1' of 'sgd' has step 3 twice \(lines 38 and 46\)"),
    "a step that is none": ([*GOOD, ("sgd", 1, 3.5, 0.5)], {}, "step='3.5' must be an integer >= 0"),
    "a negative step": ([*GOOD, ("sgd", 1, -1, 0.5)], {}, "step='-1' must be an integer >= 0"),
    "curves without steps": (GOOD, {"step": None, "value": "loss"}, "more than one row .*name the column of steps"),
    "curves without runs": (GOOD, {"run": None}, r"'step' counts steps, and each row would be a run .* run= .* step="),
    "curves without either": (
        GOOD,
        {"run": None, "step": None, "value": "loss"},
        "'step' counts steps, and each row would be a run of its own",
    ),
    "one run": ([*GOOD, ("lion", 0, 1, 0.5)], {}, "'lion' has one run; record at least two"),
    "one name, with and without a capital": ([*GOOD, ("Adam", 0, 1, 0.5), ("Adam", 1, 1, 0.4)], {}, "have one name"),
    "one name twice": ([*GOOD, ("adam\u200b", 0, 1, 0.5), ("adam\u200b", 1, 1, 0.4)], {}, "have one name"),
    "no name": ([*GOOD, (" ", 0, 1, 0.5)], {}, "a row names no condition"),
    "no rows": ([], {}, "no rows below the header"),
    "empty file": (None, {}, "the file is empty"),
    "a short row": ([*GOOD, ("sgd", 1)], {}, "line 46: 2 cells, but the header has 4 columns"),
    "ten numbers padded": (
        [(name, k, 1, value) for k, (name, _, value) in enumerate(NUMBERS * 20)],
        {},
        "200 runs of 'a' hold 10 different numbers, each more than once; a copy is no run",
    ),
    "coarse numbers padded": (
        [("a", k, 1, value) for k, value in enumerate([0.9, 0.91, 0.93, 0.9] * 5)],
        {},
        "the numbers of 'a' repeat after 4 of 20 runs; a copy is no run",
    ),
    "a run copied": (
        [*GOOD, *((name, 7, step, loss) for name, run, step, loss in GOOD if (name, run) == ("adam", 1))],
        {},
        "runs '1' and '7' of 'adam' agree in every number; a copy is no run",
    ),
    "steps as runs": ([("a", k, 0, k * 0.5) for k in range(5001)], {}, "has 5,001 runs, more than 5,000"),
    "two pairs of a run": (GOOD, {"pair": "step", "step": None, "value": "loss"}, "a run belongs to one pair"),
    "both thresholds": (GOOD, {"at_least": 1.0}, "give exactly one of the two"),
}


@pytest.mark.parametrize(("rows", "changes", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_is_one_clear_error(
    rows: list[Row] | None, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "runs.csv"
    if rows is None:
        path.touch()
    else:
        write(path, rows)
    with pytest.raises(InputError, match=message) as error:
        read(path, **changes)
    assert "\n" not in str(error.value)


def test_two_columns_with_the_same_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two columns are called 'a'"):
        read_runs(write(tmp_path / "t.csv", [(1, 2, 3)], ["a", "a", "b"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00a", "not a UTF-8 text file"),
        (b'optimizer,run,step,loss\n"adam,0,0,1\n' + b"x" * 200_000, "not readable as CSV|cells"),
    ],
)
def test_a_file_that_is_not_a_table_is_one_clear_error(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1: not JSON"),
        (["[1]"], "line 1: list where an object is needed"),
        (['{"optimizer": "a", "run": 0, "step": [1, 2], "loss": [1]}'], "1 numbers in loss, but 2 in step"),
        (['{"optimizer": "a", "run": 0, "step": 1, "loss": true}'], "loss=True must be a finite number"),
        (['{"optimizer": "a", "run": 0, "step": 1, "loss": NaN}'], "must be a finite number"),
        (['{"optimizer": "a", "run": 0, "step": 1, "loss": 1}', '{"optimizer": "a"}'], "line 2: no field 'run'"),
        ([], "no runs are in it"),
    ],
)
def test_bad_json_lines_are_one_clear_error(lines: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file or folder"):
        read(Path("nowhere.csv"))


def test_runs_that_end_at_different_steps_have_no_common_end(tmp_path: Path) -> None:
    rows = [row for row in GOOD if row[:2] != ("sgd", 1) or int(str(row[2])) <= 7]
    runs = read(write(tmp_path / "runs.csv", rows))
    with pytest.raises(InputError, match=r"runs of sgd end at different steps \(7, 10\)"):
        runs["sgd"].final_values()
    assert runs["adam"].final_values().shape == (2,)
    assert runs["sgd"].values_at(7) is not None
    assert runs["sgd"].values_at(9) is None
