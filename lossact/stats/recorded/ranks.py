"""The exact rank-sum test for two sets of runs, with ties.

Null: both sets are drawn from one distribution, so that every split of the pooled values into n1 and n2 is equally
likely. The statistic is the sum of the first set's midranks, doubled so that it is an integer. Its distribution is
counted without enumerating the splits: a group of g tied values with doubled midrank r contributes j members in
C(g, j) ways,

    f[k + j, s + j r] += C(g, j) f[k, s].

Without ties this is the exact Mann-Whitney test. The number of splits in which U is u is then the coefficient of q^u in
the Gaussian binomial coefficient, a product of (1 - q^(n2 + k)) / (1 - q^k) over k = 1 … n1, which takes far less.

Reference: Lehmann, Nonparametrics: Statistical Methods Based on Ranks, 1975, section 1.4.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_ADDITIONS = 2_000_000_000  # seconds of counting
MOST_UNTIED = 400  # in the smaller set: rounding is below 1e-8 of a probability, and grows quickly from there
EXACT_IN_INT64 = 2**62


def tie_groups(pooled: NDArray[np.float64]) -> tuple[int, ...]:
    """Return how often each distinct value occurs.

    Args:
        pooled: (n,) values of both sets.

    Returns:
        sizes, ascending by value.
    """
    _, counts = np.unique(pooled, return_counts=True)
    return tuple(counts.tolist())


def doubled_midranks(groups: tuple[int, ...]) -> NDArray[np.int64]:
    """Return twice the midrank of each tie group, ascending.

    Args:
        groups: sizes of the tie groups, ascending by value.

    Returns:
        (groups,) integers.
    """
    sizes = np.array(groups, dtype=np.int64)
    below = np.cumsum(sizes) - sizes
    return 2 * below + sizes + 1


def is_countable(groups: tuple[int, ...], n_first: int) -> bool:
    """Return whether the distribution can be counted in seconds.

    Args:
        groups: sizes of the tie groups, ascending by value.
        n_first: values in the first set.

    Returns:
        whether counting takes seconds at most.
    """
    n = sum(groups)
    smaller = min(n_first, n - n_first)
    return smaller * smaller * (2 * n - smaller) * len(groups) <= MOST_ADDITIONS


def is_countable_untied(n_first: int, n_second: int) -> bool:
    """Return whether the distribution without ties can be counted, in seconds and without much rounding.

    Args:
        n_first: values in the first set.
        n_second: values in the second set.

    Returns:
        whether it can.
    """
    smaller = min(n_first, n_second)
    return smaller <= MOST_UNTIED and 2 * smaller * n_first * n_second <= MOST_ADDITIONS


@lru_cache(maxsize=256)
def rank_sum_tail(groups: tuple[int, ...], n_first: int) -> NDArray[np.float64]:
    """Return P(sum >= s) for s = 0, 1, … of the doubled midranks of `n_first` values.

    Args:
        groups: sizes of the tie groups, ascending by value.
        n_first: values in the first set, 1 … sum(groups) - 1.

    Returns:
        (largest sum + 2,) probabilities; the last is 0.
    """
    ranks = doubled_midranks(groups)
    n = sum(groups)
    smaller = min(n_first, n - n_first)
    unit = 2 if not (ranks % 2).any() else 1  # doubling is needed only where a midrank is a half
    ranks = ranks // unit
    largest = int(np.repeat(ranks, groups)[n - smaller :].sum())
    dtype = np.int64 if math.comb(n, smaller) < EXACT_IN_INT64 else np.float64
    ways: NDArray[Any] = np.zeros((smaller + 1, largest + 1), dtype=dtype)
    ways[0, 0] = 1
    for size, rank in zip(groups, ranks.tolist(), strict=True):
        before = ways.copy()
        for members in range(1, min(size, smaller) + 1):
            shift = members * rank
            if shift > largest:
                break
            ways[members:, shift:] += dtype(math.comb(size, members)) * before[:-members, : largest + 1 - shift]
    splits = ways[smaller]
    if n_first != smaller:  # the first set's sum is what the other leaves of the total
        total = int((ranks * np.array(groups)).sum())
        mirrored: NDArray[Any] = np.zeros(total + 1, dtype=dtype)
        mirrored[total - np.arange(largest + 1)] = splits
        splits = mirrored
    tail = np.append(np.cumsum(splits[::-1])[::-1], 0) / math.comb(n, smaller)
    spread = np.repeat(tail[1:], unit)  # P(sum >= s) between two attainable sums is that of the larger
    return np.concatenate([tail[:1], spread]).astype(np.float64)


def rank_sum_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the exact one-sided p-value of "the first set tends to be larger".

    Args:
        first, second: (n1,) and (n2,) values; ties are allowed, NaN is not.

    Returns:
        P(sum of the first set's midranks >= the observed sum) over all splits of the pooled values.
    """
    pooled = np.concatenate([first, second])
    _, inverse, counts = np.unique(pooled, return_inverse=True, return_counts=True)
    groups = tuple(counts.tolist())
    observed = int(doubled_midranks(groups)[inverse[: len(first)]].sum())
    return float(rank_sum_tail(groups, len(first))[observed])


def smallest_p(groups: tuple[int, ...], n_first: int) -> float:
    """Return the smallest p-value that any split of these values can have.

    Args:
        groups: sizes of the tie groups, ascending by value.
        n_first: values in the first set.

    Returns:
        a probability > 0.
    """
    tail = rank_sum_tail(groups, n_first)
    return float(tail[tail > 0][-1])


@lru_cache(maxsize=64)
def untied_lower_half(n_first: int, n_second: int) -> NDArray[np.float64]:
    """Return P(U <= u) without ties for u = 0 … n1 n2 / 2, U Mann and Whitney's.

    A coefficient is made of lower ones alone, which are smaller, so that small probabilities are as precise as others.

    Args:
        n_first: values in the first set.
        n_second: values in the second set.

    Returns:
        (floor(n1 n2 / 2) + 1,) probabilities, ascending; n1 n2 - U has the same distribution.
    """
    smaller, larger = sorted((n_first, n_second))
    size = n_first * n_second // 2 + 1
    shares = np.zeros(size)
    shares[0] = 1.0
    for k in range(1, smaller + 1):
        shares[larger + k :] -= shares[: max(0, size - larger - k)].copy()
        rows = np.append(shares, np.zeros(-size % k)).reshape(-1, k)  # u, u + k, u + 2 k, … below each other
        shares = rows.cumsum(axis=0).ravel()[:size] * (k / (larger + k))
    return np.asarray(shares.cumsum())


def untied_p(n_first: int, n_second: int, wins: float) -> float:
    """Return P(U >= wins) without ties, U Mann and Whitney's.

    Args:
        n_first: values in the first set.
        n_second: values in the second set.
        wins: pairs that the first set wins; rounded down.

    Returns:
        a probability.
    """
    lower = untied_lower_half(n_first, n_second)
    u = math.floor(wins)
    losses = n_first * n_second - u  # P(U >= u) = P(U <= losses)
    if losses < len(lower):
        return float(lower[losses])
    return 1.0 - float(lower[u - 1]) if u > 0 else 1.0
