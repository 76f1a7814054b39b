import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lossact import Experiment, Store
from lossact.errors import InputError, StoreError
from lossact.experiment import default_compute_config
from lossact.storage import Curves, Trials
from lossact.training.compute_config import ComputeConfig
from tests.conftest import report_condition
from tests.processes import Start

RNG = np.random.default_rng(0)
NO_CURVES = Curves.empty(0)


def some_trials(n: int) -> Trials:
    reached = RNG.random(n) < 0.5
    return Trials(np.where(reached, RNG.integers(0, 10, n), 0), reached, ~reached & (RNG.random(n) < 0.1), 10)


def some_curves(n: int) -> Curves:
    loss, accuracy = RNG.random((2, n, 11), dtype=np.float32)
    norms = RNG.random((n, 3, 2), dtype=np.float32)
    return Curves(loss, accuracy, norms, ("hidden", "output"), 100)


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    trials, curves = some_trials(64), some_curves(64)
    with Store(tmp_path) as store:
        store.add("k", {"a": 1}, 0, trials, curves)
    with Store(tmp_path) as store:
        back = store.trials("k", 10)
        np.testing.assert_array_equal(back.steps, trials.steps)
        np.testing.assert_array_equal(back.reached, trials.reached)
        np.testing.assert_array_equal(back.diverged, trials.diverged)
        kept = store.curves("k", 64)
        assert kept is not None
        np.testing.assert_array_equal(kept.loss, curves.loss)
        np.testing.assert_array_equal(kept.gradient_norm, curves.gradient_norm)
        assert (kept.layers, kept.gradient_every) == (("hidden", "output"), 100)
        assert store.content("k") == {"a": 1}
        assert len(store.trials("another", 10)) == 0


def test_only_the_gapless_run_counts(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for block in (2, 0, 3):
            store.add("k", {}, 64 * block, some_trials(64), NO_CURVES)
        assert len(store.trials("k", 10)) == 64
        assert store.stored_blocks("k", 64) == {0, 2, 3}
        store.add("k", {}, 64, some_trials(64), NO_CURVES)
        assert len(store.trials("k", 10)) == 256


def test_a_temporary_store_is_gone_when_closed() -> None:
    store = Store(None)
    assert store.directory.is_dir()
    store.close()
    assert not store.directory.exists()


def test_many_processes_open_one_new_store_at_once(tmp_path: Path, start: Start) -> None:
    program = f"from lossact import Store; Store({str(tmp_path / 'store')!r}).close()"
    running = [start([sys.executable, "-c", program]) for _ in range(8)]
    assert [process.communicate(timeout=200)[1] for process in running] == [""] * 8


def no_database(file: Path) -> None:
    file.write_bytes(b"this is no database" * 100)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5000])


def page_overwritten(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8192:12288] = b"\xa5" * 4096
    file.write_bytes(content)


def name_no_text(file: Path) -> None:
    """A table's name that is no text, which SQLite's message then quotes."""
    file.write_bytes(file.read_bytes().replace(b"tablenumbersnumbers", b"tablenumber\x80number\x80"))


@pytest.mark.parametrize("damage", [no_database, cut_off, page_overwritten, name_no_text])
def test_a_damaged_store_is_set_aside_and_never_deleted(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    for number in (1, 2):
        with Store(tmp_path) as store:
            for block in range(20):
                store.add("k", {"a": 1}, 64 * block, some_trials(64), NO_CURVES)
        damage(tmp_path / "trials.sqlite")
        held = (tmp_path / "trials.sqlite").read_bytes()
        with pytest.warns(UserWarning, match=rf"is damaged \(.*\); set aside as trials.damaged-{number}.sqlite"):
            store = Store(tmp_path)
        assert (tmp_path / f"trials.damaged-{number}.sqlite").read_bytes() == held
        assert len(store.trials("k", 10)) == 0
        store.close()


def test_a_store_of_another_form_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "trials.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="written in form 99, this lossact reads form 4; give another directory"):
        Store(tmp_path)
    assert sqlite3.connect(tmp_path / "trials.sqlite").execute("PRAGMA user_version").fetchone() == (99,)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("with_curves", [True, False])
def test_a_full_disk_loses_nothing_that_was_stored(small_disk: Path, with_curves: bool) -> None:
    stored = 0
    rng = np.random.default_rng(0)
    loss, metric = rng.random((2, 64, 1001), dtype=np.float32)
    noise = Curves(loss, metric, np.zeros((64, 0, 0), np.float32))
    with Store(small_disk / "store") as store:
        message = ""
        while not message:
            try:
                store.add("k", {}, 64 * stored, some_trials(64), noise if with_curves else None)
                stored += 1
            except StoreError as error:
                message = str(error)
        assert "cannot be written (" in message
        assert "make room or give another directory; what it holds stays good" in message
        assert stored > 0
        assert len(store.trials("k", 10)) == 64 * stored
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    with Store(small_disk / "store") as store:
        assert len(store.trials("k", 10)) == 64 * stored
        store.add("k", {}, 64 * stored, some_trials(64), noise)
        assert len(store.trials("k", 10)) == 64 * (stored + 1)
    assert not list((small_disk / "store" / "curves").rglob("*.partial"))


def test_a_read_only_disk_is_one_error(small_disk: Path) -> None:
    Store(small_disk / "store").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"store .*: cannot be opened .*; give another directory, or none"):
        Store(small_disk / "store")
    with pytest.raises(StoreError, match=r"store .*: cannot be opened .*Read-only file system"):
        Store(small_disk / "other")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"store .*file: cannot be opened .* give another directory, or none"):
        Store(tmp_path / "file")


