"""Recorded runs that keep coming: an e-process over fixed blocks.

Runs are taken in the order of the table, b of each condition at a time. A block gives one number in [0, 1], the mean of
W over its b^2 pairs, whose expectation is the probability of a win. The blocks are fixed before the runs come, so the
evidence may be looked at after each: with bets c_1 … c_K,

    E = mean_k prod_blocks (1 + c_k (mean - m) / m)

is a nonnegative supermartingale under the null "probability <= m" (Ville's inequality).

Reference: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from lossact.errors import InputError
from lossact.stats.margins import Margins
from lossact.stats.outcomes import REFUTE_VALUES, SUPPORT_VALUES
from lossact.stats.recorded.fixed import FixedDecision
from lossact.stats.recorded.outcome_counts import OutcomeCounts
from lossact.stats.replay import VerdictName

BLOCK = 1
BETS = np.geomspace(0.1, 0.99, 40)


def block_outcomes(outcomes: NDArray[np.int8], block: int) -> list[NDArray[np.int8]]:
    """Return the outcomes of each whole block.

    Args:
        outcomes: (n1, n2) over all pairs of runs, or (n,) of paired runs.
        block: runs of each condition in a block, b >= 1.

    Returns:
        (b, b) outcomes a block, or (b,) of paired runs.
    """
    n_blocks = min(outcomes.shape) // block
    cuts = [slice(k * block, (k + 1) * block) for k in range(n_blocks)]
    return [outcomes[(cut,) * outcomes.ndim] for cut in cuts]


def log_evidence_path(means: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Return ln E after 1, 2, … blocks, against the null "expectation <= margin".

    Args:
        means: (blocks,) numbers in [0, 1].
        margin: in (0, 1).

    Returns:
        (blocks,) natural logarithms.
    """
    growth = np.cumsum(np.log1p(np.multiply.outer(means - margin, BETS / margin)), axis=0)
    return np.asarray(logsumexp(growth, axis=1) - math.log(len(BETS)))


def _fewest_runs(margin: float, alpha: float, block: int) -> int:
    n_blocks = 1
    while log_evidence_path(np.ones(n_blocks), margin)[-1] < -math.log(alpha):
        n_blocks += 1
    return n_blocks * block


def _lower_bound(means: NDArray[np.float64], alpha: float) -> float:
    def excess(margin: float) -> float:
        return float(log_evidence_path(means, margin).max()) + math.log(alpha)

    least, most = 1e-9, 1 - 1e-12
    if excess(least) <= 0:
        return 0.0
    return float(brentq(excess, least, most)) if excess(most) < 0 else 1.0


def decide_extendable(
    outcomes: NDArray[np.int8], *, alpha: float, margins: Margins, block: int = BLOCK
) -> FixedDecision:
    """Decide "A wins" from runs to which more may be added; the first crossing stands.

    Args:
        outcomes: (n1, n2) Outcome values in the order of the table, or (n,) where runs are paired.
        alpha: error probability a side, in (0, 1/2).
        margins: what the probability of a win is compared with.
        block: runs of each condition in a block, >= 1; not to be changed once runs have been looked at.

    Returns:
        the decision; runs beyond the last whole block do not count yet.

    Raises:
        InputError: there are too few runs for one block.
    """
    blocks = block_outcomes(outcomes, block)
    if not blocks:
        raise InputError(f"{min(outcomes.shape)} runs make no block of {block}; record {block} of each condition")
    as_support = np.array([SUPPORT_VALUES[part].mean() for part in blocks])
    as_refutation = np.array([REFUTE_VALUES[part].mean() for part in blocks])
    support = log_evidence_path(as_support, margins.support)
    refute = log_evidence_path(1 - as_refutation, 1 - margins.refute)
    threshold = -math.log(alpha)
    verdict: VerdictName = "inconclusive"
    for log_support, log_refute in zip(support, refute, strict=True):
        if log_support >= threshold or log_refute >= threshold:
            verdict = "supported" if log_support >= threshold else "refuted"
            break
    counts = OutcomeCounts.of(np.concatenate([part.ravel() for part in blocks]))
    least = log_evidence_path(np.ones(len(blocks)), margins.support)[-1]
    sizes = " and ".join(map(str, outcomes.shape)) + " recorded runs"
    if outcomes.ndim == 1:
        sizes = f"{len(outcomes)} pairs of recorded runs"
    return FixedDecision(
        verdict=verdict,
        value=counts.mean,
        low=_lower_bound(as_support, alpha),
        high=1 - _lower_bound(1 - as_refutation, alpha),
        alpha=alpha,
        p_support=min(1.0, math.exp(-support.max())),
        p_refute=min(1.0, math.exp(-refute.max())),
        smallest_p=min(1.0, math.exp(-least)),
        fewest_runs=_fewest_runs(margins.support, alpha, block),
        sample=f"{sizes} in {len(blocks)} blocks of {block}; more may follow",
        wins=counts.wins,
        ties=counts.ties + counts.censored,
        losses=counts.losses,
        undetermined=counts.undetermined,
    )
