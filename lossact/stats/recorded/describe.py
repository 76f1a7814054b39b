"""Descriptive statistics of recorded runs; they decide nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.stats.recorded.one_sample import median_interval


@dataclass(frozen=True)
class Description:
    """One condition's values.

    Attributes:
        n: runs.
        median, interquartile_mean, minimum, maximum: in the unit of the values.
        deviation: standard deviation with n - 1; NaN for one run.
        low, high: the sign test's interval for the median; infinite where n is too small.
        level: that interval's confidence level, 1 - 2 alpha, for this condition by itself.
    """

    n: int
    median: float
    interquartile_mean: float
    minimum: float
    maximum: float
    deviation: float
    low: float
    high: float
    level: float


def interquartile_mean(values: NDArray[np.float64]) -> float:
    """Return the mean without the lowest and the highest floor(n / 4) values.

    Args:
        values: (n,), n >= 1.

    Returns:
        the mean, in the unit of the values.

    >>> interquartile_mean(np.array([1.0, 2.0, 3.0, 100.0]))
    2.5
    """
    cut = len(values) // 4
    return float(np.sort(values)[cut : len(values) - cut].mean())


def describe(values: NDArray[np.float64], *, alpha: float) -> Description:
    """Describe the numbers that runs recorded.

    Args:
        values: (n,), n >= 1.
        alpha: error probability a side of the median's interval, in (0, 1/2).

    Returns:
        median, mean, range and spread, in the unit of the values.
    """
    low, high = median_interval(values, alpha=alpha)
    return Description(
        n=len(values),
        median=float(np.median(values)),
        interquartile_mean=interquartile_mean(values),
        minimum=float(values.min()),
        maximum=float(values.max()),
        deviation=float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
        low=low,
        high=high,
        level=1 - 2 * alpha,
    )


def performance_profile(
    values: NDArray[np.float64], thresholds: NDArray[np.float64], *, lower: bool
) -> NDArray[np.float64]:
    """Return the share of runs that are at least as good as each threshold.

    Args:
        values: (n,) one a run.
        thresholds: (m,) in the same unit.
        lower: whether lower values are better.

    Returns:
        (m,) shares.

    Reference: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021.
    """
    meets = values <= thresholds[:, None] if lower else values >= thresholds[:, None]
    return np.asarray(meets.mean(axis=1), dtype=np.float64)
