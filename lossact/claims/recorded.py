"""Hypotheses about runs that were recorded already: decided from a table, nothing is trained."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lossact.claims.hypotheses import Hypothesis
from lossact.claims.orders import Fastest, Ordering, Slowest
from lossact.claims.pairs import Equivalent, Faster, NotWorse
from lossact.claims.reaches import Reaches
from lossact.claims.recorded_evidence import RecordedEvidence, as_decision, orders_of_pairs, unit_of
from lossact.claims.recorded_measures import check_trained
from lossact.claims.recorded_order import check_order
from lossact.claims.recorded_values import decide_recorded_values
from lossact.claims.value_hypothesis import ValueHypothesis
from lossact.conditions import BaseCondition
from lossact.conditions.recorded_runs import RecordedRuns, shorten
from lossact.errors import ClaimError, InputError
from lossact.stats import Outcome, censored_as_undetermined
from lossact.stats.margins import Margins
from lossact.stats.recorded import (
    FixedDecision,
    OutcomeCounts,
    RecordedSteps,
    SeveralDecisions,
    compare_recorded_steps,
    decide_all,
    decide_equal,
    decide_extendable,
    decide_paired,
    decide_share,
    decide_unpaired,
    scores,
)
from lossact.storage import Trials

DecideAt = Callable[[float], FixedDecision]
ABOUT_STEPS = (Reaches, Equivalent, Faster, NotWorse, Ordering, Fastest, Slowest)


def has_recorded_runs(conditions: Sequence[BaseCondition]) -> bool:
    """Return whether all conditions were recorded.

    Args:
        conditions: of the claim.

    Returns:
        True where all were, False where all are to be trained.

    Raises:
        ClaimError: some were, and others are to be trained; or only some may be extended, or are paired.
    """
    recorded = [condition for condition in conditions if isinstance(condition, RecordedRuns)]
    if not recorded:
        return False
    if len(recorded) < len(conditions):
        trained = next(condition for condition in conditions if condition not in recorded)
        raise ClaimError(
            f"{recorded[0]} was recorded and {trained} is to be trained: nothing shows that they had the same data, "
            "budget and code; record runs of both, or train both"
        )
    for name in ("extendable", "is_paired", "measure"):
        values = [getattr(condition, name) for condition in recorded]
        if len(set(values)) > 1:
            raise ClaimError(
                f"{name} of {', '.join(map(str, recorded))} differs ({shorten(values)}); read all with the same "
                "arguments"
            )
    return True


def decide_recorded(hypothesis: Hypothesis, *, alpha: float, delta: float) -> RecordedEvidence:
    """Decide a hypothesis from recorded runs.

    Args:
        hypothesis: all of its conditions are RecordedRuns.
        alpha: error probability a side, in (0, 1/2).
        delta: the smallest margin over 1/2 that matters, in (0, 1/2).

    Returns:
        the decision, and each condition's runs as trials.

    Raises:
        ClaimError: the hypothesis, or the runs, cannot be decided so.
        InputError: more runs may follow, and those of a condition are sorted by their steps.
    """
    conditions = [condition for condition in hypothesis.conditions if isinstance(condition, RecordedRuns)]
    if isinstance(hypothesis, ValueHypothesis):
        return decide_recorded_values(hypothesis, conditions, alpha=alpha, delta=delta)
    if not isinstance(hypothesis, ABOUT_STEPS):
        check_trained(f"the claim that {hypothesis!r}", conditions)
    try:
        steps = [condition.steps_to_target() for condition in conditions]
    except InputError as error:
        raise ClaimError(str(error)) from None
    for condition, each in zip(conditions, steps, strict=True):
        if each.reached.all() and not each.steps.any():
            raise ClaimError(
                f"{condition}: all {len(each)} runs met the target at step 0; choose one that is not met there"
            )
    if conditions[0].is_paired:
        steps = _align(conditions, steps)
    if conditions[0].extendable:
        for condition, each in zip(conditions, steps, strict=True):
            met = each.steps if not isinstance(hypothesis, Reaches) else 0
            check_order(str(condition), np.where(each.reached, met, np.inf))
    margins = hypothesis.margins(delta)
    several, names = _decide(hypothesis, conditions, steps, margins, alpha=alpha, delta=delta)
    labels = ("not equal", "not equal") if isinstance(hypothesis, Equivalent) else margins.refutation_labels
    trials = [_trials(condition, each) for condition, each in zip(conditions, steps, strict=True)]
    decision = as_decision(
        several, names, labels, support=margins.support, n=min(map(len, steps)), unit=unit_of(conditions)
    )
    return RecordedEvidence(decision, trials)


def _decide(
    hypothesis: Hypothesis,
    conditions: Sequence[RecordedRuns],
    steps: Sequence[RecordedSteps],
    margins: Margins,
    *,
    alpha: float,
    delta: float,
) -> tuple[SeveralDecisions, list[str]]:
    ratio = 1.0
    n = len(conditions)
    match hypothesis:
        case Reaches():
            decide: DecideAt = partial(_decide_reaches, hypothesis, conditions[0], steps[0])
            return decide_all([decide], alpha=alpha), [f"{conditions[0]} reaches the target"]
        case Equivalent():
            decide = partial(_decide_equivalent, conditions[0], steps, delta)
            return decide_all([decide], alpha=alpha), [f"{conditions[0]} before {conditions[1]}"]
        case Faster():
            pairs, ratio = [(0, 1)], hypothesis.ratio
        case NotWorse():
            pairs = [(0, 1)]
        case Ordering():
            pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
        case Fastest():
            pairs = [(0, j) for j in range(1, n)]
        case Slowest():
            pairs = [(j, 0) for j in range(1, n)]
        case _:
            raise AssertionError(hypothesis)
    decide_pairs = [
        partial(_decide_pair, conditions[i], steps[i], steps[j], ratio, margins, isinstance(hypothesis, NotWorse))
        for i, j in pairs
    ]
    return decide_all(decide_pairs, alpha=alpha), [f"{conditions[i]} before {conditions[j]}" for i, j in pairs]


def _decide_pair(
    condition: RecordedRuns,
    first: RecordedSteps,
    second: RecordedSteps,
    ratio: float,
    margins: Margins,
    hide_censored: bool,
    alpha: float,
) -> FixedDecision:
    outcomes = compare_recorded_steps(first, second, ratio=ratio, paired=condition.is_paired)
    if hide_censored:
        outcomes = censored_as_undetermined(outcomes)
    if condition.extendable:
        return decide_extendable(outcomes, alpha=alpha, margins=margins)
    if condition.is_paired:
        return decide_paired(OutcomeCounts.of(outcomes), alpha=alpha, margins=margins)
    return decide_unpaired(outcomes, *scores(first, second, ratio=ratio), alpha=alpha, margins=margins)


def _decide_equivalent(
    condition: RecordedRuns, steps: Sequence[RecordedSteps], delta: float, alpha: float
) -> FixedDecision:
    if condition.extendable:
        raise ClaimError("equivalent is decided for a fixed number of recorded runs; read them without extendable=True")
    outcomes = censored_as_undetermined(compare_recorded_steps(*steps, paired=condition.is_paired))
    sizes = " and ".join(str(len(each)) for each in steps)
    sample = f"{len(steps[0])} pairs of recorded runs" if condition.is_paired else f"{sizes} recorded runs"
    return decide_equal(
        OutcomeCounts.of(outcomes), min(map(len, steps)), f"{sample}; a fixed number", alpha=alpha, delta=delta
    )


def _decide_reaches(hypothesis: Reaches, condition: RecordedRuns, steps: RecordedSteps, alpha: float) -> FixedDecision:
    hidden = ~steps.reached & (steps.ends < condition.budget)
    if condition.extendable:
        outcomes = np.select([steps.reached, hidden], [Outcome.WIN, Outcome.UNDETERMINED], Outcome.LOSS).astype(np.int8)
        return decide_extendable(outcomes, alpha=alpha, margins=Margins.of_probability(hypothesis.low, hypothesis.high))
    return decide_share(
        int(steps.reached.sum()),
        int(hidden.sum()),
        len(steps),
        alpha=alpha,
        support=hypothesis.low,
        refute=hypothesis.high,
    )


def _align(conditions: Sequence[RecordedRuns], steps: Sequence[RecordedSteps]) -> list[RecordedSteps]:
    """Put each condition's runs in the order of the first condition's pairs."""
    return [each.in_order(order) for each, order in zip(steps, orders_of_pairs(conditions), strict=True)]


def _trials(condition: RecordedRuns, steps: RecordedSteps) -> Trials:
    return Trials(steps.steps, steps.reached, np.zeros(len(steps), dtype=bool), condition.budget)