def test_what_is_stored_is_never_trained_again(experiment: Experiment) -> None:
    condition = report_condition(budget=20)
    (first,) = experiment.trials([condition], 100)
    assert (len(first), experiment.trained_replicas) == (100, 128)
    (again,) = experiment.trials([condition], 128)
    assert (len(again), experiment.trained_replicas) == (128, 128)
    np.testing.assert_array_equal(first.steps, again.steps[:100])
    experiment.trials([condition], 129)
    assert experiment.trained_replicas == 192


def test_retraining_gives_the_same_trials(tmp_path: Path) -> None:
    condition, compute_config = report_condition(budget=300), ComputeConfig(threads=1)
    store = Store(tmp_path)
    first = Experiment(store=store, compute_config=compute_config)
    again = Experiment(store=store, compute_config=compute_config, retrain=True)
    (a,), (b,) = first.trials([condition], 64), again.trials([condition], 64)
    assert again.trained_replicas == 64
    np.testing.assert_array_equal(a.steps, b.steps)
    np.testing.assert_array_equal(a.reached, b.reached)


def test_trials_read_one_by_one() -> None:
    trials = Trials(np.array([3, 0]), np.array([True, False]), np.array([False, True]), 10)
    first, second = trials
    assert (first.steps_to_target, first.reached, first.diverged) == (3, True, False)
    assert (second.steps_to_target, second.reached, second.diverged) == (None, False, True)
    assert trials.restricted_steps.tolist() == [3, 10]


@pytest.mark.parametrize(
    ("steps", "reached", "median"),
    [([1, 2, 3], [1, 1, 1], 2.0), ([1, 2, 0], [1, 1, 0], 2.0), ([1, 0, 0], [1, 0, 0], None), ([1, 3], [1, 1], 2.0)],
)
def test_the_median_counts_the_censored_as_late(steps: list[int], reached: list[int], median: float | None) -> None:
    trials = Trials(np.array(steps), np.array(reached, bool), np.zeros(len(steps), bool), 10)
    assert trials.median_steps == median


def has_device(name: str) -> bool:
    return torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available()


