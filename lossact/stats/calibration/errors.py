"""How often a verdict is false, and how often an interval misses."""

import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from lossact.stats.betting import log_evidence
from lossact.stats.calibration.scenarios import (
    Scenario,
    always,
    coin,
    cycle,
    gaps,
    order,
    shares,
    shift_for,
    two_lognormals,
)
from lossact.stats.calibration.tables import Row, Table, at_most, lowest_share
from lossact.stats.claim_evidence import ClaimEvidence, PairwiseEvidence
from lossact.stats.decision import Comparison, decide
from lossact.stats.equivalence import EquivalenceEvidence
from lossact.stats.margins import Margins
from lossact.stats.outcomes import Outcome, Outcomes, refutation_counts, running_totals, support_counts
from lossact.stats.replay import Replay

ALPHA, DELTA, LIMIT = 0.025, 0.1, 2048
WINS = Margins.of_wins(DELTA)
PAIRWISE = PairwiseEvidence(WINS)
STAGES = (128, 512, LIMIT)


def staged_replay(outcomes: Sequence[Outcomes], alpha: float = ALPHA, evidence: ClaimEvidence = PAIRWISE) -> Replay:
    """Replay up to the first crossing; later replicas are read only where the earlier ones left it open."""
    replay = Replay(evidence, alpha=alpha, with_bounds=False)
    for start, stop in pairwise((0, *STAGES)):
        replay.extend([part[start:stop] for part in outcomes])
        if replay.decided_at is not None or stop >= len(outcomes[0]):
            break
    return replay


def verdict_of(
    outcomes: Sequence[Outcomes], alpha: float = ALPHA, evidence: ClaimEvidence = PAIRWISE
) -> tuple[str, int | None]:
    """Return the verdict of the first crossing, and after how many replicas it fell."""
    replay = staged_replay(outcomes, alpha, evidence)
    return replay.verdict, replay.decided_at


