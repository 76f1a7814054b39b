"""A condition that trains the user's LightningModule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lossact.checks import check_signature
from lossact.conditions.external import ExternalCondition
from lossact.conditions.frozen_mapping import FrozenMapping
from lossact.conditions.measures import check_one_side
from lossact.errors import InputError
from lossact.fingerprint import fingerprint, to_canonical


@dataclass(frozen=True, kw_only=True, eq=False)
class LightningCondition(ExternalCondition):
    """Anybody's LightningModule: one Trainer fit a replica, seeded, until a metric that it logs meets the target.

    A metric logged in training_step counts as of before that batch's update, one of validation as of the updates so
    far. The fit ends where the target is met; steps_to_target counts optimiser steps as the Trainer does.

    Attributes:
        module: () -> LightningModule.
        data: () -> LightningDataModule, or a DataLoader, or None where the module has its own; called for each replica,
            after its seed was set.
        metric: the name under which the module logs the target's metric; "loss" is what training_step returns, where
            nothing of that name is logged.
        at_least, at_most: the threshold; one of the two.
        budget: optimiser steps at most, >= 1.
        trainer: options of the Trainer, such as {"gradient_clip_val": 1.0}; max_steps comes from the budget.
        version: change it to have trials trained anew for a reason the store cannot see.
        name: what tables call it.
    """

    module: Callable[[], Any]
    data: Callable[[], Any] | None = None
    metric: str
    trainer: Mapping[str, Any] = field(default_factory=dict)

    OURS: ClassVar[tuple[str, ...]] = ("max_steps", "max_epochs", "min_steps", "min_epochs", "accelerator", "precision")

    def __post_init__(self) -> None:
        check_signature("module", self.module, like="module()")
        if self.data is not None:
            check_signature("data", self.data, like="data()")
        if not isinstance(self.metric, str) or not self.metric:
            raise InputError(f"metric={self.metric!r} must be the name of a logged metric; try 'val_loss'")
        super().__post_init__()
        check_one_side(self.at_least, self.at_most)
        ours = sorted(set(self.trainer) & set(self.OURS))
        if ours:
            raise InputError(
                f"trainer={{{ours[0]!r}: ...}} is set by the condition's budget and by the run; leave it out"
            )
        object.__setattr__(self, "trainer", FrozenMapping(self.trainer))
        object.__setattr__(self, "name", self.name or getattr(self.module, "__name__", "module"))
        self.content()

    def content(self) -> dict[str, Any]:
        """Everything about the condition that can change an outcome, ready for JSON."""
        return super().content() | {
            "kind": "lightning",
            "module": fingerprint(self.module, "module"),
            "data": None if self.data is None else fingerprint(self.data, "data"),
            "metric": self.metric,
            "trainer": to_canonical(self.trainer, "trainer"),
        }
