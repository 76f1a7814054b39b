"""How often the runs of one condition win, tie and lose against those of another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.stats.outcomes import Outcome


@dataclass(frozen=True)
class OutcomeCounts:
    """Counts over pairs of runs.

    Attributes:
        wins, ties, losses: pairs whose outcome is known.
        censored: pairs of which neither run reached the target, and both ended at one step.
        undetermined: pairs whose outcome is hidden by the end of a run.
    """

    wins: int
    ties: int
    losses: int
    censored: int = 0
    undetermined: int = 0

    @classmethod
    def of(cls, outcomes: NDArray[np.int8]) -> "OutcomeCounts":
        """Count outcomes.

        Args:
            outcomes: Outcome values, any shape.

        Returns:
            how often each occurs.
        """
        count = np.bincount(outcomes.ravel(), minlength=len(Outcome)).tolist()
        return cls(wins=count[2], ties=count[1], losses=count[0], censored=count[3], undetermined=count[4])

    @property
    def n(self) -> int:
        """All pairs."""
        return self.wins + self.ties + self.losses + self.censored + self.undetermined

    @property
    def mean(self) -> float:
        """The observed mean of W, with 1/2 for every pair that has no winner."""
        return (self.wins + (self.ties + self.censored + self.undetermined) / 2) / self.n

    @property
    def lowest_mean(self) -> float:
        """The mean of W as support counts it: undetermined pairs are lost."""
        return (self.wins + (self.ties + self.censored) / 2) / self.n

    @property
    def highest_mean(self) -> float:
        """The mean of W as refutation counts it: pairs that censoring hides are won."""
        return (self.wins + self.censored + self.undetermined + self.ties / 2) / self.n
