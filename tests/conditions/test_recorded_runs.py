"""Recorded runs: what is read, what is refused, and what claims about them say."""

import csv
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossact import (
    FunctionCondition,
    LossactError,
    RecordedRuns,
    equivalent,
    evaluate,
    faster,
    fastest,
    gap_grows,
    not_worse,
    ordering,
    reaches,
    read_runs,
)
from lossact.errors import ClaimError, InputError

HEADER = ["optimizer", "run", "step", "loss"]
Row = Sequence[object]


def write(path: Path, rows: Iterable[Row], header: Sequence[str] = HEADER) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def curves(ends: Mapping[str, Sequence[int]], *, until: int = 10) -> list[Row]:
    """Runs whose loss falls by one a step and meets 0 at the given step."""
    rng = np.random.default_rng(0)
    return [
        (name, run, step, round(steps_to_target - step + (0 if step >= steps_to_target else rng.uniform(0, 0.9)), 6))
        for name, steps in ends.items()
        for run, steps_to_target in enumerate(steps)
        for step in range(until + 1)
    ]


def read(path: Path, **changes: Any) -> dict[str, RecordedRuns]:
    return read_runs(path, **{"condition": "optimizer", "run": "run", "step": "step", "at_most": 0.0, **changes})


def table(tmp_path: Path, ends: Mapping[str, Sequence[int]], **changes: Any) -> dict[str, RecordedRuns]:
    return read(write(tmp_path / "runs.csv", curves(ends)), **changes)


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
    "NaN": ([*GOOD, ("sgd", 1, 11, "nan")], {}, "line 46: loss='nan' must be a finite number; drop the row"),
    "infinity": ([*GOOD, ("sgd", 1, 11, "-inf")], {}, "must be a finite number"),
    "a step twice": ([*GOOD, ("sgd", 1, 3, 0.5)], {}, r"run '1' of 'sgd' has step 3 twice \(lines 38 and 46\)"),
    "a step that is none": ([*GOOD, ("sgd", 1, 3.5, 0.5)], {}, "step='3.5' must be an integer >= 0"),
    "a negative step": ([*GOOD, ("sgd", 1, -1, 0.5)], {}, "step='-1' must be an integer >= 0"),
    "curves without steps": (GOOD, {"step": None, "value": "loss"}, "more than one row .*name the column of steps"),
    "one run": ([*GOOD, ("lion", 0, 1, 0.5)], {}, "'lion' has one run; record at least two"),
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


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two columns are called 'a'"):
        read_runs(write(tmp_path / "t.csv", [(1, 2, 3)], ["a", "a", "b"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00a", "not a UTF-8 text file"),
        (b'optimizer,run,step,loss\n"adam,0,0,1\n' + b"x" * 200_000, "not readable as CSV|cells"),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_error(content: bytes, message: str, tmp_path: Path) -> None:
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


# Claims


def test_a_claim_is_decided_by_a_fixed_number(tmp_path: Path) -> None:
    runs = table(tmp_path, {"adam": [1, 2, 2, 3], "sgd": [5, 6, 7, 5, 6]})
    verdict = evaluate(faster(runs["adam"], than=runs["sgd"]))
    assert verdict.name == "supported"
    assert "4 and 5 recorded runs; a fixed number" in str(verdict)
    assert "confidence sequence" not in str(verdict)
    content = verdict.to_json()
    assert content["sample"] == "4 and 5 recorded runs; a fixed number"
    assert content["evidence"] == {"support": None, "refute": None}
    assert verdict.decision.p_value == pytest.approx(1 / 126)
    assert evaluate(faster(runs["sgd"], than=runs["adam"])).name == "inconclusive"


def test_too_few_runs_are_said_first(tmp_path: Path) -> None:
    runs = table(tmp_path, {"adam": [1, 2, 3], "sgd": [5, 6, 7]})
    verdict = evaluate(faster(runs["adam"], than=runs["sgd"]))
    assert str(verdict).startswith(
        "INCONCLUSIVE (too few runs to show it: no smaller p than 0.05 is possible, and 0.025"
    )
    assert "4 of each could" in str(verdict)


def test_a_pair_whose_order_an_end_hides_decides_nothing(tmp_path: Path) -> None:
    """Runs of adam that end at step 2, before any of them met the target, may be sooner or later than sgd's."""
    rows = [
        row for row in curves({"adam": [9] * 6, "sgd": [4, 5, 6, 4, 5, 6]}) if row[0] == "sgd" or int(str(row[2])) < 3
    ]
    runs = read(write(tmp_path / "runs.csv", rows))
    for hypothesis in (faster(runs["adam"], than=runs["sgd"]), faster(runs["sgd"], than=runs["adam"])):
        verdict = evaluate(hypothesis)
        assert verdict.name == "inconclusive"
        assert verdict.decision.undecided == 36
        assert verdict.decision.low < 0.1
        assert verdict.decision.high > 0.9


def test_orderings_ratios_and_rates(tmp_path: Path) -> None:
    runs = table(tmp_path, {"a": [1, 1, 2, 1, 2, 1], "b": [4, 5, 4, 5, 4, 5], "c": [9, 8, 9, 12, 9, 8]})
    a, b, c = runs.values()
    assert evaluate(ordering(a, b, c)).name == "supported"
    assert evaluate(fastest(a, of=[b, c])).name == "supported"
    assert evaluate(faster(a, than=b, ratio=2.0)).name == "supported"
    assert evaluate(faster(b, than=a)).name == "refuted"
    reversed_order = evaluate(ordering(c, b, a))
    assert reversed_order.name == "refuted"
    assert reversed_order.decision.reason == "at most negligibly faster; broken: c before b, c before a, b before a"
    assert evaluate(not_worse(a, than=c)).name == "supported"
    assert evaluate(equivalent(a, b)).decision.reason.endswith("181 of each could")
    assert evaluate(reaches(a, low=0.5, high=0.9)).name == "supported"
    assert evaluate(reaches(c, low=0.995, high=0.999)).decision.reason == "below 0.999"
    assert evaluate(reaches(c, low=0.9, high=0.95)).decision.wins == 5


def test_pairs_are_matched_by_their_column(tmp_path: Path) -> None:
    rows = [
        (name, f"{name}{seed}", step, float(target - step) + 0.1 * seed * (step < target), seed)
        for name, targets in {"a": [2, 4, 6, 3, 5, 7], "b": [3, 5, 7, 4, 6, 8]}.items()
        for seed, target in enumerate(targets)
        for step in range(11)
    ]
    rows = [*rows[66:], *rows[:66][::-1]]
    runs = read(write(tmp_path / "runs.csv", rows, [*HEADER, "seed"]), pair="seed")
    verdict = evaluate(faster(runs["a"], than=runs["b"]))
    assert verdict.name == "supported"
    assert verdict.decision.p_value == pytest.approx(1 / 64)
    assert "6 pairs of recorded runs; a fixed number" in str(verdict)
    unpaired = read(tmp_path / "runs.csv", value="loss")
    assert evaluate(faster(unpaired["a"], than=unpaired["b"])).name == "inconclusive"


def test_extendable_runs_use_evidence_that_may_be_looked_at(tmp_path: Path) -> None:
    runs = table(tmp_path, {"a": [1, 2] * 6, "b": [7, 8] * 6}, extendable=True)
    verdict = evaluate(faster(runs["a"], than=runs["b"]))
    assert verdict.name == "supported"
    assert "more may follow" in str(verdict)
    with pytest.raises(ClaimError, match="without extendable=True"):
        evaluate(equivalent(runs["a"], runs["b"]))


def train(seed: int) -> int:
    return 1


BAD_CLAIMS: dict[str, tuple[Callable[[dict[str, RecordedRuns]], Any], str]] = {
    "mixed": (
        lambda runs: faster(runs["adam"], than=FunctionCondition(train=train, budget=10)),
        "was recorded and train is to be trained",
    ),
    "interaction": (
        lambda runs: gap_grows(
            (runs["adam"], runs["sgd"]),
            to=(runs["adam"].to_target(at_most=1.0), runs["sgd"].to_target(at_most=1.0)),
        ),
        "is not decided from recorded runs|must have different names",
    ),
}


@pytest.mark.parametrize(("claim", "message"), BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_what_makes_no_sense_is_refused(
    claim: Callable[[dict[str, RecordedRuns]], Any], message: str, tmp_path: Path
) -> None:
    runs = table(tmp_path, {"adam": [3, 4], "sgd": [5, 6]})
    with pytest.raises(ClaimError, match=message):
        evaluate(claim(runs))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at_most": None}, "no target is given; try read_runs"),
        ({"at_most": 100.0}, "all 2 runs met the target at step 0"),
    ],
)
def test_claims_about_steps_need_a_target_that_is_not_met_at_the_start(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    runs = table(tmp_path, {"adam": [3, 4], "sgd": [5, 6]}, **changes)
    with pytest.raises(LossactError, match=message):
        evaluate(faster(runs["adam"], than=runs["sgd"]))


# Logs


def test_csv_logger_folders_are_read(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    for name, rate in (("adam", 0.1), ("sgd", 0.2)):
        for seed in range(2):
            logger = CSVLogger(tmp_path / "logs", name=name)
            logger.log_hyperparams({"rate": rate, "seed": seed})
            for step in range(4):
                logger.log_metrics({"train_loss": 1.0}, step)
                logger.log_metrics({"val_loss": rate / (1 + step) + seed / 977}, step + 1)
            logger.save()
    runs = read_runs(tmp_path / "logs", value="val_loss")
    assert {name: len(condition) for name, condition in runs.items()} == {"adam": 2, "sgd": 2}
    assert runs["sgd"].runs[1].steps is not None
    assert runs["sgd"].runs[1].steps.tolist() == [1, 2, 3, 4]
    assert runs["sgd"].runs[1].values[0] == pytest.approx(0.2 + 1 / 977)
    by_rate = read_runs(tmp_path / "logs", value="val_loss", condition="rate", pair="seed")
    assert list(by_rate) == ["0.1", "0.2"]
    assert [run.pair for run in by_rate["0.1"].runs] == ["0", "1"]
    with pytest.raises(InputError, match="no column value='acc'"):
        read_runs(tmp_path / "logs", value="acc")
    with pytest.raises(InputError, match="no hyperparameter 'depth'; it has rate, seed"):
        read_runs(tmp_path / "logs", value="val_loss", condition="depth")


def test_a_folder_without_logs_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no metrics\.csv, TensorBoard event file or offline W&B run"):
        read_runs(tmp_path, value="loss")


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="the extra tensorboard is not installed")
def test_tensorboard_event_files_are_read(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for name in ("adam", "sgd"):
        for seed in range(2):
            writer = SummaryWriter(str(tmp_path / name / str(seed)))
            for step in range(0, 40, 10):
                writer.add_scalar("val/loss", 1 / (1 + step) + seed / 100, step)
            writer.close()
    runs = read_runs(tmp_path, value="val/loss")
    assert list(runs) == ["adam", "sgd"]
    assert runs["sgd"].runs[1].steps is not None
    assert runs["sgd"].runs[1].steps.tolist() == [0, 10, 20, 30]
    assert runs["sgd"].runs[1].values[0] == 1.01
    with pytest.raises(InputError, match="no scalar value='acc'; it has val/loss"):
        read_runs(tmp_path, value="acc")


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="the extra tensorboard is installed")
def test_without_tensorboard_the_extra_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "adam" / "0"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1").touch()
    with pytest.raises(InputError, match=r"pip install 'lossact\[tensorboard\]'"):
        read_runs(tmp_path, value="loss")


class RecordedRun:
    """A run as wandb.Api answers with it."""

    def __init__(self, name: str, config: dict[str, Any], values: Sequence[object], *, state: str = "finished") -> None:
        self.name, self.id, self.config, self.group, self.state = name, name, config, config["opt"], state
        self.values = values

    def scan_history(self, keys: Sequence[str]) -> Iterable[dict[str, object]]:
        return ({keys[0]: 10 * k, keys[1]: value} for k, value in enumerate(self.values))


@pytest.fixture
def recorded_api(monkeypatch: pytest.MonkeyPatch) -> list[RecordedRun]:
    """wandb with recorded answers, and no network."""
    runs = [RecordedRun(f"{opt}{seed}", {"opt": opt, "seed": seed}, [0.5 + seed / 97, 0.25 + seed / 91])
            for opt in ("adam", "sgd") for seed in range(2)]  # fmt: skip
    runs.append(RecordedRun("crashed", {"opt": "sgd"}, [1.0], state="crashed"))
    module: Any = types.ModuleType("wandb")
    module.errors = types.SimpleNamespace(Error=ConnectionError)

    class Api:
        def runs(self, path: str, order: str) -> list[RecordedRun]:
            if path != "us/race":
                raise ConnectionError("Could not find project")
            return runs

    module.Api = Api
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


def test_runs_of_a_wandb_project_are_read(recorded_api: list[RecordedRun]) -> None:
    runs = read_runs("wandb:us/race", value="val_loss", condition="opt", pair="seed")
    assert {name: len(condition) for name, condition in runs.items()} == {"adam": 2, "sgd": 2}
    assert runs["adam"].runs[1].values.tolist() == [0.5 + 1 / 97, 0.25 + 1 / 91]
    assert read_runs("wandb:us/race", value="val_loss").keys() == {"adam", "sgd"}
    with pytest.raises(InputError, match="W&B does not answer with its runs"):
        read_runs("wandb:us/other", value="val_loss")
    recorded_api[0].values = [0.5, "NaN"]
    with pytest.raises(InputError, match=r"run adam0: val_loss='NaN' must be a finite number"):
        read_runs("wandb:us/race", value="val_loss")


@pytest.mark.slow
def test_offline_wandb_runs_are_read(tmp_path: Path) -> None:
    import wandb

    for group in ("adam", "sgd"):
        for seed in range(2):
            run = wandb.init(mode="offline", dir=str(tmp_path), project="race", group=group, config={"seed": seed},
                             settings=wandb.Settings(silent=True, console="off"))  # fmt: skip
            for step in range(3):
                run.log({"val_loss": 1 / (1 + step) + seed / 97})
            run.finish()
    runs = read_runs(tmp_path, value="val_loss", pair="seed")
    assert {name: len(condition) for name, condition in runs.items()} == {"adam": 2, "sgd": 2}
    steps = runs["adam"].runs[0].steps
    assert steps is not None
    assert steps.tolist() == [0, 1, 2]
    assert {run.pair for run in runs["sgd"].runs} == {"0", "1"}
