"""Evidence about a mean of numbers: bounded ones by betting, normal ones by a mixture of t statistics."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

from lossact.checks import check_number
from lossact.stats.betting import Bets, Floats
from lossact.stats.replay import is_kept

SMALLEST_GAP = 1e-9  # of a bounded mean from the ends of its range, where the bets are not defined
# Differences are mostly small beside their range, where the largest bet is the best.
BETS = Bets.log_uniform((0.99, 0.99, 1, 0.4), (0.3, 0.95, 16, 0.3), (0.01, 0.3, 24, 0.3))
EFFECT_SIZES = np.geomspace(0.1, 3.0, 24)  # (effects,) means over standard deviations
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)
HALF_WIDTH = 8.0  # of the integral over the precision, in standard deviations about its peak
NEARLY_ONE = 1 - 1e-12
SMALLEST_SQUARE = 1e-300  # stands for the sum of squares of zeros
SMALLEST_SPREAD = 1e-12  # of the largest number: what differs by less differs by rounding alone
MOMENTS_TOGETHER = 512  # bounds the memory of one evaluation


class MeanEvidence(ABC):
    """Evidence that a mean is above a constant, for numbers that come one by one.

    The e-values are valid whatever the mean is as long as it is at most the constant: where the evidence ever reaches
    1 / alpha under such a mean, it does so with probability at most alpha.

    Attributes:
        lowest, highest: of the range of the numbers; infinite where they have none.
    """

    lowest: float
    highest: float

    @abstractmethod
    def log_above(self, numbers: Floats, constant: float) -> Floats:
        """Return the evidence that the mean is above a constant.

        Args:
            numbers: (n,), n >= 1.
            constant: the null is that the mean is at most this.

        Returns:
            (n,) natural logarithms of e-values after 1, 2, … numbers.
        """

    @abstractmethod
    def lower_bound(self, numbers: Floats, alpha: float) -> float:
        """Return the tightest lower confidence bound for the mean over all moments.

        Args:
            numbers: (n,), n >= 1.
            alpha: error probability of the bound, in (0, 1/2).

        Returns:
            the bound, in the unit of the numbers.
        """

    @abstractmethod
    def log_above_as_observed(self, numbers: Floats, constant: float, moments: Floats) -> Floats:
        """Return the evidence at later moments, if numbers go on with the mean and spread seen so far.

        Args:
            numbers: (n,), n >= 1.
            constant: the null is that the mean is at most this.
            moments: (moments,) numbers in all, >= n.

        Returns:
            (moments,) natural logarithms of e-values.
        """

    @abstractmethod
    def mirrored(self) -> "MeanEvidence":
        """Return the evidence about the mean of the numbers' negatives."""


@dataclass(frozen=True)
class BoundedMean(MeanEvidence):
    """Of numbers in a range, by betting on W = (number - lowest) / (highest - lowest).

    Nothing else is assumed. A small mean in a wide range takes many replicas: the largest bet gains about
    difference / range a replica.

    Attributes:
        lowest, highest: of the range; numbers outside it are not allowed.

    Raises:
        InputError: the range is empty or not finite.

    Reference: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024,
    doi 10.1093/jrsssb/qkad009.
    """

    lowest: float
    highest: float

    def __post_init__(self) -> None:
        check_number("lowest", self.lowest, hint=0)
        check_number("highest", self.highest, above=self.lowest, hint=self.lowest + 1)

    def log_above(self, numbers: Floats, constant: float) -> Floats:
        logs = np.empty(len(numbers))
        total = np.log(BETS.weights)
        for start in range(0, len(numbers), MOMENTS_TOGETHER):
            running = total + np.cumsum(self._log_factors(numbers[start : start + MOMENTS_TOGETHER], constant), axis=0)
            logs[start : start + MOMENTS_TOGETHER] = logsumexp(running, axis=1)
            total = running[-1]
        return logs

    def lower_bound(self, numbers: Floats, alpha: float) -> float:
        moments = np.flatnonzero(is_kept(np.arange(1, len(numbers) + 1)))

        def reaches(share: float) -> bool:
            constant = self.lowest + share * (self.highest - self.lowest)
            return bool(self.log_above(numbers, constant)[moments].max() >= -math.log(alpha))

        # The largest evidence over the moments falls with the constant, because that of every moment does.
        low, high = 0.0, 1.0
        while high - low > SMALLEST_GAP:
            middle = (low + high) / 2
            low, high = (middle, high) if reaches(middle) else (low, middle)
        return self.lowest + low * (self.highest - self.lowest)

    def log_above_as_observed(self, numbers: Floats, constant: float, moments: Floats) -> Floats:
        average = self._log_factors(numbers, constant).mean(axis=0)
        logs: Floats = logsumexp(np.log(BETS.weights) + np.multiply.outer(moments, average), axis=1)
        return logs

    def fewest(self, excess: float, constant: float, alpha: float) -> int | None:
        """Return how many numbers it takes at least to show a mean so far above a constant.

        Args:
            excess: of the mean over the constant.
            constant: within the range.
            alpha: error probability of a side.

        Returns:
            about how many, were all numbers equal; None where the excess is not positive.
        """
        if not excess > 0:
            return None
        return math.ceil(-math.log(alpha) / math.log1p(BETS.sizes.max() * excess / (constant - self.lowest)))

    def mirrored(self) -> "BoundedMean":
        return BoundedMean(-self.highest, -self.lowest)

    def _log_factors(self, numbers: Floats, constant: float) -> Floats:
        """(numbers, bets) logarithm of what each bet gains with each number."""
        width = self.highest - self.lowest
        mean = min(max((constant - self.lowest) / width, SMALLEST_GAP), 1 - SMALLEST_GAP)
        gains: Floats = np.log1p(np.multiply.outer(((numbers - self.lowest) / width - mean) / mean, BETS.sizes))
        return gains


