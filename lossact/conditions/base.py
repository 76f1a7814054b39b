"""The base class of everything that a claim can be about."""

import json
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any


class BaseCondition(ABC):
    """What a claim is about: one way to train something, that meets its target after so many updates, or never.

    Hashable, and equal where the content is. lossact trains the kinds that it knows: Condition, LightningCondition
    and FunctionCondition.

    Attributes:
        name: what tables call it; not part of its content.
        budget: updates at most.
    """

    name: str
    budget: int

    @property
    @abstractmethod
    def block(self) -> int:
        """Replicas that are trained and stored together."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Everything that can change an outcome, ready for JSON."""

    @cached_property
    def json(self) -> str:
        """The content as text."""
        return json.dumps(self.content(), sort_keys=True, default=lambda number: number.item())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, BaseCondition) and self.json == other.json

    def __hash__(self) -> int:
        return hash(self.json)

    def __str__(self) -> str:
        return self.name
