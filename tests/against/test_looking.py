"""At which numbers of replicas two sides are looked at, and that the verdict does not depend on it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from lossact.against import ConditionResult, Settings
from lossact.against.looking import Looks
from lossact.against.matching import Pair
from lossact.against.side import Side
from lossact.cli.against_worker import describe, write_trials
from tests.against.sides import pair, side_condition, trials

LIMIT = 512


class StoredSide:
    """A side that has all trials of its one condition already.

    Args:
        shift: added to the updates to the target.
    """

    def __init__(self, shift: int) -> None:
        steps = np.random.default_rng(3).integers(10, 50, LIMIT)
        self._trials = trials(np.where(np.arange(LIMIT) % 4 == 0, steps - shift, steps + shift))
        self.asked: list[int] = []

    def send(self, request: dict[str, Any]) -> None:
        ((_, replicas),) = request["wanted"]
        self.asked.append(replicas)
        self._file = Path(request["to"]) / "0.npz"
        self._file.parent.mkdir(exist_ok=True)
        write_trials(self._file, self._trials.first(replicas), None)

    def receive(self) -> dict[str, Any]:
        return {"files": [str(self._file)], "trained": 0}


def looked_at(of: Pair, folder: Path) -> tuple[ConditionResult, list[int]]:
    sides = [StoredSide(0), StoredSide(2)]
    looks = Looks(cast(list[Side], sides), [of], Settings(max_replicas=LIMIT), folder, lambda line: None)
    (result,) = looks.run(0.0)
    assert sides[0].asked == sides[1].asked
    *asked, curves = sides[0].asked
    assert curves == asked[-1]
    return result, asked


def test_a_look_takes_what_trains_together_and_the_verdict_is_the_same(tmp_path: Path) -> None:
    by_block, of_block = looked_at(pair(), tmp_path)
    by_launch, of_launch = looked_at(pair(launch=64), tmp_path)
    assert of_block[:4] == [16, 32, 48, 64]
    assert of_launch[:3] == [16, 64, 128]
    assert (len(by_block.after), len(by_launch.after)) == (of_block[-1], of_launch[-1])
    assert by_block.measures[0].verdict == by_launch.measures[0].verdict == "worse"
    assert by_block.measures[0].decided_at == by_launch.measures[0].decided_at
    assert of_block[-1] < LIMIT  # else both would have looked at everything


def test_the_side_that_trains_more_together_says_how_much_a_look_takes() -> None:
    of = Pair("own", side_condition(launch=64), side_condition(launch=16, key="b"))
    assert (of.launch, of.block) == (64, 16)


@pytest.mark.parametrize(("known", "launch"), [({"launch": 64}, 64), ({}, 16)])
def test_an_older_lossact_that_knows_no_launches_is_looked_at_by_blocks(known: dict[str, int], launch: int) -> None:
    condition = SimpleNamespace(
        name="a", block=16, budget=9, has_target=True, equal_steps=False, seed_advice="", value_names=(), **known
    )
    assert describe(condition)["launch"] == launch
