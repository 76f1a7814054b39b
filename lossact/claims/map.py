"""Where a claim holds: its verdict over a grid of two numbers."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_count, check_number, checked_call
from lossact.claims.evaluate import (
    ALPHA,
    DELTA,
    MAX_REPLICAS,
    blocks_of,
    check_levels,
    check_replicas_differ,
    checked_comparisons,
    experiment_or_temporary,
)
from lossact.claims.hypotheses import Hypothesis
from lossact.claims.theorem import Theorem
from lossact.claims.verdict import Verdict
from lossact.conditions import BaseCondition
from lossact.conditions.frozen_mapping import FrozenMapping
from lossact.errors import ClaimError, InputError
from lossact.experiment import Experiment
from lossact.stats import Decider
from lossact.stats.decision import LIMIT_REACHED

FORM = "optimizer.learning_rate=1e-3:1:log:12"
FORMS = "path=low:high:count, path=low:high:log:count or path=value,value"
MOST_VALUES = 10_000  # of an axis


@dataclass(frozen=True)
class Axis:
    """One number of every condition, and the values that it takes.

    Args:
        path: the field, from the condition on: "optimizer.learning_rate".
        values: increasing, at least one.
        log: whether they are evenly spaced in logarithm.

    Raises:
        InputError: there are no values, one is not finite, or they do not increase.
    """

    path: str
    values: tuple[float, ...]
    log: bool = False

    def __post_init__(self) -> None:
        if not self.values or any(b <= a for a, b in zip(self.values, self.values[1:], strict=False)):
            values = ",".join(f"{value:g}" for value in self.values)
            raise InputError(f"{self.path}={values} must be increasing values, at least one; try {FORM}")
        for value in self.values:
            check_number(self.path, value, hint=FORM)

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """Read an axis as the command line has it.

        Args:
            text: path=low:high:count, path=low:high:log:count, or the values themselves, path=0.1,0.2,0.5.

        Returns:
            the axis, its values rounded to 12 digits.

        Raises:
            InputError: the text has another form, or an empty range.
        """
        path, equals, numbers = text.partition("=")
        parts = numbers.split(":")
        if path and len(parts) == 1 and (values := _numbers(numbers)):
            return cls(path, values)
        log = len(parts) == 4 and parts[2] == "log"
        try:
            low, high, count = float(parts[0]), float(parts[1]), int(parts[-1])
        except (ValueError, IndexError):
            raise InputError(f"axis {text!r} must be {FORMS}; try {FORM}") from None
        if not equals or not path or len(parts) != 3 + log:
            raise InputError(f"axis {text!r} must be {FORMS}; try {FORM}")
        check_number(f"{path}'s lowest value", low, hint="1e-3", **({"above": 0} if log else {}))
        check_number(f"{path}'s highest value", high, above=low, hint=low + 1)
        check_count(f"{path}'s count", count, at_least=2, at_most=MOST_VALUES, hint=12)
        spaced = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
        return cls(path, tuple(float(f"{value:.12g}") for value in spaced), log)

    def at(self, condition: BaseCondition, value: float) -> BaseCondition:
        """Return a condition, moved to a value of this axis.

        Args:
            condition: has a number at the axis's path.
            value: the new number.

        Returns:
            the changed condition.

        Raises:
            InputError: it has no such field, or the field does not take the value.
        """
        changed = _set(condition, self.path.split("."), value, self.path)
        assert isinstance(changed, BaseCondition)
        return changed

    def of(self, condition: BaseCondition) -> float:
        """Return where a condition lies on this axis.

        Args:
            condition: has a number at the axis's path.

        Returns:
            that number.
        """
        value: Any = condition
        for name in self.path.split("."):
            value = value[name] if isinstance(value, FrozenMapping) else getattr(value, name)
        return float(value)


def _numbers(text: str) -> tuple[float, ...]:
    """Return numbers with commas between them, none where there is anything else."""
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) and len(numbers) <= MOST_VALUES else ()


def _set(owner: Any, path: Sequence[str], value: float, whole: str) -> Any:
    name, *rest = path
    known = _names(owner)
    if name not in known:
        choices = f"; choose one of {', '.join(known)}" if known else ""
        kind = "config" if isinstance(owner, FrozenMapping) else type(owner).__name__
        raise InputError(f"{whole}: {kind} has no {name!r}{choices}")
    now = owner[name] if isinstance(owner, FrozenMapping) else getattr(owner, name)
    if not rest and (not isinstance(now, (int, float)) or isinstance(now, bool)):
        inner = [f"{whole}.{field}" for field in _names(now)]
        hint = f"; go on with one of {', '.join(inner)}" if inner else ""
        raise InputError(f"{whole}={now} is no number{hint}")
    if not rest and isinstance(now, int) and not _takes_any_number(owner, name) and value != int(value):
        raise InputError(f"{whole}={value:g} must be an integer; choose a count that steps by whole numbers")
    new = _set(now, rest, value, whole) if rest else float(value) if _takes_any_number(owner, name) else int(value)
    return type(owner)({**owner, name: new}) if isinstance(owner, FrozenMapping) else replace(owner, **{name: new})


def _takes_any_number(owner: Any, name: str) -> bool:
    """Whether a field takes fractions, also where an integer was given."""
    if isinstance(owner, FrozenMapping):
        return isinstance(owner[name], float)
    return any("float" in str(field.type) for field in fields(owner) if field.name == name)


def _names(owner: Any) -> list[str]:
    """The parts that a path can go on with."""
    if isinstance(owner, FrozenMapping):
        return sorted(owner)
    return [field.name for field in fields(owner)] if is_dataclass(owner) else []


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
            f"{error} on the map, for an axis moves all conditions to one value; take another axis than what they "
            "differ in"
        ) from None
    level = alpha if exploratory else alpha / len(cells)
    with experiment_or_temporary(experiment) as experiment:
        seed = experiment.seed
        verdicts = _decide_all(cells, experiment, alpha=level, delta=delta, max_replicas=max_replicas)
    width = len(x.values)
    rows = tuple(tuple(verdicts[at : at + width]) for at in range(0, len(verdicts), width))
    return ClaimMap(hypothesis, x, y, rows, _reference_point(hypothesis, x, y), level, delta, exploratory, seed)


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
                decided[k] = Verdict.of(cells[k], decision, trials, delta=delta, seconds=time.perf_counter() - begin)
        n = min(2 * n, limit)
    return [decided[k] for k in range(len(cells))]


def _reference_point(hypothesis: Hypothesis, x: Axis, y: Axis) -> tuple[float, float] | None:
    points = {(x.of(condition), y.of(condition)) for condition in hypothesis.conditions}
    return points.pop() if len(points) == 1 else None
