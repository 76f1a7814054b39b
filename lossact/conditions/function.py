"""A condition that calls the user's training function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lossact.checks import check_signature
from lossact.conditions.external import ExternalCondition
from lossact.conditions.frozen_mapping import FrozenMapping
from lossact.errors import InputError
from lossact.fingerprint import fingerprint, to_canonical


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionCondition(ExternalCondition):
    """Anybody's training function, called once a replica.

    Attributes:
        train: (seed, **config) -> the updates after which the target was met, or None; or the target's metric by
            number of updates, from 0 on, to be compared with the threshold. The seed is an integer in [0, 2^32).
        config: what else `train` is given.
        at_least, at_most: the threshold of a curve; one of the two, and none where `train` returns updates.
        budget: updates at most, >= 1.
        version: change it to have trials trained anew for a reason the store cannot see.
        name: what tables call it.
    """

    train: Callable[..., Any]
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.config, Mapping) or not all(isinstance(name, str) for name in self.config):
            raise InputError(f"config={self.config!r} must be a dict of names to values; try {{'slowness': 2}}")
        call = ", ".join(("seed", *(f"{name}=..." for name in self.config)))
        check_signature("train", self.train, like=f"train({call})", values=1, named=self.config)
        super().__post_init__()
        object.__setattr__(self, "config", FrozenMapping(self.config))
        object.__setattr__(self, "name", self.name or getattr(self.train, "__name__", "train"))
        self.content()

    def content(self) -> dict[str, Any]:
        """Everything about the condition that can change an outcome, ready for JSON."""
        return super().content() | {
            "kind": "function",
            "train": fingerprint(self.train, "train"),
            "config": to_canonical(self.config, "config"),
        }
