"""The engine: a mixture of betting martingales for the mean of W in {0, 1/2, 1}.

For counts (w, t, l) of W = 1, 1/2, 0, the null E[W] <= m and bets c_k in (0, 1) with weights p_k that sum to 1:

    E(w, t, l; m) = sum_k p_k (1 + c_k (1 - m)/m)^w (1 + c_k (1/2 - m)/m)^t (1 - c_k)^l

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

Floats = NDArray[np.float64]
LOWEST_MEAN = 1e-9
MOMENTS_AT_ONCE = 8192  # bounds the memory of one evaluation
NEGLIGIBLE = -40.0  # a summand e^40 times smaller than the largest; exp is slow where it underflows


@dataclass(frozen=True, eq=False)
class Bets:
    """Bets and their weights, fixed before any data are seen.

    Attributes:
        sizes: (bets,) in (0, 1).
        weights: (bets,) positive, sum 1.
    """

    sizes: Floats
    weights: Floats

    @classmethod
    def log_uniform(cls, *parts: tuple[float, float, int, float]) -> "Bets":
        """Bets evenly spaced in logarithm, part by part.

        Args:
            parts: (smallest, largest, number, weight of the part) each; the weights sum to 1.
        """
        sizes = np.concatenate([np.geomspace(low, high, number) for low, high, number, _ in parts])
        weights = np.concatenate([np.full(number, weight / number) for _, _, number, weight in parts])
        return cls(sizes, weights)


MIXTURE = Bets.log_uniform((0.1, 0.45, 40, 0.83), (0.45, 0.99, 20, 0.15), (0.005, 0.1, 20, 0.02))


@dataclass(frozen=True, eq=False)
class Counts:
    """How often W was 1, 1/2 and 0 so far; arrays of one shape, one entry a moment.

    Args:
        wins: how often W was 1.
        ties: how often W was 1/2.
        losses: how often W was 0.
    """

    wins: Floats
    ties: Floats
    losses: Floats

    @classmethod
    def of(cls, wins: ArrayLike, ties: ArrayLike, losses: ArrayLike) -> "Counts":
        """Make counts from numbers or arrays.

        Args:
            wins: how often W was 1, one entry a moment.
            ties: how often W was 1/2.
            losses: how often W was 0.

        Returns:
            counts of at least one moment.
        """
        return cls(*(np.atleast_1d(np.asarray(count, dtype=np.float64)) for count in (wins, ties, losses)))

    def __len__(self) -> int:
        return len(self.wins)

    def __getitem__(self, moments: slice | NDArray[np.bool_]) -> "Counts":
        return Counts(self.wins[moments], self.ties[moments], self.losses[moments])

    def mirrored(self) -> "Counts":
        """The counts of 1 - W."""
        return Counts(self.losses, self.ties, self.wins)


def log_evidence(counts: Counts, mean: float, bets: Bets = MIXTURE) -> Floats:
    """Return ln E(w, t, l; mean) at every moment, against the null E[W] <= mean.

    Args:
        counts: (moments,) each.
        mean: in (0, 1].
        bets: of the mixture.

    Returns:
        (moments,) natural logarithms.

    >>> np.exp(log_evidence(Counts.of([0, 10], [0, 0], [0, 0]), 0.5)).round(2)
    array([ 1., 51.])
    """
    factors = np.log1p(
        np.stack([bets.sizes * (1 - mean) / mean, bets.sizes * (0.5 - mean) / mean, -bets.sizes])
    )  # (3, bets)
    log_weights = np.log(bets.weights)
    evidence = np.empty(len(counts))
    for start in range(0, len(counts), MOMENTS_AT_ONCE):
        part = counts[start : start + MOMENTS_AT_ONCE]
        exponents = np.stack([part.wins, part.ties, part.losses], axis=1) @ factors
        exponents += log_weights
        largest = exponents.max(axis=1, keepdims=True)
        exponents -= largest
        np.maximum(exponents, NEGLIGIBLE, out=exponents)
        np.exp(exponents, out=exponents)
        evidence[start : start + MOMENTS_AT_ONCE] = np.log(exponents.sum(axis=1)) + largest[:, 0]
    return evidence


def log_mean_evidence(alternatives: Sequence[Counts], mean: float, bets: Bets) -> Floats:
    """Return the logarithm of the average evidence over several counts, at every moment.

    Args:
        alternatives: counts of the same moments, at least one.
        mean: the null is E[W] <= this, in (0, 1).
        bets: of the mixture.

    Returns:
        (moments,) natural logarithms.
    """
    return log_average([log_evidence(counts, mean, bets) for counts in alternatives])


def log_average(logs: Sequence[Floats] | Floats) -> Floats:
    """Return the logarithm of a mean, computed from logarithms.

    Args:
        logs: (n, ...) natural logarithms; the mean is over the first axis.

    Returns:
        (...) natural logarithms.
    """
    average: Floats = np.logaddexp.reduce(logs, axis=0) - math.log(len(logs))
    return average


class LowerBound:
    """The greatest lower confidence bound so far, carried from look to look.

    With one Counts a moment it bounds E[W]: the m at which the best moment's evidence equals 1 / alpha. With several it
    bounds the largest of their means, for the average of their evidences is evidence against all of them being <= m.

    Args:
        alpha: error probability of the bound, in (0, 1).
        bets: of the mixture.

    Attributes:
        value: the bound, 0 before any evidence.
    """

    def __init__(self, alpha: float, bets: Bets = MIXTURE) -> None:
        self.value = 0.0
        self._threshold, self._bets = -math.log(alpha), bets

    def update(self, alternatives: Sequence[Counts]) -> float:
        """Take further moments into account and return the bound.

        Evidence falls with m, so only moments with more than 1 / alpha at the present bound can raise it.

        Args:
            alternatives: counts of the same moments.
        """
        for start in range(0, len(alternatives[0]), MOMENTS_AT_ONCE):
            part = [counts[start : start + MOMENTS_AT_ONCE] for counts in alternatives]
            while len(part[0]):
                evidence = log_mean_evidence(part, max(self.value, LOWEST_MEAN), self._bets)
                above = evidence > self._threshold
                if not above.any():
                    break
                best = int(evidence.argmax())
                raised = self._root([counts[best : best + 1] for counts in part])
                self.value = max(self.value, raised)
                above[best] = False
                part = [counts[above] for counts in part]
        return self.value

    def _root(self, moment: Sequence[Counts]) -> float:
        def excess(mean: float) -> float:
            return float(log_mean_evidence(moment, mean, self._bets)[0]) - self._threshold

        return float(brentq(excess, max(self.value, LOWEST_MEAN), 1.0, xtol=1e-12))


def lower_bound(alternatives: Sequence[Counts], alpha: float, bets: Bets = MIXTURE) -> float:
    """Return the mean at which the best moment's average evidence over `alternatives` equals 1 / alpha.

    Args:
        alternatives: counts of the same moments; with several, the bound is for the largest of their means.
        alpha: error probability, in (0, 1).
        bets: of the mixture.

    Returns:
        the bound, in [0, 1].

    >>> round(lower_bound([Counts.of(10, 0, 0)], 0.025), 3)
    0.515
    """
    return LowerBound(alpha, bets).update(alternatives)


def upper_bound(alternatives: Sequence[Counts], alpha: float, bets: Bets = MIXTURE) -> float:
    """Return one minus the lower bound of the mirrored counts.

    Args:
        alternatives: counts of the same moments; with several, the bound is for the least of their means.
        alpha: error probability, in (0, 1).
        bets: of the mixture.

    Returns:
        the bound, in [0, 1].
    """
    return 1 - lower_bound([counts.mirrored() for counts in alternatives], alpha, bets)