@dataclass(frozen=True)
class NormalMean(MeanEvidence):
    """Of independent normal numbers whose variance is not known.

    The e-value is the ratio of densities of the t statistic: a mixture over positive effect sizes (mean minus constant,
    in standard deviations) against effect 0. It is the Bayes factor under the right Haar prior of the variance, so that
    it is a martingale where the mean equals the constant. It rises with the t statistic, so that for a smaller mean the
    evidence against that mean is larger still.

    Numbers that are all equal, but for rounding, are not normal and would count as endless evidence: until one differs
    there is none, and no bound.

    Where the numbers are not normal, skewed ones above all, false findings are more frequent than alpha.

    Reference: Pérez-Ortiz, Lardy, de Heide and Grünwald, E-statistics, group invariance and anytime-valid testing,
    Annals of Statistics 2024, doi 10.1214/24-AOS2394.
    """

    @property
    def lowest(self) -> float:  # type: ignore[override]
        """Minus infinity: normal numbers have no range."""
        return -math.inf

    @property
    def highest(self) -> float:  # type: ignore[override]
        """Infinity: normal numbers have no range."""
        return math.inf

    def log_above(self, numbers: Floats, constant: float) -> Floats:
        centred = numbers - constant
        sums, squares = np.cumsum(centred), np.cumsum(centred**2)
        statistic = sums / np.sqrt(np.maximum(squares, SMALLEST_SQUARE))
        logs = log_t_mixture(np.arange(1.0, len(numbers) + 1), statistic)
        logs[1:][~have_spread(numbers)[1:]] = 0.0  # a single number counts by its sign
        return logs

    def lower_bound(self, numbers: Floats, alpha: float) -> float:
        n = np.arange(1.0, len(numbers) + 1)
        centre = numbers.mean()  # keeps the sums of squares accurate
        means = np.cumsum(numbers - centre) / n
        variances = np.maximum(np.cumsum((numbers - centre) ** 2) / n - means**2, 0)
        open_moments = np.flatnonzero(is_kept(np.arange(1, len(numbers) + 1)) & have_spread(numbers))
        bound = -math.inf
        while True:
            # Evidence falls with the constant, so only moments with more than 1 / alpha at the bound can raise it.
            at, excess = open_moments, means[open_moments] - bound
            statistic = np.sqrt(n[at]) * NEARLY_ONE
            if bound > -math.inf:
                statistic = np.sqrt(n[at]) * excess / np.sqrt(np.maximum(excess**2 + variances[at], SMALLEST_SQUARE))
            logs = log_t_mixture(n[at], statistic)
            open_moments = at[logs > -math.log(alpha)]
            if not len(open_moments):
                return float(centre + bound)
            best = int(at[logs.argmax()])
            needed = smallest_statistic(n[best], alpha)
            bound = max(bound, means[best] - needed * math.sqrt(variances[best] / (n[best] - needed**2)))
            open_moments = open_moments[open_moments != best]

    def log_above_as_observed(self, numbers: Floats, constant: float, moments: Floats) -> Floats:
        if not have_spread(numbers)[-1]:
            return np.zeros(len(moments))
        centred = numbers - constant
        square = float(np.mean(centred**2))
        ratio = float(np.mean(centred)) / math.sqrt(square) if square > 0 else 0.0
        return log_t_mixture(moments, np.sqrt(moments) * ratio)

    def mirrored(self) -> "NormalMean":
        return self


