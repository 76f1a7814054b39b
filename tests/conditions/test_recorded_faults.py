"""Tables of runs that would give a wrong verdict: sorted, copied, or with parts of runs in them."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lossact import RecordedRuns, at_least, evaluate, faster, higher, reaches, read_runs
from lossact.conditions.reading.copies import chance_of_multiples
from lossact.errors import InputError
from tests.conditions.recorded_tables import Row, read, table, write


def numbers(
    tmp_path: Path, columns: Mapping[str, Sequence[float]], *, extendable: bool = False
) -> dict[str, RecordedRuns]:
    rows = [(name, run, value) for name, column in columns.items() for run, value in enumerate(column)]
    path = write(tmp_path / "numbers.csv", rows, ["optimizer", "run", "accuracy"])
    return read_runs(path, condition="optimizer", run="run", extendable=extendable)


# Runs that keep coming, in a table that is sorted


AS_MADE = [0.61, 0.64, 0.6, 0.66, 0.62, 0.65, 0.63, 0.67, 0.68, 0.59, 0.7, 0.58]


@pytest.mark.parametrize(
    ("column", "direction"), [(sorted(AS_MADE)[:8], "ascending"), (sorted(AS_MADE)[::-1][4:], "descending")]
)
def test_values_of_growing_runs_must_not_be_sorted(column: list[float], direction: str, tmp_path: Path) -> None:
    message = rf"the 8 runs of b are sorted by what is compared, {direction}; order the rows .* leave out extendable"
    runs = numbers(tmp_path, {"a": AS_MADE, "b": column}, extendable=True)
    for claim in (higher("accuracy", runs["a"], than=runs["b"]), at_least("accuracy", runs["b"], 0.63)):
        with pytest.raises(InputError, match=message):
            evaluate(claim)
    assert evaluate(at_least("accuracy", runs["a"], 0.5)).name == "supported"
    fixed = numbers(tmp_path, {"a": AS_MADE, "b": column})
    assert "a fixed number" in str(evaluate(higher("accuracy", fixed["a"], than=fixed["b"])))


@pytest.mark.parametrize("column", [sorted(AS_MADE)[:7], [0.5] * 9, [0.5] * 8 + [0.6], [*sorted(AS_MADE), 0.6]])
def test_an_order_that_chance_makes_is_no_sorting(column: list[float], tmp_path: Path) -> None:
    """Seven runs; equal ones; one of nine that differs and comes last; one that breaks the order."""
    runs = numbers(tmp_path, {"a": AS_MADE, "b": column}, extendable=True)
    assert "more may follow" in str(evaluate(higher("accuracy", runs["a"], than=runs["b"])))


def test_steps_of_growing_runs_must_not_be_sorted(tmp_path: Path) -> None:
    runs = table(tmp_path, {"a": [1, 2, 3, 4, 5, 6, 7, 30], "b": [8, 7, 8, 9, 6, 8, 7, 9]}, extendable=True)
    with pytest.raises(InputError, match="the 8 runs of a are sorted by what is compared, ascending"):
        evaluate(faster(runs["a"], than=runs["b"]))
    assert evaluate(reaches(runs["a"])).name == "inconclusive"  # seven that reach it before one that does not
    half = table(tmp_path, {"a": [1, 3, 2, 1, 3, 2, 3, 1] + [30] * 8, "b": [8, 7]}, extendable=True)
    with pytest.raises(InputError, match="the 16 runs of a are sorted"):
        evaluate(reaches(half["a"]))


def test_pairs_that_grow_count_in_the_order_of_the_first_condition(tmp_path: Path) -> None:
    """The second condition's rows are sorted, but pairs are taken as the first condition's runs were made."""
    rows = [("a", seed, value) for seed, value in enumerate(AS_MADE)]
    rows += [("b", seed, AS_MADE[seed] - 0.5) for seed in np.argsort(AS_MADE).tolist()]
    path = write(tmp_path / "pairs.csv", rows, ["optimizer", "seed", "accuracy"])
    runs = read_runs(path, condition="optimizer", run="seed", pair="seed", extendable=True)
    assert evaluate(higher("accuracy", runs["a"], than=runs["b"])).name == "supported"
    with pytest.raises(InputError, match="of b are sorted"):
        evaluate(higher("accuracy", runs["b"], than=runs["a"]))


# Copies with few digits


@pytest.mark.parametrize("copies", [2, 4])
def test_copies_of_all_runs_are_refused_with_three_digits(copies: int, tmp_path: Path) -> None:
    columns = {"a": [0.912, 0.907, 0.921, 0.899, 0.915], "b": [0.903, 0.897, 0.911, 0.894]}
    message = (
        rf"every number of every condition occurs {copies} times or a multiple of it, as the 5 .* in {5 * copies} runs"
    )
    with pytest.raises(InputError, match=message):
        numbers(tmp_path, {name: np.repeat(column, copies).tolist() for name, column in columns.items()})
    with pytest.raises(InputError, match="a copy is no run: drop the copies"):
        numbers(tmp_path, {name: np.tile(column, copies).tolist() for name, column in columns.items()})
    with pytest.raises(InputError, match="occurs 2 times or a multiple of it"):  # two seeds that agree do not hide it
        numbers(tmp_path, {name: np.tile([*column, column[0]], 2).tolist() for name, column in columns.items()})
    assert len(numbers(tmp_path, {**columns, "a": np.repeat(columns["a"], 2).tolist()})["a"]) == 10


@pytest.mark.parametrize(
    "columns",
    [
        {"a": [0.91, 0.92, 0.93] * 2, "b": [0.9, 0.91, 0.92] * 2},
        {"a": [70, 80, 80, 90, 70, 90], "b": [90, 100, 80, 80, 100, 90]},
        {"a": [0.9, 0.9667, 0.9333, 0.9, 0.9333, 0.9667], "b": [0.9333, 0.9, 0.8667, 0.9333, 0.9, 0.8667]},
        {"a": [0.0, 1.0] * 8, "b": [1.0, 1.0, 0.0, 0.0] * 4},
        {"a": [0.913] * 10, "b": [0.9] * 10},
    ],
    ids=["hundredths", "steps", "of thirty examples", "successes", "equal"],
)
def test_few_levels_may_occur_equally_often(columns: dict[str, list[float]], tmp_path: Path) -> None:
    assert set(numbers(tmp_path, columns)) == {"a", "b"}


@pytest.mark.parametrize(("draws", "levels", "copies"), [(4, 3, 2), (6, 4, 2), (6, 4, 3), (8, 3, 4), (7, 2, 7)])
def test_the_chance_of_multiples_is_that_of_all_sequences(draws: int, levels: int, copies: int) -> None:
    sequences = np.array(list(product(range(levels), repeat=draws)))
    counts = np.stack([(sequences == level).sum(axis=1) for level in range(levels)])
    expected = (counts % copies == 0).all(axis=0).mean()
    assert chance_of_multiples(draws, levels, copies) == pytest.approx(expected)


# Parts of one run


def curve(name: str, run: int, steps: Sequence[int], meets: int) -> list[Row]:
    return [(name, run, step, meets - step + 0.1 * run + 0.01 * (step % 7)) for step in steps]


def test_a_run_that_begins_where_another_ends_is_a_part(tmp_path: Path) -> None:
    whole = [row for run in range(3) for row in curve("sgd", run, range(0, 101, 5), 70)]
    for start, step in ((50, 45), (45, 45)):
        parts = [*curve("adam", 0, range(0, 46, 5), 40), *curve("adam", 1, range(start, 101, 5), 40)]
        message = (
            rf"runs\.csv: run '1' of 'adam' begins at step {start} and run '0' ends at step {step}: these look like "
            "parts of one resumed run; join the parts, or give the rows without them"
        )
        with pytest.raises(InputError, match=message):
            read(write(tmp_path / "runs.csv", [*whole, *parts]))
    shifted = [*curve("adam", 0, range(0, 46, 5), 40), *curve("adam", 1, range(40, 101, 5), 140)]
    assert len(read(write(tmp_path / "runs.csv", [*whole, *shifted]))["adam"]) == 2


def test_one_row_a_run_is_no_part_of_another(tmp_path: Path) -> None:
    rows = [(name, run, 100 + 10 * run + ord(name), 0.5) for name in "ab" for run in range(4)]
    assert len(read(write(tmp_path / "runs.csv", rows), at_most=None)) == 2


def test_a_run_that_meets_the_target_where_it_begins_late_is_a_part(tmp_path: Path) -> None:
    rows = [*curve("adam", 0, range(0, 71, 5), 60), *curve("adam", 1, range(50, 101, 5), 40)]
    rows += [row for run in range(2) for row in curve("sgd", run, range(0, 101, 5), 70)]
    path = write(tmp_path / "runs.csv", rows)
    message = (
        r"adam: run '1' meets the target at step 50, the first that it recorded, and run '0' begins at step 0: these "
        "look like parts of one resumed run"
    )
    with pytest.raises(InputError, match=message):
        read(path)
    without = read(path, at_most=None)
    with pytest.raises(InputError, match=message):
        without["adam"].to_target(at_most=0.0).steps_to_target()
    assert without["adam"].to_target(at_most=-20.0).steps_to_target().reached.tolist() == [False, True]


@pytest.mark.parametrize("name", ["seed", "Seed", "run", "step", ""])
def test_a_column_that_counts_runs_is_no_condition(name: str, tmp_path: Path) -> None:
    table = tmp_path / "wide.csv"
    rows = [f"{k},{0.9 + k / 100},{0.8 + k / 100}" for k in range(6)]
    table.write_text("\n".join([f"{name},adam,sgd", *rows]))
    with pytest.raises(InputError, match=f"each column is one condition, and '{name}' is none; name it by run="):
        read_runs(table)
    if name:
        assert list(read_runs(table, run=name)) == ["adam", "sgd"]


def test_a_table_in_memory_has_a_way_out() -> None:
    with pytest.raises(InputError, match=r"source is a dict; give the path of a table .*to_csv"):
        read_runs({"loss": [0.1, 0.2]}, value="loss")  # type: ignore[arg-type]


def test_steps_beyond_64_bits_are_refused(tmp_path: Path) -> None:
    rows = [("a", 0, 10**19, 0.5), ("a", 0, 10**19 + 3, 0.4)]
    path = write(tmp_path / "steps.csv", rows, ["optimizer", "run", "step", "loss"])
    with pytest.raises(InputError, match=r"a step is 10000000000000000003, beyond 2\*\*63; name the column that holds"):
        read_runs(path, condition="optimizer", run="run", step="step")


# Cells that are read as something else than was meant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer,seed,accuracy\na,0,0.5\na,,0.6\n", "line 3: the row names no run; fill in its cell"),
        ("optimizer,seed,accuracy\na,0,1_0\na,1,0.6\n", "line 2: accuracy='1_0' is no number"),
        ("optimizer;seed;accuracy\na;0;910\na;1;1.010\n", "line 3: accuracy='1.010' beside '910' may have a decimal"),
        ("optimizer,seed,accuracy\n\u00e4,0,1\n\u00e4,1,2\na\u0308,0,1\na\u0308,1,2\n", "have one name"),
    ],
)
def test_cells_of_a_csv_that_are_not_what_they_seem(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_runs(path, condition="optimizer", run="seed", pair="seed")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_point_that_may_separate_the_thousands_of_a_step_is_an_error(delimiter: str, tmp_path: Path) -> None:
    """Else 1.000 steps would be 1, and the slower condition the faster one."""
    path = tmp_path / "runs.csv"
    rows = [("opt", "run", "step", "loss"), *(("a", run, step, "0.5") for run in "01" for step in ("500", "1.000"))]
    path.write_text("\n".join(map(delimiter.join, rows)))
    message = r"line 3: step='1\.000' may have a decimal point or one that separates thousands"
    with pytest.raises(InputError, match=message):
        read_runs(path, condition="opt", run="run", step="step")
    path.write_text(path.read_text().replace("1.000", "1000.0"))
    assert len(read_runs(path, condition="opt", run="run", step="step")["a"].runs) == 2


def test_a_quoted_name_may_hold_other_separators(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text('opt,run,"top-1; acc; x; y"\na,0,0.5\na,1,0.6\n')
    assert len(read_runs(path, condition="opt", run="run")["a"].runs) == 2


@pytest.mark.parametrize("numbers", ["0.912;0.9;1", "912.5;1.010", "1.010;1.012", "910;1010", "-12;0"])
def test_numbers_with_a_decimal_point_are_read_between_semicolons(numbers: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    rows = [f"{name};{run};{number}" for name in "ab" for run, number in enumerate(numbers.split(";"))]
    path.write_text("\n".join(["optimizer;run;accuracy", *rows]))
    assert len(read_runs(path, condition="optimizer", run="run")["a"].runs) == len(numbers.split(";"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"optimizer": null, "seed": 1, "accuracy": 0.5}', "line 2: null names no condition; give a text or a number"),
        ('{"optimizer": "a", "seed": null, "accuracy": 0.5}', "line 2: null names no run"),
        ('{"optimizer": "a", "seed": true, "accuracy": 0.5}', "line 2: true names no run"),
        ('{"optimizer": "a", "seed": 1, "accuracy": 1%s}' % ("0" * 400), "must be a finite number"),
        ('{"optimizer": "a", "seed": 1, "accuracy": 1%s}' % ("0" * 5000), "line 2: not JSON"),
    ],
)  # fmt: skip
def test_json_lines_that_are_not_what_they_seem(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"optimizer": "a", "seed": 0, "accuracy": 0.5}\n' + line)
    with pytest.raises(InputError, match=message):
        read_runs(path, condition="optimizer", run="seed")


@pytest.mark.parametrize(
    ("content", "message"), [(b"epoch,val\n0,1\n", "no column 'step'"), (b"step,val\n0,\xff\n", "not readable as CSV")]
)
def test_logs_that_are_no_csv_loggers(content: bytes, message: str, tmp_path: Path) -> None:
    for run in ("adam/version_0", "adam/version_1"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "metrics.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_runs(tmp_path, value="val")
