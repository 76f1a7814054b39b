"""Claims about values: false verdicts, and how often the median's bounds miss."""

import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lossact.stats.calibration.errors import ALPHA, DELTA, WINS, run_in_batches, verdict_of
from lossact.stats.calibration.tables import Row, Table, at_most
from lossact.stats.median_within import MedianWithinEvidence
from lossact.stats.outcomes import Outcome, Outcomes
from lossact.stats.values import compare_trend, compare_values, median_sequence, rank_boundary

N = 512
WITHIN = 1.0
Differences = NDArray[np.float64]


@dataclass(frozen=True)
class ValueWorld:
    """Differences between two conditions whose truth is known.

    Attributes:
        name: in words.
        draw: (rng, n) -> differences, first condition minus second.
        median: of the differences.
        false: the verdict on "higher" that would be false; "" for none.
    """

    name: str
    draw: Callable[[np.random.Generator, int], Differences]
    median: float
    false: str


def _normal(rng: np.random.Generator, n: int, *, shift: float = 0.0) -> Differences:
    return rng.normal(shift, 1, n)


def _cauchy(rng: np.random.Generator, n: int) -> Differences:
    return rng.standard_cauchy(n)


def _skewed(rng: np.random.Generator, n: int, *, shift: float = 0.0) -> Differences:
    """Of median `shift` and a mean far above it."""
    return np.expm1(1.5 * rng.normal(size=n)) + shift


def _accuracies(rng: np.random.Generator, n: int) -> Differences:
    """Of two accuracies on 100 examples, in the floats in which they come."""
    first, second = rng.binomial(100, 0.9, (2, n)) / 100
    return np.asarray(first - second)


def _tied(rng: np.random.Generator, n: int) -> Differences:
    return rng.choice([-1.0, 0.0, 1.0], n, p=[0.2, 0.6, 0.2])


def worlds() -> list[ValueWorld]:
    """Return equal conditions with heavy tails, skew and ties, and such as are ahead by the margin that matters."""
    skewed_shift = -math.expm1(1.5 * norm.ppf(0.5 - DELTA))  # P(D > 0) = 1/2 + delta
    return [
        ValueWorld("equal normals", _normal, 0.0, "supported"),
        ValueWorld("heavy tails (Cauchy)", _cauchy, 0.0, "supported"),
        ValueWorld("skew: median 0, mean 2.1", _skewed, 0.0, "supported"),
        ValueWorld("equal accuracies of 100 examples", _accuracies, 0.0, "supported"),
        ValueWorld("60% ties", _tied, 0.0, "supported"),
        ValueWorld(
            "normal, theta = 0.6", partial(_normal, shift=float(norm.ppf(0.6))), float(norm.ppf(0.6)), "refuted"
        ),
        ValueWorld("skew, theta = 0.6", partial(_skewed, shift=skewed_shift), skewed_shift, "refuted"),
    ]


def _against(difference: Differences, by: float) -> Outcomes:
    nobody = np.zeros(len(difference), dtype=bool)
    epsilon = float(np.finfo(np.float64).eps)
    return compare_values(difference, np.zeros(len(difference)), nobody, nobody, by=by, epsilon=epsilon)


@cache
def _boundary() -> NDArray[np.int64]:
    return rank_boundary(N, alpha=ALPHA)


def _count_world(world: ValueWorld, seed: int, n: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    events: Counter[str] = Counter()
    for _ in range(n):
        difference = world.draw(rng, N)
        events[verdict_of([_against(difference, 0.0)])[0]] += 1
        median = median_sequence(difference, _boundary(), alpha=ALPHA)
        events["too high"] += median.low > world.median
        events["too low"] += median.high < world.median
    return events


def _count_edge(seed: int, n: int) -> Counter[str]:
    """Verdicts on "the median difference is within 1" where it is exactly 1."""
    rng = np.random.default_rng(seed)
    evidence = MedianWithinEvidence(WINS)
    events: Counter[str] = Counter()
    for _ in range(n):
        difference = _normal(rng, N, shift=WITHIN)
        sides = [_against(difference, -WITHIN), _against(-difference, -WITHIN)]
        outcomes = [np.where(side == Outcome.TIE, Outcome.WIN, side).astype(np.int8) for side in sides]
        events[verdict_of(outcomes, evidence=evidence)[0]] += 1
    return events


def _count_trend(seed: int, n: int) -> Counter[str]:
    """Verdicts on a trend over five settings that are all alike, with ties."""
    rng = np.random.default_rng(seed)
    return Counter(verdict_of([compare_trend(list(rng.binomial(20, 0.5, (5, N)).astype(float)))])[0] for _ in range(n))


def value_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """Simulate claims about values.

    Args:
        pool: of processes.
        n: simulations a row.
        short: whether rows need only not be shown to err too often.
    """

    def row(name: str, events: Counter[str], false: tuple[str, ...], misses: bool) -> Row:
        verdicts = ("supported", "refuted")
        counted = (*false, *(("too high", "too low") if misses else ()))
        kept = all(at_most(events[event], n, ALPHA, short=short) for event in counted)
        cells = [f"{events[verdict] / n:.4f}" for verdict in verdicts]
        cells += [f"{events[side] / n:.4f}" if misses else "" for side in ("too high", "too low")]
        return Row((name, *cells, " and ".join(false)), kept)

    rows = [
        row(world.name, run_in_batches(pool, n, partial(_count_world, world)), (world.false,), misses=True)
        for world in worlds()
    ]
    edge = run_in_batches(pool, n, partial(_count_edge))
    rows.append(row("equivalent_in, at the edge", edge, ("supported", "refuted"), misses=False))
    rows.append(
        row("trend of five alike", run_in_batches(pool, n, partial(_count_trend)), ("supported",), misses=False)
    )
    return Table(
        f"Values, {N} replicas, {n:,} simulations",
        f"False verdicts, and bounds of the median beyond it on either side, each at most {ALPHA}.",
        ("differences", "supported", "refuted", "low > median", "high < median", "false"),
        rows,
    )
