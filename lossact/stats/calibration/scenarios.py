"""Simulated conditions whose truth is known."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from lossact.stats.outcomes import Outcome, Outcomes, compare_gaps, compare_steps

BUDGET = 1000
SPREAD = 0.8  # standard deviation of ln T

Scenario = Callable[[np.random.Generator, int], list[Outcomes]]


@dataclass(frozen=True)
class Runs:
    """Updates to target of one condition: `steps` where `reached`, (replicas,)."""

    steps: NDArray[np.int64]
    reached: NDArray[np.bool_]


def lognormal_runs(
    rng: np.random.Generator, n: int, *, censored: float, ahead: float = 0.0, spread: float = SPREAD
) -> Runs:
    """Ln T normal, the share `censored` beyond the budget at ahead = 0; `ahead` is in standard deviations of SPREAD."""
    log_median = np.log(BUDGET + 1) + SPREAD * norm.ppf(censored)
    times = np.exp(log_median - ahead * SPREAD + spread * rng.standard_normal(n))
    return Runs(np.minimum(times, BUDGET + 1).astype(np.int64), times <= BUDGET)


def compare(a: Runs, b: Runs, ratio: float = 1.0) -> Outcomes:
    """What every replica says about A before B."""
    return compare_steps(a.steps, a.reached, b.steps, b.reached, budget=BUDGET, ratio=ratio)


def win_probability(ahead: float, censored: float) -> float:
    """E[W] at the budget of "A before B" where A is `ahead` and both are lognormal, up to ties within an update."""
    cut = -norm.ppf(censored)
    a = np.linspace(-9 - ahead, cut, 4001)
    first = np.trapezoid(norm.pdf(a + ahead) * norm.sf(a), a)
    return float(first + 0.5 * norm.sf(cut + ahead) * norm.sf(cut))


@lru_cache
def shift_for(theta: float, censored: float) -> float:
    """How far A must be ahead for a win probability of theta."""
    return float(brentq(lambda ahead: win_probability(ahead, censored) - theta, -8, 8))


def _two_lognormals(
    rng: np.random.Generator, n: int, *, censored: float, ahead: float, ratio: float, spread: float
) -> list[Outcomes]:
    a = lognormal_runs(rng, n, censored=censored, ahead=ahead, spread=spread)
    return [compare(a, lognormal_runs(rng, n, censored=censored), ratio)]


def two_lognormals(*, censored: float, ahead: float = 0.0, ratio: float = 1.0, spread: float = SPREAD) -> Scenario:
    """One comparison of two lognormal conditions; another `spread` of the first makes their curves cross."""
    return partial(_two_lognormals, censored=censored, ahead=ahead, ratio=ratio, spread=spread)


def _always(rng: np.random.Generator, n: int, *, outcome: Outcome) -> list[Outcomes]:
    return [np.full(n, outcome, dtype=np.int8)]


def always(outcome: Outcome) -> Scenario:
    """One comparison in which every replica says the same."""
    return partial(_always, outcome=outcome)


def _coin(rng: np.random.Generator, n: int, *, theta: float) -> list[Outcomes]:
    return [np.where(rng.random(n) < theta, Outcome.WIN, Outcome.LOSS).astype(np.int8)]


def coin(theta: float) -> Scenario:
    """One comparison, won with probability theta, never tied."""
    return partial(_coin, theta=theta)


def _shares(rng: np.random.Generator, n: int, *, weights: tuple[float, ...]) -> list[Outcomes]:
    return [rng.choice(len(weights), size=n, p=weights).astype(np.int8)]


def shares(loss: float, tie: float, win: float, censored: float = 0.0, undetermined: float = 0.0) -> Scenario:
    """One comparison whose outcomes have these probabilities, which sum to 1."""
    return partial(_shares, weights=(loss, tie, win, censored, undetermined))


def _gaps(rng: np.random.Generator, n: int, *, growth: float, spread: float, budget: int) -> list[Outcomes]:
    times = np.array([[100.0], [500.0], [100.0], [500.0]]) + spread * rng.standard_normal((4, n))
    times[3 if growth > 0 else 1] += abs(growth)
    steps = np.clip(np.round(times), 0, None).astype(np.int64)
    return [compare_gaps(steps, steps <= budget, budget=budget)]


def gaps(growth: float, *, budget: int, spread: float = 300.0) -> Scenario:
    """A gap of 400 updates that grows, or where `growth` is negative shrinks back, by so many in every replica."""
    return partial(_gaps, growth=growth, spread=spread, budget=budget)


def pairs_of(runs: list[Runs]) -> list[Outcomes]:
    """All pairs of an ordering, first against second, first against third, …"""
    return [compare(runs[i], runs[j]) for i in range(len(runs)) for j in range(i + 1, len(runs))]


def _order(rng: np.random.Generator, n: int, *, ahead: tuple[float, ...]) -> list[Outcomes]:
    return pairs_of([lognormal_runs(rng, n, censored=0.1, ahead=lead) for lead in ahead])


def order(*ahead: float) -> Scenario:
    """An ordering of lognormal conditions, each so far ahead."""
    return partial(_order, ahead=ahead)


DICE = ((2, 4, 9), (1, 6, 8), (3, 5, 7))  # the higher roll wins: each beats the next, and the last the first, by 5/9


def cycle(rng: np.random.Generator, n: int) -> list[Outcomes]:
    """A before B before C, where A beats B, B beats C and C beats A."""
    rolls = [BUDGET - rng.choice(die, size=n) for die in DICE]
    return pairs_of([Runs(steps, np.ones(n, bool)) for steps in rolls])
