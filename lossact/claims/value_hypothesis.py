"""What every hypothesis about a measure is."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from lossact.claims.hypotheses import Hypothesis
from lossact.claims.verdict_summary import Estimate
from lossact.conditions import RecordedRuns
from lossact.stats import Margins
from lossact.storage import Trials


class ValueHypothesis(Hypothesis):
    """A claim about a measure of trained networks."""

    measure: str

    effect_name = "probability"

    def margins(self, delta: float) -> Margins:
        return replace(
            Margins.of_wins(delta),
            refutation_labels=self.refutation_labels,
            censoring_reason="too many replicas have no value",
        )

    @property
    @abstractmethod
    def refutation_labels(self) -> tuple[str, str]:
        """What REFUTED is called where the opposite is shown, and where it is not."""

    @abstractmethod
    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        """Return what people read: a median with its confidence sequence.

        Args:
            trials: of each condition, in the order of the conditions.
            alpha: error probability a side, in (0, 1/2).

        Returns:
            the estimate, in the measure's unit.
        """

    @property
    def budget(self) -> int | None:
        """The updates after which the measure is taken, None where it was recorded."""
        condition = self.conditions[0]
        return None if isinstance(condition, RecordedRuns) else condition.measured_after(self.measure)
