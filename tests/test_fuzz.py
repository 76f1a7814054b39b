"""Whatever comes in at a door, a user sees a sentence and never a traceback."""

import contextlib
import io
import json
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lossact import ImageFiles, Store
from lossact.checks import check_count, check_number
from lossact.claims.undecided import UndecidedClaim
from lossact.cli import main
from lossact.errors import DataError, InputError, StoreError
from lossact.pytest_plugin.options import OPTIONS, _parse
from lossact.report import html
from lossact.report.folder import write_folder
from lossact.report.run_info import RunInfo
from lossact.report.table import verdict_table
from lossact.storage import Curves, Trials
from tests.report.test_table import result
from tests.test_train_command import CONFIGS

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(max_size=30) | st.sampled_from(
    ["", " ", "\0", "-1", "nan", "1e999", "٣", "../..", "/dev/null", "~", "a" * 5000]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def message_of(kind: type[Exception], act: Callable[[], object], *, otherwise: str) -> str:
    """What an error of that kind says, else `otherwise`; any other exception is a defect."""
    try:
        act()
    except kind as error:
        return str(error)
    return otherwise


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
@FEW
@given(text=TEXT)
def test_options_take_or_name_any_text(option: Any, text: str) -> None:
    rule = f"{option.flag}={text}: "
    assert message_of(pytest.UsageError, lambda: _parse(option.flag, text, option), otherwise=rule).startswith(rule)


@FEW
@given(value=VALUES)
def test_numbers_are_taken_or_named(value: Any) -> None:
    for check in (lambda: check_number("x", value, above=0, below=1, hint=0.5), lambda: check_count("x", value)):
        assert message_of(InputError, check, otherwise="x=").startswith("x=")


def run(arguments: list[str]) -> str:
    """What the command says; any other exception than its own exit is a defect."""
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(said), contextlib.suppress(SystemExit):
        main(arguments)
    return said.getvalue()


@FEW
@given(
    command=st.sampled_from(["init", "surfaces", "map", "dashboard", "nothing"]),
    arguments=st.lists(
        TEXT.map(lambda text: f"-{text}") | st.sampled_from(["--out", "--x", "--seed", "--json"]), max_size=4
    ),
)
def test_commands_take_or_name_any_options(
    command: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Traceback" not in run([command, *arguments])


@FEW
@given(x=TEXT, y=TEXT)
def test_axes_of_a_map_are_taken_or_named(x: str, y: str) -> None:
    said = run(["map", "no_such_file.py::test_a", f"--x={x}", f"--y={y}", "--out=maps"])
    assert "lossact map: " in said
    assert "Traceback" not in said


PLACES = ["model.network.init_args.hidden", "model.optimizer.init_args.learning_rate", "model.loss", "model.budget",
          "model.target", "model.data.init_args.n_images", "model.replicas", "model.seed", "trainer", "model",
          "trainer.precision", "trainer.max_epochs", "trainer.logger", "unknown", "model.unknown"]  # fmt: skip


@pytest.mark.slow
@settings(FEW, max_examples=15)
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_configs_are_taken_or_named(place: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((CONFIGS / "mlp_sigmoid_l2.yaml").read_text())
    config["model"]["budget"] = 2
    *way, last = place.split(".")
    inner = config
    for name in way:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            return
    inner[last] = 5 if place == "model.budget" and isinstance(value, int) and value > 5 else value
    Path("config.yaml").write_text(json.dumps(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning's, about flags that are odd and allowed
        said = run(
            ["fit", "--config=config.yaml", "--trainer.fast_dev_run=true", "--trainer.enable_progress_bar=false"]
        )
    assert "Traceback" not in said


@FEW
@given(content=st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: b"\x93NUMPY\x01\x00" + rest))
def test_arrays_are_read_or_named(content: bytes, tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / f"{name}.npy").write_bytes(content)
    assert said_of_files(tmp_path).startswith(str(tmp_path))


@FEW
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    kind=st.sampled_from(["f8", "f4", "i8", "u1", "?", "c16", "U3", "S2", "M8[s]", "O"]),
    fill=st.sampled_from([0, 1, 255]),
)
def test_arrays_of_any_kind_are_read_or_named(shape: list[int], kind: str, fill: int, tmp_path: Path) -> None:
    array = np.full(shape, fill, dtype="i8").astype(kind)
    for name in ("images", "labels"):
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
    assert said_of_files(tmp_path).startswith(str(tmp_path))


def said_of_files(folder: Path) -> str:
    files = folder / "images.npy", folder / "labels.npy"
    return message_of(DataError, lambda: ImageFiles(*files), otherwise=str(folder))


@FEW
@example(at=3925, junk=b"0", cut=False, name="")
@given(
    at=st.integers(0, 20_000),
    junk=st.binary(min_size=1, max_size=400),
    cut=st.booleans(),
    name=st.sampled_from(["", "-wal"]),
)
def test_stores_are_read_set_aside_or_named(
    at: int, junk: bytes, cut: bool, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    reached = np.arange(256) % 2 == 0
    trials = Trials(np.where(reached, np.arange(256), 0), reached, ~reached, 300)
    with Store(folder) as store:
        store.add("k" * 64, {"a": "b" * 300}, 0, trials, None)
        store.add_numbers("n" * 64, {}, np.arange(99.0))
    file = folder / f"trials.sqlite{name}"
    content = file.read_bytes() if file.exists() else b""
    file.write_bytes(content[:at] + junk + (b"" if cut else content[at + len(junk) :]))

    def use() -> None:
        with Store(folder) as store:
            store.trials("k" * 64, 300)
            store.numbers("n" * 64, first=99)
            store.add("k" * 64, {}, 0, trials, Curves.empty(300))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert message_of(StoreError, use, otherwise="store ").startswith("store ")


@FEW
@given(text=TEXT)
def test_any_text_in_a_claim_is_shown_as_it_is(text: str, tmp_path: Path) -> None:
    claim = result(statement=text, source=text, sentence=text, family=text, warnings=(text,), id=f"{text}::{text}",
                 thresholds=(0.5, 0.6))  # fmt: skip
    first, second = claim.verdict.conditions
    claim = replace(claim, verdict=replace(claim.verdict, conditions=(replace(first, name=text), second)))
    write_folder(
        tmp_path, [claim], {}, RunInfo(flags=(text,), undecided=(UndecidedClaim.of(InputError(text), id=text),))
    )
    page = (tmp_path / "index.html").read_text()
    assert set(re.findall(r"<(\w+)", page)) <= TAGS
    assert json.loads((tmp_path / "verdicts.json").read_text())["claims"][0]["statement"] == text
    assert verdict_table([claim], alpha=0.025, delta=0.1, setting=text, width=80)


TAGS = set(re.findall(r"<(\w+)", (Path(html.__file__).parent / "templates" / "report.html.jinja").read_text()))
