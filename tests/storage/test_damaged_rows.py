"""Rows of the store that are not what was written."""

from pathlib import Path

import numpy as np
import pytest

from lossact import Experiment, FunctionCondition, Store
from lossact.training.compute_config import ComputeConfig

CHANGES = {
    "a number": "UPDATE trials SET steps_to_target = steps_to_target + 256 WHERE replica = 20",
    "an outcome": "UPDATE trials SET steps_to_target = NULL WHERE replica = 20",
    "text": "UPDATE trials SET steps_to_target = 'many' WHERE replica = 20",
    "a flag": "UPDATE trials SET diverged = 1 - diverged WHERE replica = 20",
    "a row less": "DELETE FROM trials WHERE replica = 20",
    "another replica's": "UPDATE trials SET replica = 'twenty' WHERE replica = 20",
}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_that_are_not_what_was_written_are_dropped_and_made_again(change: str, tmp_path: Path) -> None:
    trained = FunctionCondition(train=lambda seed: seed % 50, budget=50)
    with Store(tmp_path) as store:
        experiment = Experiment(store=store, compute_config=ComputeConfig(threads=1))
        (before,) = experiment.trials([trained], 64)
        store._database.execute(CHANGES[change])
        with pytest.warns(
            UserWarning, match=r"trials of replicas 20 to 21 are not what was written \(key [0-9a-f]{12}\)"
        ):
            (after,) = experiment.trials([trained], 64)
        assert experiment.trained_replicas == 64 + trained.block
    for name in ("steps", "reached", "diverged"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_numbers_that_are_not_what_was_written_are_dropped(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_numbers("n", {}, np.array([0.1, np.nan, 3.0]))
        store._database.execute("UPDATE numbers SET value = 0 WHERE replica = 1")
        with pytest.warns(UserWarning, match="numbers of replicas 0 to 2 are not what was written"):
            assert len(store.numbers("n", first=2)) == 0  # of what was written together none is trusted
        assert len(store.numbers("n", first=3)) == 0


@pytest.mark.parametrize("names", ["[]", '[["m", "float64"]', '[["m", "number"], ["n", "float64"]]'])
def test_names_of_measures_that_are_not_what_was_written_cost_the_trials(names: str, tmp_path: Path) -> None:
    trained = FunctionCondition(train=lambda seed: {"m": seed / 2, "n": 1.0}, budget=50, measures=["m", "n"])
    with Store(tmp_path) as store:
        experiment = Experiment(store=store, compute_config=ComputeConfig(threads=1))
        (before,) = experiment.trials([trained], 8)
        store._database.execute("UPDATE experiments SET measures = ?", (names,))
        with pytest.warns(UserWarning, match="names of measures are not what was written"):
            (after,) = experiment.trials([trained], 8)
        assert experiment.trained_replicas == 16
    np.testing.assert_array_equal(after.values["m"], before.values["m"])
