"""What recorded runs show about a claim, in the form that verdicts are made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.claims.verdict_summary import Estimate
from lossact.conditions.recorded_runs import RecordedRuns, shorten
from lossact.errors import ClaimError
from lossact.stats import Decision
from lossact.stats.recorded import SeveralDecisions
from lossact.storage import Trials


@dataclass(frozen=True)
class RecordedEvidence:
    """A decision about recorded runs.

    Attributes:
        decision: the verdict.
        trials: each condition's runs, in the order of the conditions.
        difference: what a claim about values is about in the measure's own unit; None for claims about steps.
        notes: what a reader should know before quoting the verdict.
    """

    decision: Decision
    trials: list[Trials]
    difference: Estimate | None = None
    notes: tuple[str, ...] = ()


def unit_of(conditions: Sequence[RecordedRuns]) -> str:
    """Return what more runs of the conditions are called: "pairs", "of each", or "runs" of a single condition.

    Args:
        conditions: of the claim.

    Returns:
        the words after a number.
    """
    if len(conditions) == 1:
        return "runs"
    return "pairs" if conditions[0].is_paired else "of each"


def orders_of_pairs(conditions: Sequence[RecordedRuns]) -> list[NDArray[np.intp]]:
    """Return the order of each condition's runs that puts them beside those of the first condition.

    Args:
        conditions: of the claim; a column pairs their runs.

    Returns:
        (runs,) indices for each condition.

    Raises:
        ClaimError: a run has no partner.
    """
    first = [run.pair for run in conditions[0].runs]
    orders = []
    for condition in conditions:
        place = {run.pair: k for k, run in enumerate(condition.runs)}
        if place.keys() != set(first):
            missing = sorted(str(pair) for pair in place.keys() ^ set(first))
            raise ClaimError(
                f"{conditions[0]} and {condition} do not have the same pairs ({shorten(missing)} in one of them only); "
                "drop the runs without a partner, or read the table without pair=..."
            )
        orders.append(np.array([place[pair] for pair in first]))
    return orders


def as_decision(
    several: SeveralDecisions, names: Sequence[str], labels: tuple[str, str], *, support: float, n: int, unit: str
) -> Decision:
    """Return a verdict about recorded runs as one about replicas.

    Args:
        several: the verdict and what is behind it.
        names: of the comparisons.
        labels: what REFUTED is called where the opposite is shown, and where it is not.
        support: what the effect has to exceed.
        n: runs of the condition that has the fewest.
        unit: what more of is called: "pairs", "of each" condition, or "runs" of a single one.

    Returns:
        the decision, final.
    """
    fixed = several.decision
    return Decision(
        verdict=fixed.verdict,
        reason=_reason(several, names, labels, support=support, n=n, unit=unit),
        replicas=n,
        decided_at=None,
        final=True,
        value=fixed.value,
        low=fixed.low,
        high=fixed.high,
        alpha=fixed.alpha,
        level=fixed.level,
        log_support=-math.log(max(fixed.p_support, 1e-300)),
        log_refute=-math.log(max(fixed.p_refute, 1e-300)),
        wins=fixed.wins,
        ties=fixed.ties,
        losses=fixed.losses,
        undecided=fixed.undetermined,
        weakest_comparison=names[several.weakest],
        sample=fixed.sample,
    )


def _reason(
    several: SeveralDecisions, names: Sequence[str], labels: tuple[str, str], *, support: float, n: int, unit: str
) -> str:
    fixed = several.decision
    if fixed.verdict == "supported":
        return ""
    if fixed.verdict == "refuted":
        broken = f"; broken: {', '.join(names[k] for k in several.broken) or 'at least one'}" if len(names) > 1 else ""
        return labels[0 if fixed.high < support else 1] + broken
    if not fixed.can_support:
        least = f"no smaller p than {fixed.smallest_p:.2g} is possible, and {fixed.alpha:.2g} is needed"
        if n >= fixed.fewest_runs:
            return f"these runs cannot show it, for they tie too often: {least}"
        return f"too few runs to show it: {least}; {fixed.fewest_runs} {unit} could"
    total = fixed.wins + fixed.ties + fixed.losses + fixed.undetermined
    if 2 * fixed.undetermined > total:
        return f"ends of runs, or steps between records, hide {fixed.undetermined} of {total} orders"
    return f"these runs do not decide it (p {fixed.p_support:.2g}, and {fixed.alpha:.2g} is needed)"
