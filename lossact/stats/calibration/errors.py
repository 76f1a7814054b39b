"""How often a verdict is false, and how often an interval misses."""

import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from lossact.stats.betting import log_evidence
from lossact.stats.calibration.scenarios import (
    Scenario,
    always,
    coin,
    cycle,
    order,
    shift_for,
    two_lognormals,
)
from lossact.stats.calibration.tables import Row, Table, at_most, lowest_share
from lossact.stats.decision import Comparison, decide
from lossact.stats.outcomes import Outcome, Outcomes, refutation_counts, running_totals, support_counts
from lossact.stats.replay import Margins, Replay, replay

ALPHA, DELTA, LIMIT = 0.025, 0.1, 2048
WINS = Margins.of_wins(DELTA)
STAGES = (128, 512, LIMIT)


def staged_replay(outcomes: Sequence[Outcomes], alpha: float = ALPHA) -> Replay:
    """A replay up to the first crossing; later replicas are looked at only where the earlier ones left it open."""
    for n in STAGES:
        found = replay([one[:n] for one in outcomes], alpha=alpha, margins=WINS)
        if found.decided_at is not None or n >= len(outcomes[0]):
            break
    return found


def verdict_of(outcomes: Sequence[Outcomes], alpha: float = ALPHA) -> tuple[str, int | None]:
    """The verdict of the first crossing, and after how many replicas it fell."""
    found = staged_replay(outcomes, alpha)
    return found.verdict, found.decided_at


