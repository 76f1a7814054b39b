"""Families of claims that share replicas, maps, and copies of one real condition."""

import math
import zipfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from lossact.errors import InputError
from lossact.stats.calibration.errors import ALPHA, DELTA, LIMIT, run_in_batches, staged_replay, verdict_of
from lossact.stats.calibration.scenarios import Runs, compare, lognormal_runs, pairs_of
from lossact.stats.calibration.tables import Row, Table, at_most
from lossact.stats.holm import holm
from lossact.stats.outcomes import Outcome, Outcomes

LOOKS = range(32, 513, 32)
SUITE_REPLICAS = 512  # of each of four copies


def supported_in_family(claims: list[Outcomes], family_size: int) -> list[bool]:
    """Which claims end as SUPPORTED, each decided at alpha / family_size, Holm's procedure at the end."""
    p_values, supported, inconclusive = [], [], []
    for outcomes in claims:
        replay = staged_replay([outcomes], ALPHA / family_size)
        supported.append(replay.verdict == "supported")
        inconclusive.append(replay.verdict == "inconclusive")
        p_values.append(min(1.0, float(np.exp(-replay.log_support[-1]))))
    by_holm = holm(p_values, alpha=ALPHA, family_size=family_size)
    return [
        by_itself or (is_open and rejected)
        for by_itself, is_open, rejected in zip(supported, inconclusive, by_holm, strict=True)
    ]


def min_p_over_looks(outcomes: Outcomes) -> float:
    """What repeated fixed-n sign tests would report: the smallest p of all looks."""
    smallest = 1.0
    for n in LOOKS:
        wins, losses = int((outcomes[:n] == Outcome.WIN).sum()), int((outcomes[:n] == Outcome.LOSS).sum())
        smallest = min(smallest, float(binom.sf(wins - 1, wins + losses, 0.5)))
    return smallest


def _count_families(true: int, null: int, selected: int, seed: int, n: int) -> Counter[str]:
    """Conditions against one common one, so that claims share its replicas."""
    rng = np.random.default_rng(seed)
    tally: Counter[str] = Counter()
    for _ in range(n):
        common = lognormal_runs(rng, LIMIT, censored=0.1)
        ahead = [1.0] * true + [0.0] * null
        claims = [compare(lognormal_runs(rng, LIMIT, censored=0.1, ahead=lead), common) for lead in ahead]
        claims = claims[:selected]
        supported = supported_in_family(claims, true + null)
        tally["false"] += any(supported[true:])
        tally["true"] += sum(supported[:true])
        naive = holm([min_p_over_looks(claim) for claim in claims], alpha=ALPHA, family_size=true + null)
        tally["peeking"] += any(naive[true:])
    return tally


def family_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """At least one false finding in a family."""
    rows = []
    for name, true, null, selected in (
        ("ten null claims", 0, 10, 10),
        ("three of them selected with -k", 0, 10, 3),
        ("six true claims and a null one", 6, 1, 7),
    ):
        count = run_in_batches(pool, n, partial(_count_families, true, null, selected))
        power = f"{count['true'] / (n * true):.3f}" if true else ""
        cells = (name, f"{count['false'] / n:.4f}", power, f"{count['peeking'] / n:.3f}")
        rows.append(Row(cells, at_most(count["false"], n, ALPHA, short=short)))
    rule = (
        f"At least one false SUPPORTED has probability {ALPHA} at most; all claims share the replicas of one "
        f"condition. Beside it what sign tests with a look every 32 replicas and Holm's procedure give. {n} families a "
        "row."
    )
    return Table("Families", rule, ("family", "a false finding", "true ones found", "peeking"), rows)


def boundary(size: int) -> NDArray[np.float64]:
    """(size, size) win probabilities of a map: a boundary that runs askew, with cells at 1/2 and at 1/2 + delta."""
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    thetas = np.select([x == y, x == y + 3], [0.5, 0.5 + DELTA], 0.5 + 0.03 * (x - y))
    return np.asarray(np.clip(thetas, 0.05, 0.95), dtype=np.float64)


