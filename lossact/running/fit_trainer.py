"""The Trainer that fits a user's LightningModule."""

import math
from collections.abc import Sequence
from functools import wraps
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.running.logged_names import LOSS
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked_lightning import StackedLightningModule


def callbacks_in(condition: LightningCondition, options: dict[str, Any]) -> list[Callback]:
    """Return the callbacks among one replica's options of the Trainer.

    Raises:
        InputError: they are none.
    """
    callbacks = options.get("callbacks") or []
    callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise InputError(f"{condition}: trainer callbacks hold {callback!r}; each must be a Lightning Callback")
    return callbacks


def make_trainer(
    condition: LightningCondition,
    compute_config: ComputeConfig,
    watcher: Callback,
    *,
    callbacks: Sequence[Callback] | None = None,
    **more: Any,
) -> "EpochAwareTrainer":
    """Make the Trainer of a fit.

    Args:
        condition: what is trained.
        compute_config: the device and precision.
        watcher: the last of the Trainer's callbacks.
        callbacks: the others; None for those of the condition.
        more: options of the Trainer.

    Raises:
        InputError: it does not take its options.
    """
    options = condition.trainer_options()
    if callbacks is None:
        callbacks = callbacks_in(condition, options)
    options.pop("callbacks", None)
    # A name that validation logs is known before training begins, where it could be taken for the training loss.
    sanity_steps = 1 if condition.metric == LOSS else 0
    defaults = {
        "max_epochs": -1,
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": sanity_steps,
    }
    try:
        return EpochAwareTrainer(
            accelerator=compute_config.device,
            precision=compute_config.precision,  # type: ignore[arg-type]
            max_steps=condition.budget,
            callbacks=[*callbacks, watcher],
            **defaults | options | more,
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise InputError(f"{condition}: the Trainer does not take its options ({error})") from None


class EpochAwareTrainer(Trainer):
    """A Trainer whose number of epochs cannot be read while it is unknown.

    Attributes:
        unknown_epochs: the error where it is read; empty where it is known.
    """

    unknown_epochs: str = ""

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """The newest of everything that was logged; where replicas are fitted together, (replicas,) each."""
        module = self.lightning_module
        return module.newest if isinstance(module, StackedLightningModule) else super().callback_metrics

    @property
    def max_epochs(self) -> int | None:
        """The number of epochs, -1 for no limit.

        Raises:
            InputError: it is unknown.
        """
        if self.unknown_epochs:
            raise InputError(self.unknown_epochs)
        return self.fit_loop.max_epochs

    @property
    def estimated_stepping_batches(self) -> int | float:
        """The number of updates, which is known where that of epochs is not."""
        unknown_epochs, self.unknown_epochs = self.unknown_epochs, ""
        try:
            return super().estimated_stepping_batches
        finally:
            self.unknown_epochs = unknown_epochs


def set_max_epochs(module: LightningModule, trainer: EpochAwareTrainer, condition: LightningCondition) -> None:
    """Let configure_optimizers read as `trainer.max_epochs` how many epochs the budget takes.

    A schedule over `trainer.max_epochs` would otherwise be one over Lightning's -1, which stands for no limit.
    """
    configure = module.configure_optimizers

    @wraps(configure)
    def configure_optimizers() -> Any:
        trainer.fit_loop.setup_data()
        batches = trainer.num_training_batches
        if 0 < batches < math.inf:
            updates_per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
            trainer.fit_loop.max_epochs = math.ceil(condition.budget / updates_per_epoch)
            return configure()
        trainer.unknown_epochs = (
            f"{condition}: configure_optimizers reads trainer.max_epochs, and the training data do not tell how many "
            'batches an epoch has; give trainer={"max_epochs": ...}, or use trainer.max_steps'
        )
        try:
            return configure()
        finally:
            trainer.unknown_epochs = ""

    module.configure_optimizers = configure_optimizers  # type: ignore[method-assign]