def _count_verdicts(world: Scenario, seed: int, n: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    return Counter(verdict_of(world(rng, LIMIT))[0] for _ in range(n))


def run_in_batches(pool: ProcessPoolExecutor, n: int, count: partial[Counter[str]]) -> Counter[str]:
    """Simulations in parts of a hundred, each with a seed of its own."""
    parts = [min(100, n - at) for at in range(0, n, 100)]
    return sum(pool.map(count, range(len(parts)), parts), Counter())


@dataclass(frozen=True)
class Cell:
    """A world, and which verdicts would be false in it."""

    name: str
    world: Scenario
    false: tuple[str, ...]


def cells() -> list[Cell]:
    """The nulls of STATISTICS, none of which may be decided wrongly more often than alpha."""
    supported, refuted = ("supported",), ("refuted",)
    found = [
        Cell(f"equal lognormals, {censored:.0%} censored", two_lognormals(censored=censored), supported)
        for censored in (0.1, 0.5, 0.8)
    ]
    found += [
        Cell("crossing curves, theta = 1/2", two_lognormals(censored=0.1, spread=0.2), supported),
        Cell("all tied", always(Outcome.TIE), supported),
        Cell("all censored", always(Outcome.CENSORED), ("supported", "refuted")),
        Cell("theta = 1/2 + delta", coin(0.5 + DELTA), refuted),
    ]
    found += [
        Cell(
            f"theta = 1/2 + delta, {censored:.0%} censored",
            two_lognormals(censored=censored, ahead=shift_for(0.5 + DELTA, censored)),
            refuted,
        )
        for censored in (0.1, 0.5, 0.8)
    ]
    # Twice as fast: 2 T_A < T_B has probability theta without a budget; censoring leaves comparisons open.
    twice = math.log(2) / 0.8
    for theta, false in ((0.35, supported), (0.5, supported), (0.6, refuted), (0.65, refuted)):
        ahead = twice + shift_for(theta, 1e-9)
        found.append(
            Cell(f"ratio 2, theta = {theta}, half censored", two_lognormals(censored=0.5, ahead=ahead, ratio=2), false)
        )
    return found


def error_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """False verdicts of one comparison."""
    rows = []
    for cell in cells():
        count = run_in_batches(pool, n, partial(_count_verdicts, cell.world))
        false = sum(count[verdict] for verdict in cell.false)
        limit = 0.0 if len(cell.false) == 2 else ALPHA
        rows.append(
            Row(
                (cell.name, " or ".join(cell.false), f"{false / n:.4f}", *(f"{count[v] / n:.3f}" for v in VERDICTS)),
                at_most(false, n, limit, short=short) if limit else false == 0,
            )
        )
    rule = (
        f"A false verdict has probability {ALPHA} at most, whatever is censored. {n} simulations a row, up to {LIMIT} "
        "replicas."
    )
    return Table("False verdicts", rule, ("truth", "false is", "how often", *VERDICTS), rows)


VERDICTS = ("supported", "refuted", "inconclusive")


def _count_covered(theta: float, seed: int, n: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for _ in range(n):
        (outcomes,) = coin(theta)(rng, LIMIT)
        stop = verdict_of([outcomes])[1] or LIMIT
        totals = running_totals(outcomes[:stop])
        # A bound lies beyond theta where and only where the evidence against theta has ever reached 1 / alpha.
        low = log_evidence(support_counts(totals), theta, WINS.bets).max() >= -math.log(ALPHA)
        high = log_evidence(refutation_counts(totals).mirrored(), 1 - theta, WINS.bets).max() >= -math.log(ALPHA)
        found["missed"] += bool(low or high)
        found["replicas"] += stop
    return found


def coverage_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """How often the confidence sequence holds theta when a verdict falls."""
    rows = []
    for theta in (0.4, 0.5, 0.55, 0.6, 0.7, 0.9):
        count = run_in_batches(pool, n, partial(_count_covered, theta))
        missed = count["missed"]
        kept = lowest_share(missed, n) <= 2 * ALPHA if short else missed / n <= 2 * ALPHA
        rows.append(Row((f"{theta}", f"{1 - missed / n:.4f}", f"{count['replicas'] / n:.0f}"), kept))
    rule = f"At the moment of stopping the {1 - 2 * ALPHA:.0%} confidence sequence holds theta. {n} simulations a row."
    return Table("Coverage", rule, ("theta", "covered", "mean replicas"), rows)


def _count_orders(world: Scenario, broken: int | None, seed: int, n: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for _ in range(n):
        pairs = [Comparison(f"pair {k}", outcomes) for k, outcomes in enumerate(world(rng, LIMIT // 2))]
        verdict, at = verdict_of([pair.outcomes for pair in pairs])
        found[verdict] += 1
        if verdict == "refuted" and broken is not None:
            looked = [Comparison(pair.name, pair.outcomes[: (at or 0) + 256]) for pair in pairs]
            decision = decide(looked, alpha=ALPHA, margins=WINS, limit=LIMIT)
            found["named"] += f"pair {broken}" in decision.reason.partition("broken: ")[2].split(", ")
    return found


def order_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """Orderings of three or four conditions."""
    rows = []
    worlds: list[tuple[str, Scenario, int | None]] = [
        ("a true order of four, 0.8 deviations apart", order(2.4, 1.6, 0.8, 0.0), None),
        ("two equal neighbours", order(1.6, 0.8, 0.8, 0.0), None),
        ("the last two swapped", order(2.4, 1.6, 0.0, 0.8), 5),
        ("a cycle of three, each beats the next by 5/9", cycle, 1),
    ]
    for name, world, broken in worlds:
        count = run_in_batches(pool, n, partial(_count_orders, world, broken))
        supported, refuted = count["supported"] / n, count["refuted"] / n
        if name.startswith("a true"):
            kept = supported > 0.95
        elif name.startswith("two equal"):
            kept = at_most(count["supported"], n, ALPHA, short=short)
        else:
            kept = refuted > 0.9
        named = f"{count['named'] / max(1, count['refuted']):.3f}" if broken is not None else ""
        rows.append(Row((name, f"{supported:.4f}", f"{refuted:.3f}", named), kept))
    rule = (
        f"A true order is SUPPORTED, one with equal neighbours at most at {ALPHA}, a wrong one REFUTED, with the "
        f"broken pair named once it shows. {n} simulations a row, up to {LIMIT // 2} replicas."
    )
    return Table("Orderings", rule, ("truth", "supported", "refuted", "pair named"), rows)
