"""How many replicas a true claim costs, beside what else one could use, all at one realised level."""

import importlib.util
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import log_evidence
from lossact.stats.calibration.errors import run_in_batches
from lossact.stats.calibration.scenarios import Runs, compare, lognormal_runs, shift_for
from lossact.stats.calibration.tables import Row, Table
from lossact.stats.outcomes import Outcomes, running_totals, support_counts

LEVEL, CENSORED, HORIZON = 0.05, 0.1, 512
THETAS = (0.55, 0.6, 0.7)
LOOKS = np.arange(32, HORIZON + 1, 32)
HAS_VILLE = importlib.util.find_spec("ville") is not None
HAS_ADASTOP = importlib.util.find_spec("adastop") is not None

Floats = NDArray[np.float64]
Path = Callable[[Outcomes], Floats]
VALUES = np.array([0.0, 0.5, 1.0, 0.5, 0.5])


def betting(outcomes: Outcomes) -> Floats:
    """Evidence as lossact counts it, after every replica."""
    return log_evidence(support_counts(running_totals(outcomes)), 0.5)


def ville(outcomes: Outcomes) -> Floats:
    """The betting test of the package ville, after every replica."""
    from ville import BettingTest

    test = BettingTest(0.5, alternative="greater", alpha=LEVEL)
    test.update(VALUES[outcomes])
    return np.asarray(test.log_e_values_, dtype=np.float64)


def _z_at_looks(outcomes: Outcomes) -> Floats:
    signs = np.cumsum(2 * VALUES[outcomes] - 1)
    decided = np.cumsum(VALUES[outcomes] != 0.5)
    z: Floats = signs[LOOKS - 1] / np.sqrt(np.maximum(decided[LOOKS - 1], 1))
    return z


def _at_looks(statistic: Floats) -> Floats:
    path = np.full(HORIZON, -np.inf)
    path[LOOKS - 1] = statistic
    return path


def pocock(outcomes: Outcomes) -> Floats:
    """A sign test at every look, one boundary for all (Pocock 1977)."""
    return _at_looks(_z_at_looks(outcomes))


def obrien_fleming(outcomes: Outcomes) -> Floats:
    """A sign test at every look, with a boundary that falls as 1/sqrt(look) (O'Brien and Fleming 1979)."""
    return _at_looks(_z_at_looks(outcomes) * np.sqrt(LOOKS / HORIZON))


def fixed(outcomes: Outcomes) -> Floats:
    """One sign test, after the last replica."""
    path = np.full(HORIZON, -np.inf)
    path[-1] = _z_at_looks(outcomes)[-1]
    return path


METHODS: dict[str, Path] = {
    "lossact": betting,
    "Pocock, looks every 32": pocock,
    "O'Brien-Fleming, looks every 32": obrien_fleming,
    "sign test, fixed n": fixed,
}
if HAS_VILLE:
    METHODS["ville"] = ville


def _draw(rng: np.random.Generator, theta: float) -> tuple[Runs, Runs]:
    ahead = shift_for(theta, CENSORED)
    return lognormal_runs(rng, HORIZON, censored=CENSORED, ahead=ahead), lognormal_runs(rng, HORIZON, censored=CENSORED)


def _paths(theta: float, method: str, seed: int, n: int) -> list[Floats]:
    rng = np.random.default_rng((seed, int(1000 * theta)))
    return [METHODS[method](compare(*_draw(rng, theta))) for _ in range(n)]


def _highest(method: str, seed: int, n: int) -> list[float]:
    return [float(path.max()) for path in _paths(0.5, method, seed, n)]


def _count_crossings(theta: float, method: str, critical: float, seed: int, n: int) -> Counter[str]:
    tally: Counter[str] = Counter()
    for path in _paths(theta, method, seed + 10_000, n):
        crossed = path >= critical
        tally["found"] += bool(crossed.any())
        tally["replicas"] += int(crossed.argmax()) + 1 if crossed.any() else HORIZON
    return tally


def _count_adastop(theta: float, seed: int, n: int) -> Counter[str]:
    from adastop import MultipleAgentsComparator

    rng = np.random.default_rng((seed, int(1000 * theta)))
    tally: Counter[str] = Counter()
    for run in range(n):
        a, b = (np.where(runs.reached, runs.steps, 1000.0) for runs in _draw(rng, theta))
        comparator = MultipleAgentsComparator(n=32, K=len(LOOKS), B=300, alpha=LEVEL, seed=seed * 1000 + run)
        for look in LOOKS:
            comparator.partial_compare({"a": b[:look], "b": a[:look]}, verbose=False)
            if comparator.is_finished:
                break
        tally["found"] += "larger" in comparator.decisions.values()
        tally["replicas"] += int(look)
    return tally


def power_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """Mean replicas to a verdict and power at the horizon."""
    rows = []
    means: dict[str, dict[float, float]] = {}
    parts = [min(100, n - at) for at in range(0, n, 100)]
    for method in METHODS:
        highest = [
            largest for part in pool.map(partial(_highest, method), range(len(parts)), parts) for largest in part
        ]
        critical = float(np.quantile(highest, 1 - LEVEL))
        level = float(np.mean(np.array(highest) >= critical))
        counts = {
            theta: run_in_batches(pool, n, partial(_count_crossings, theta, method, critical)) for theta in THETAS
        }
        means[method] = {theta: counts[theta]["replicas"] / n for theta in THETAS}
        cells = [f"{means[method][theta]:.0f} ({counts[theta]['found'] / n:.0%})" for theta in THETAS]
        rows.append(Row((method, f"{level:.3f}", *cells), None))
    if HAS_ADASTOP and not short:
        few = min(n, 600)  # a fifth of a second each
        null = run_in_batches(pool, few, partial(_count_adastop, 0.5))
        counts = {theta: run_in_batches(pool, few, partial(_count_adastop, theta)) for theta in THETAS}
        means["adastop"] = {theta: counts[theta]["replicas"] / few for theta in THETAS}
        cells = [f"{means['adastop'][theta]:.0f} ({counts[theta]['found'] / few:.0%})" for theta in THETAS]
        rows.append(Row((f"adastop, {few} runs", f"{null['found'] / few:.3f}", *cells), None))
    ours = means["lossact"]
    kept = [ours[0.6] <= means["O'Brien-Fleming, looks every 32"][0.6] * (1.1 if short else 1)]
    if "ville" in means:
        kept += [ours[0.6] < means["ville"][0.6] * (1.1 if short else 1), ours[0.7] <= 1.05 * means["ville"][0.7]]
    if "adastop" in means:
        kept.append(ours[0.6] < means["adastop"][0.6])
    rows[0] = Row(rows[0].cells, all(kept))
    rule = (
        f"Mean replicas of each condition until SUPPORTED, {HORIZON} where it does not come, and how often it comes; "
        f"every method tuned to a realised level of {LEVEL} one-sided, {CENSORED:.0%} censored, {n} simulations a "
        "cell. adastop, with 300 permutations, is run at that nominal level and realises less. A fixed design finds "
        f"more at {HORIZON}, never stops sooner, and must not be looked at before nor extended after: with it a run "
        "could be neither resumed nor cut short."
    )
    return Table("Replicas to a verdict", rule, ("method", "level", *(f"theta = {t}" for t in THETAS)), rows)
