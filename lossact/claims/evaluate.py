"""The one loop from a hypothesis to its verdict."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np

from lossact.checks import check_count, check_number, checked_call
from lossact.claims.hypotheses import AnyDecider, Hypothesis, check_hypothesis
from lossact.claims.recorded import decide_recorded, has_recorded_runs
from lossact.claims.theorem import Theorem
from lossact.claims.verdict import Verdict
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError, InputError
from lossact.experiment import Experiment
from lossact.stats import Comparison, Decision, Outcome
from lossact.storage import FEWEST_COPIES, FEWEST_EQUAL_RUNS, Store, Trials

ALPHA = 0.025
DELTA = 0.1
MAX_REPLICAS = 2048
SAMPLED_BLOCK = 16  # replicas of the first look where nothing is trained
LARGEST_STEP = 0.25  # of what was looked at before: what a claim may train beyond its verdict
OUTCOMES = list(Outcome)


@checked_call
def evaluate(
    hypothesis: Hypothesis,
    *,
    alpha: float = ALPHA,
    delta: float = DELTA,
    max_replicas: int = MAX_REPLICAS,
    min_replicas: int = 1,
    family_size: int = 1,
    max_seconds: float | None = None,
    experiment: Experiment | None = None,
) -> Verdict:
    """Train as many replicas as the evidence needs and say what it shows.

    Args:
        hypothesis: what is claimed, as lossact.faster, lossact.higher and the like make it.
        alpha: error probability a side, for the whole family, in (0, 1/2).
        delta: the smallest margin over a win probability of 1/2 that matters, in (0, 1/2).
        max_replicas: where looking ends; rounded up to whole blocks.
        min_replicas: replicas to look at whatever the verdict, for a sharper effect; it changes no verdict.
        family_size: claims that are made together; each is decided at alpha / family_size.
        max_seconds: after so many no further look begins, and an open claim is INCONCLUSIVE; None for no limit. The
            evidence stays valid, and what was trained is in the store for next time.
        experiment: seed, store and how to compute; by default seed 0 and nothing kept.

    Returns:
        the verdict, with its effect and interval.

    Raises:
        ClaimError: `hypothesis` is not a hypothesis.
        InputError: another argument breaks its rule.
    """
    check_hypothesis(hypothesis)
    check_levels(alpha, delta, max_replicas)
    check_count("min_replicas", min_replicas)
    if min_replicas > max_replicas:
        raise InputError(f"min_replicas={min_replicas} must be <= max_replicas={max_replicas}; lower it, or raise both")
    check_count("family_size", family_size)
    if max_seconds is not None:
        check_number("max_seconds", max_seconds, above=0, hint=60)
    begin = time.perf_counter()
    if isinstance(hypothesis, Theorem):
        with experiment_or_temporary(experiment) as experiment:
            decision = hypothesis.verify(experiment)
        return Verdict.of(hypothesis, decision, [], delta=delta, seconds=time.perf_counter() - begin)
    conditions = hypothesis.conditions
    if has_recorded_runs(conditions):
        recorded = decide_recorded(hypothesis, alpha=alpha / family_size, delta=delta)
        return Verdict.of_recorded(hypothesis, recorded, delta=delta, seconds=time.perf_counter() - begin)
    hypothesis.check()
    # The first look is large enough to see that replicas ignore their seed, or met their target at the start.
    sizes = looks_at(conditions, max_replicas, at_least=max(min_replicas, FEWEST_EQUAL_RUNS))
    limit = sizes[-1]
    decider: AnyDecider | None = None
    with experiment_or_temporary(experiment) as experiment, closing(experiment.looks(conditions, sizes)) as looks:
        for n, trials in zip(sizes, looks, strict=True):
            _check_start(conditions, trials)
            check_replicas_differ(conditions, trials)
            comparisons = checked_comparisons(hypothesis, experiment, trials, n)
            if decider is None:
                decider = hypothesis.decider(comparisons, delta, alpha=alpha / family_size, limit=limit)
            decision = decider.decide(comparisons)
            if not decision.final and max_seconds is not None and time.perf_counter() - begin > max_seconds:
                decision = out_of_time(decision, max_seconds)
            if decision.final:
                return Verdict.of(
                    hypothesis,
                    decision,
                    trials,
                    delta=delta,
                    seconds=time.perf_counter() - begin,
                    notes=notes_on_training(hypothesis, experiment),
                )
    raise AssertionError("a decision at the limit is final")


def notes_on_training(hypothesis: Hypothesis, experiment: Experiment) -> list[str]:
    """Return what a reader should know about how the conditions of a claim were trained.

    Args:
        hypothesis: the claim.
        experiment: what trained its conditions.

    Returns:
        notes, for `Verdict.of`.
    """
    conditions = hypothesis.conditions
    return [
        *_different_targets(hypothesis),
        *_fitted_one_at_a_time(conditions, experiment),
        *_changing(conditions, experiment),
    ]


def _different_targets(hypothesis: Hypothesis) -> list[str]:
    """Say where conditions are compared that do not train to the same target."""
    targets = {str(condition): condition.target_text for condition in hypothesis.conditions}
    if not hypothesis.needs_target or len({*targets.values(), ""}) <= 2:
        return []
    return [f"targets differ: {'; '.join(f'{name}: {target}' for name, target in targets.items() if target)}"]


def _fitted_one_at_a_time(conditions: Sequence[BaseCondition], experiment: Experiment) -> list[str]:
    """Say why replicas that were trained just now were fitted one at a time."""
    names: dict[str, list[str]] = {}
    for condition in dict.fromkeys(conditions):
        if condition in experiment.one_at_a_time:
            names.setdefault(experiment.one_at_a_time[condition], []).append(str(condition))
    return [
        f"replicas of {' and '.join(whose)} were fitted one at a time, because {reason}"
        for reason, whose in names.items()
    ]


def _changing(conditions: Sequence[BaseCondition], experiment: Experiment) -> list[str]:
    """Say whose replicas, trained just now, may depend on those before them."""
    changing = getattr(experiment, "changing", ())  # what stands in for an Experiment may not train
    names = " and ".join(str(condition) for condition in dict.fromkeys(conditions) if condition in changing)
    if not names:
        return []
    return [
        f"training changed values that the code of {names} reads, such as a global variable or a generator; where they "
        "matter, a replica depends on those before it: set them anew in training"
    ]


def looks_at(conditions: Sequence[BaseCondition], max_replicas: int, *, at_least: int = 1) -> list[int]:
    """Return the numbers of replicas at which the evidence about conditions is read; the last is where looking ends.

    Args:
        conditions: of the claim.
        max_replicas: at most; rounded up to whole blocks.
        at_least: replicas in the first look.

    Returns:
        numbers of replicas, increasing.
    """
    block, limit = blocks_of(conditions, max_replicas)
    launch = max((condition.launch for condition in conditions), default=block)
    return look_sizes(block, limit, at_least=at_least, launch=launch)


def look_sizes(block: int, limit: int, *, at_least: int = 1, launch: int = 1) -> list[int]:
    """Return the numbers of replicas at which the evidence is read: they do not depend on what a store holds.

    The first look is one block, or as many as hold `at_least` replicas. Each further one adds as many blocks as fit a
    quarter of the replicas before it, at least one, so that little is trained beyond a verdict; or up to a multiple of
    what trains about as fast as a block alone.

    Args:
        block: replicas in a block.
        limit: replicas at most, whole blocks.
        at_least: replicas in the first look.
        launch: replicas that train together about as fast as a block.

    Returns:
        numbers of replicas, increasing, whole blocks.

    >>> look_sizes(16, 256)
    [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 240, 256]
    >>> look_sizes(16, 256, launch=64)
    [16, 64, 128, 192, 256]
    """
    sizes = [min(limit, -(-at_least // block) * block)]
    while sizes[-1] < limit:
        step = max(1, int(LARGEST_STEP * sizes[-1]) // block) * block
        filled = (sizes[-1] // launch + 1) * launch
        sizes.append(min(limit, max(sizes[-1] + step, filled // block * block)))
    return sizes


def out_of_time(decision: Decision, seconds: float) -> Decision:
    """Return an open decision as the last one, for no further look begins.

    Args:
        decision: about the replicas so far, open.
        seconds: the time that was up.

    Returns:
        the decision, final, with time as its reason.
    """
    more = f"; about {decision.replicas_to_go} more would probably settle it" if decision.replicas_to_go else ""
    reason = f"time ({seconds:g} s) was up after {decision.replicas} replicas{more}"
    return replace(decision, reason=reason, final=True, out_of_time=True)


def _check_start(conditions: Sequence[BaseCondition], trials: Sequence[Trials]) -> None:
    for condition, outcomes in zip(conditions, trials, strict=True):
        if len(outcomes) >= FEWEST_EQUAL_RUNS and outcomes.reached.all() and not outcomes.steps.any():
            raise ClaimError(
                f"{condition}: all {len(outcomes)} replicas met the target before any update; choose one that is not "
                "met at the start"
            )


def check_replicas_differ(conditions: Sequence[BaseCondition], trials: Sequence[Trials]) -> None:
    """Raise ClaimError where the replicas of a condition are one run, or copies of a few: they are no evidence.

    Args:
        conditions: of the claim.
        trials: of each condition, in the same order.

    Raises:
        ClaimError: as above; conditions whose steps may be equal pass.
    """
    for condition, outcomes in zip(conditions, trials, strict=True):
        if condition.equal_steps:
            continue
        if outcomes.are_one_run and outcomes.diverged[:FEWEST_EQUAL_RUNS].all():
            raise ClaimError(
                f"{condition}: the first {FEWEST_EQUAL_RUNS} replicas diverged alike, so that there is nothing to "
                "compare; look for NaN in its data, and at its learning rate"
            )
        if outcomes.are_one_run:
            raise ClaimError(
                f"{condition}: the first {FEWEST_EQUAL_RUNS} replicas computed exactly the same, so they are one run "
                f"that ignores its seed; {condition.seed_advice}"
            )
        if len(outcomes) >= FEWEST_EQUAL_RUNS and outcomes.n_copies >= FEWEST_COPIES:
            raise ClaimError(
                f"{condition}: {outcomes.n_copies} of {len(outcomes)} replicas computed exactly what another one did, "
                f"so they are copies of few runs; {condition.seed_advice}"
            )


def checked_comparisons(
    hypothesis: Hypothesis, experiment: Experiment, trials: Sequence[Trials], replicas: int
) -> list[Comparison]:
    """Return what the first `replicas` show, each of them once in every comparison.

    Args:
        hypothesis: the claim.
        experiment: what a hypothesis may ask for further numbers.
        trials: of each condition, `replicas` of them.
        replicas: how many are looked at, >= 1.

    Returns:
        comparisons, each with outcomes (replicas,).

    Raises:
        ClaimError: a user's own hypothesis returns something else.
    """
    method = f"{type(hypothesis).__name__}.comparisons"
    comparisons = hypothesis.observe(experiment, trials, replicas)
    if (
        not isinstance(comparisons, list)
        or not comparisons
        or not all(isinstance(comparison, Comparison) for comparison in comparisons)
    ):
        raise ClaimError(f"{method} gave {comparisons!r}; return a list of lossact.stats.Comparison")
    for comparison in comparisons:
        outcomes = np.asarray(comparison.outcomes)
        if outcomes.shape != (replicas,) or outcomes.dtype.kind not in "iu" or not np.isin(outcomes, OUTCOMES).all():
            raise ClaimError(
                f"{method} gave {comparison.name!r} outcomes of shape {outcomes.shape} and type {outcomes.dtype} for "
                f"{replicas} replicas; give each its lossact.stats.Outcome, as compare_numbers makes them"
            )
    return comparisons


def check_levels(alpha: float, delta: float, max_replicas: int) -> None:
    """Raise InputError where a level of a claim breaks its rule.

    Args:
        alpha: error probability a side, in (0, 1/2).
        delta: the smallest margin that matters, in (0, 1/2).
        max_replicas: replicas at most, >= 1.

    Raises:
        InputError: one of them is out of range.
    """
    check_number("alpha", alpha, above=0, below=0.5, hint=ALPHA)
    check_number("delta", delta, above=0, below=0.5, hint=DELTA)
    check_count("max_replicas", max_replicas, hint=MAX_REPLICAS)


def blocks_of(conditions: Sequence[BaseCondition], max_replicas: int) -> tuple[int, int]:
    """Return the number of replicas in a block, and the most that a claim takes.

    Args:
        conditions: of the claim; none where it samples something else.
        max_replicas: replicas at most, >= 1.

    Returns:
        the block, the largest among the conditions, and `max_replicas` rounded up to whole blocks.
    """
    block = max((condition.block for condition in conditions), default=SAMPLED_BLOCK)
    return block, -(-max_replicas // block) * block


@contextmanager
def experiment_or_temporary(experiment: Experiment | None) -> Iterator[Experiment]:
    """Yield the experiment, or a temporary one of seed 0 where it is None.

    Args:
        experiment: as the caller was given it.

    Yields:
        an experiment; a temporary one loses its trials afterwards.

    Raises:
        InputError: it is something else.
    """
    if experiment is not None and not hasattr(experiment, "looks"):
        raise InputError(
            f"experiment={experiment!r} must be an Experiment; try Experiment(store=Store('.lossact'), seed=0)"
        )
    if experiment is not None:
        yield experiment
        return
    with Store(None) as store:
        yield Experiment(store=store)
