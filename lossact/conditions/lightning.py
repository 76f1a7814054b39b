"""A condition whose replicas are Trainer fits of a LightningModule."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import cached_property
from numbers import Real
from pathlib import PurePath
from typing import Any, ClassVar

from lossact.checks import check_signature, checked_arguments, name_of
from lossact.conditions.external import ExternalCondition, checked_config
from lossact.conditions.frozen_mapping import FrozenMapping
from lossact.conditions.measures import check_one_side
from lossact.conditions.value_measures import Best, checked_logged_measures, logged_value_names
from lossact.errors import InputError
from lossact.fingerprint import fingerprint, to_canonical

STACKED_BLOCK = (
    16  # replicas that are fitted together; always as many, so that bits do not depend on how many there are
)


@checked_arguments
@dataclass(frozen=True, kw_only=True, eq=False)
class LightningCondition(ExternalCondition):
    """A LightningModule, fitted for each replica until a metric that it logs meets the target.

    The fit is Lightning's own: schedulers, callbacks, gradient accumulation and manual optimization behave as under any
    Trainer. An update is a training_step in which an optimizer took a step; several optimizers or several steps in one
    training_step count once, and accumulated batches count when they are applied. A metric logged in training_step
    counts as of before that batch's update, one of validation as of the updates so far. The fit ends where the target
    is met.

    Args:
        module: `(**config)` -> LightningModule; a class or a function.
        data: () -> LightningDataModule or DataLoader; None where the module has its own. Called for each replica, after
            its seed was set.
        metric: the name under which the module logs the target's metric. Where nothing of the name "loss" is logged,
            "loss" is what training_step returns. None where there are measures and no target.
        at_least, at_most: the metric's threshold; exactly one of the two.
        config: keyword arguments of `module`, such as {"learning_rate": 0.01}. Conditions that differ in their numbers
            alone are fitted together where these numbers only reach the optimizer.
        measures: names of logged metrics, such as ("val_acc",), whose newest values count when the budget is spent; of
            Best("val_loss", "min"), which claims call "best val_loss", the best value that was logged. With measures,
            replicas train to their budget, whether or not they meet a target on the way, and an epoch that the budget
            cuts short is validated.
        budget: the most updates, >= 1.
        trainer: options of the Trainer, such as {"gradient_clip_val": 1.0} or {"max_epochs": 10}. Without max_epochs,
            `trainer.max_epochs` is the number of epochs that the budget takes. A function is called once for each
            replica, as in {"callbacks": lambda: [EMA()]}; callbacks and loggers that are given as objects are copied.
        stacked: "auto" fits replicas together, 16 at a time, where their module allows it, and else one at a time; True
            makes it an error where it does not, and False fits one at a time.
        version: change it to have trials trained anew for a reason that lossact cannot see, such as a new data file.
        name: the name in tables; by default the module's.

    Raises:
        InputError: a value breaks its rule, or its content cannot be part of the store's key.
    """

    module: Callable[..., Any]
    data: Callable[[], Any] | None = None
    metric: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    trainer: Mapping[str, Any] = field(default_factory=dict)
    stacked: bool | str = "auto"

    REFUSED: ClassVar[Mapping[str, str]] = {
        "max_steps": "it is set by the condition's budget",
        "min_steps": "a fit ends where the target is met",
        "min_epochs": "a fit ends where the target is met",
        "max_time": "an outcome must not depend on the speed of a machine",
        "fast_dev_run": "a small budget is a quick run",
        "accelerator": "it is set by the experiment's compute_config",
        "precision": "it is set by the experiment's compute_config",
        "devices": "a replica trains on one device",
        "num_nodes": "a replica trains on one device",
    }

    def __post_init__(self) -> None:
        if callable(getattr(self.module, "state_dict", None)) and not isinstance(self.module, type):
            raise InputError(
                f"module is a {type(self.module).__name__} that is made already; give the class, or a function that "
                "makes one, so that each replica starts from weights of its own"
            )
        config = checked_config(self.config, "module", self.module, hint="{'learning_rate': 0.01}")
        object.__setattr__(self, "config", config)
        if self.data is not None:
            check_signature("data", self.data, like="data()")
        super().__post_init__()
        if self.has_target or not self.measures:
            if not isinstance(self.metric, str) or not self.metric:
                raise InputError(f"metric={self.metric!r} must be the name of a logged metric; try 'val_loss'")
            check_one_side(self.at_least, self.at_most)
        if self.stacked not in (True, False, "auto") or isinstance(self.stacked, int) != isinstance(self.stacked, bool):
            raise InputError(f"stacked={self.stacked!r} must be 'auto', True or False; try 'auto'")
        if not isinstance(self.trainer, Mapping):
            raise InputError(f"trainer={self.trainer!r} must be a dict; try {{'gradient_clip_val': 1.0}}")
        for option in sorted(self.REFUSED.keys() & self.trainer.keys()):
            raise InputError(f"trainer={{{option!r}: ...}} cannot be given: {self.REFUSED[option]}; leave it out")
        object.__setattr__(self, "trainer", FrozenMapping(self.trainer))
        object.__setattr__(self, "name", self.name or name_of(self.module))
        self.content()

    def _checked_measures(self) -> tuple[str | Best, ...]:
        return checked_logged_measures(self.measures)

    @property
    def value_names(self) -> tuple[str, ...]:
        return logged_value_names(self.measures)

    @property
    def bests(self) -> tuple[Best, ...]:
        """Measures that are the best of a logged value."""
        return tuple(each for each in self.measures if isinstance(each, Best))

    @property
    def logged_measures(self) -> tuple[str, ...]:
        """Names of all logged values that measures are about."""
        return tuple(dict.fromkeys(str(each.measure) if isinstance(each, Best) else each for each in self.measures))

    @property
    def has_target(self) -> bool:
        """Whether a threshold of a metric says when a replica has arrived."""
        return not (self.metric is None and self.at_least is None and self.at_most is None)

    @property
    def target_text(self) -> str:
        """The target in a few words."""
        if not self.has_target:
            return ""
        at_least = self.at_most is None
        return f"{self.metric} {'at least' if at_least else 'at most'} {self.at_least if at_least else self.at_most:g}"

    @cached_property
    def fit_content(self) -> str:
        """The content that conditions must share to be tried in one fit: all but the numbers in config."""
        numbers = sorted(name for name, value in self.config.items() if _is_number(value))
        config = {name: value for name, value in self.config.items() if name not in numbers}
        content = self.content() | {"config": to_canonical(config, "config"), "numbers": numbers}
        return json.dumps(content, sort_keys=True, default=str)

    @property
    def block(self) -> int:
        """Replicas that are stored together: those that are fitted together, or few that are fitted one at a time."""
        return super().block if self.stacked is False else STACKED_BLOCK

    @property
    def update_unit(self) -> str:
        """The unit of the budget and of steps to the target."""
        batches = self.trainer.get("accumulate_grad_batches", 1)
        return f"updates of {batches} batches each" if batches != 1 else "training steps in which an optimizer stepped"

    def trainer_options(self) -> dict[str, Any]:
        """Return the options of one replica's Trainer: functions called, objects copied."""
        return {
            name: value() if _is_factory(value) else deepcopy(value) if _holds_objects(value) else value
            for name, value in self.trainer.items()
        }

    def content(self) -> dict[str, Any]:
        """Return everything about the condition that can change an outcome, ready for JSON."""
        config = {"config": to_canonical(self.config, "config")} if self.config else {}
        return (
            super().content()
            | config
            | {
                "kind": "lightning",
                "module": fingerprint(self.module, "module"),
                "data": None if self.data is None else fingerprint(self.data, "data"),
                "metric": self.metric,
                "measures": [each.content() if isinstance(each, Best) else each for each in self.measures],
                "stacked": self.stacked,
                "trainer": {name: _option_content(name, value) for name, value in sorted(self.trainer.items())},
            }
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_factory(value: Any) -> bool:
    """Return whether an option is a function that makes its value for each replica."""
    return callable(value) and not _is_object(value)


def _is_object(value: Any) -> bool:
    """Whether a value is an object of a class such as a callback or a logger, and neither plain nor a function."""
    plain = (str, int, float, bool, bytes, type(None), list, tuple, dict, set, frozenset, type, Enum)
    return not isinstance(value, plain) and hasattr(value, "__dict__") and not hasattr(value, "__name__")


def _holds_objects(value: Any) -> bool:
    return any(map(_is_object, value)) if isinstance(value, (list, tuple)) else _is_object(value)


def _option_content(name: str, value: Any) -> Any:
    """Return the content of one of the Trainer's options.

    Raises:
        InputError: it cannot be read.
    """
    what = f"trainer={{{name!r}: ...}}"
    if _is_factory(value):
        check_signature(what, value, like=f"{name}()")
        return fingerprint(value, what)
    if isinstance(value, (list, tuple)):
        return [_option_content(name, part) for part in value]
    if not _is_object(value):
        return to_canonical(value, what)
    try:
        state = {key: _state_content(part) for key, part in sorted(vars(value).items())}
        return {"class": fingerprint(type(value), what), "state": to_canonical(state, what)}
    except InputError:
        kind = type(value).__name__
        hook = ", or return it from the module's configure_callbacks" if name == "callbacks" else ""
        raise InputError(
            f"{what} holds a {kind} whose content cannot be part of the store's key; give a function that makes it, "
            f"{{{name!r}: lambda: [{kind}(...)]}}{hook}"
        ) from None


def _state_content(value: Any) -> Any:
    """Return an attribute of a callback or a logger as plain values, as far as that is possible."""
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, (PurePath, timedelta)):
        return str(value)
    if type(value).__module__.partition(".")[0] == "fsspec":  # the file system that a logger or a checkpoint writes to
        return type(value).__qualname__
    if hasattr(value, "detach") and hasattr(value, "tolist"):  # a tensor
        return [str(value.dtype), value.detach().cpu().tolist()]
    if isinstance(value, Mapping):
        return {str(key): _state_content(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_state_content(part) for part in value]
    return value
