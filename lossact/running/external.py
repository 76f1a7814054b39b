"""Trains conditions that lossact does not train by itself, a replica at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.seed import seed_everything
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from lossact.conditions.function import FunctionCondition
from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.replicas.random_streams import isolate_rng
from lossact.training.compute_config import ComputeConfig

LOSS = "loss"  # what training_step returns, where the module logs nothing of that name


@dataclass(frozen=True)
class ReplicaOutcome:
    """What became of one replica.

    Attributes:
        steps: updates that had been applied when the target was met, None where it was not.
        diverged: whether the metric stopped being finite before.
    """

    steps: int | None
    diverged: bool


def train_one(
    condition: LightningCondition | FunctionCondition, replica_seed: int, compute_config: ComputeConfig
) -> ReplicaOutcome:
    """Train one replica; the process's own random numbers go on afterwards as if nothing had been.

    Raises:
        InputError: what was made, logged or returned is not what the condition says.
    """
    with torch.random.fork_rng(), isolate_rng():  # on GPUs, and on the CPU
        seed_everything(replica_seed, verbose=False)
        if isinstance(condition, LightningCondition):
            return _fit(condition, compute_config)
        return _call(condition, replica_seed)


def _fit(condition: LightningCondition, compute_config: ComputeConfig) -> ReplicaOutcome:
    module = condition.module()
    if not isinstance(module, LightningModule):
        raise InputError(f"{condition}: module made {type(module).__name__}; it must return a LightningModule")
    data = condition.data() if condition.data is not None else None
    watcher = _Watcher(condition)
    try:
        trainer = Trainer(
            accelerator=compute_config.device,
            precision=compute_config.precision,  # type: ignore[arg-type]
            max_steps=condition.budget,
            max_epochs=-1,
            **{
                "devices": 1,
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                **condition.trainer,
                "callbacks": [*condition.trainer.get("callbacks", []), watcher],
            },
        )
    except TypeError as error:
        raise InputError(f"{condition}: the Trainer does not take its options ({error})") from None
    held = {"datamodule": data} if isinstance(data, LightningDataModule) else {"train_dataloaders": data}
    trainer.fit(module, **held)
    if watcher.latest is None:
        logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
        raise InputError(
            f"{condition}: metric={condition.metric!r} was never logged in {trainer.global_step} updates; "
            f"the module logged {logged}"
        )
    return ReplicaOutcome(watcher.steps, watcher.steps is None and not np.isfinite(watcher.latest))


class _Watcher(Callback):
    """Stops the fit where the metric meets the target."""

    def __init__(self, condition: LightningCondition) -> None:
        self.condition = condition
        self.steps: int | None = None
        self.latest: float | None = None
        self.steps_before = 0

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.steps_before = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        returned = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if self.condition.metric == LOSS and returned is not None and not self._logs_loss(trainer):
            self._note(float(returned) * trainer.accumulate_grad_batches, trainer, self.steps_before)
        self._look(trainer, self.steps_before)

    def _logs_loss(self, trainer: Trainer) -> bool:
        """Whether the module logs that name itself, if only at the end of an epoch."""
        logged = trainer._results
        return LOSS in trainer.callback_metrics or (
            logged is not None and any(key.rpartition(".")[2] == LOSS for key in logged)
        )

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self._look(trainer, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self._look(trainer, trainer.global_step)

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        self._look(trainer, trainer.global_step)  # what the module logs at the end of an epoch comes after our own look

    def _look(self, trainer: Trainer, steps: int) -> None:
        found = trainer.callback_metrics.get(self.condition.metric)
        if found is not None:
            self._note(float(found), trainer, steps)

    def _note(self, value: float, trainer: Trainer, steps: int) -> None:
        if self.steps is not None:
            return
        self.latest = value
        if self.condition.met_by(self.latest) and steps <= self.condition.budget:  # several optimisers may overshoot it
            self.steps = steps
            trainer.should_stop = True


def _call(condition: FunctionCondition, seed: int) -> ReplicaOutcome:
    found = condition.train(seed, **condition.config)
    if found is None:
        return ReplicaOutcome(None, False)
    curve = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found)
    rule = f"{condition}: train returned {found!r}"
    if curve.dtype.kind not in "buif" or curve.ndim > 1:
        raise InputError(f"{rule}; return updates (an integer or None), or a curve of numbers")
    if curve.ndim == 0:
        if curve.dtype.kind not in "ui" or not 0 <= int(curve) <= condition.budget:
            raise InputError(f"{rule}; updates must be an integer from 0 to the budget, {condition.budget}, or None")
        return ReplicaOutcome(int(curve), False)
    if condition.at_least is None and condition.at_most is None:
        raise InputError(f"{condition}: train returned a curve; give the condition at_least= or at_most=")
    if not 1 <= len(curve) <= condition.budget + 1:
        raise InputError(
            f"{condition}: train returned a curve of {len(curve)} values; 1 to budget + 1 = {condition.budget + 1} "
            "are needed, the first before any update"
        )
    met = np.flatnonzero([condition.met_by(float(value)) for value in curve])
    if len(met):
        return ReplicaOutcome(int(met[0]), False)
    return ReplicaOutcome(None, not np.isfinite(curve[-1]))
