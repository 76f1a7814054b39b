"""Levels and mean replicas by exact recursion: no simulation, no error but rounding."""

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import MIXTURE, Bets, Counts, Floats, log_evidence
from lossact.stats.calibration.errors import ALPHA, DELTA
from lossact.stats.calibration.tables import Row, Table
from lossact.stats.margins import Margins

THETAS = (0.55, 0.6, 0.7, 0.8, 0.9, 0.99)
HORIZON = 4096
BEFORE = Bets.log_uniform((DELTA, 0.5, 60, 1.0))  # the bets of lossact 0.1, which began at delta


def wins_needed(mean: float, alpha: float, bets: Bets, horizon: int) -> NDArray[np.int64]:
    """Return (horizon,) the fewest wins of n = 1, 2, … whose evidence against E[W] <= mean is 1/alpha; n + 1 if none.

    Evidence grows with the wins, so a bisection finds them for all n at once.
    """
    n = np.arange(1, horizon + 1)
    low, high = np.zeros(horizon, np.int64), n + 1
    while (low < high).any():
        middle = (low + high) // 2
        enough = log_evidence(Counts.of(middle, 0 * n, n - middle), mean, bets) >= -math.log(alpha)
        active = low < high
        high = np.where(active & enough, middle, high)
        low = np.where(active & ~enough, middle + 1, low)
    return low


@dataclass(frozen=True)
class Exact:
    """How a claim about a coin ends within the horizon.

    Attributes:
        supported, refuted: probabilities.
        replicas: mean number until a verdict, the horizon where none comes.
    """

    supported: float
    refuted: float
    replicas: float


def follow(theta: float, support: NDArray[np.int64], refute: NDArray[np.int64] | None = None) -> Exact:
    """Follow the distribution of the number of wins until it crosses a boundary.

    Args:
        theta: probability of a win; there are no ties.
        support: (horizon,) wins at which SUPPORTED falls.
        refute: (horizon,) losses at which REFUTED falls, None for no such boundary.
    """
    horizon = len(support)
    open_ = np.zeros(horizon + 1)  # probability of each number of wins, no verdict yet
    open_[0] = 1.0
    supported = refuted = replicas = 0.0
    for n in range(1, horizon + 1):
        replicas += float(open_.sum())
        open_[1 : n + 1] = open_[1 : n + 1] * (1 - theta) + open_[:n] * theta
        open_[0] *= 1 - theta
        least = support[n - 1]
        supported += float(open_[least : n + 1].sum())
        open_[least : n + 1] = 0
        if refute is not None:
            most = n + 1 - refute[n - 1]
            refuted += float(open_[:most].sum())
            open_[:most] = 0
    return Exact(supported, refuted, replicas)


def oracle_replicas(theta: float, horizon: int = HORIZON) -> float:
    """Return the mean replicas of Wald's sequential ratio test of theta against 1/2, which must know theta."""
    n = np.arange(1, horizon + 1)
    win, loss = math.log(2 * theta), math.log(2 * (1 - theta))
    wins = np.ceil((-math.log(ALPHA) - n * loss) / (win - loss) - 1e-12).astype(np.int64)
    return follow(theta, np.clip(wins, 0, n + 1)).replicas


def follow_equivalence(theta: float, *, delta: float = DELTA, alpha: float = ALPHA, horizon: int = 2048) -> Exact:
    """Follow two one-sided tests; SUPPORTED needs both to have crossed at some time."""
    within = wins_needed(0.5 - delta, alpha, MIXTURE, horizon)
    apart = wins_needed(0.5 + delta, alpha / 2, MIXTURE, horizon)
    open_: Floats = np.zeros((4, horizon + 1))  # rows: no side shown; above 1/2 - delta; below 1/2 + delta; both
    open_[0, 0] = 1.0
    supported = refuted = replicas = 0.0
    for n in range(1, horizon + 1):
        replicas += float(open_.sum())
        open_[:, 1 : n + 1] = open_[:, 1 : n + 1] * (1 - theta) + open_[:, :n] * theta
        open_[:, 0] *= 1 - theta
        above = slice(within[n - 1], horizon + 1)  # shown to be above 1/2 - delta
        below = slice(0, max(0, n + 1 - within[n - 1]))
        for start, part, end in ((0, above, 1), (2, above, 3), (0, below, 2), (1, below, 3)):
            open_[end, part] += open_[start, part]
            open_[start, part] = 0
        supported += float(open_[3].sum())
        open_[3] = 0
        for part in (slice(apart[n - 1], horizon + 1), slice(0, max(0, n + 1 - apart[n - 1]))):
            refuted += float(open_[:, part].sum())
            open_[:, part] = 0
    return Exact(supported, refuted, replicas)