def test_a_device_that_is_not_there_is_named() -> None:
    missing = next((name for name in ("mps", "cuda") if not has_device(name)), None)
    if missing is None:
        pytest.skip("this machine has every device")
    with pytest.raises(InputError, match=rf"device='{missing}' is not on this machine; it has cpu"):
        default_compute_config(device=missing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device='tpu' is not known; choose one of cpu, cuda, mps"),
        ({"precision": "16-mixed"}, "precision='16-mixed' is not known; choose one of 32-true, 64-true"),
        ({"threads": 0}, "threads=0 must be an integer >= 1"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ComputeConfig(**options)


def test_a_bad_seed_is_named() -> None:
    with pytest.raises(InputError, match=r"seed=-1 must be an integer >= 0; try 0"):
        Experiment(seed=-1)


@pytest.mark.parametrize(("form", "lacks"), [(1, ("numbers", "checksums")), (2, ("checksums",)), (3, ())])
def test_numbers_come_back_and_stores_of_older_forms_take_them(
    form: int, lacks: tuple[str, ...], tmp_path: Path
) -> None:
    with Store(tmp_path) as store:
        store.add("k", {}, 0, some_trials(64), NO_CURVES)
        for table in lacks:
            store._database.execute(f"DROP TABLE {table}")
        for table, column in (("trials", "run_digest"), ("trials", "measured"), ("experiments", "measures")):
            store._database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        store._database.execute(f"PRAGMA user_version = {form}")
    with Store(tmp_path) as store:
        assert len(store.trials("k", 10)) == 64
        store.add_numbers("n", {"a": 1}, np.array([0.1, np.nan, -np.inf]))
        np.testing.assert_array_equal(store.numbers("n", first=9), [0.1, np.nan, -np.inf])
        assert len(store.numbers("n", first=2)) == 2
        assert store.count() == 64


@pytest.mark.parametrize("replicas", [1, 16])
def test_values_come_back_in_the_type_they_were_computed_in(replicas: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values: dict[str, NDArray[np.floating[Any]]] = {
        "accuracy": generator.random(replicas).astype(np.float32),
        "loss@100": generator.normal(size=replicas),
        "undefined": np.full(replicas, np.nan),
        "beyond": np.full(replicas, -np.inf, dtype=np.float32),
    }
    with Store(tmp_path) as store:
        store.add("k", {}, 0, replace(some_trials(replicas), values=values), NO_CURVES)
        store.add("other", {}, 0, some_trials(replicas), NO_CURVES)
    with Store(tmp_path) as store:
        stored = store.trials("k", 10).values
        assert list(stored) == list(values)
        for name, expected in values.items():
            assert stored[name].dtype == expected.dtype
            np.testing.assert_array_equal(stored[name], expected)
        assert store.trials("other", 10).values == {}
        assert store.trials("nothing", 10).values == {}


def test_numbers_are_computed_once(experiment: Experiment) -> None:
    asked: list[int] = []

    def measure(seed: int, replicas: int) -> list[float]:
        return [float(seed + k) for k in range(replicas)]

    def find(known: np.ndarray[Any, np.dtype[np.float64]], replicas: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        asked.append(replicas)
        return np.array(measure(0, replicas))

    for n in (3, 2, 5, 5):
        np.testing.assert_array_equal(experiment.numbers(measure, find, n), np.arange(n, dtype=float))
    assert asked == [3, 5]
    with pytest.raises(InputError, match=r"measure finds other numbers for the first 5 replicas when 6 are asked for"):
        experiment.numbers(measure, lambda known, n: np.full(n, 7.0), 6)
    unknown = threading.Lock()

    def holding(seed: int, replicas: int) -> list[float]:
        return [float(unknown is None)] * replicas

    experiment.numbers(holding, find, 5)
    experiment.numbers(holding, find, 5)
    assert asked == [3, 5, 5, 5]


def test_retraining_computes_numbers_anew(tmp_path: Path) -> None:
    def measure(seed: int, replicas: int) -> list[float]:
        return [0.0] * replicas

    def zeros(known: np.ndarray[Any, np.dtype[np.float64]], n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.zeros(n)

    def ones(known: np.ndarray[Any, np.dtype[np.float64]], n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.ones(n)

    store, compute_config = Store(tmp_path), ComputeConfig(threads=1)
    first, again, later = (Experiment(store=store, compute_config=compute_config, retrain=k == 1) for k in range(3))
    assert first.numbers(measure, zeros, 3).tolist() == [0, 0, 0]
    assert again.numbers(measure, ones, 3).tolist() == [1, 1, 1]  # what it finds changed unseen, a file, say
    assert later.numbers(measure, zeros, 3).tolist() == [1, 1, 1]
    once_more = Experiment(store=store, compute_config=compute_config, retrain=True)
    assert once_more.numbers(measure, zeros, 2).tolist() == [0, 0]
    assert once_more.numbers(measure, zeros, 3).tolist() == [0, 0, 0]  # none of those before are left


def test_a_store_that_is_removed_while_it_is_used_is_named(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        store.add("k", {}, 0, some_trials(64), NO_CURVES)
        shutil.rmtree(tmp_path / "store")
        with pytest.raises(
            StoreError, match=r"cannot be written \(.*trials.sqlite was removed while this process used"
        ):
            store.add("k", {}, 64, some_trials(64), NO_CURVES)


def test_who_waits_for_another_process_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    speaks = threading.Event()
    condition = report_condition(budget=2)

    def say(progress: Any) -> None:
        said.append(str(progress))
        speaks.set()

    def train() -> None:
        with Store(tmp_path) as store:
            Experiment(store=store, progress=say).trials([condition], 64)

    with Store(tmp_path) as store:
        key = Experiment(store=store).key(condition)
        waiting = threading.Thread(target=train, daemon=True)
        with store.lock(key):
            assert store.is_locked(key)
            waiting.start()
            assert speaks.wait(timeout=120)
        waiting.join(timeout=120)
        assert not waiting.is_alive()
        assert store.count() == 64
    assert said[0] == f"waiting for another process that trains {condition}"
    assert "waiting" not in said[-1]


def test_a_store_that_is_replaced_while_it_is_used_is_named(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        shutil.rmtree(tmp_path / "store")
        Store(tmp_path / "store").close()
        with pytest.raises(
            StoreError, match=r"cannot be written \(.*trials.sqlite was replaced while this process used"
        ):
            store.add("k", {}, 0, some_trials(64), NO_CURVES)


def test_git_ignores_a_store_and_no_files_that_were_there(tmp_path: Path) -> None:
    (tmp_path / "claims.py").touch()
    for folder, ignored in ((tmp_path, False), (tmp_path / "new", True)):
        for _ in range(2):
            Store(folder).close()
        assert (folder / ".gitignore").exists() == ignored
