"""A mean of recorded runs against a constant, by Student's t."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.claims.mean_values import MeanAtLeast
from lossact.claims.recorded_evidence import RecordedEvidence, as_decision
from lossact.conditions.recorded_runs import RecordedRuns
from lossact.errors import ClaimError, InputError
from lossact.stats import Outcome
from lossact.stats.recorded import FixedDecision, decide_all, student_t
from lossact.stats.recorded.fixed import verdict_of
from lossact.storage import Trials


def decide_recorded_mean(
    hypothesis: MeanAtLeast,
    condition: RecordedRuns,
    values: NDArray[np.float64],
    trials: list[Trials],
    *,
    alpha: float,
) -> RecordedEvidence:
    """Decide whether the mean of recorded runs is on the claimed side of a constant, assuming normal values.

    Args:
        hypothesis: about normal values.
        condition: what was recorded, a fixed number of runs.
        values: (runs,), at least two.
        trials: of the condition.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the decision; its effect is the mean with Student's interval.

    Raises:
        ClaimError: more runs may follow, or all values are equal.
    """
    if condition.extendable:
        raise ClaimError(
            f'of="mean" is decided for a fixed number of recorded runs, and {condition} may be extended; read the '
            "table without extendable=True"
        )
    outcomes: Sequence[int] = hypothesis.comparisons(trials)[0].outcomes.tolist()

    def decide(level: float) -> FixedDecision:
        try:
            test = student_t(values, hypothesis.value, alpha=level)
        except InputError as error:
            raise ClaimError(f"{hypothesis.measure} of {condition}: {error}") from None
        p_support, p_refute = test.p_above, test.p_below
        if hypothesis.is_at_most:
            p_support, p_refute = p_refute, p_support
        return FixedDecision(
            verdict=verdict_of(p_support, p_refute, alpha=level),
            value=test.mean,
            low=test.low,
            high=test.high,
            alpha=level,
            p_support=p_support,
            p_refute=p_refute,
            smallest_p=0.0,
            fewest_runs=2,
            sample=f"{len(values)} recorded runs; a fixed number",
            wins=outcomes.count(Outcome.WIN),
            ties=outcomes.count(Outcome.TIE),
            losses=outcomes.count(Outcome.LOSS),
            undetermined=0,
        )

    several = decide_all([decide], alpha=alpha)
    decision = as_decision(
        several, [repr(hypothesis)], ("reversed", "reversed"), support=hypothesis.value, n=len(values), unit="runs"
    )
    return RecordedEvidence(decision, trials)
