"""Recorded runs of several conditions, ready to be compared pair by pair: values, or steps to a target."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.stats.margins import Margins
from lossact.stats.recorded.fixed import FixedDecision
from lossact.stats.recorded.outcome_counts import OutcomeCounts
from lossact.stats.recorded.paired import decide_paired
from lossact.stats.recorded.shift import Shift, hodges_lehmann
from lossact.stats.recorded.steps import (
    RecordedSteps,
    compare_recorded_steps,
    hidden_by_spacing,
    on_one_grid,
    scores,
)
from lossact.stats.recorded.unpaired import decide_unpaired, unlike
from lossact.stats.recorded.values import decide_value_pair, difference_interval, tied_scores, value_differences


@dataclass(frozen=True, eq=False)
class Samples(ABC):
    """What the conditions of a table hold.

    Attributes:
        names: of the conditions.
        paired: whether run k of one condition belongs to run k of every other.
    """

    names: Sequence[str]
    paired: bool

    @abstractmethod
    def sizes(self, first: int, second: int) -> tuple[int, int]:
        """Return the numbers of runs of two conditions.

        Args:
            first: index of one condition.
            second: index of the other one.

        Returns:
            the runs of each.
        """

    def smallest_untied_p(self, first: int, second: int) -> float:
        """Return the smallest one-sided p-value that so many runs without ties can have.

        Args:
            first: index of one condition.
            second: index of the other one.

        Returns:
            a probability > 0.
        """
        n_first, n_second = self.sizes(first, second)
        return 0.5**n_first if self.paired else 1 / math.comb(n_first + n_second, n_first)

    @abstractmethod
    def decide(self, first: int, second: int, *, alpha: float, delta: float) -> FixedDecision:
        """Decide "a run of the first condition is better than one of the second".

        Args:
            first: index of the condition that is claimed to be better.
            second: index of the other one.
            alpha: error probability a side, in (0, 1/2).
            delta: the smallest margin over 1/2 that matters, in (0, 1/2).

        Returns:
            the decision.
        """

    @abstractmethod
    def advantage(self, first: int, second: int, *, alpha: float) -> Shift | None:
        """Return by how much the first condition is better.

        Args:
            first: index of one condition.
            second: index of the other one.
            alpha: error probability a side, in (0, 1/2).

        Returns:
            the difference with its interval, positive where the first is better; None where ends of runs hide it.
        """

    @abstractmethod
    def warning(self, first: int, second: int) -> str:
        """Return what to know before quoting the comparison.

        Args:
            first: index of one condition.
            second: index of the other one.

        Returns:
            a warning, "" for nothing.
        """


@dataclass(frozen=True, eq=False)
class ValueSamples(Samples):
    """One number a run.

    Attributes:
        values: (runs,) for each condition; equally many where paired.
        lower: whether lower values are better.
    """

    values: Sequence[NDArray[np.float64]]
    lower: bool

    def sizes(self, first: int, second: int) -> tuple[int, int]:
        return len(self.values[first]), len(self.values[second])

    def _scores(self, first: int, second: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        sign = -1.0 if self.lower else 1.0
        return sign * self.values[first], sign * self.values[second]

    def decide(self, first: int, second: int, *, alpha: float, delta: float) -> FixedDecision:
        a, b = self._scores(first, second)
        return decide_value_pair(a, b, by=0.0, paired=self.paired, alpha=alpha, margins=Margins.of_wins(delta))

    def advantage(self, first: int, second: int, *, alpha: float) -> Shift | None:
        a, b = self._scores(first, second)
        if self.paired:
            return difference_interval(value_differences(a, b, [0.0], paired=True), alpha=alpha)
        return hodges_lehmann(*tied_scores(a, b, by=0.0), alpha=alpha)

    def warning(self, first: int, second: int) -> str:
        return "" if self.paired else unlike(*self._scores(first, second))


@dataclass(frozen=True, eq=False)
class StepSamples(Samples):
    """Steps to a target; sooner is better.

    Where runs were recorded at different steps, an advantage takes each to have met the target in the middle between
    the recorded step and the one before, and pairs whose order the spacing hides to have met it at once. Its interval
    allows for any step between.

    Attributes:
        steps: of each condition.
    """

    steps: Sequence[RecordedSteps]

    def sizes(self, first: int, second: int) -> tuple[int, int]:
        return len(self.steps[first]), len(self.steps[second])

    def decide(self, first: int, second: int, *, alpha: float, delta: float) -> FixedDecision:
        a, b = self.steps[first], self.steps[second]
        outcomes = compare_recorded_steps(a, b, paired=self.paired)
        margins = Margins.of_wins(delta)
        if self.paired:
            return decide_paired(OutcomeCounts.of(outcomes), alpha=alpha, margins=margins)
        return decide_unpaired(outcomes, *scores(a, b), alpha=alpha, margins=margins)

    def advantage(self, first: int, second: int, *, alpha: float) -> Shift | None:
        a, b = self.steps[first], self.steps[second]
        if not (a.reached.all() and b.reached.all()):
            return None
        last_a, last_b = -a.steps.astype(np.float64), -b.steps.astype(np.float64)
        if on_one_grid(a, b):
            return _shift(last_a, last_b, alpha=alpha, paired=self.paired)
        first_a, first_b = (-(each.before + 1).astype(np.float64) for each in (a, b))
        least = _shift(last_a, first_b, alpha=alpha, paired=self.paired)
        most = _shift(first_a, last_b, alpha=alpha, paired=self.paired)
        middle_a, middle_b = (first_a + last_a) / 2, (first_b + last_b) / 2
        differences = middle_a - middle_b if self.paired else np.subtract.outer(middle_a, middle_b)
        known = np.where(hidden_by_spacing(a, b, paired=self.paired), 0.0, differences)
        return Shift(float(np.median(known)), least.low, most.high)

    def warning(self, first: int, second: int) -> str:
        if self.paired:
            return ""
        first_steps, second_steps = (
            np.where(each.reached, each.steps, each.ends + 1).astype(np.float64)
            for each in (self.steps[first], self.steps[second])
        )
        return unlike(first_steps, second_steps)


def _shift(a: NDArray[np.float64], b: NDArray[np.float64], *, alpha: float, paired: bool) -> Shift:
    return difference_interval(a - b if paired else np.subtract.outer(a, b), alpha=alpha)
