"""The base class of everything that can be compared."""

import json
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any


class BaseCondition(ABC):
    """What a claim compares: one way to train, or runs that were recorded.

    Conditions are hashable, and equal where their content is equal. lossact trains Condition, LightningCondition and
    FunctionCondition, and reads RecordedRuns.

    Attributes:
        name: the name in tables; not part of the content.
        budget: the most updates.
        equal_steps: whether replicas may compute exactly the same; see FunctionCondition.
        value_names: what the measured values of its trials are called.
    """

    name: str
    budget: int
    equal_steps: bool = False

    @property
    def value_names(self) -> tuple[str, ...]:
        return ()

    def measured_after(self, value_name: str) -> int:
        """Return the number of updates after which a value is taken.

        Args:
            value_name: one of `value_names`.

        Returns:
            updates.
        """
        return self.budget

    def is_share(self, value_name: str) -> bool:
        """Return whether a value is an accuracy, whose differences are given in points.

        Args:
            value_name: one of `value_names`.

        Returns:
            True for an accuracy; a point is a hundredth of 1.
        """
        return False

    @property
    def has_target(self) -> bool:
        """Whether a threshold says when a replica has arrived."""
        return True

    @property
    def target_text(self) -> str:
        """The target in a few words, as far as the condition knows it."""
        return ""

    @property
    @abstractmethod
    def block(self) -> int:
        """Replicas that are trained and stored together."""

    @property
    def launch(self) -> int:
        """Replicas, a multiple of the block, that train together about as fast as a block alone."""
        return self.block

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that can change an outcome, ready for JSON."""

    @property
    def seed_advice(self) -> str:
        """How to make replicas differ, for the error where they are one run."""
        return (
            "leave seeds to lossact (no torch.manual_seed or seed_everything in the network, the module or the data), "
            "or give data that are drawn for each replica"
        )

    @property
    def update_unit(self) -> str:
        """The unit of the budget and of steps to the target; empty for one optimizer step on one batch."""
        return ""

    @cached_property
    def json(self) -> str:
        """Return the content as text."""
        return json.dumps(self.content(), sort_keys=True, default=lambda number: number.item())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, BaseCondition) and self.json == other.json

    def __hash__(self) -> int:
        return hash(self.json)

    def __str__(self) -> str:
        return self.name
