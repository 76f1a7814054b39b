"""Recorded runs: false verdicts, power and coverage at a fixed number of runs."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from lossact.stats.calibration.tables import Row, Table, at_most
from lossact.stats.margins import Margins
from lossact.stats.recorded import OutcomeCounts, decide_larger, decide_paired, hodges_lehmann
from lossact.stats.recorded.one_sample import median_interval

ALPHA, DELTA = 0.025, 0.1
BATCH = 100
MORE = 4  # times as many simulations where an exact test's level may be close to alpha
Values = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Two conditions whose truth is known.

    Attributes:
        name: in words.
        draw_first, draw_second: (rng, n) -> (n,) values of the first condition, and of the second.
        theta: probability that the first is larger, ties one half.
        shift: of the first over the second; None where they differ by more than a shift.
        median: of the second; None where it is no single value.
        false: verdicts that would be false; "" for none.
        may_err: whether the rank test's null does not hold, so that its false verdicts are only shown.
    """

    name: str
    draw_first: Callable[[np.random.Generator, int], Values]
    draw_second: Callable[[np.random.Generator, int], Values]
    theta: float
    shift: float | None
    median: float | None
    false: str = ""
    may_err: bool = False


def _normal(rng: np.random.Generator, n: int, *, mean: float = 0.0, spread: float = 1.0) -> Values:
    return rng.normal(mean, spread, n)


def _lognormal(rng: np.random.Generator, n: int, *, shift: float = 0.0) -> Values:
    return np.exp(rng.normal(size=n)) + shift


def _levels(rng: np.random.Generator, n: int) -> Values:
    return rng.integers(0, 4, n).astype(float)


def _accuracy(rng: np.random.Generator, n: int) -> Values:
    return rng.binomial(100, 0.9, n) / 100


def _normal_ahead(theta: float) -> float:
    return float(np.sqrt(2) * norm.ppf(theta))


def _lognormal_theta(shift: float) -> float:
    z = np.linspace(-9, 9, 20_001)
    return float(np.trapezoid(norm.pdf(z) * norm.cdf(np.log(np.exp(z) + shift)), z))


def worlds() -> list[World]:
    """Equal conditions, with and without ties; unlike spreads; the margin that matters; true differences."""
    normal = partial(_normal)
    return [
        World("equal normals", normal, normal, 0.5, 0.0, 0.0, "supported"),
        World("equal, four levels", _levels, _levels, 0.5, 0.0, None, "supported"),
        World("equal accuracies of 100 examples", _accuracy, _accuracy, 0.5, 0.0, None, "supported"),
        World("equal lognormals", partial(_lognormal), partial(_lognormal), 0.5, 0.0, 1.0, "supported"),
        World("spread 1 against 3", normal, partial(_normal, spread=3.0), 0.5, None, 0.0, "supported", may_err=True),
        World(
            "theta = 0.6", partial(_normal, mean=_normal_ahead(0.6)), normal, 0.6, _normal_ahead(0.6), 0.0, "refuted"
        ),
        World("one deviation ahead", partial(_normal, mean=1.0), normal, float(norm.cdf(np.sqrt(0.5))), 1.0, 0.0),
        World(
            "three deviations ahead", partial(_normal, mean=3.0), normal, float(norm.cdf(3 * np.sqrt(0.5))), 3.0, 0.0
        ),
        World(
            "lognormals, shifted by 2",
            partial(_lognormal, shift=2.0),
            partial(_lognormal),
            _lognormal_theta(2.0),
            2.0,
            1.0,
        ),
        World("two deviations behind", partial(_normal, mean=-2.0), normal, float(norm.cdf(-np.sqrt(2))), -2.0, 0.0),
    ]


SIZES = ((3, 3), (4, 4), (5, 5), (5, 20), (20, 5), (10, 10), (10, 8), (30, 30))


