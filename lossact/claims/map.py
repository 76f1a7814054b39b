"""Where a claim holds: its verdict over a grid of two numbers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import checked_call
from lossact.claims.axis import FORM, FORMS, Axis
from lossact.claims.evaluate import (
    ALPHA,
    DELTA,
    MAX_REPLICAS,
    blocks_of,
    check_levels,
    check_replicas_differ,
    checked_comparisons,
    experiment_or_temporary,
    notes_on_training,
)
from lossact.claims.hypotheses import Hypothesis
from lossact.claims.theorem import Theorem
from lossact.claims.verdict import Verdict
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError, InputError
from lossact.experiment import Experiment
from lossact.stats import Decider
from lossact.stats.decision import LIMIT_REACHED


def map_conditions(hypothesis: Hypothesis, change: Callable[[BaseCondition], BaseCondition]) -> Hypothesis:
    """Return the same hypothesis about changed conditions.

    Args:
        hypothesis: any.
        change: condition -> condition.

    Returns:
        the hypothesis; conditions keep their names.

    Raises:
        ClaimError: it holds conditions elsewhere than in its fields, and in tuples and hypotheses there.
    """

    def changed(condition: BaseCondition) -> BaseCondition:
        return replace(change(condition), name=condition.name)  # type: ignore[type-var]

    def apply(value: Any) -> Any:
        if isinstance(value, BaseCondition):
            return changed(value)
        if isinstance(value, Hypothesis):
            return map_conditions(value, change)
        return tuple(map(apply, value)) if isinstance(value, tuple) else value

    changes = {field.name: apply(getattr(hypothesis, field.name)) for field in fields(hypothesis)}  # type: ignore[arg-type]
    moved: Hypothesis = replace(hypothesis, **changes)  # type: ignore[type-var]
    for condition in map(changed, hypothesis.conditions):
        if condition not in moved.conditions:
            raise ClaimError(
                f"{type(hypothesis).__name__} holds {condition.name} where it cannot be changed; keep conditions in "
                "fields of the hypothesis, or in tuples there"
            )
    return moved


@dataclass(frozen=True, eq=False)
class ClaimMap:
    """A claim over a grid.

    Attributes:
        hypothesis: as it was given.
        x, y: the axes.
        cells: (y values, x values) of verdicts, each about the hypothesis moved to its place.
        reference_point: (x, y) of the hypothesis as given, None where its conditions differ on an axis.
        alpha, delta: of each cell.
        exploratory: whether cells were decided without regard to how many there are.
        seed: the experiment's.
        notes: what a reader should know about how the conditions were trained.
    """

    hypothesis: Hypothesis
    x: Axis
    y: Axis
    cells: tuple[tuple[Verdict, ...], ...]
    reference_point: tuple[float, float] | None
    alpha: float
    delta: float
    exploratory: bool
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def verdicts(self) -> list[Verdict]:
        """All cells, row by row."""
        return [cell for row in self.cells for cell in row]

    @property
    def values(self) -> NDArray[np.float64]:
        """(y values, x values) of effects."""
        return np.array([[cell.decision.value for cell in row] for row in self.cells])

    def diverged(self) -> NDArray[np.bool_]:
        """(y values, x values): whether more than half of the replicas of some condition diverged."""
        return np.array(
            [[any(2 * c.diverged > c.replicas for c in cell.conditions) for cell in row] for row in self.cells]
        )

    def best(self) -> tuple[float, float]:
        """(x, y) of the cell most favourable to the claim.

        It is the one with the largest lower bound, then the largest effect, among the cells that censoring allows a
        verdict; the others come last.
        """

        def favour(at: tuple[int, ...]) -> tuple[bool, float, float]:
            d = self.cells[at[0]][at[1]].decision
            is_determined = d.verdict != "inconclusive" or str(d.reason).startswith(LIMIT_REACHED)
            return is_determined, d.low, d.value

        row, column = max(np.ndindex(self.values.shape), key=favour)
        return self.x.values[column], self.y.values[row]

    def at(self, x: float, y: float) -> Hypothesis:
        """Return the hypothesis at a place of the map.

        Args:
            x: value on the first axis.
            y: value on the second axis.

        Returns:
            the hypothesis about the conditions there.
        """
        return map_conditions(self.hypothesis, lambda condition: self.y.at(self.x.at(condition, x), y))

    def __str__(self) -> str:
        names = [cell.name for cell in self.verdicts]
        shares = ", ".join(f"{word} in {names.count(word)}" for word in ("supported", "refuted", "inconclusive"))
        diverged = int(self.diverged().sum())
        return (
            f"{self.hypothesis!r}\n{len(names)} cells: {shares}"
            + (f"; most replicas of a condition diverged in {diverged}" if diverged else "")
            + f"; {'exploratory, ' if self.exploratory else ''}alpha {self.alpha:.2g} a side in each cell"
            + "".join(f"\nnote: {note}" for note in self.notes)
        )


@checked_call
def map_claim(
    hypothesis: Hypothesis,
    *,
    x: Axis | str,
    y: Axis | str,
    experiment: Experiment | None = None,
    alpha: float = ALPHA,
    delta: float = DELTA,
    max_replicas: int = MAX_REPLICAS,
    exploratory: bool = False,
) -> ClaimMap:
    """Decide a claim at every point of a grid.

    Every cell starts with one block; cells that are still open get twice as many replicas each round, until they are
    decided or at the limit. Cells share launches where their conditions may.

    Args:
        hypothesis: what is claimed; every condition of it is moved alike.
        x, y: two different axes, or texts such as "optimizer.learning_rate=1e-3:1:log:12".
        experiment: seed, store and how to compute; by default seed 0 and nothing kept. What its store holds is not
            trained again, so a map can be resumed, extended and refined.
        alpha: error probability a side of the whole map.
        delta: the smallest margin that matters.
        max_replicas: where looking ends in a cell; rounded up to whole blocks.
        exploratory: decide each cell at alpha, and not at alpha / cells.

    Returns:
        the map, with a verdict for each point.

    Raises:
        ClaimError: the hypothesis has no conditions.
        InputError: an axis names no number of the conditions, or another argument breaks its rule.
    """
    if not isinstance(hypothesis, Hypothesis) or isinstance(hypothesis, Theorem) or not hypothesis.conditions:
        raise ClaimError(f"{hypothesis!r} has no conditions to move; map a claim such as lossact.faster(a, than=b)")
    if hypothesis.effect_unit:
        raise ClaimError(f'{hypothesis!r} is about a mean, and maps show probabilities; leave out of="mean"')
    x, y = (_as_axis(name, axis) for name, axis in (("x", x), ("y", y)))
    if x.path == y.path:
        raise InputError(f"x={x.path} and y={y.path} must be two different numbers")
    check_levels(alpha, delta, max_replicas)
    places = [(a, b) for b in y.values for a in x.values]
    try:
        cells = [map_conditions(hypothesis, lambda condition, a=a, b=b: y.at(x.at(condition, a), b)) for a, b in places]  # type: ignore[misc]
    except ClaimError as error:
        raise ClaimError(
            f"{str(error).partition('; change a setting')[0]} on the map, for an axis moves all conditions to one "
            "value; take another axis than what they differ in"
        ) from None
    level = alpha if exploratory else alpha / len(cells)
    with experiment_or_temporary(experiment) as experiment:
        seed = experiment.seed
        verdicts = _decide_all(cells, experiment, alpha=level, delta=delta, max_replicas=max_replicas)
        notes = tuple(dict.fromkeys(note for cell in cells for note in notes_on_training(cell, experiment)))
    width = len(x.values)
    rows = tuple(tuple(verdicts[at : at + width]) for at in range(0, len(verdicts), width))
    return ClaimMap(
        hypothesis,
        x,
        y,
        rows,
        _reference_point(hypothesis, x, y),
        alpha=level,
        delta=delta,
        exploratory=exploratory,
        seed=seed,
        notes=notes,
    )


def _as_axis(name: str, axis: Any) -> Axis:
    if not isinstance(axis, (str, Axis)):
        raise InputError(f"{name}={axis!r} must be an Axis, or a text: {FORMS}; try {FORM}")
    return Axis.parse(axis) if isinstance(axis, str) else axis


def _decide_all(
    cells: Sequence[Hypothesis], experiment: Experiment, *, alpha: float, delta: float, max_replicas: int
) -> list[Verdict]:
    """Rounds over the cells that are still open, each with twice as many replicas."""
    begin = time.perf_counter()
    for cell in cells:
        cell.check()
    n, limit = blocks_of([condition for cell in cells for condition in cell.conditions], max_replicas)
    decided: dict[int, Verdict] = {}
    deciders: dict[int, Decider] = {}
    while len(decided) < len(cells):
        still = [k for k in range(len(cells)) if k not in decided]
        trials_of_cells = iter(experiment.trials([condition for k in still for condition in cells[k].conditions], n))
        for k in still:
            trials = [next(trials_of_cells) for _ in cells[k].conditions]
            check_replicas_differ(cells[k].conditions, trials)
            comparisons = checked_comparisons(cells[k], experiment, trials, n)
            if k not in deciders:
                deciders[k] = Decider(cells[k].evidence(comparisons, delta), alpha=alpha, limit=limit)
            decision = deciders[k].decide(comparisons)
            if decision.final:
                decided[k] = Verdict.of(
                    cells[k],
                    decision,
                    trials,
                    delta=delta,
                    seconds=time.perf_counter() - begin,
                    notes=notes_on_training(cells[k], experiment),
                )
        n = min(2 * n, limit)
    return [decided[k] for k in range(len(cells))]


def _reference_point(hypothesis: Hypothesis, x: Axis, y: Axis) -> tuple[float, float] | None:
    points = {(x.of(condition), y.of(condition)) for condition in hypothesis.conditions}
    return points.pop() if len(points) == 1 else None
