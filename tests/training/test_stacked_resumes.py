"""Stacked replicas that go on from a checkpoint, in the middle of whatever they measure."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from lossact import SGD, Loss
from lossact.running.stacking import stacked_training
from lossact.training.quiet import quiet
from lossact.training.stacked import StackedReplicasModule
from tests.replicas.test_any_training import DOUBLE, condition

SETTING = condition(
    SGD(learning_rate=0.1, momentum=0.9), batch_size=8, budget=100, measured_every=3, target=Loss().at_most(0.004)
)


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