def _count_verdicts(scenario: Scenario, evidence: ClaimEvidence, seed: int, n: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    return Counter(verdict_of(scenario(rng, LIMIT), evidence=evidence)[0] for _ in range(n))


def run_in_batches(pool: ProcessPoolExecutor, n: int, count: partial[Counter[str]]) -> Counter[str]:
    """Run simulations in batches of a hundred, each with a different seed."""
    parts = [min(100, n - at) for at in range(0, n, 100)]
    return sum(pool.map(count, range(len(parts)), parts), Counter())


@dataclass(frozen=True)
class Cell:
    """A scenario, which verdicts would be false in it, and what the claim is."""

    name: str
    scenario: Scenario
    false: tuple[str, ...]
    evidence: ClaimEvidence = PAIRWISE


def cells() -> list[Cell]:
    """Return the nulls, none of which may be decided wrongly more often than alpha."""
    supported, refuted = ("supported",), ("refuted",)
    null_cells = [
        Cell(f"equal lognormals, {censored:.0%} censored", two_lognormals(censored=censored), supported)
        for censored in (0.1, 0.5, 0.8)
    ]
    null_cells += [
        Cell("crossing curves, theta = 1/2", two_lognormals(censored=0.1, spread=0.2), supported),
        Cell("all tied", always(Outcome.TIE), supported),
        Cell("all censored", always(Outcome.CENSORED), ("supported", "refuted")),
        Cell("theta = 1/2 + delta", coin(0.5 + DELTA), refuted),
    ]
    null_cells += [
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
        null_cells.append(
            Cell(f"ratio 2, theta = {theta}, half censored", two_lognormals(censored=0.5, ahead=ahead, ratio=2), false)
        )
    ahead = math.log(1.2) / 0.8
    null_cells += [
        Cell("ratio 1.2, theta = 1/2, 80% censored", two_lognormals(censored=0.8, ahead=ahead, ratio=1.2), supported),
        Cell("90% ties, theta = 1/2", shares(0.05, 0.9, 0.05), supported),
        Cell("90% ties, theta = 0.55 = 1/2 + delta / 2: either may come", shares(0.0, 0.9, 0.1), ()),
        Cell("45% censored, 25% ties, theta = 1/2", shares(0.15, 0.25, 0.15, 0.45), supported),
        Cell("45% censored, 25% ties, theta = 1/2 + delta", shares(0.05, 0.25, 0.25, 0.45), refuted),
        Cell("20% undetermined, theta >= 1/2 + delta", shares(0.4, 0.0, 0.4, 0.0, 0.2), refuted),
    ]
    equivalence = EquivalenceEvidence(DELTA)
    null_cells += [
        Cell("equivalent, theta = 1/2 + delta", coin(0.5 + DELTA), supported, equivalence),
        Cell("equivalent, theta = 1/2 - delta", coin(0.5 - DELTA), supported, equivalence),
        Cell("equivalent, theta = 1/2 + delta, refuted", coin(0.5 + DELTA), refuted, equivalence),
        Cell("equivalent, theta = 1/2", coin(0.5), refuted, equivalence),
    ]
    null_cells += [
        Cell("the gap neither grows nor shrinks, no run cut off", gaps(0.0, budget=4000), supported),
        Cell("the gap neither grows nor shrinks, 5% of later runs cut off", gaps(0.0, budget=1000), supported),
        Cell("the gap neither grows nor shrinks, half of later runs cut off", gaps(0.0, budget=500), supported),
        Cell("the gap grows in every replica, later runs cut off", gaps(1000.0, spread=0.0, budget=1000), refuted),
        Cell(
            "the gap shrinks in every replica, earlier runs cut off", gaps(-1000.0, spread=0.0, budget=1000), supported
        ),
    ]
    for low, high in ((0.9, 0.95), (0.95, 0.975), (0.98, 0.99)):
        reaching = PairwiseEvidence(Margins.of_probability(low, high))
        null_cells += [
            Cell(f"reaches {low}/{high}, p = {low}", coin(low), supported, reaching),
            Cell(f"reaches {low}/{high}, p = {high}", coin(high), refuted, reaching),
        ]
    return null_cells


def error_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """False verdicts of one comparison."""
    rows = []
    for cell in cells():
        count = run_in_batches(pool, n, partial(_count_verdicts, cell.scenario, cell.evidence))
        false = sum(count[verdict] for verdict in cell.false)
        limit = 0.0 if len(cell.false) == 2 else ALPHA
        rows.append(
            Row(
                (cell.name, " or ".join(cell.false), f"{false / n:.4f}", *(f"{count[v] / n:.3f}" for v in VERDICTS)),
                None if not cell.false else at_most(false, n, limit, short=short) if limit else false == 0,
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
    tally: Counter[str] = Counter()
    for _ in range(n):
        (outcomes,) = coin(theta)(rng, LIMIT)
        stop = verdict_of([outcomes])[1] or LIMIT
        totals = running_totals(outcomes[:stop])
        # A bound lies beyond theta where and only where the evidence against theta has ever reached 1 / alpha.
        low = log_evidence(support_counts(totals), theta).max() >= -math.log(ALPHA)
        high = log_evidence(refutation_counts(totals).mirrored(), 1 - theta).max() >= -math.log(ALPHA)
        tally["missed"] += bool(low or high)
        tally["replicas"] += stop
    return tally


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


def _count_orders(scenario: Scenario, broken: int | None, seed: int, n: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    tally: Counter[str] = Counter()
    for _ in range(n):
        pairs = [Comparison(f"pair {k}", outcomes) for k, outcomes in enumerate(scenario(rng, LIMIT // 2))]
        verdict, at = verdict_of([pair.outcomes for pair in pairs])
        tally[verdict] += 1
        if verdict == "refuted" and broken is not None:
            looked = [Comparison(pair.name, pair.outcomes[: (at or 0) + 256]) for pair in pairs]
            decision = decide(looked, alpha=ALPHA, margins=WINS, limit=LIMIT)
            tally["named"] += f"pair {broken}" in decision.reason.partition("broken: ")[2].split(", ")
    return tally


def order_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """Orderings of three or four conditions."""
    rows = []
    scenarios: list[tuple[str, Scenario, int | None]] = [
        ("a true order of four, 0.8 deviations apart", order(2.4, 1.6, 0.8, 0.0), None),
        ("two equal neighbours", order(1.6, 0.8, 0.8, 0.0), None),
        ("the last two swapped", order(2.4, 1.6, 0.0, 0.8), 5),
        ("a cycle of three, each beats the next by 5/9", cycle, 1),
    ]
    for name, scenario, broken in scenarios:
        count = run_in_batches(pool, n, partial(_count_orders, scenario, broken))
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
