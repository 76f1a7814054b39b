"""Evidence about mean differences: by betting where their range is known, by a t statistic where they are normal."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

from lossact.checks import check_number
from lossact.errors import InputError
from lossact.stats.betting import MIXTURE, Bets, Floats

EFFECTS = np.geomspace(0.02, 4.0, 20)  # standardised mean differences that the t mixture bets on
NODES, WIDTHS = 48, 9.0  # of the quadrature over the unknown scale, and how far it goes from the mode
BOUND_MOMENTS = 48  # at which the bounds of a normal mean are taken


@dataclass(frozen=True, eq=False)
class BoundedMean:
    """Evidence about the mean of bounded differences.

    Attributes:
        log_support: (n,) logarithm of the e-value against "the mean is at most `by`".
        value: the mean of the differences.
        low, high: bounds of its confidence sequence at level 1 - 2 alpha.
    """

    log_support: Floats
    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class NormalMean:
    """Evidence about the mean of differences that are assumed normal. Attributes are those of BoundedMean."""

    log_support: Floats
    value: float
    low: float
    high: float


def bounded_mean(
    differences: ArrayLike, *, by: float, value_range: float, alpha: float, bets: Bets = MIXTURE
) -> BoundedMean:
    """Bet on the mean of differences that lie between -R and R.

    With W = (1 + D / R) / 2 in [0, 1], the e-value against E[W] <= m after n differences is
    sum_k p_k prod_i (1 + c_k (W_i / m - 1)).

    Args:
        differences: (n,) finite, each within [-R, R].
        by: the margin, in the measure's unit.
        value_range: R, by how much two values can differ at most; 1 for accuracies.
        alpha: error probability of a side.
        bets: of the mixture.

    Returns:
        the evidence and the mean with its bounds, in the measure's unit.

    Raises:
        InputError: a difference is not finite or exceeds the range, or the margin does.

    Reference: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024,
    doi 10.1093/jrsssb/qkad009.
    """
    d = np.asarray(differences, dtype=np.float64)
    check_number("value_range", value_range, above=0, hint=1.0)
    check_number("by", by, above=-value_range, below=value_range, hint=0)
    if not np.isfinite(d).all() or np.abs(d).max(initial=0.0) > value_range:
        raise InputError(
            f"differences from {d.min():g} to {d.max():g} do not lie within the range {value_range:g}; declare the "
            "range that the measure can have, or leave out of='mean'"
        )
    w = (1 + d / value_range) / 2

    def log_evidence(numbers: Floats, mean: float) -> Floats:
        factors = np.log1p(np.multiply.outer(numbers / mean - 1, bets.sizes))
        path: Floats = logsumexp(np.cumsum(factors, axis=0), axis=1, b=bets.weights)
        return path

    def lower(numbers: Floats) -> float:
        def excess(mean: float) -> float:
            return float(log_evidence(numbers, mean).max()) + math.log(alpha)

        smallest = 1e-9
        return 0.0 if excess(smallest) <= 0 else float(brentq(excess, smallest, 1.0, xtol=1e-10))

    low, high = (2 * bound - 1 for bound in (lower(w), 1 - lower(1 - w)))
    return BoundedMean(
        log_evidence(w, (1 + by / value_range) / 2), float(d.mean()), value_range * low, value_range * high
    )


def normal_mean(differences: ArrayLike, *, by: float, alpha: float) -> NormalMean:
    """Test the mean of normal differences of unknown variance, with a mixture of t likelihood ratios.

    The e-value against "the mean is at most `by`" is the average, over standardised effects, of the likelihood ratio of
    the t statistic under that effect and under none. It is valid at all times where differences are normal, and not
    valid otherwise: on skewed values it errs far more often than alpha.

    Args:
        differences: (n,) finite.
        by: the margin, in the measure's unit.
        alpha: error probability of a side.

    Returns:
        the evidence and the mean with its bounds, in the measure's unit; the bounds are infinite for fewer than two.

    Raises:
        InputError: a difference is not finite.

    Reference: Perez-Ortiz, Lardy, de Heide and Grunwald, E-statistics, group invariance and anytime-valid testing,
    Annals of Statistics 2024, doi 10.1214/24-AOS2394.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(d).all():
        raise InputError("differences must be finite to test their mean; leave out of='mean', which asks for less")
    n = np.arange(1, len(d) + 1)

    # Bounds may look at fewer moments, as long as these are fixed beforehand; the mixture is dear.
    fixed = np.unique(np.append(np.geomspace(2, max(2, len(d)), BOUND_MOMENTS).astype(np.int64), len(d))) - 1

    def log_evidence(numbers: Floats, moments: NDArray[np.int64]) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = (np.cumsum(numbers) / np.sqrt(n * np.cumsum(numbers**2)))[moments]
        return log_t_mixture(np.nan_to_num(correlation), n[moments])

    mean = float(d.mean())
    spread = float(np.abs(d - mean).max()) if len(d) > 1 else 0.0

    def lower(numbers: Floats) -> float:
        center = float(numbers.mean())

        def excess(bound: float) -> float:
            return float(log_evidence(numbers - bound, fixed).max()) + math.log(alpha)

        if spread == 0.0:
            return -math.inf if len(numbers) < 2 else center
        distance = spread
        while excess(center - distance) <= 0:
            distance *= 4
            if distance > 1e6 * spread:
                return -math.inf
        return float(brentq(excess, center - distance, center, xtol=1e-10 * spread))

    return NormalMean(log_evidence(d - by, n - 1), mean, lower(d), -lower(-d))


def log_t_mixture(correlation: Floats, n: ArrayLike) -> Floats:
    """Average the t statistic's likelihood ratios over positive standardised effects.

    With r = sum(x) / sqrt(n sum(x^2)), the ratio for an effect d is exp(-n d^2 / 2) times the mean of
    exp(d sqrt(n) r S), where S^2 is chi-squared with n degrees of freedom. It increases with r for every d > 0, so that
    the average is an e-value against all means <= 0.

    Args:
        correlation: (n,) r in [-1, 1] after each number.
        n: (n,) how many numbers there were.

    Returns:
        (n,) the average's logarithm.
    """
    counts = np.asarray(n, dtype=np.float64)[:, None]
    slopes = EFFECTS * np.sqrt(counts) * np.asarray(correlation)[:, None]  # (n, effects)
    # The integrand s^(n-1) exp(-s^2 / 2 + slope s) is log-concave: Gauss-Legendre around its mode.
    mode = (slopes + np.sqrt(slopes**2 + 4 * np.maximum(counts - 1, 0.25))) / 2
    width = 1 / np.sqrt(1 + np.maximum(counts - 1, 0.25) / mode**2)
    nodes, node_weights = np.polynomial.legendre.leggauss(NODES)
    low, high = np.maximum(mode - WIDTHS * width, 0.0), mode + WIDTHS * width
    log_terms = np.full((*slopes.shape, NODES), -np.inf)
    for k, (node, weight) in enumerate(zip(nodes, node_weights, strict=True)):
        s = (low + high) / 2 + (high - low) / 2 * node
        log_terms[..., k] = (counts - 1) * np.log(s) - s**2 / 2 + slopes * s + np.log(weight * (high - low) / 2)
    log_integral = logsumexp(log_terms, axis=-1) - (counts / 2 - 1) * math.log(2) - gammaln(counts / 2)
    ratios = log_integral - counts * EFFECTS**2 / 2
    average: Floats = logsumexp(ratios, axis=1) - math.log(len(EFFECTS))
    return average