def _count(world: World, n_first: int, n_second: int, seed: int, n: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    events: Counter[str] = Counter()
    for _ in range(n):
        first, second = world.draw_first(rng, n_first), world.draw_second(rng, n_second)
        decision = decide_larger(first, second, alpha=ALPHA, delta=DELTA)
        events[decision.verdict] += 1
        # The low end is raised to 1/2 where the rank test supports; that is its error, and counted as such.
        raised = decision.verdict == "supported" and decision.low == 0.5
        low = 0.0 if raised else decision.low
        events["theta"] += not low <= world.theta <= decision.high
        if world.shift is not None:
            shift = hodges_lehmann(first, second, alpha=ALPHA)
            events["shift"] += not shift.low <= world.shift <= shift.high
        if world.median is not None:
            median = median_interval(second, alpha=ALPHA)
            events["median"] += not median[0] <= world.median <= median[1]
    return events


def recorded_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """False verdicts, power and misses of every interval, two unpaired sets of runs."""
    rows = [_exact_row("paired, exact, ties 0 to 90%: false SUPPORTED", _largest_size(_false_support, short=short))]
    rows.append(
        _exact_row("paired, exact, ties 0 to 90%: false REFUTED", _largest_size(_false_refutation, short=short))
    )
    for world in worlds():
        simulations = n if short or world.may_err or not world.false else MORE * n
        for sizes in SIZES[::3] if short else SIZES:
            parts = [min(BATCH, simulations - at) for at in range(0, simulations, BATCH)]
            events = sum(pool.map(partial(_count, world, *sizes), range(len(parts)), parts), Counter())
            rows.append(_row(world, sizes, events, simulations, short=short))
    rule = (
        f"False verdicts at most {ALPHA}, each interval misses at most {2 * ALPHA}. With unlike spreads the rank "
        f"test's null does not hold: shown, and warned of. {n} simulations a row, {n if short else MORE * n} where "
        f"a verdict is false; the first two rows are exact, the largest of n = 4 … {40 if short else 400}."
    )
    columns = ("truth", "runs", "SUPPORTED", "REFUTED", "false", "misses theta", "misses shift", "misses median")
    return Table("Recorded runs, a fixed number", rule, columns, rows)


def _row(world: World, sizes: tuple[int, int], events: Counter[str], n: int, *, short: bool) -> Row:
    kept = at_most(events["theta"], n, 2 * ALPHA, short=short)
    if world.shift is not None:
        kept = kept and at_most(events["shift"], n, 2 * ALPHA, short=short)
    if world.median is not None:
        kept = kept and at_most(events["median"], n, 2 * ALPHA, short=short)
    if world.false and not world.may_err:
        kept = kept and at_most(events[world.false], n, ALPHA, short=short)
    cells = (
        world.name,
        f"{sizes[0]} and {sizes[1]}",
        f"{events['supported'] / n:.4f}",
        f"{events['refuted'] / n:.4f}",
        world.false.upper(),
        f"{events['theta'] / n:.4f}",
        "" if world.shift is None else f"{events['shift'] / n:.4f}",
        "" if world.median is None else f"{events['median'] / n:.4f}",
    )
    return Row(cells, kept)


def _exact_row(name: str, largest: tuple[float, int]) -> Row:
    size, n = largest
    return Row((name, f"{n} pairs", f"{size:.4f}", "", "", "", "", ""), size <= ALPHA)


def _largest_size(size: Callable[[int, float], float], *, short: bool) -> tuple[float, int]:
    """The largest probability of a false verdict over numbers of pairs and shares of ties, and at how many pairs."""
    numbers = [*range(4, 41), *([] if short else range(50, 401, 25))]
    return max((size(n, ties), n) for n in numbers for ties in (0.0, 0.3, 0.6, 0.9))


def _false_support(n: int, ties: float) -> float:
    """P(SUPPORTED) where wins and losses are equally likely."""
    total = 0.0
    for decisive in range(n + 1):
        supports = partial(_is_verdict, "supported", n, decisive)
        least = bisect_left(range(decisive + 1), True, key=supports)
        total += binom.pmf(decisive, n, 1 - ties) * binom.sf(least - 1, decisive, 0.5)
    return float(total)


def _false_refutation(n: int, ties: float) -> float:
    """P(REFUTED) where E[W] = 1/2 + delta, as far as so many ties allow it."""
    win = min(1.0, (0.5 + DELTA - ties / 2) / (1 - ties))
    total = 0.0
    for decisive in range(n + 1):
        refutes = partial(_is_verdict, "refuted", n, decisive)
        fewer = bisect_left(range(decisive + 1), True, key=lambda wins: not refutes(wins))
        total += binom.pmf(decisive, n, 1 - ties) * binom.cdf(fewer - 1, decisive, win)
    return float(total)


def _is_verdict(verdict: str, n: int, decisive: int, wins: int) -> bool:
    counts = OutcomeCounts(wins, n - decisive, decisive - wins)
    return decide_paired(counts, alpha=ALPHA, margins=Margins.of_wins(DELTA)).verdict == verdict
