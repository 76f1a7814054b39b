"""What a claim would cost: one block is trained and timed, and nothing is decided."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from lossact.checks import check_count, checked_call
from lossact.claims.evaluate import (
    ALPHA,
    DELTA,
    MAX_REPLICAS,
    check_levels,
    check_replicas_differ,
    checked_comparisons,
    experiment_or_temporary,
    looks_at,
)
from lossact.claims.hypotheses import Hypothesis, check_hypothesis
from lossact.claims.mean_values import MeanHypothesis
from lossact.claims.recorded import has_recorded_runs
from lossact.claims.theorem import Theorem
from lossact.conditions import BaseCondition
from lossact.experiment import Experiment, import_torch
from lossact.stats import Comparison, PairwiseEvidence
from lossact.stats.planning import replicas_at
from lossact.storage import FEWEST_EQUAL_RUNS, Trials

EFFECTS = {"none": 0.0, "small": 0.2, "medium": 0.4, "large": 0.8}  # of the way from the threshold to certainty


@dataclass(frozen=True)
class PlannedEffect:
    """What a verdict would take at one size of the effect.

    Attributes:
        name: "none", "small", "medium" or "large".
        probability: what the hypothesis is about: a win probability of 0.5, 0.6, 0.7 and 0.9 for most.
        replicas: about how many a verdict takes, in whole looks; None where the limit comes first.
        seconds: about how long they train from nothing; None where that is not known.
    """

    name: str
    probability: float
    replicas: int | None
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """What a claim would cost.

    Attributes:
        sentence: what is claimed.
        block: replicas that were looked at.
        seconds_per_replica: of all conditions together; None where the store held them already.
        max_replicas: where looking would end.
        reached: condition to how many of the block's replicas reached their target, for those that have one.
        effects: what a verdict would take; none where nothing is trained.
    """

    sentence: str
    block: int
    seconds_per_replica: float | None
    max_replicas: int
    reached: dict[str, int]
    effects: tuple[PlannedEffect, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.effects:
            return f"{self.sentence}\n  nothing is trained"
        each = self.seconds_per_replica
        pace = "stored already, so that its pace is not known" if each is None else f"{_time(each)} a replica"
        lines = [self.sentence, f"  first {self.block} replicas: {pace}"]
        if self.reached:
            shares = ", ".join(f"{name} {n} of {self.block}" for name, n in self.reached.items())
            lines.append(f"  reached the target: {shares}")
        for effect in self.effects:
            cost = f"more than {self.max_replicas:,} replicas"
            if effect.replicas is not None:
                cost = f"about {effect.replicas:,} replicas" + (
                    "" if effect.seconds is None else f", {_time(effect.seconds)}"
                )
            lines.append(f"  effect {effect.name:6} ({effect.probability:.2f}): {cost}")
        return "\n".join(lines)


@checked_call
def plan(
    hypothesis: Hypothesis,
    *,
    alpha: float = ALPHA,
    delta: float = DELTA,
    max_replicas: int = MAX_REPLICAS,
    family_size: int = 1,
    experiment: Experiment | None = None,
) -> Plan:
    """Train one block and say what a verdict would take, were the effect none, small, medium or large.

    It follows the expected path of the evidence; chance makes many claims end sooner and some later. Nothing is
    decided, and what was trained is in the store for the verdict.

    Args:
        hypothesis: what is claimed.
        alpha: error probability a side, for the whole family, in (0, 1/2).
        delta: the smallest margin over a win probability of 1/2 that matters, in (0, 1/2).
        max_replicas: where looking would end; rounded up to whole blocks.
        family_size: claims that are made together.
        experiment: seed, store and how to compute; by default seed 0 and nothing kept.

    Returns:
        the plan, which prints as a few lines.

    Raises:
        ClaimError: `hypothesis` is not a hypothesis.
        InputError: another argument breaks its rule.
    """
    check_hypothesis(hypothesis)
    check_levels(alpha, delta, max_replicas)
    check_count("family_size", family_size)
    if isinstance(hypothesis, Theorem) or has_recorded_runs(hypothesis.conditions):
        return Plan(repr(hypothesis), 0, None, max_replicas, {}, ())
    hypothesis.check()
    conditions = hypothesis.conditions
    sizes = looks_at(conditions, max_replicas, at_least=FEWEST_EQUAL_RUNS)
    (block, *_), limit = looks_at(conditions, max_replicas), sizes[-1]
    with experiment_or_temporary(experiment) as experiment:
        trials, pace = _timed(experiment, conditions, block)
        check_replicas_differ(conditions, trials)
        comparisons = checked_comparisons(hypothesis, experiment, trials, block)
    threshold, replicas_of = _cost(hypothesis, comparisons, delta=delta, alpha=alpha / family_size, limit=limit)
    effects = []
    for name, share in EFFECTS.items():
        probability = threshold + share * (1 - threshold)
        needed = replicas_of(probability)
        replicas = None if needed is None else next(size for size in sizes if size >= needed)
        seconds = None if replicas is None or pace is None else pace * replicas
        effects.append(PlannedEffect(name, probability, replicas, seconds))
    reached = {
        condition.name: int(outcomes.reached.sum())
        for condition, outcomes in zip(conditions, trials, strict=True)
        if condition.has_target
    }
    return Plan(repr(hypothesis), block, pace, limit, reached, tuple(effects))


def _timed(
    experiment: Experiment, conditions: Sequence[BaseCondition], block: int
) -> tuple[list[Trials], float | None]:
    """The first block of each condition, and the seconds a replica of all of them took, where all were trained."""
    import_torch()
    # What a process does once takes longer than many a block: imports, and reading lossact's own code for keys.
    for module in ("runner", "external", "fits_together"):
        import_module(f"lossact.running.{module}")
    for condition in conditions:
        experiment.key(condition)
    before, begin = experiment.trained_replicas, time.perf_counter()
    trials = experiment.trials(conditions, block)
    trained, seconds = experiment.trained_replicas - before, time.perf_counter() - begin
    return trials, seconds * len(conditions) / trained if trained else None


def _cost(
    hypothesis: Hypothesis, comparisons: Sequence[Comparison], *, delta: float, alpha: float, limit: int
) -> tuple[float, Callable[[float], int | None]]:
    """The probability that a claim is held against, and the replicas that a verdict takes at another one.

    A claim about a mean is planned as if its numbers went on with the spread of the first block, and this share of them
    lay on the claimed side of the constant.
    """
    if isinstance(hypothesis, MeanHypothesis):
        decider = hypothesis.decider(comparisons, delta, alpha=alpha, limit=limit)
        return 0.5, partial(decider.replicas_at, np.asarray(comparisons[0].numbers))
    evidence = hypothesis.evidence(comparisons, delta)
    threshold = evidence.margins.support if isinstance(evidence, PairwiseEvidence) else 0.5
    return threshold, lambda probability: replicas_at(
        evidence, probability, comparisons=len(comparisons), alpha=alpha, limit=limit
    )


def _time(seconds: float) -> str:
    """A time in words, to two digits."""
    for unit, size, most in (("ms", 1e-3, 1.0), ("s", 1.0, 100.0), ("min", 60.0, 6000.0)):
        if seconds < most:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{seconds / 3600:.1f} h"
