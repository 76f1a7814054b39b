"""A condition whose replicas are calls of a training function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lossact.checks import checked_arguments, name_of
from lossact.conditions.external import ExternalCondition, checked_config
from lossact.errors import InputError
from lossact.fingerprint import fingerprint, to_canonical


@checked_arguments
@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionCondition(ExternalCondition):
    """A training function, called once for each replica.

    Args:
        train: `(seed, **config)` -> the number of updates after which the target was met, or None where it was not; or
            the metric's curve: its value before any update and after each, at most budget + 1 numbers, which are
            compared with the threshold. The seed is an integer in [0, 2^32). Python's, numpy's and torch's generators
            have been seeded with it.
        measures: names of the numbers that `train` returns as a dict, such as ("accuracy", "loss"). Where it also
            counts updates to a target, the dict has them as "steps", None where the target was not met.
        config: further keyword arguments of `train`.
        equal_steps: True says that the training has no randomness in its steps. Replicas that compute exactly the same
            are an error otherwise, because a function that ignores its seed does that. It changes no outcome, and is
            not part of the content.
        at_least, at_most: the threshold of a curve; exactly one of the two, and none where `train` returns updates.
        budget: the most updates, >= 1.
        version: change it to have trials trained anew for a reason that lossact cannot see, such as a new data file.
        name: the name in tables; by default the function's.

    Raises:
        InputError: `train` cannot be called so, or a value breaks its rule.
    """

    train: Callable[..., Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    equal_steps: bool = False

    def __post_init__(self) -> None:
        config = checked_config(self.config, "train", self.train, first=("seed",), hint="{'slowness': 2}")
        object.__setattr__(self, "config", config)
        if not isinstance(self.equal_steps, bool):
            raise InputError(f"equal_steps={self.equal_steps!r} must be True or False")
        super().__post_init__()
        object.__setattr__(self, "name", self.name or name_of(self.train))
        self.content()

    @property
    def has_target(self) -> bool:
        """Whether a threshold says when a replica has arrived; with measures `train` may still count updates to one."""
        return not self.measures or self.at_least is not None or self.at_most is not None

    @property
    def seed_advice(self) -> str:
        """How to make replicas differ."""
        return (
            "draw everything random in train from its seed, or give the condition equal_steps=True if its training has "
            "no randomness"
        )

    @property
    def update_unit(self) -> str:
        """The unit of the budget and of steps to the target."""
        return "updates as train counts them"

    def content(self) -> dict[str, Any]:
        """Return everything about the condition that can change an outcome, ready for JSON."""
        return super().content() | {
            "kind": "function",
            "train": fingerprint(self.train, "train"),
            "config": to_canonical(self.config, "config"),
            "measures": list(self.measures),
        }
