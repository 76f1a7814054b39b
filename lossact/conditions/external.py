"""The base class of conditions whose training is the user's own: LightningModules and training functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossact.checks import check_count, check_name, check_signature
from lossact.conditions.base import BaseCondition
from lossact.conditions.frozen_mapping import FrozenMapping
from lossact.conditions.measures import check_one_side
from lossact.conditions.value_measures import checked_value_names
from lossact.errors import InputError
from lossact.replicas.threshold import meets

BUDGET_HINT = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class ExternalCondition(BaseCondition):
    """A condition whose training is the user's own: the fit of a LightningModule, or a function.

    Attributes:
        measures: names of the numbers that training ends with.
        at_least, at_most: the threshold of the target's metric.
        budget: the most updates, >= 1.
        version: change it to have trials trained anew for a reason that lossact cannot see, such as a new data file.
        name: the name in tables.
    """

    measures: Sequence[Any] = ()
    at_least: float | None = None
    at_most: float | None = None
    budget: int
    version: str = ""
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.at_least is not None or self.at_most is not None:
            check_one_side(self.at_least, self.at_most)
        check_count("budget", self.budget, hint=BUDGET_HINT)
        check_name(self.name)
        object.__setattr__(self, "measures", self._checked_measures())

    def _checked_measures(self) -> tuple[Any, ...]:
        return checked_value_names(self.measures)

    @property
    def value_names(self) -> tuple[str, ...]:
        """What the measured values of its trials are called."""
        return tuple(self.measures)

    @property
    def block(self) -> int:
        """Replicas that are stored together."""
        return 2

    def content(self) -> dict[str, Any]:
        """Return everything about the condition that can change an outcome, ready for JSON."""
        return {name: getattr(self, name) for name in ("at_least", "at_most", "budget", "version")}

    def met_by(self, values: Any) -> Any:
        """Return whether values of the metric meet the target, compared in their own precision.

        Args:
            values: a number, an array or a tensor.

        Returns:
            a boolean array of the same shape; NaN meets no target, and -inf none from above.
        """
        return meets(values, at_least=self.at_least, at_most=self.at_most)


def checked_config(
    config: Mapping[str, Any], name: str, function: Callable[..., Any], *, first: Sequence[str] = (), hint: str
) -> FrozenMapping:
    """Return the keyword arguments of a condition's function.

    Args:
        config: names to values.
        name: what errors call the function.
        function: what is called with them.
        first: names of the values that it is called with before them.
        hint: a config that works.

    Raises:
        InputError: they are no dict of names, or the function does not take them.
    """
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise InputError(f"config={config!r} must be a dict of names to values; try {hint}")
    call = ", ".join((*first, *(f"{key}=..." for key in config)))
    check_signature(name, function, like=f"{name}({call})", values=len(first), named=config)
    return FrozenMapping(config)
