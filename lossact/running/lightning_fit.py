"""Fit a user's LightningModule for one replica, as Lightning does, and watch its metric."""

import math
from collections.abc import Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.core.optimizer import _MockOptimizer
from torch import Tensor
from torch.utils import _pytree as pytree

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.replicas.random_streams import rng_state
from lossact.running.counted_steps import count_draws
from lossact.running.logged_names import LOSS, check_logged, check_spelling
from lossact.running.module_making import check_generators, check_when_made, make_data, make_module, note_generators
from lossact.running.outcome import ReplicaOutcome
from lossact.running.run_digest import are_finite, are_telling, run_digest
from lossact.training.compute_config import ComputeConfig
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_lightning import StackedLightningModule

EARLY_STOPPING = "Early stopping conditioned on metric"  # the error of a callback whose metric nobody logs


def fit_module(
    condition: LightningCondition, compute_config: ComputeConfig, draws_for: tuple[int, int] | None
) -> ReplicaOutcome:
    """Fit the module of a condition once; the generators of the process have been seeded.

    Args:
        condition: what to train.
        compute_config: the device and precision.
        draws_for: the experiment's seed and the replica that its steps draw for; None for draws of a plain fit.

    Returns:
        the outcome of the replica.

    Raises:
        InputError: the module, its data, its logged metrics or the Trainer's options are not what they must be.
    """
    module = make_module(condition)
    if draws_for is not None:
        count_draws(module, *draws_for)
    data = make_data(condition) if condition.data is not None else None
    watcher = _Watcher(condition)
    trainer = make_trainer(condition, compute_config, watcher)
    if "max_epochs" not in condition.trainer:
        set_max_epochs(module, trainer, condition)
    source = {"datamodule": data} if isinstance(data, LightningDataModule) else {"train_dataloaders": data}
    if data is None or isinstance(data, LightningDataModule):
        check_when_made(condition, data or module)
    else:
        check_generators(condition, pytree.tree_leaves(data))
    try:
        trainer.fit(module, **source)
    except MisconfigurationException as error:
        raise InputError(f"{condition}: {error}") from None
    except RuntimeError as error:
        if not str(error).startswith(EARLY_STOPPING):
            raise
        raise InputError(f"{condition}: {error}") from None
    if module.automatic_optimization and watcher.steps is None and not watcher.went_backward:
        raise InputError(f"{condition}: training_step returned no loss in {watcher.updates} updates; return one")
    logged = trainer.callback_metrics
    check_logged(condition, logged, watcher.updates, has_metric=watcher.latest is not None)
    values = {name: float(logged[name]) for name in condition.measures}
    diverged = watcher.steps is None and watcher.latest is not None and not np.isfinite(watcher.latest)
    diverged = diverged or not all(map(np.isfinite, values.values()))
    if watcher.steps is None or values:  # weights count, though a metric of NaN may be finite, as an accuracy is
        diverged = diverged or not are_finite(module.parameters())
    return ReplicaOutcome(watcher.steps, diverged, _digest(module, watcher), values)


def _digest(module: LightningModule, watcher: "_Watcher") -> int:
    """Digest the values of the metric and the weights after the fit."""
    tensors = [(name, value) for name, value in module.state_dict().items() if isinstance(value, Tensor)]
    contents = [(name, value.detach().cpu().to_dense().reshape(-1)) for name, value in tensors]
    finite = all(bool(value.isfinite().all()) for _, value in contents)
    parts = [part for name, value in contents for part in (name, _to_bytes(value))]
    # Weights that are not finite are equal in runs that differ; torch's generator then says whether the seed was used.
    telling = finite and are_telling(tensor for tensor in module.parameters() if tensor.requires_grad)
    state = b"" if finite else rng_state().torch.numpy()
    return run_digest(watcher.steps, watcher.history, *parts, state, is_unique=telling)


def _to_bytes(values: Tensor) -> bytes:
    """Return the bits of a flat tensor of any type."""
    return values.contiguous().view(torch.uint8).numpy().tobytes() if values.numel() else b""


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
        """The newest of everything that was logged; where replicas are fitted together, (replicas,) each.

        Raises:
            NotStackableError: a step of all replicas reads it.
        """
        module = self.lightning_module
        if not isinstance(module, StackedLightningModule):
            return super().callback_metrics
        self._check_not_stepping("callback_metrics")
        return module.newest

    @property
    def logged_metrics(self) -> dict[str, Tensor]:
        """What loggers were given.

        Raises:
            NotStackableError: a step of all replicas reads it.
        """
        self._check_not_stepping("logged_metrics")
        return super().logged_metrics

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """What the progress bar shows.

        Raises:
            NotStackableError: a step of all replicas reads it.
        """
        self._check_not_stepping("progress_bar_metrics")
        return super().progress_bar_metrics

    def _check_not_stepping(self, name: str) -> None:
        module = self.lightning_module
        if isinstance(module, StackedLightningModule) and module.stepping:
            raise NotStackableError(f"its steps read trainer.{name}")

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


