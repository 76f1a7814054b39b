"""Which of the Trainer's flags cannot hold for stacked replicas."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.strategies import SingleDeviceStrategy

from lossact.errors import InputError
from lossact.training.compute_config import PRECISIONS


def check_flags(trainer: Trainer) -> None:
    """Raise InputError for Trainer options that stacked replicas do not support.

    Their updates are many to a training_step, their budget is the condition's, and one process holds them all.
    """
    t: Any = trainer  # what Trainer() was told is spread over attributes that its class does not declare
    refused = {
        "max_steps": (trainer.max_steps != -1, "the budget says how many updates"),
        "max_epochs": (trainer.max_epochs not in (1, None), "replicas train for one epoch of the condition's budget"),
        "gradient_clip_val": (trainer.gradient_clip_val is not None, "each replica's gradient is its own"),
        "accumulate_grad_batches": (trainer.accumulate_grad_batches != 1, "each update is its batch's"),
        "overfit_batches": (t.overfit_batches != 0, "there is no loader of examples"),
        "limit_train_batches": (trainer.limit_train_batches != 1.0, "the budget says how many updates"),
        "fast_dev_run": (bool(t.fast_dev_run), "a small budget is a quick run"),
        "max_time": (any(isinstance(callback, Timer) for callback in t.callbacks), "the budget says how many updates"),
        "strategy": (not isinstance(trainer.strategy, SingleDeviceStrategy), "one process holds all replicas"),
        "devices": (trainer.num_devices * trainer.num_nodes != 1, "replicas train on one device"),
        "precision": (trainer.precision not in PRECISIONS, f"replicas take {', '.join(PRECISIONS)}"),
    }
    refusals = [f"{flag} ({reason})" for flag, (given, reason) in refused.items() if given]
    if refusals:
        raise InputError(
            f"stacked replicas cannot take the Trainer's {', '.join(refusals)}; leave out what is named, or train one "
            "network with replicas=1"
        )
