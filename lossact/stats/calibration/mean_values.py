"""Claims about means: false verdicts, bounds that miss, and the replicas that a verdict takes."""

import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from lossact.stats.betting import Floats
from lossact.stats.calibration.errors import ALPHA, run_in_batches
from lossact.stats.calibration.tables import Row, Table, at_most
from lossact.stats.mean_evidence import BoundedMean, MeanEvidence, NormalMean

N = 256
IN_RANGE = BoundedMean(-1.0, 1.0)


@dataclass(frozen=True)
class MeanWorld:
    """Numbers whose mean is known.

    Attributes:
        name: in words.
        evidence: what decides.
        draw: (rng, n) -> numbers.
        mean: of the numbers.
        assumed: whether the numbers are as the evidence assumes; else nothing is promised.
    """

    name: str
    evidence: MeanEvidence
    draw: Callable[[np.random.Generator, int], Floats]
    mean: float
    assumed: bool = True


def _accuracies(rng: np.random.Generator, n: int) -> Floats:
    """Differences of two accuracies on 100 examples."""
    first, second = rng.binomial(100, 0.9, (2, n)) / 100
    return np.asarray(first - second, dtype=np.float64)


def _coins(rng: np.random.Generator, n: int, *, share: float) -> Floats:
    """Numbers at both ends of the range, 1 with probability `share`."""
    return np.where(rng.random(n) < share, 1.0, -1.0)


def _rare(rng: np.random.Generator, n: int, *, sign: int = 1) -> Floats:
    """Of mean 0: mostly a little on one side, seldom far on the other."""
    return sign * np.where(rng.random(n) < 0.05, 0.95, -0.05)


def _normal(rng: np.random.Generator, n: int, *, mean: float = 0.0) -> Floats:
    return rng.normal(mean, 1, n)


def _exponential(rng: np.random.Generator, n: int) -> Floats:
    return rng.exponential(1, n) - 1


def worlds() -> list[MeanWorld]:
    """Return numbers that are as assumed, and skewed ones that are not normal."""
    normal = NormalMean()
    return [
        MeanWorld("in a range: equal accuracies of 100 examples", IN_RANGE, _accuracies, 0.0),
        MeanWorld("in a range: at either end", IN_RANGE, partial(_coins, share=0.5), 0.0),
        MeanWorld("in a range: at either end, 1 in 80%", IN_RANGE, partial(_coins, share=0.8), 0.6),
        MeanWorld("in a range: seldom far above", IN_RANGE, _rare, 0.0),
        MeanWorld("in a range: seldom far below", IN_RANGE, partial(_rare, sign=-1), 0.0),
        MeanWorld("normal", normal, _normal, 0.0),
        MeanWorld("normal, mean 3", normal, partial(_normal, mean=3.0), 3.0),
        MeanWorld("exponential, taken for normal", normal, _exponential, 0.0, assumed=False),
    ]


def _count(world: MeanWorld, seed: int, n: int) -> Counter[str]:
    """How often a bound is ever beyond the mean: as often as a claim that the mean is there is wrongly decided."""
    rng = np.random.default_rng(seed)
    events: Counter[str] = Counter()
    for _ in range(n):
        numbers = world.draw(rng, N)
        above = world.evidence.log_above(numbers, world.mean)
        below = world.evidence.mirrored().log_above(-numbers, -world.mean)
        events["too high"] += bool(above.max() >= -math.log(ALPHA))
        events["too low"] += bool(below.max() >= -math.log(ALPHA))
    return events


def mean_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """Simulate claims about means.

    Args:
        pool: of processes.
        n: simulations a row.
        short: whether rows need only not be shown to err too often.
    """
    rows = []
    for world in worlds():
        events = run_in_batches(pool, n, partial(_count, world))
        kept = all(at_most(events[side], n, ALPHA, short=short) for side in ("too high", "too low"))
        cells = (world.name, *(f"{events[side] / n:.4f}" for side in ("too high", "too low")))
        rows.append(Row((*cells, "" if world.assumed else "not promised"), kept if world.assumed else None))
    return Table(
        f"Means, {N} replicas, {n:,} simulations",
        f"How often a bound was ever beyond the mean on either side, at most {ALPHA} where the assumption holds.",
        ("numbers", "low > mean", "high < mean", ""),
        rows,
    )
