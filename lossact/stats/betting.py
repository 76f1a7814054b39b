"""The engine: a mixture of betting martingales for the mean of W in {0, 1/2, 1}.

For counts (w, t, l) of W = 1, 1/2, 0, the null E[W] <= m and bets c_1 … c_K in (0, 1):

    E(w, t, l; m) = mean_k (1 + c_k (1 - m)/m)^w (1 + c_k (1/2 - m)/m)^t (1 - c_k)^l

Under the null each factor has mean at most 1 whatever the past, so E is a nonnegative supermartingale that starts at
1, and the probability that it ever reaches 1/alpha is at most alpha (Ville). E falls with m; the m at which it
equals 1/alpha is a lower confidence bound that holds at all times at once.

Reference: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024,
doi 10.1093/jrsssb/qkad009.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

N_BETS = 60
Floats = NDArray[np.float64]


def bets(smallest: float, largest: float = 0.5) -> Floats:
    """(60,) bets, evenly spaced in logarithm from `smallest` to `largest`; fixed before any data are seen."""
    return np.geomspace(smallest, largest, N_BETS)


@dataclass(frozen=True, eq=False)
class Counts:
    """How often W was 1, 1/2 and 0 so far; arrays of one shape, one entry a moment."""

    wins: Floats
    ties: Floats
    losses: Floats

    @classmethod
    def of(cls, wins: ArrayLike, ties: ArrayLike, losses: ArrayLike) -> "Counts":
        return cls(*(np.atleast_1d(np.asarray(count, dtype=np.float64)) for count in (wins, ties, losses)))

    def mirrored(self) -> "Counts":
        """The counts of 1 - W."""
        return Counts(self.losses, self.ties, self.wins)

    def last(self) -> "Counts":
        """The latest moment alone."""
        return Counts(self.wins[-1:], self.ties[-1:], self.losses[-1:])


def log_evidence(counts: Counts, mean: float, bet: Floats) -> Floats:
    """Ln E(w, t, l; mean) at every moment, against the null E[W] <= mean in (0, 1]."""
    win = np.log1p(bet * (1 - mean) / mean)
    tie = np.log1p(bet * (0.5 - mean) / mean)
    loss = np.log1p(-bet)
    exponents = np.multiply.outer(counts.wins, win)
    exponents += np.multiply.outer(counts.ties, tie)
    exponents += np.multiply.outer(counts.losses, loss)
    evidence: Floats = logsumexp(exponents, axis=-1) - math.log(len(bet))
    return evidence


def lower_bound(alternatives: Sequence[Counts], alpha: float, bet: Floats) -> float:
    """The mean at which the best moment's average evidence over `alternatives` equals 1 / alpha.

    With one Counts of one moment it is the lower confidence bound for E[W] at level 1 - alpha. With many moments it
    is the greatest bound of them (a confidence sequence holds at all times at once). With several alternatives
    it bounds the largest of their means: the average of their evidences is evidence against all of them being <= m.
    """

    def excess(mean: float) -> float:
        logs = np.stack([log_evidence(counts, mean, bet) for counts in alternatives])
        average = logsumexp(logs, axis=0) - math.log(len(alternatives))
        return float(average.max()) + math.log(alpha)

    least = 1e-9
    if excess(least) <= 0:
        return 0.0
    return float(brentq(excess, least, 1.0, xtol=1e-12))


def upper_bound(alternatives: Sequence[Counts], alpha: float, bet: Floats) -> float:
    """One minus the lower bound of the mirrored counts; with several alternatives it bounds their smallest mean."""
    return 1 - lower_bound([counts.mirrored() for counts in alternatives], alpha, bet)
