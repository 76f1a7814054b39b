"""Stacked replicas that go on from a checkpoint, in the middle of whatever they measure."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from lossact import SGD, Adam, Loss, MLPConfig
from lossact.errors import InputError
from lossact.running.stacking import stacked_training
from lossact.training.quiet import quiet
from lossact.training.stacked import StackedReplicasModule
from tests.conftest import report_condition
from tests.replicas.test_any_training import DOUBLE, condition

SETTING = condition(
    SGD(learning_rate=0.1, momentum=0.9), batch_size=8, budget=100, measured_every=3, target=Loss().at_most(0.004)
)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("optimizer", "checkpoint's optimizer_state are those of another optimizer or precision"),
        ("precision", "checkpoint's parameters are those of another optimizer or precision"),
        ("hidden", "does not hold 4 replicas of 55 parameters"),
    ],
)
def test_built_in_networks_do_not_go_on_from_another_training(change: str, what: str) -> None:
    base = replace(report_condition(), network=MLPConfig(activation="tanh", hidden=2))
    other, precision = base, "64-true"
    if change == "optimizer":
        other = replace(base, optimizer=Adam(learning_rate=0.01))
    elif change == "precision":
        precision = "32-true"
    else:
        other = replace(base, network=MLPConfig(activation="tanh", hidden=3))
    saved = stacked_training(base, 0, range(4), DOUBLE).population.state_dict()
    population = stacked_training(other, 0, range(4), replace(DOUBLE, precision=precision)).population
    with pytest.raises(InputError, match=what):
        population.load_state_dict(saved)


class Saves(Callback):
    """Saves after some updates."""

    def __init__(self, update: int, path: Path) -> None:
        self.update, self.path = update, path

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedReplicasModule)
        if pl_module.update_count == self.update:
            trainer.save_checkpoint(self.path)


def fitted(*callbacks: Callback, **arguments: Any) -> Any:
    module = stacked_training(SETTING, 0, range(4), DOUBLE, curves_of=4)
    with quiet():
        trainer = Trainer(
            accelerator="cpu", precision="64-true", max_epochs=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks),
        )  # fmt: skip
        trainer.fit(module, weights_only=True, **arguments)
    return module.outcome()


@pytest.mark.parametrize("update", [25, 50])
def test_what_was_measured_last_goes_on(update: int, tmp_path: Path) -> None:
    path = tmp_path / "between.ckpt"
    whole = fitted(Saves(update, path))
    resumed = fitted(ckpt_path=path)
    assert whole.reached.any()
    for name in ("reached", "steps_to_target", "loss", "metric"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name), err_msg=name)
