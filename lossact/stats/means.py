"""Means of bounded values with confidence sequences, for what is shown beside a verdict."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from lossact.stats.betting import LOWEST_MEAN, MIXTURE, Floats
from lossact.stats.outcomes import OBSERVED_VALUES, REFUTE_VALUES, SUPPORT_VALUES, Outcomes


@dataclass(frozen=True)
class MeanEstimate:
    """A mean with bounds that hold however often one looks.

    Attributes:
        value, low, high: the estimate and its bounds.
        level: their joint coverage, 1 - 2 alpha.
    """

    value: float
    low: float
    high: float
    level: float


def mean_lower_bound(values: Floats, alpha: float) -> float:
    """Return a lower confidence bound for the mean of values in [0, 1], valid at any stopping time.

    It is the m at which the mixture sum_k p_k prod_i (1 + c_k (v_i - m)/m) equals 1 / alpha.

    Args:
        values: (n,) in [0, 1], n >= 1.
        alpha: error probability, in (0, 1).

    Returns:
        the bound, in [0, 1].

    Reference: Waudby-Smith and Ramdas, JRSS B 2024, doi 10.1093/jrsssb/qkad009.

    >>> round(mean_lower_bound(np.full(10, 1.0), 0.025), 3)
    0.515
    """
    distinct, counts = np.unique(values, return_counts=True)
    log_weights = np.log(MIXTURE.weights)

    def excess(mean: float) -> float:
        logs = np.log1p(np.multiply.outer(MIXTURE.sizes, (distinct - mean) / mean))
        return float(logsumexp(log_weights + logs @ counts)) + math.log(alpha)

    if excess(LOWEST_MEAN) <= 0:
        return 0.0
    return float(brentq(excess, LOWEST_MEAN, 1.0, xtol=1e-9))


def unpaired_improvement(crossed: tuple[Outcomes, Outcomes], alpha: float) -> MeanEstimate:
    """Return the probability that a run of A beats an independent run of B, ties counted one half.

    Replicas are crossed in pairs: W = [W(A_2k, B_2k+1) + W(A_2k+1, B_2k)] / 2, one value in {0, 1/4, …, 1} a pair of
    replicas, so that the pairing by replica plays no part.

    Args:
        crossed: (pairs,) outcomes of A_2k against B_2k+1, and of A_2k+1 against B_2k, at least one pair.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the probability with its bounds.

    >>> wins = np.full(32, 2, np.int8)
    >>> estimate = unpaired_improvement((wins, wins), 0.025)
    >>> estimate.value, round(estimate.low, 3), estimate.high
    (1.0, 0.807, 1.0)
    """

    def means(weights: Floats) -> Floats:
        average: Floats = (weights[crossed[0]] + weights[crossed[1]]) / 2
        return average

    return MeanEstimate(
        value=float(means(OBSERVED_VALUES).mean()),
        low=mean_lower_bound(means(SUPPORT_VALUES), alpha),
        high=1 - mean_lower_bound(1 - means(REFUTE_VALUES), alpha),
        level=1 - 2 * alpha,
    )


def mean_difference(differences: NDArray[np.int64] | Floats, largest: float, alpha: float) -> MeanEstimate:
    """Return the mean of differences in [-largest, largest], by betting on W = (1 + D / largest) / 2.

    Args:
        differences: (n,), n >= 1.
        largest: > 0.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the mean with its bounds, in the unit of the differences.

    >>> estimate = mean_difference(np.tile([300.0, 400.0], 500), 1000, 0.025)
    >>> estimate.value, round(estimate.low), round(estimate.high)
    (350.0, 340, 356)
    """
    w = (1 + np.asarray(differences, dtype=np.float64) / largest) / 2
    low, high = mean_lower_bound(w, alpha), 1 - mean_lower_bound(1 - w, alpha)
    value = float(np.mean(differences))
    return MeanEstimate(value, (2 * low - 1) * largest, (2 * high - 1) * largest, 1 - 2 * alpha)