def have_spread(numbers: Floats) -> NDArray[np.bool_]:
    """Return whether numbers differ by more than rounding.

    Args:
        numbers: (n,), finite.

    Returns:
        (n,) of the first 1, 2, … numbers.
    """
    ranges = np.maximum.accumulate(numbers) - np.minimum.accumulate(numbers)
    spread: NDArray[np.bool_] = ranges > SMALLEST_SPREAD * np.maximum.accumulate(np.abs(numbers))
    return spread


def log_t_mixture(n: Floats, statistic: Floats) -> Floats:
    """Return the evidence of a mixture of positive effects against effect 0.

    With a = sum of numbers / root of their sum of squares, the evidence of effect d is

        e^(-n d^2 / 2) I(n, d a) / I(n, 0),    I(n, b) = integral over u > 0 of u^(n - 1) e^(-u^2 / 2 + b u).

    Args:
        n: (moments,) numbers so far, >= 1.
        statistic: (moments,) a, in [-sqrt(n), sqrt(n)].

    Returns:
        (moments,) natural logarithms.

    >>> np.exp(log_t_mixture(np.array([5.0, 20.0]), np.array([0.0, 3.0]))).round(2)
    array([ 0.46, 78.2 ])
    """
    logs = np.empty(len(n))
    for start in range(0, len(n), MOMENTS_TOGETHER):
        part = slice(start, start + MOMENTS_TOGETHER)
        moments = n[part, None]
        tilt = EFFECT_SIZES * statistic[part, None]
        log_ratios = _log_integral(moments, tilt) - _log_integral_at_zero(moments) - moments * EFFECT_SIZES**2 / 2
        logs[part] = logsumexp(log_ratios, axis=1) - math.log(len(EFFECT_SIZES))
    return logs


def _log_integral(n: Floats, tilt: Floats) -> Floats:
    """Logarithm of I(n, tilt), by Gauss and Legendre's rule about the peak of the integrand."""
    peak = (tilt + np.sqrt(tilt**2 + 4 * (n - 1))) / 2
    peak = np.maximum(peak, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        curvature = 1 + np.where(n > 1, (n - 1) / peak**2, 0.0)
    # A negative tilt with n = 1 leaves an exponential tail of rate -tilt in place of a peak.
    width = HALF_WIDTH / np.sqrt(np.maximum(curvature, np.where(peak == 0, tilt**2 / 4, 0.0)))
    left, right = np.maximum(peak - width, 0.0), peak + np.where(peak == 0, 4 * width, width)
    u = left[..., None] + (right - left)[..., None] * (NODES + 1) / 2
    exponent = -(u**2) / 2 + tilt[..., None] * u
    powers = (n - 1)[..., None]
    exponent = np.where(powers > 0, exponent + powers * np.log(u), exponent)
    largest = exponent.max(axis=-1)
    total = np.exp(exponent - largest[..., None]) @ NODE_WEIGHTS
    logs: Floats = largest + np.log(total * (right - left) / 2)
    return logs


def _log_integral_at_zero(n: Floats) -> Floats:
    logs: Floats = (n / 2 - 1) * math.log(2) + gammaln(n / 2)
    return logs


def smallest_statistic(n: float, alpha: float) -> float:
    """Return how large the statistic a must be for evidence of 1 / alpha after n numbers.

    Args:
        n: numbers so far, >= 1, so many that some value suffices.
        alpha: error probability of a side.

    Returns:
        a, in (0, sqrt(n)).
    """

    def excess(statistic: float) -> float:
        return float(log_t_mixture(np.array([n]), np.array([statistic]))[0]) + math.log(alpha)

    return float(brentq(excess, 0.0, math.sqrt(n) * NEARLY_ONE, xtol=1e-10))
