"""How many runs would decide a comparison."""

import math

from scipy.special import ndtri

from lossact.stats.recorded.fixed import FixedDecision, runs_needed
from lossact.stats.recorded.ranks import is_countable_untied

POWER = 0.8
MOST_PLANNED = 1000


def runs_to_decide(decision: FixedDecision, *, alpha: float, paired: bool = False) -> int | None:
    """Return how many runs of each condition would show a difference with a probability of 0.8.

    A plan, not evidence: it takes the observed probability of superiority, and the observed share of ties among pairs,
    as the truth. Noether's approximation of the rank-sum test for unpaired runs, an approximation of Hoeffding's bound
    where so many cannot be counted, the normal approximation of the sign test for pairs; never fewer than can decide at
    all.

    Args:
        decision: about "a run of one condition is better than one of the other", at a margin of 1/2.
        alpha: the level that the comparison has to meet, one-sided.
        paired: whether runs come in pairs.

    Returns:
        the number, None beyond 1,000.

    Reference: Noether, Sample size determination for some common nonparametric tests, JASA 1987.
    """
    pairs, unpaired = runs_needed(alpha)
    distance = abs(decision.value - 0.5)
    if distance == 0:
        return None
    z_alpha, z_power = float(ndtri(1 - alpha)), float(ndtri(POWER))
    if paired:
        known = decision.wins + decision.losses + decision.undetermined
        n = max((z_alpha + z_power) ** 2 / (4 * distance**2), pairs) * (known + decision.ties) / known
    else:
        n = max((z_alpha + z_power) ** 2 / (6 * distance**2), unpaired)
        if not is_countable_untied(math.ceil(n), math.ceil(n)):
            n = ((math.sqrt(-math.log(alpha) / 2) + z_power / math.sqrt(6)) / distance) ** 2
    return math.ceil(n) if n <= MOST_PLANNED else None
