"""What a LightningCondition takes for its Trainer, and what of it is in the store's key."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lossact import FunctionCondition, LightningCondition
from lossact.claims.summary import ConditionSummary
from lossact.errors import InputError
from lossact.storage import Trials


def module() -> LightningModule:
    return LightningModule()


def condition(**trainer: Any) -> LightningCondition:
    return LightningCondition(module=module, metric="val_loss", at_most=0.1, budget=9, trainer=trainer)


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
