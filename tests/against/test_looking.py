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
from lossact.errors import LossactError
from lossact.storage import Trials
from tests.against.sides import NORM, pair, side_condition, trials

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


class GivenSide(StoredSide):
    """A side that has these trials."""

    def __init__(self, given: Trials) -> None:
        self._trials, self.asked = given, []


def looked_at_given(before: Trials, after: Trials, folder: Path) -> ConditionResult:
    sides = cast(list[Side], [GivenSide(before), GivenSide(after)])
    of = pair(values={"norm": NORM}, has_target=False)
    return Looks(sides, [of], Settings(max_replicas=LIMIT), folder, lambda line: None).run(0.0)[0]


def diverging(*, digests: int | None = None) -> Trials:
    never = np.full(LIMIT, 1000)
    given = trials(never, norm=np.full(LIMIT, np.nan))
    given.diverged[:] = True
    if digests is not None:  # alike in every replica
        given.run_digests[:] = digests
    return given


def test_a_side_that_diverges_alike_is_worse_and_not_one_run(tmp_path: Path) -> None:
    fine = trials(np.full(LIMIT, 1000), norm=np.random.default_rng(0).uniform(1, 2, LIMIT))
    worse = looked_at_given(fine, diverging(digests=7), tmp_path)
    assert [measure.verdict for measure in worse.measures] == ["worse"]
    better = looked_at_given(diverging(digests=7), fine, tmp_path)
    assert [measure.verdict for measure in better.measures] == ["better"]


def test_where_both_sides_diverge_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(LossactError, match="all 16 replicas diverged on both sides, so that there is nothing"):
        looked_at_given(diverging(), diverging(digests=7), tmp_path)


def test_where_nobody_reaches_the_target_the_measure_is_open(tmp_path: Path) -> None:
    never = trials(np.full(LIMIT, 1000))
    sides = cast(list[Side], [GivenSide(never), GivenSide(trials(np.full(LIMIT, 2000), budget=80))])
    (result,) = Looks(sides, [pair()], Settings(max_replicas=LIMIT), tmp_path, lambda line: None).run(0.0)
    assert [measure.verdict for measure in result.measures] == ["not yet"]
