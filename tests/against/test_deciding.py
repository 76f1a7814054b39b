import numpy as np
import pytest

from lossact.against import Settings
from lossact.against.bits import is_telling, same_bits
from lossact.against.deciding import MeasureDecider
from lossact.against.results import MeasureResult
from lossact.stats import Comparison, decide_equivalence
from lossact.storage import Trials
from tests.against.sides import ACCURACY, NORM, pair, trials

N = 512
RANDOM = np.random.default_rng(0)
STEPS = RANDOM.integers(10, 50, N)


def decide(
    measure: str, before: Trials, after: Trials, settings: Settings | None = None, *, alpha: float = 0.025
) -> MeasureResult:
    values = {"accuracy": ACCURACY, "norm": NORM}
    of = pair(values=values)
    decider = MeasureDecider(of, measure, settings or Settings(), alpha=alpha, limit=N)
    result, final = decider.decide(before, after)
    assert final
    return result


def test_updates_later_in_every_replica_are_worse_and_better_from_the_other_side() -> None:
    early, late = trials(STEPS), trials(STEPS + 5)
    worse, better = decide("steps", early, late), decide("steps", late, early)
    assert (worse.verdict, better.verdict) == ("worse", "better")
    assert worse.difference.value == 5 == -better.difference.value
    assert worse.difference.low <= 5 <= worse.difference.high
    assert worse.difference.unit == "updates"


def test_the_verdict_is_that_of_the_equivalence_test_on_a_plain_loop() -> None:
    other = RANDOM.permutation(STEPS)
    outcomes = np.array([2 if b < a else 0 if b > a else 1 for a, b in zip(STEPS, other, strict=True)], np.int8)
    expected = decide_equivalence(Comparison("now first", outcomes), alpha=0.01, delta=0.1, limit=N)
    result = decide("steps", trials(STEPS), trials(other), alpha=0.01)
    assert expected.verdict == "supported"
    assert (result.verdict, result.decided_at) == ("equivalent", expected.decided_at)
    assert result.win_probability is not None
    assert (result.win_probability.low, result.win_probability.high) == (expected.low, expected.high)


def test_looks_do_not_change_the_verdict() -> None:
    before, after = trials(STEPS), trials(RANDOM.permutation(STEPS))
    decider = MeasureDecider(pair(), "steps", Settings(), alpha=0.025, limit=N)
    for n in (16, 64, 100, N):
        result, _ = decider.decide(before.first(n), after.first(n))
    at_once = decide("steps", before, after)
    assert (result.verdict, result.decided_at, result.difference) == (
        at_once.verdict, at_once.decided_at, at_once.difference
    )  # fmt: skip


def test_nobody_reaching_the_target_leaves_it_open() -> None:
    never = trials(np.full(N, 1000))
    result = decide("steps", never, never)
    assert (result.verdict, result.before) == ("not yet", None)
    assert "do not reach the target" in result.reason


def test_steps_are_compared_within_the_smaller_budget() -> None:
    of = pair()
    shorter = MeasureDecider(of, "steps", Settings(), alpha=0.025, limit=N)
    result, _ = shorter.decide(trials(np.full(N, 50)), trials(np.full(N, 80), budget=100))
    assert result.verdict == "worse"
    assert result.after is None


@pytest.mark.parametrize(("shift", "verdict"), [(0.004, "equivalent"), (0.03, "better"), (-0.03, "worse")])
def test_a_margin_in_the_measures_unit_replaces_delta(shift: float, verdict: str) -> None:
    accuracy = RANDOM.uniform(0.5, 0.9, N)
    before = trials(STEPS, accuracy=accuracy)
    after = trials(STEPS, accuracy=accuracy + shift + RANDOM.normal(0, 1e-3, N))
    result = decide("accuracy", before, after, Settings(within={"accuracy": 0.01}))
    assert (result.verdict, result.within, result.win_probability) == (verdict, 0.01, None)
    assert result.difference.unit == "points"
    assert result.difference.value == pytest.approx(100 * shift, abs=0.1)


@pytest.mark.parametrize(("later", "verdict"), [(2, "equivalent"), (9, "worse"), (-9, "better")])
def test_updates_may_have_a_margin_too(later: int, verdict: str) -> None:
    result = decide("steps", trials(STEPS), trials(STEPS + later), Settings(within={"steps": 3}))
    assert result.verdict == verdict


def test_a_measure_of_unknown_direction_is_different_until_it_is_told() -> None:
    norm = RANDOM.uniform(1, 2, N)
    before, after = trials(STEPS, norm=norm), trials(STEPS, norm=norm + 1)
    assert decide("norm", before, after).verdict == "different"
    assert decide("norm", before, after, Settings(directions={"norm": "lower"})).verdict == "worse"
    assert decide("norm", before, after, Settings(directions={"norm": "higher"})).verdict == "better"
    within = Settings(within={"norm": 0.5}, directions={"norm": "lower"})
    assert decide("norm", before, after, within).verdict == "worse"


def test_a_replica_that_diverged_loses() -> None:
    accuracy = RANDOM.uniform(0.5, 0.9, N)
    whole = trials(STEPS, accuracy=accuracy)
    broken = Trials(whole.steps, whole.reached, np.ones(N, bool), whole.budget, values={"accuracy": np.full(N, np.nan)})
    assert decide("accuracy", whole, broken).verdict == "worse"
    assert decide("accuracy", broken, whole).verdict == "better"


def test_bits_are_equal_only_where_every_one_is() -> None:
    original = trials(STEPS, accuracy=np.append(np.nan, STEPS[1:] / 60))
    assert same_bits(original, original.first(N))
    for changed in (
        trials(STEPS, accuracy=np.append(np.nan, np.nextafter(STEPS[1:] / 60, 2))),
        trials(STEPS + (np.arange(N) == 3), accuracy=original.values["accuracy"]),
        trials(STEPS),
        trials(STEPS, budget=61, accuracy=original.values["accuracy"]),
    ):
        assert not same_bits(original, changed)


def test_equal_trials_that_hold_next_to_nothing_tell_nothing() -> None:
    never = Trials(np.zeros(16, np.int64), np.zeros(16, bool), np.zeros(16, bool), 60)
    assert not is_telling(never)
    assert is_telling(trials(STEPS))


@pytest.mark.parametrize("shift", [-10.0, 0.0, 10.0])
@pytest.mark.parametrize("now", [N, N // 2])
def test_replicas_that_diverge_now_are_worse_whichever_values_are_better(now: int, shift: float) -> None:
    norm = RANDOM.uniform(1, 2, N)
    before, after = trials(STEPS, norm=norm), trials(STEPS, norm=RANDOM.permutation(norm) + shift)
    after.diverged[RANDOM.permutation(N)[:now]] = True
    assert decide("norm", before, after).verdict == "worse"
    assert decide("norm", after, before).verdict == "better"


def test_a_few_that_diverge_do_not_decide_the_direction() -> None:
    norm = RANDOM.uniform(1, 2, N)
    before, after = trials(STEPS, norm=norm), trials(STEPS, norm=norm + 1)
    after.diverged[:5] = True
    assert decide("norm", before, after).verdict == "different"


def test_values_that_go_up_and_replicas_that_diverge_are_not_equivalent_together() -> None:
    norm = RANDOM.uniform(1, 2, N)
    before, after = trials(STEPS, norm=norm), trials(STEPS, norm=norm + 1)
    after.diverged[RANDOM.permutation(N)[: N // 10]] = True
    assert decide("norm", before, after).verdict != "equivalent"
