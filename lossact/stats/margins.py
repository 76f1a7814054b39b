"""The values that a mean of W is held against."""

from dataclasses import dataclass

from lossact.checks import check_number
from lossact.stats.betting import MIXTURE, Bets

BUDGET_TOO_SHORT = "budget too short"  # too many replicas never reach their targets


@dataclass(frozen=True)
class Margins:
    """The two nulls of a claim about E[W], and the words for what is not supported.

    Attributes:
        support: the null of support is E[W] <= this.
        refute: the null of refutation is E[W] >= this, greater than `support`.
        bets: of the mixture, fixed before any data are seen.
        refutation_labels: what REFUTED is called where the mean is shown to be below `support`, and where it is not.
        without_undetermined: whether the shown effect leaves undetermined replicas out; else each counts one half.
        censoring_reason: what INCONCLUSIVE is called where too many replicas leave the comparison undetermined.

    Raises:
        InputError: a value breaks its rule.
    """

    support: float
    refute: float
    bets: Bets = MIXTURE
    refutation_labels: tuple[str, str] = ("reversed", "at most negligibly faster")
    censoring_reason: str = BUDGET_TOO_SHORT
    without_undetermined: bool = False

    def __post_init__(self) -> None:
        check_number("support", self.support, above=0, below=1, hint=0.5)
        check_number("refute", self.refute, above=self.support, below=1, hint=(1 + self.support) / 2)

    @classmethod
    def of_wins(cls, delta: float) -> "Margins":
        """Return the margins for "who is first": 1/2, and 1/2 + delta.

        Args:
            delta: the smallest margin that matters, in (0, 1/2).

        Returns:
            the margins.

        Raises:
            InputError: delta is out of range.
        """
        check_number("delta", delta, above=0, below=0.5, hint=0.1)
        return cls(0.5, 0.5 + delta)

    @classmethod
    def of_no_loss(cls, delta: float) -> "Margins":
        """Return the margins for "is not later by a margin that matters": 1/2 - delta, and 1/2.

        Args:
            delta: the smallest margin that matters, in (0, 1/2).

        Returns:
            the margins.

        Raises:
            InputError: delta is out of range.
        """
        check_number("delta", delta, above=0, below=0.5, hint=0.1)
        return cls(0.5 - delta, 0.5, refutation_labels=("later by more than delta", "later"))

    @classmethod
    def of_probability(cls, low: float, high: float) -> "Margins":
        """Return the margins for "happens with a probability above low", refuted below high.

        The bets reach from (high - low) / high to 0.99: near 1 a single failure is worth a large bet.

        Args:
            low: in (0, 1).
            high: in (low, 1).

        Returns:
            the margins.

        Raises:
            InputError: they are out of range.
        """
        bets = Bets.log_uniform(((high - low) / high, 0.99, 60, 1.0))
        return cls(low, high, bets, refutation_labels=(f"below {low:g}", f"below {high:g}"))