def _count_maps(size: int, cell_alpha: float, seed: int, n: int) -> Counter[str]:
    """Maps whose cells share the replicas' luck, as cells that train from the same starts do."""
    rng = np.random.default_rng(seed)
    tally: Counter[str] = Counter()
    thetas = boundary(size).ravel()
    for _ in range(n):
        common = rng.standard_normal(LIMIT)
        wrong = Counter[str]()
        for theta in thetas:
            luck = norm.cdf((common + rng.standard_normal(LIMIT)) / math.sqrt(2))
            outcomes = np.where(luck < theta, Outcome.WIN, Outcome.LOSS).astype(np.int8)
            verdict = verdict_of([outcomes], cell_alpha)[0]
            wrong["supported"] += bool(verdict == "supported" and theta <= 0.5)
            wrong["refuted"] += bool(verdict == "refuted" and theta >= 0.5 + DELTA)
            tally["open"] += verdict == "inconclusive"
        tally.update(side for side in wrong if wrong[side])
    return tally


def map_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """At least one wrong cell in a map."""
    size = 6 if short else 12
    rows = []
    for name, level in ((f"alpha / {size * size}", ALPHA / size**2), ("alpha (exploratory)", ALPHA)):
        count = run_in_batches(pool, n, partial(_count_maps, size, level))
        cells = (name, *(f"{count[side] / n:.4f}" for side in ("supported", "refuted")))
        controlled = level < ALPHA
        kept = all(at_most(count[side], n, ALPHA, short=short) for side in ("supported", "refuted"))
        rows.append(Row((*cells, f"{count['open'] / (n * size**2):.1%}"), kept if controlled else None))
    rule = (
        f"A map of {size} x {size} cells with a known boundary has a cell falsely SUPPORTED, or one falsely REFUTED, "
        f"with probability {ALPHA} at most. {n} maps a row, up to {LIMIT} replicas a cell, replicas alike in all cells."
    )
    columns = ("level of a cell", "a cell falsely supported", "a cell falsely refuted", "cells left open")
    return Table("Maps", rule, columns, rows)


def _count_suites(steps: np.ndarray, reached: np.ndarray, seed: int, n: int) -> Counter[str]:
    """Suites of seven claims, as the case study makes them, about copies of one condition."""
    rng = np.random.default_rng(seed)
    tally: Counter[str] = Counter()
    for _ in range(n):
        drawn = rng.permutation(len(steps))[: 4 * SUITE_REPLICAS].reshape(4, SUITE_REPLICAS)
        runs = [Runs(steps[rows], reached[rows]) for rows in drawn]
        pairs = pairs_of(runs)  # 01 02 03 12 13 23
        suite = [
            [pairs[5]], [compare(runs[2], runs[3], 2.0)], [pairs[0]], pairs, [pairs[2], pairs[4], pairs[5]],
            pairs[:3], [pairs[3]],
        ]  # fmt: skip
        verdicts = [verdict_of(claim, ALPHA / len(suite))[0] for claim in suite]
        tally["supported"] += "supported" in verdicts
    return tally


def same_condition_table(pool: ProcessPoolExecutor, n: int, trials: Path, *, short: bool) -> Table:
    """A/A: suites about disjoint replicas of one real condition.

    Raises:
        InputError: the file is no .npz, or does not hold 2048 trials of a condition.
    """
    try:
        with np.load(trials, allow_pickle=False) as content:
            conditions = {str(name): content[name] for name in content.files}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"trials={trials}: not readable as .npz ({error})") from None
    rows = []
    for name, steps in conditions.items():
        if steps.ndim != 1 or len(steps) < 4 * SUITE_REPLICAS:
            raise InputError(
                f"trials={trials}: {name} has shape {steps.shape}; at least {4 * SUITE_REPLICAS} steps_to_target "
                "are needed"
            )
        reached = steps >= 0
        count = run_in_batches(pool, n, partial(_count_suites, steps, reached))
        cells = (name, f"{len(steps)}", f"{1 - reached.mean():.0%}", f"{count['supported'] / n:.4f}")
        rows.append(Row(cells, at_most(count["supported"], n, ALPHA, short=short)))
    rule = (
        f"A suite of seven claims about copies of one real condition has a SUPPORTED in it with probability {ALPHA} at "
        f"most. {n} suites a row, each from 2048 replicas of its own."
    )
    return Table("A/A", rule, ("condition", "stored runs", "censored", "a false finding"), rows)