def exact_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """Mean replicas to SUPPORTED of one comparison without ties, and its level."""
    rows = []
    means: dict[str, list[float]] = {}
    bound = [math.log(1 / ALPHA) / (math.log(2) + t * math.log(t) + (1 - t) * math.log(1 - t)) for t in THETAS]
    oracle = [oracle_replicas(theta) for theta in THETAS]
    for name, values in (("ln(1/alpha) / KL", bound), ("sequential ratio test that knows theta", oracle)):
        rows.append(Row((name, "", *(f"{value:.1f}" for value in values))))
    for name, bets in (("bets of lossact 0.1", BEFORE), ("lossact", MIXTURE)):
        support = wins_needed(0.5, ALPHA, bets, HORIZON)
        level = follow(0.5, support).supported
        means[name] = [follow(theta, support).replicas for theta in THETAS]
        rows.append(Row((name, f"{level:.4f}", *(f"{value:.1f}" for value in means[name])), level <= ALPHA))
    ratios = [new / old for new, old in zip(means["lossact"], means["bets of lossact 0.1"], strict=True)]
    kept = ratios[1] <= 1.035 and ratios[4] <= 0.85 and ratios[5] <= 0.75
    rows.append(Row(("ratio of the last two", "", *(f"{ratio:.3f}" for ratio in ratios)), kept))
    for delta in (0.05, 0.1, 0.2):
        losses = wins_needed(0.5 - delta, ALPHA, MIXTURE, HORIZON)
        never = np.arange(1, HORIZON + 1) + 1
        false = follow(0.5 + delta, never, losses).refuted
        rows.append(Row((f"false REFUTED at 1/2 + {delta}", f"{false:.4f}", *[""] * len(THETAS)), false <= ALPHA))
    rule = (
        f"Mean replicas until SUPPORTED by exact recursion, no ties, alpha = {ALPHA}, up to {HORIZON}. At most 1.035 "
        "times the earlier bets' at 0.6, 0.85 times at 0.9, 0.75 times at 0.99."
    )
    return Table("Exact recursion", rule, ("", "level", *(f"theta = {theta}" for theta in THETAS)), rows)


def verdicts_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """How claims that something is reached, and claims of equivalence, end at given truths."""
    rows = []
    for low, high, p in ((0.98, 0.99, 0.97), (0.95, 0.975, 0.95), (0.9, 0.95, 0.99)):
        margins = Margins.of_probability(low, high)
        support = wins_needed(low, ALPHA, margins.bets, 2048)
        refute = wins_needed(1 - high, ALPHA, margins.bets, 2048)
        for truth in sorted({low, high, p}):
            end = follow(truth, support, refute)
            kept = (truth != low or end.supported <= ALPHA) and (truth != high or end.refuted <= ALPHA)
            rows.append(_end_row(f"reaches {low}/{high}, p = {truth}", end, kept=kept))
    for theta in (0.5, 0.53, 0.55, 0.57, 0.6, 0.62):
        end = follow_equivalence(theta)
        kept = (theta < 0.6 or end.supported <= ALPHA) and (theta > 0.6 or end.refuted <= ALPHA)
        rows.append(_end_row(f"equivalent, theta = {theta}", end, kept=kept))
    rule = f"How claims end by exact recursion, alpha = {ALPHA}, delta = {DELTA}, up to 2048 replicas."
    return Table("Reaching and equivalence", rule, ("claim and truth", "supported", "refuted", "mean replicas"), rows)


def _end_row(name: str, end: Exact, *, kept: bool) -> Row:
    return Row((name, f"{end.supported:.4f}", f"{end.refuted:.4f}", f"{end.replicas:.0f}"), kept)
