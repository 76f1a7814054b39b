"""Conditions that lossact does not train by itself: anybody's LightningModule, anybody's function."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lossact.checks import check_count, check_takes
from lossact.errors import InputError
from lossact.experiment.condition import Trainable
from lossact.experiment.targets import check_one_side, threshold_of
from lossact.fingerprint import described, plain

BUDGET_HINT = 1000


class Settings(Mapping[str, Any]):
    """Named values that stay as they are."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


@dataclass(frozen=True, kw_only=True, eq=False)
class OneByOne(Trainable):
    """What is trained a replica at a time.

    Attributes:
        at_least, at_most: the threshold of the target's metric.
        budget: updates at most, >= 1.
        version: change it to have trials trained anew for a reason the store cannot see.
        name: what tables call it.
    """

    at_least: float | None = None
    at_most: float | None = None
    budget: int
    version: str = ""
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.at_least is not None or self.at_most is not None:
            check_one_side(self.at_least, self.at_most)
        check_count("budget", self.budget, hint=BUDGET_HINT)

    @property
    def block(self) -> int:
        """Replicas that are stored together."""
        return 2

    def content(self) -> dict[str, Any]:
        """Everything about the condition that can change an outcome, ready for JSON."""
        return {name: getattr(self, name) for name in ("at_least", "at_most", "budget", "version")}

    def met_by(self, value: float) -> bool:
        """Whether a value of the metric meets the target; NaN never does."""
        threshold = threshold_of(self.at_least, self.at_most)
        return value >= threshold if self.at_least is not None else value <= threshold


@dataclass(frozen=True, kw_only=True, eq=False)
class LightningCondition(OneByOne):
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
        check_takes("module", self.module, like="module()")
        if self.data is not None:
            check_takes("data", self.data, like="data()")
        if not isinstance(self.metric, str) or not self.metric:
            raise InputError(f"metric={self.metric!r} must be the name of a logged metric; try 'val_loss'")
        super().__post_init__()
        check_one_side(self.at_least, self.at_most)
        ours = sorted(set(self.trainer) & set(self.OURS))
        if ours:
            raise InputError(
                f"trainer={{{ours[0]!r}: ...}} is set by the condition's budget and by the run; leave it out"
            )
        object.__setattr__(self, "trainer", Settings(self.trainer))
        object.__setattr__(self, "name", self.name or getattr(self.module, "__name__", "module"))
        self.content()

    def content(self) -> dict[str, Any]:
        """Everything about the condition that can change an outcome, ready for JSON."""
        return super().content() | {
            "kind": "lightning",
            "module": described(self.module, "module"),
            "data": None if self.data is None else described(self.data, "data"),
            "metric": self.metric,
            "trainer": plain(self.trainer, "trainer"),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionCondition(OneByOne):
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
        check_takes("train", self.train, like=f"train({call})", values=1, named=self.config)
        super().__post_init__()
        object.__setattr__(self, "config", Settings(self.config))
        object.__setattr__(self, "name", self.name or getattr(self.train, "__name__", "train"))
        self.content()

    def content(self) -> dict[str, Any]:
        """Everything about the condition that can change an outcome, ready for JSON."""
        return super().content() | {
            "kind": "function",
            "train": described(self.train, "train"),
            "config": plain(self.config, "config"),
        }
