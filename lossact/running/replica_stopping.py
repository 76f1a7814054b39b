"""Early stopping of replicas that are fitted together: each has callbacks and an end of its own."""

from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from lossact.conditions.lightning import LightningCondition
from lossact.replicas.random_streams import isolate_rng
from lossact.running.fit_trainer import callbacks_in
from lossact.training.stackable import NotStackableError, drawing_nothing
from lossact.training.stacked_lightning import StackedLightningModule


class ReplicaStopping(EarlyStopping):
    """The same EarlyStopping callback of every replica.

    It is an EarlyStopping itself, as Lightning calls these after what a module does at the end of an epoch.

    Args:
        callbacks: one a replica.
        epoch_ended: called with the Trainer once they have looked at the end of an epoch.
    """

    def __init__(self, callbacks: Sequence[EarlyStopping], epoch_ended: Callable[[Trainer], None]) -> None:
        super().__init__(monitor=callbacks[0].monitor, mode=callbacks[0].mode)
        self.callbacks, self.epoch_ended = callbacks, epoch_ended

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set up each."""
        for callback in self.callbacks:
            callback.setup(trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have each look at its replica's metric, and have replicas rest that stop."""
        self._call("on_train_epoch_end", trainer, pl_module)
        self.epoch_ended(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have each look at its replica's metric, and have replicas rest that stop."""
        self._call("on_validation_end", trainer, pl_module)

    def _call(self, hook: str, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, StackedLightningModule)
        for row, (callback, rests) in enumerate(zip(self.callbacks, module.rests.tolist(), strict=True)):
            if not rests:
                own: Any = _TrainerOfReplica(trainer, module, row)
                getattr(callback, hook)(own, module)
                if own.should_stop:
                    module.rests[row] = True


class _TrainerOfReplica:
    """What one replica's callback sees of the Trainer."""

    def __init__(self, trainer: Trainer, module: StackedLightningModule, row: int) -> None:
        self._trainer = trainer
        self.callback_metrics: dict[str, Tensor] = {name: values[row] for name, values in module.newest.items()}
        self.should_stop = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)


def replica_stoppings(
    condition: LightningCondition, module: StackedLightningModule, epoch_ended: Callable[[Trainer], None]
) -> list[Callback]:
    """Make the callbacks of all replicas.

    Args:
        condition: what is trained.
        module: the replicas.
        epoch_ended: called with the Trainer once callbacks have looked at the end of an epoch.

    Returns:
        one for each of a replica's.

    Raises:
        NotStackableError: they are others than EarlyStopping.
        InputError: they are no callbacks.
    """
    with isolate_rng(), drawing_nothing("making its callbacks draws random numbers"):
        of_replicas = [_of_replica(condition, configured) for configured in module.configured]
    if len({tuple((each.monitor, each.mode) for each in callbacks) for callbacks in of_replicas}) > 1:
        raise NotStackableError("its callbacks differ between replicas")
    return [ReplicaStopping(same, epoch_ended) for same in zip(*of_replicas, strict=True)]


def _of_replica(condition: LightningCondition, module: LightningModule) -> list[EarlyStopping]:
    """Return one replica's callbacks; the module's take the place of the Trainer's of their kind, as in Lightning."""
    own: Any = module.configure_callbacks()
    of_module = list(own) if isinstance(own, (list, tuple)) else [own]
    of_trainer = callbacks_in(condition, condition.trainer_options())
    for callback in (*of_module, *of_trainer):
        if type(callback) is not EarlyStopping:
            raise NotStackableError(f"its Trainer has the callback {type(callback).__name__}")
    return of_module or of_trainer  # type: ignore[return-value]
