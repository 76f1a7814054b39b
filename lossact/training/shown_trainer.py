"""The Trainer as a module sees it that stands for many replicas: what holds for each of their fits, and no more."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from lightning.pytorch import Trainer

from lossact.training.stackable import NotStackableError

OF_ANY_FIT: Mapping[str, Any] = {
    "world_size": 1, "num_devices": 1, "num_nodes": 1, "global_rank": 0, "local_rank": 0, "node_rank": 0,
    "is_global_zero": True,
}  # fmt: skip
SHOWN = OF_ANY_FIT.keys() | {
    "accumulate_grad_batches", "barebones", "check_val_every_n_epoch", "current_epoch", "default_root_dir",
    "estimated_stepping_batches", "evaluating", "fast_dev_run", "fit_loop", "global_step",
    "gradient_clip_algorithm", "gradient_clip_val", "is_last_batch", "limit_train_batches", "limit_val_batches",
    "log_dir", "log_every_n_steps", "logger", "loggers", "lr_scheduler_configs", "max_epochs", "max_steps",
    "min_epochs", "min_steps", "num_sanity_val_batches", "num_training_batches", "num_val_batches",
    "optimizers", "precision", "predicting", "sanity_checking", "state", "strategy", "testing", "training",
    "val_check_batch", "val_check_interval", "validating",
}  # fmt: skip


class ShownTrainer:
    """Stands for the Trainer of a replica's own fit.

    Args:
        trainer: of the fit of all replicas; None where that has not begun.
        reads: how the reason begins where something else is read, such as "its steps read".
        shown: attributes that may be read.
    """

    def __init__(self, trainer: Trainer | None, reads: str, shown: Collection[str] = SHOWN) -> None:
        vars(self).update(_trainer=trainer, _reads=reads, _shown=shown)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copies and inspects it looks for
            raise AttributeError(name)
        if name == "train_dataloader" and vars(self)["_trainer"] is not None:
            return _ShownLoader(len(vars(self)["_trainer"].train_dataloader), f"{vars(self)['_reads']} trainer.{name}")
        if name not in vars(self)["_shown"]:
            raise NotStackableError(f"{vars(self)['_reads']} trainer.{name}")
        return OF_ANY_FIT[name] if name in OF_ANY_FIT else getattr(vars(self)["_trainer"], name)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise NotStackableError(f"its code sets trainer.{name}")


class _ShownLoader:
    """Stands for a replica's own loader, of which the length alone may be asked."""

    def __init__(self, length: int, reason: str) -> None:
        vars(self).update(_length=length, _reason=reason)

    def __len__(self) -> int:
        length: int = vars(self)["_length"]
        return length

    def __getattr__(self, _: str) -> NoReturn:
        raise NotStackableError(vars(self)["_reason"])

    def __iter__(self) -> NoReturn:
        self.__getattr__("")


@contextmanager
def optimizer_state_hidden(trainer: Trainer) -> Iterator[None]:
    """Have reading what the optimizers keep for each number of a parameter end in an error: it is all replicas'."""
    held = [(optimizer, optimizer.state) for optimizer in trainer.optimizers]
    for optimizer, _ in held:
        optimizer.state = _UnreadState()  # type: ignore[assignment]
    try:
        yield
    finally:
        for optimizer, state in held:
            optimizer.state = state


class _UnreadState(dict[Any, Any]):
    """Stands for what an optimizer keeps."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise NotStackableError("its steps read what the optimizer keeps")

    __contains__ = __getitem__ = __iter__ = __len__ = get = items = keys = values = _refuse
