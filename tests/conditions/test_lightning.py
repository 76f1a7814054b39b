"""What a LightningCondition takes for its Trainer, and what of it is in the store's key."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lossact import FunctionCondition, LightningCondition
from lossact.claims.axis import Axis
from lossact.claims.summary import ConditionSummary
from lossact.errors import InputError
from lossact.storage import Trials


def module() -> LightningModule:
    return LightningModule()


def condition(**trainer: Any) -> LightningCondition:
    return LightningCondition(module=module, metric="val_loss", at_most=0.1, budget=9, trainer=trainer)


class Sized(LightningModule):
    def __init__(self, rate: float = 0.1, width: int = 1, name: str = "") -> None:
        super().__init__()


class Average(Callback):
    def __init__(self, decay: float = 0.9) -> None:
        self.decay = decay

    def on_train_batch_end(self, *_: Any) -> None:
        pass


class Holding(Callback):
    """Its content cannot be written down."""

    def __init__(self) -> None:
        self.held = threading.Lock()


def test_options_of_equal_content_are_equal_conditions() -> None:
    makers: list[Callable[[], LightningCondition]] = [
        lambda: condition(callbacks=[EarlyStopping("val_loss", patience=2)]),
        lambda: condition(callbacks=[Average(), LearningRateMonitor()]),
        lambda: condition(callbacks=EarlyStopping("val_loss")),
        lambda: condition(callbacks=lambda: [Average()]),
        lambda: condition(callbacks=[ModelCheckpoint(monitor="val_loss", dirpath="kept")]),
        lambda: condition(logger=CSVLogger("logs")),
        lambda: condition(logger=False, gradient_clip_val=1.0, callbacks=[]),
        lambda: condition(max_epochs=10),
    ]
    for make in makers:
        assert make() == make()


def test_whatever_differs_in_the_options_is_in_the_key() -> None:
    conditions = [
        condition(), condition(max_epochs=10), condition(max_epochs=11), condition(gradient_clip_val=1.0),
        condition(accumulate_grad_batches=2), condition(callbacks=[EarlyStopping("val_loss", patience=2)]),
        condition(callbacks=[EarlyStopping("val_loss", patience=3)]),
        condition(callbacks=[EarlyStopping("val_loss", patience=2, min_delta=0.1)]),
        condition(callbacks=[Average(0.9)]), condition(callbacks=[Average(0.99)]),
        condition(callbacks=lambda: [Average(0.9)]), condition(callbacks=lambda: [Average(0.99)]),
        condition(logger=CSVLogger("logs")), condition(logger=CSVLogger("other")),
    ]  # fmt: skip
    assert len(set(conditions)) == len(conditions)


def test_each_replica_gets_callbacks_of_its_own() -> None:
    given = EarlyStopping("val_loss")
    for with_callbacks in (
        condition(callbacks=[given]),
        condition(callbacks=given),
        condition(callbacks=lambda: [Average()]),
    ):
        first, second = (with_callbacks.trainer_options()["callbacks"] for _ in range(2))
        first, second = ((made if isinstance(made, list) else [made])[0] for made in (first, second))
        assert first is not second
        assert first is not given


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        (
            {"callbacks": [Holding()]},
            r"trainer={'callbacks': ...} holds a Holding whose content cannot be part of the store's key; give a "
            r"function that makes it, {'callbacks': lambda: \[Holding\(...\)\]}, or return it from the module's "
            "configure_callbacks",
        ),
        ({"callbacks": lambda trainer: []}, r"trainer={'callbacks': ...}=.* cannot be called as callbacks\(\)"),
        ({"max_steps": 5}, r"'max_steps': ...} cannot be given: it is set by the condition's budget; leave it out"),
        ({"min_epochs": 5}, r"'min_epochs': ...} cannot be given: a fit ends where the target is met"),
        ({"max_time": "00:00:01:00"}, r"an outcome must not depend on the speed of a machine; leave it out"),
        ({"fast_dev_run": True}, r"'fast_dev_run': ...} cannot be given: a small budget is a quick run"),
        ({"devices": 2}, r"'devices': ...} cannot be given: a replica trains on one device"),
        ({"precision": "64-true"}, r"it is set by the experiment's compute_config"),
    ],
)
def test_options_that_cannot_be_are_named(trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        condition(**trainer)


def test_options_are_a_dict() -> None:
    with pytest.raises(InputError, match=r"trainer=3 must be a dict; try {'gradient_clip_val': 1.0}"):
        LightningCondition(module=module, metric="a", at_most=1, budget=9, trainer=3)  # type: ignore[arg-type]


def with_config(module: Any = Sized, **config: Any) -> LightningCondition:
    return LightningCondition(module=module, config=config, metric="val_loss", at_most=0.1, budget=9)


def test_config_is_part_of_the_content_where_there_is_one() -> None:
    plain = LightningCondition(module=Sized, metric="val_loss", at_most=0.1, budget=9)
    assert "config" not in plain.content()
    assert plain == with_config()
    assert len({with_config(), with_config(rate=0.1), with_config(rate=0.2), with_config(rate=0.1, width=3)}) == 4
    given = {"rate": 0.1}
    made = with_config(**given)
    given["rate"] = 0.2
    assert made == with_config(rate=0.1)


def test_conditions_may_share_a_fit_where_they_differ_in_numbers_of_config_alone() -> None:
    base = with_config(rate=0.1, name="a")
    assert base.fit_content == with_config(rate=0.2, name="a").fit_content
    others = [with_config(rate=0.1), with_config(rate=0.1, name="b"), with_config(rate=True, name="a")]
    others += [replace(base, budget=8), replace(base, at_most=0.2), replace(base, trainer={"max_epochs": 2})]
    assert len({base.fit_content, *(other.fit_content for other in others)}) == 7


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"speed": 1}, r"module=Sized.* cannot be called as module\(speed=\.\.\.\)"),
        (["rate"], r"config=\['rate'\] must be a dict of names to values; try {'learning_rate': 0.01}"),
        ({1: 2}, r"config={1: 2} must be a dict of names to values"),
        ({"rate": threading.Lock()}, "config"),
    ],
)
def test_a_config_that_cannot_be_is_an_error(config: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LightningCondition(module=Sized, config=config, metric="val_loss", at_most=0.1, budget=9)


def test_config_is_an_axis_of_a_map() -> None:
    axis = Axis("config.rate", (0.1, 0.2))
    moved = axis.at(with_config(rate=0.3, width=2), 0.2)
    assert moved == with_config(rate=0.2, width=2)
    assert axis.of(moved) == 0.2
    with pytest.raises(InputError, match=r"config\.pace: config has no 'pace'; choose one of rate, width"):
        Axis("config.pace", (0.1, 0.2)).at(moved, 0.1)


def test_a_summary_says_what_was_counted() -> None:
    def train(seed: int) -> int:
        return 3

    function = FunctionCondition(train=train, budget=9)
    units = {
        condition(): "training steps in which an optimizer stepped",
        condition(accumulate_grad_batches=4): "updates of 4 batches each",
        function: "updates as train counts them",
    }
    trials = Trials(np.array([3]), np.array([True]), np.array([False]), 9)
    for with_unit, unit in units.items():
        assert ConditionSummary.of(with_unit, trials).update_unit == unit


def test_equal_steps_is_a_statement_and_not_part_of_the_key() -> None:
    def train(seed: int) -> int:
        return 3

    assert FunctionCondition(train=train, budget=9) == FunctionCondition(train=train, budget=9, equal_steps=True)
    with pytest.raises(InputError, match="equal_steps=1 must be True or False"):
        FunctionCondition(train=train, budget=9, equal_steps=1)  # type: ignore[arg-type]
