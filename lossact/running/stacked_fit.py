"""Fit all replicas of a LightningModule at once, under one Trainer."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.seed import seed_everything
from lightning.pytorch import Callback, LightningDataModule, LightningModule

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.replicas.draws import SharedDrawError
from lossact.replicas.random_streams import isolate_rng, rng_state
from lossact.running.lightning_data import ReplicaStreams, StackedLoader
from lossact.running.lightning_fit import (
    EARLY_STOPPING,
    make_module,
    make_trainer,
    set_max_epochs,
)
from lossact.running.lightning_stackability import StepProbe, check_data_module, check_modules, check_options
from lossact.running.outcome import ReplicaOutcome
from lossact.running.replica_stopping import replica_stoppings
from lossact.running.stacked_watcher import StackedWatcher
from lossact.running.stacking import replica_seed
from lossact.training.compute_config import ComputeConfig
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_lightning import StackedLightningModule

# What a module's own code may raise when its tensors are those of all replicas.
FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
    MisconfigurationException,
)
READS_VALUES = "it calls .item() or branches on a tensor's value"
REASONS = {
    "data-dependent control flow": READS_VALUES,
    ".item()": READS_VALUES,
    "randomness error mode": "it draws by a function that has no counter",
}
LONGEST = 80  # characters of a reason


def fit_stacked(
    condition: LightningCondition, replicas: Sequence[int], seed: int, compute_config: ComputeConfig
) -> list[ReplicaOutcome]:
    """Fit replicas of a condition at once.

    Args:
        condition: what to train.
        replicas: their indices.
        seed: the experiment's.
        compute_config: the device and precision.

    Returns:
        the outcome of each, to rounding the one that it has in a fit of its own.

    Raises:
        NotStackableError: they can only be fitted one at a time.
        InputError: the metric was never logged.
    """
    check_options(condition, compute_config)
    with torch.random.fork_rng(), isolate_rng():
        try:
            return _fit(condition, replicas, seed, compute_config)
        except SharedDrawError:
            raise NotStackableError("it draws from a generator of its own, or within a vmap") from None
        except InputError:
            raise
        except FAILURES as error:
            if str(error).startswith(EARLY_STOPPING):
                raise InputError(f"{condition}: {error}") from None
            raise NotStackableError(_reason(error)) from error


def _fit(
    condition: LightningCondition, replicas: Sequence[int], seed: int, compute_config: ComputeConfig
) -> list[ReplicaOutcome]:
    prepared = PreparedReplicas(condition, replicas, seed)
    module = prepared.module
    watcher = StackedWatcher(condition, module)
    prepared.fit(compute_config, watcher)
    return watcher.outcomes()


def _reason(error: Exception) -> str:
    text = str(error)
    for part, reason in REASONS.items():
        if part in text:
            return reason
    line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"its steps end in {type(error).__name__}: {line}"[:LONGEST]


class PreparedReplicas:
    """Modules and data of all replicas, drawn as each would draw them in a fit of its own.

    Args:
        condition: what is trained.
        replicas: their indices.
        seed: the experiment's.

    Attributes:
        module: the replicas as one LightningModule.
        training: their batches.
        validation: their batches of each validation loader.

    Raises:
        NotStackableError: they can only be fitted one at a time.
    """

    def __init__(self, condition: LightningCondition, replicas: Sequence[int], seed: int) -> None:
        self.condition = condition
        self.streams = ReplicaStreams()
        self.modules: list[LightningModule] = []
        self.sources: list[Any] = []  # one a replica, or one where making it draws nothing
        draws_data = True
        for replica in replicas:
            seed_everything(replica_seed(seed, replica), verbose=False)
            self.modules.append(make_module(self.condition))
            if draws_data:
                before = rng_state()
                self.sources.append(self._make_source())
                draws_data = condition.data is None or not before.equals(rng_state())
            self.streams.begin()
        check_modules(self.modules)
        self.training = StackedLoader(self._loaders("train_dataloader"), self.streams)
        self.validation = [
            StackedLoader(loaders, self.streams) for loaders in zip(*self._validation_loaders(), strict=True)
        ]
        with isolate_rng():
            seed_everything(replica_seed(seed, replicas[0]), verbose=False)
            first = make_module(self.condition)  # once more, for a probe may leave traces in it
        probe = StepProbe(first, self.training.first_batch(), [each.first_batch() for each in self.validation])
        self.module = StackedLightningModule(self.modules, replicas, seed, probe)
        self.modules, self.sources = self.modules[:1], []  # the rest is stacked now
        self.streams.isolated = lambda: self.module.trainer.sanity_checking

    def fit(self, compute_config: ComputeConfig, watcher: StackedWatcher, *more: Callback) -> None:
        """Fit the replicas.

        Args:
            compute_config: the device and precision.
            watcher: ends the fit.
            more: callbacks of the Trainer.
        """
        stoppings = replica_stoppings(self.condition, self.module, watcher.end_rested)
        trainer = make_trainer(
            self.condition, compute_config, watcher, callbacks=[*more, *stoppings], inference_mode=False
        )
        if "max_epochs" not in self.condition.trainer:
            set_max_epochs(self.module, trainer, self.condition)
        trainer.fit(self.module, train_dataloaders=self.training, val_dataloaders=self.validation or None)

    def _make_source(self) -> Any:
        """Return what has the loaders: a data module that is set up, a DataLoader, or the replica's module."""
        if self.condition.data is None:
            return self.modules[-1]
        data = self.condition.data()
        if isinstance(data, LightningDataModule):
            check_data_module(data)
            data.prepare_data()
            data.setup("fit")
        return data

    def _loaders(self, method: str) -> list[Any]:
        """What each source's method returns; nothing may be drawn, for a Trainer calls it at a time of its own."""
        if not isinstance(self.sources[0], (LightningModule, LightningDataModule)):
            return self.sources if method == "train_dataloader" else [None for _ in self.sources]
        with isolate_rng():
            before = rng_state()
            loaders = [getattr(source, method)() for source in self.sources]
            if not before.equals(rng_state()):
                raise NotStackableError(f"its {method} draws random numbers")
        return loaders

    def _validation_loaders(self) -> list[list[Any]]:
        defined = any(
            type(source).val_dataloader is not base.val_dataloader
            for source in self.sources[:1]
            for base in (LightningModule, LightningDataModule)
            if isinstance(source, base)
        )
        if not defined or type(self.modules[0]).validation_step is LightningModule.validation_step:
            return [[] for _ in self.sources]
        loaders = self._loaders("val_dataloader")
        return [[] if each is None else list(each) if isinstance(each, (list, tuple)) else [each] for each in loaders]
