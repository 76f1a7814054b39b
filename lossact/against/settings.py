"""What is asked of a comparison, and what its outcome means to a shell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lossact.against.results import ConditionResult
from lossact.checks import check_choice, check_count, check_number
from lossact.errors import InputError

FAIL_ON = ("different", "worse", "open")
Direction = Literal["higher", "lower"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How two states of the code are compared.

    Args:
        seed: of the replicas, the same on both sides.
        alpha: error probability a side, for all conditions and measures together.
        delta: the smallest margin over a win probability of 1/2 that matters.
        max_replicas: of a condition, at most; rounded up to whole blocks.
        within: measure to the largest median difference that does not matter, in the measure's unit; replaces delta.
        directions: measure to which of its values are better, where lossact cannot know.
        max_seconds: after so many no further look begins; None for no limit.

    Raises:
        InputError: a value breaks its rule.
    """

    seed: int = 0
    alpha: float = 0.025
    delta: float = 0.1
    max_replicas: int = 2048
    within: Mapping[str, float] = field(default_factory=dict)
    directions: Mapping[str, Direction] = field(default_factory=dict)
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        check_count("seed", self.seed, at_least=0, hint=0)
        check_number("alpha", self.alpha, above=0, below=0.5, hint=0.025)
        check_number("delta", self.delta, above=0, below=0.5, hint=0.1)
        check_count("max_replicas", self.max_replicas, hint=2048)
        for measure, margin in self.within.items():
            check_number(f"within {measure}", margin, above=0, hint=0.01)
        if self.max_seconds is not None:
            check_number("max_seconds", self.max_seconds, above=0, hint=600)

    def check_named(self, measures: Sequence[str]) -> None:
        """Raise InputError where a margin or a direction is given for what nobody measures.

        Args:
            measures: names that conditions have.

        Raises:
            InputError: a margin or a direction names another one.
        """
        for name in (*self.within, *self.directions):
            if name not in measures:
                known = ", ".join(dict.fromkeys(measures)) or "none"
                raise InputError(f"{name!r} is no measure of these conditions; they have {known}")


def exit_code(conditions: Sequence[ConditionResult], *, fail_on: str = "open") -> int:
    """Return the exit status that a comparison ends with.

    Args:
        conditions: compared.
        fail_on: "open" for 1 where something is worse, else 3 where something is open; "worse" for 1 where something
            is worse, else 0; "different" for 1 where something is worse, better or different, else 3 where something
            is open. A shown difference of a measure whose better direction is unknown is open, unless asked for.

    Returns:
        0, 1 or 3.

    Raises:
        InputError: `fail_on` is another word.
    """
    check_choice("fail_on", fail_on, FAIL_ON)
    verdicts = {measure.verdict for condition in conditions for measure in condition.measures}
    failing = {"worse", "better", "different"} if fail_on == "different" else {"worse"}
    if verdicts & failing:
        return 1
    return 3 if fail_on != "worse" and verdicts & {"not yet", "different"} else 0
