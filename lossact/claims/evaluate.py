"""The one loop from a hypothesis to its verdict."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np

from lossact.checks import check_count, check_number
from lossact.claims.hypotheses import Hypothesis
from lossact.claims.theorem import Theorem
from lossact.claims.verdict import Verdict
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError
from lossact.experiment import Experiment
from lossact.stats import Comparison, Outcome
from lossact.storage import FEWEST_EQUAL_RUNS, Store, Trials

ALPHA = 0.025
DELTA = 0.1
MAX_REPLICAS = 2048
BLOCKS_PER_LOOK = 8
DRAWN_BLOCK = 64
OUTCOMES = list(Outcome)


def evaluate(
    hypothesis: Hypothesis,
    *,
    alpha: float = ALPHA,
    delta: float = DELTA,
    max_replicas: int = MAX_REPLICAS,
    family_size: int = 1,
    experiment: Experiment | None = None,
) -> Verdict:
    """Train as many replicas as the evidence needs and say what it shows.

    Args:
        hypothesis: what is claimed, as faster, ordering, fastest, slowest, reaches, not_worse, equivalent, exceeds,
            sampled, gap_grows and exact make it.
        alpha: error probability a side, for the whole family, in (0, 1/2).
        delta: the smallest margin over a win probability of 1/2 that matters, in (0, 1/2).
        max_replicas: where looking ends; rounded up to whole blocks.
        family_size: claims that are made together; each is decided at alpha / family_size.
        experiment: seed, store and setting; by default seed 0 and nothing kept.

    Raises:
        ClaimError: `hypothesis` is none.
        InputError: another argument breaks its rule.
    """
    if not isinstance(hypothesis, Hypothesis):
        raise ClaimError(f"{hypothesis!r} is not a hypothesis; make one with lossact.faster, say")
    check_levels(alpha, delta, max_replicas)
    check_count("family_size", family_size)
    begin = time.perf_counter()
    if isinstance(hypothesis, Theorem):
        return Verdict.of(hypothesis, hypothesis.check(), [], delta=delta, seconds=time.perf_counter() - begin)
    conditions = hypothesis.conditions
    block, limit = blocks_of(conditions, max_replicas)
    # Looks are at fixed numbers of replicas, so that nothing shown depends on what the store happened to hold.
    sizes = [*range(BLOCKS_PER_LOOK * block, limit, BLOCKS_PER_LOOK * block), limit]
    with experiment_or_temporary(experiment) as experiment, closing(experiment.looks(conditions, sizes)) as looks:
        for n, trials in zip(sizes, looks, strict=True):
            _check_start(conditions, trials)
            check_replicas_differ(conditions, trials)
            comparisons = checked_comparisons(hypothesis, experiment, trials, n)
            decision = hypothesis.decide(comparisons, alpha=alpha / family_size, delta=delta, limit=limit)
            if decision.final:
                return Verdict.of(hypothesis, decision, trials, delta=delta, seconds=time.perf_counter() - begin)
    raise AssertionError("a decision at the limit is final")


def _check_start(conditions: Sequence[BaseCondition], trials: Sequence[Trials]) -> None:
    for condition, one in zip(conditions, trials, strict=True):
        if one.reached.all() and not one.steps.any():
            raise ClaimError(
                f"{condition}: all {len(one)} replicas met the target before any update; choose one that is not met "
                "at the start"
            )


def check_replicas_differ(conditions: Sequence[BaseCondition], trials: Sequence[Trials]) -> None:
    """Raise ClaimError where the replicas of a condition are one run, whose verdict would be that of a single run."""
    for condition, own in zip(conditions, trials, strict=True):
        if own.are_one_run and not condition.equal_steps:
            raise ClaimError(
                f"{condition}: the first {FEWEST_EQUAL_RUNS} replicas computed exactly the same, so they are one run "
                f"that ignores its seed; {condition.seed_advice}"
            )


def checked_comparisons(
    hypothesis: Hypothesis, experiment: Experiment, trials: Sequence[Trials], replicas: int
) -> list[Comparison]:
    """What the first `replicas` say, each of them once in every comparison.

    Raises:
        ClaimError: a hypothesis of the user's own says something else.
    """
    own = f"{type(hypothesis).__name__}.comparisons"
    found = hypothesis.observe(experiment, trials, replicas)
    if not isinstance(found, list) or not found or not all(isinstance(one, Comparison) for one in found):
        raise ClaimError(f"{own} gave {found!r}; return a list of lossact.stats.Comparison")
    for one in found:
        outcomes = np.asarray(one.outcomes)
        if outcomes.shape != (replicas,) or outcomes.dtype.kind not in "iu" or not np.isin(outcomes, OUTCOMES).all():
            raise ClaimError(
                f"{own} gave {one.name!r} outcomes of shape {outcomes.shape} and type {outcomes.dtype} for "
                f"{replicas} replicas; give each its lossact.stats.Outcome, as compare_numbers makes them"
            )
    return found


def check_levels(alpha: float, delta: float, max_replicas: int) -> None:
    """Raise InputError where one of them breaks its rule."""
    check_number("alpha", alpha, above=0, below=0.5, hint=ALPHA)
    check_number("delta", delta, above=0, below=0.5, hint=DELTA)
    check_count("max_replicas", max_replicas, hint=MAX_REPLICAS)


def blocks_of(conditions: Sequence[BaseCondition], max_replicas: int) -> tuple[int, int]:
    """Replicas in a block, and at most: `max_replicas` rounded up to whole blocks."""
    block = max((condition.block for condition in conditions), default=DRAWN_BLOCK)
    return block, -(-max_replicas // block) * block


@contextmanager
def experiment_or_temporary(experiment: Experiment | None) -> Iterator[Experiment]:
    """The experiment, or where it is None one of seed 0 whose trials are gone afterwards."""
    if experiment is not None:
        yield experiment
        return
    with Store(None) as store:
        yield Experiment(store=store)