class _Watcher(Callback):
    """Count updates, and stop the fit where the metric meets the target or the budget is spent.

    Attributes:
        steps: updates that had been applied when the target was met, None before.
        updates: training_steps so far in which an optimizer stepped.
        latest: the newest value of the metric, None before the first.
        history: (updates, value) for every value that was compared with the target.
        went_backward: whether training_step returned a loss.
    """

    def __init__(self, condition: LightningCondition) -> None:
        self.condition = condition
        self.steps: int | None = None
        self.updates = 0
        self.latest: float | None = None
        self.history: list[tuple[int, float]] = []
        self.updates_before = self.optimizer_steps = 0
        self.loss_before: Tensor | None = None
        self.metric_before: Tensor | None = None
        self.counts_returned_loss = self.went_backward = False
        self.validation_logs_metric = self.knows_names = False

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_logs_metric = self._is_logged(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if any(isinstance(optimizer, _MockOptimizer) for optimizer in trainer.optimizers):
            raise InputError(f"{self.condition}: configure_optimizers returned None; have it return an optimizer")
        if not pl_module.automatic_optimization:  # the Trainer counts the steps of every optimizer
            _set_max_steps(trainer, self.condition.budget * max(1, len(trainer.optimizers)))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.knows_names:
            check_spelling(self.condition, trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(trainer)
        self._look(trainer, self.updates)
        go_on_to_budget(trainer, self.condition, self.updates)
        self.knows_names = is_validated(trainer)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._count(trainer)
        self.updates_before, self.loss_before, self.metric_before = self.updates, None, None

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self.went_backward = True
        # An optimizer such as LBFGS calls training_step several times an update; only the first call is before it.
        if pl_module.automatic_optimization and self.loss_before is None:
            self.loss_before = loss.detach() * trainer.accumulate_grad_batches
            if self._is_logged(trainer, "training_step"):
                self.metric_before = trainer.callback_metrics.get(self.condition.metric or "")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self._count(trainer)
        if self.condition.metric == LOSS and not self.validation_logs_metric and not self._is_logged(trainer):
            returned = outputs.get(LOSS) if isinstance(outputs, dict) else outputs
            loss = returned if self.loss_before is None else self.loss_before
            if loss is not None:
                self.counts_returned_loss = True
                self._compare(trainer, torch.as_tensor(loss), self.updates_before)
        elif self.metric_before is not None:
            self._compare(trainer, self.metric_before, self.updates_before)
        else:
            self._look(trainer, self.updates_before)
        if not pl_module.automatic_optimization:
            self._stop_manual_optimization(trainer)
        stop_at_budget(trainer, self.condition, self.updates)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if self._is_logged(trainer) and (self.counts_returned_loss or self._is_logged_in_training(trainer)):
            raise InputError(
                f"{self.condition}: both training and validation give a metric={self.condition.metric!r}; log that of "
                "validation under a name of its own, such as 'val_loss', and name the one that counts"
            )
        self._look(trainer, self.updates)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(trainer)
        self._look(trainer, self.updates)  # what the module logs at the end of an epoch comes after callbacks
        note_generators(pytree.tree_leaves(trainer.train_dataloader))

    def _count(self, trainer: Trainer) -> None:
        if trainer.global_step > self.optimizer_steps:
            self.updates += 1
        self.optimizer_steps = trainer.global_step

    def _stop_manual_optimization(self, trainer: Trainer) -> None:
        """End the fit when the budget of updates is spent, however many optimizer steps these took."""
        if self.updates >= self.condition.budget:
            _set_max_steps(trainer, trainer.global_step)
        elif trainer.global_step >= trainer.max_steps:
            _set_max_steps(trainer, trainer.global_step + self.condition.budget - self.updates)

    def _is_logged(self, trainer: Trainer, hook: str | None = None) -> bool:
        """Return whether the present loop logs the metric, in that hook where one is named."""
        return any(
            result.meta.name == self.condition.metric and hook in (None, result.meta.fx)
            for result in (trainer._results or {}).values()
        )

    def _is_logged_in_training(self, trainer: Trainer) -> bool:
        results = trainer.fit_loop.epoch_loop._results
        return any(result.meta.name == self.condition.metric for result in results.values())

    def _look(self, trainer: Trainer, updates: int) -> None:
        value = trainer.callback_metrics.get(self.condition.metric or "")
        if value is not None:
            self._compare(trainer, value, updates)

    def _compare(self, trainer: Trainer, value: Tensor, updates: int) -> None:
        if self.steps is not None:
            return
        self.latest = float(value)
        self.history.append((updates, self.latest))
        if self.condition.met_by(value) and updates <= self.condition.budget:
            self.steps = updates
            trainer.should_stop = trainer.should_stop or not self.condition.measures


def _set_max_steps(trainer: Trainer, steps: int) -> None:
    trainer.fit_loop.epoch_loop.max_steps = steps


def stop_at_budget(trainer: Trainer, condition: LightningCondition, updates: int) -> None:
    """Stop where measures are due: a Trainer that is told to stop validates first, one at its max_steps does not."""
    if condition.measures and updates >= condition.budget:
        trainer.should_stop = True


def go_on_to_budget(trainer: Trainer, condition: LightningCondition, updates: int) -> None:
    """Add an epoch where the last one ends below the budget, as not every batch was an update."""
    last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs > 0
    if last and "max_epochs" not in condition.trainer and updates < condition.budget:
        trainer.fit_loop.max_epochs = trainer.current_epoch + 2


def is_validated(trainer: Trainer) -> bool:
    """Return whether an epoch that ends was validated, or none will be; False where that is not known."""
    every = trainer.check_val_every_n_epoch
    return not trainer.enable_validation or (every is not None and (trainer.current_epoch + 1) % every == 0)
