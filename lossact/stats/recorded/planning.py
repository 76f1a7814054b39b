"""How many runs would decide a comparison."""

import math

from scipy.special import ndtri

from lossact.stats.recorded.fixed import runs_needed

POWER = 0.8
MOST_PLANNED = 1000


def runs_to_decide(superiority: float, *, alpha: float, paired: bool = False) -> int | None:
    """Return how many runs of each condition would show a difference with a probability of 0.8.

    A plan, not evidence: it takes the observed probability of superiority as the truth. Noether's approximation of the
    rank-sum test for unpaired runs, the normal approximation of the sign test for pairs, and never fewer than can
    decide at all.

    Args:
        superiority: the observed probability that a run of one condition is better than one of the other.
        alpha: the level that the comparison has to meet, one-sided.
        paired: whether runs come in pairs.

    Returns:
        the number, None beyond 1,000.

    Reference: Noether, Sample size determination for some common nonparametric tests, JASA 1987.
    """
    pairs, unpaired = runs_needed(alpha)
    distance = abs(superiority - 0.5)
    if distance == 0:
        return None
    z = float(ndtri(1 - alpha) + ndtri(POWER))
    n = math.ceil(z * z / ((4 if paired else 6) * distance**2))
    n = max(n, pairs if paired else unpaired)
    return n if n <= MOST_PLANNED else None
