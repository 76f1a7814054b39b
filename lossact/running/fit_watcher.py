"""What watches one replica's fit: it counts updates, and ends the fit at the target or the budget."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.core.optimizer import _MockOptimizer
from torch import Tensor
from torch.utils import _pytree as pytree

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.running.best_values import BestValues
from lossact.running.logged_names import LOSS, check_spelling
from lossact.running.module_making import note_generators

# Without an update: gradients may be accumulated for as long by hand.
MOST_IDLE_EPOCHS = 1_000
MOST_IDLE_BATCHES = 10_000


class FitWatcher(Callback):
    """Count updates, and stop the fit where the metric meets the target or the budget is spent.

    Attributes:
        steps: updates that had been applied when the target was met, None before.
        updates: training_steps so far in which an optimizer stepped.
        latest: the newest value of the metric, None before the first.
        idle_epochs, idle_batches: that began or ended since the last update.
        history: (updates, value) for every value that was compared with the target.
        went_backward: whether training_step returned a loss.
        best: what each Best of the condition has found.
    """

    def __init__(self, condition: LightningCondition) -> None:
        self.condition = condition
        self.steps: int | None = None
        self.updates = 0
        self.latest: float | None = None
        self.history: list[tuple[int, float]] = []
        self.updates_before = self.optimizer_steps = self.idle_epochs = self.idle_batches = 0
        self.loss_before: Tensor | None = None
        self.metric_before: Tensor | None = None
        self.best = BestValues(condition)
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
        validate_last_epoch(trainer, self.condition)
        self._note_best(trainer)
        if self.knows_names:
            check_spelling(self.condition, trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(trainer)
        self._look(trainer, self.updates)
        self._note_best(trainer)
        self.idle_epochs += 1
        self._check_going_on()
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
        self._note_best(trainer)
        self.idle_batches += 1
        self._check_going_on()
        if not pl_module.automatic_optimization:
            self._stop_manual_optimization(trainer)
        stop_at_budget(trainer, self.condition, self.updates)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        in_validation, in_training = _logged_in(trainer._results), _logged_in(trainer.fit_loop.epoch_loop._results)
        if self.counts_returned_loss:
            in_training.add(LOSS)
        if self.condition.metric in in_validation & in_training:
            raise InputError(
                f"{self.condition}: both training and validation give a metric={self.condition.metric!r}; log that of "
                "validation under a name of its own, such as 'val_loss', and name the one that counts"
            )
        of_epochs = _logged_in(trainer.fit_loop.epoch_loop._results, on_epoch=True)  # newer than validation's
        for name in self.condition.logged_measures:
            if name in in_validation & of_epochs:
                raise InputError(
                    f"{self.condition}: training, over the epoch, and validation both log the measure {name!r}; log "
                    "that of training under another name"
                )
        for best in self.condition.bests:
            if best.measure in in_validation & in_training:
                raise InputError(
                    f"{self.condition}: training and validation both log {best.measure!r}, and {best.name!r} of one; "
                    "log that of training under another name"
                )
        self._look(trainer, self.updates)
        self._note_best(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(trainer)
        self._look(trainer, self.updates)  # what the module logs at the end of an epoch comes after callbacks
        self._note_best(trainer)
        note_generators(pytree.tree_leaves(trainer.train_dataloader))

    def _count(self, trainer: Trainer) -> None:
        if trainer.global_step > self.optimizer_steps:
            self.updates += 1
            self.idle_epochs = self.idle_batches = 0
        self.optimizer_steps = trainer.global_step

    def _check_going_on(self) -> None:
        """Raise InputError where the fit would never end, for no optimizer steps any more."""
        if self.idle_epochs > MOST_IDLE_EPOCHS or self.idle_batches > MOST_IDLE_BATCHES:
            raise InputError(
                f"{self.condition}: no optimizer has stepped for {self.idle_epochs} epochs and "
                f"{self.idle_batches} training steps, after {self.updates} of {self.condition.budget} updates; have "
                "one step, or say where the fit ends by trainer={'max_epochs': ...}"
            )

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

    def _note_best(self, trainer: Trainer) -> None:
        if self.condition.bests:
            self.best.note(trainer.callback_metrics)

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


def _logged_in(results: Any, *, on_epoch: bool = False) -> set[str]:
    """Return the names that a loop has logged, or those of epochs alone."""
    return {result.meta.name for result in (results or {}).values() if result.meta.on_epoch or not on_epoch}


def _set_max_steps(trainer: Trainer, steps: int) -> None:
    trainer.fit_loop.epoch_loop.max_steps = steps


def stop_at_budget(trainer: Trainer, condition: LightningCondition, updates: int) -> None:
    """Stop where measures are due: a Trainer that is told to stop validates first, one at its max_steps does not."""
    if condition.measures and updates >= condition.budget:
        trainer.should_stop = True
        _validate_this_epoch(trainer)


def validate_last_epoch(trainer: Trainer, condition: LightningCondition) -> None:
    """Have the last epoch validated, whichever others are, so that measures are of the last weights."""
    if condition.measures and trainer.max_epochs == trainer.current_epoch + 1:
        _validate_this_epoch(trainer)


def _validate_this_epoch(trainer: Trainer) -> None:
    if trainer.check_val_every_n_epoch is not None:
        trainer.check_val_every_n_epoch = 1


def go_on_to_budget(trainer: Trainer, condition: LightningCondition, updates: int) -> None:
    """Add an epoch where the last one ends below the budget, as not every batch was an update."""
    last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs > 0
    if last and "max_epochs" not in condition.trainer and updates < condition.budget:
        trainer.fit_loop.max_epochs = trainer.current_epoch + 2


def is_validated(trainer: Trainer) -> bool:
    """Return whether an epoch that ends was validated, or none will be; False where that is not known."""
    every = trainer.check_val_every_n_epoch
    return not trainer.enable_validation or (every is not None and (trainer.current_epoch + 1) % every == 0)
