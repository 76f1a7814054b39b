"""Fit all replicas of a LightningModule at once, under one Trainer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.seed import seed_everything
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.replicas.draws import SharedDrawError
from lossact.replicas.random_streams import isolate_rng, rng_state
from lossact.running.lightning_data import ReplicaStreams, StackedLoader
from lossact.running.lightning_fit import (
    LOSS,
    check_logged,
    go_on_to_budget,
    make_trainer,
    set_max_epochs,
    stop_at_budget,
)
from lossact.running.lightning_stackability import StepProbe, check_data_module, check_modules, check_options
from lossact.running.outcome import ReplicaOutcome
from lossact.running.run_digest import run_digest
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
            raise NotStackableError(_reason(error)) from error


def _fit(
    condition: LightningCondition, replicas: Sequence[int], seed: int, compute_config: ComputeConfig
) -> list[ReplicaOutcome]:
    prepared = PreparedReplicas(condition, replicas, seed)
    module = prepared.module
    watcher = StackedWatcher(condition, module)
    trainer = make_trainer(condition, compute_config, watcher, inference_mode=False)
    if "max_epochs" not in condition.trainer:
        set_max_epochs(module, trainer, condition)
    trainer.fit(module, train_dataloaders=prepared.training, val_dataloaders=prepared.validation or None)
    return watcher.outcomes(trainer)


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
            self.modules.append(self._make_module())
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
            first = self._make_module()  # once more, for a probe may leave traces in it
        probe = StepProbe(first, self.training.first_batch(), [each.first_batch() for each in self.validation])
        self.module = StackedLightningModule(self.modules, replicas, seed, probe)
        self.streams.isolated = lambda: self.module.trainer.sanity_checking

    def _make_module(self) -> LightningModule:
        module = self.condition.module()
        if not isinstance(module, LightningModule):
            raise InputError(f"{self.condition}: module made {type(module).__name__}; it must return a LightningModule")
        return module

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


class StackedWatcher(Callback):
    """Compares every replica's metric with the target when a fit of its own would, and stops when all have met it."""

    def __init__(self, condition: LightningCondition, module: StackedLightningModule) -> None:
        self.condition, self.module = condition, module
        n_replicas = module.n_replicas
        self.steps = np.full(n_replicas, -1, dtype=np.int64)
        self.latest: np.ndarray[Any, Any] | None = None
        self.history: list[list[tuple[int, float]]] = [[] for _ in range(n_replicas)]
        self.updates = self.updates_before = 0
        self.counts_returned_loss = self.validation_logs_metric = False

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_logs_metric = self.condition.metric in self.module.validation_log.reduced()
        self.module.validation_log.reset()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.updates_before = self.updates = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.updates = trainer.global_step
        metric = self.condition.metric
        stop_at_budget(trainer, self.condition, self.updates)
        if metric == LOSS and not self.validation_logs_metric and metric not in self.module.training_log.names:
            self.counts_returned_loss = True
            self._compare(trainer, self.module.losses, self.updates_before)
        elif metric in self.module.step_values:
            self._compare(trainer, self.module.step_values[metric], self.updates_before)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        values = self.module.validation_log.reduced()
        metric = self.condition.metric
        if metric in values:
            if self.counts_returned_loss or metric in self.module.training_log.names:
                raise NotStackableError("training and validation log the same name")
            self._compare(trainer, values[metric], self.updates)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = self.module.training_log.reduced()
        if self.condition.metric in values:
            self._compare(trainer, values[self.condition.metric], self.updates)
        go_on_to_budget(trainer, self.condition, self.updates)

    def _compare(self, trainer: Trainer, values: Tensor, updates: int) -> None:
        met = np.asarray(self.condition.met_by(values))
        numbers = values.detach().cpu().numpy().astype(np.float64)
        open_before = self.steps < 0
        for row in np.flatnonzero(open_before):
            self.history[row].append((updates, float(numbers[row])))
        self.latest = numbers if self.latest is None else np.where(open_before, numbers, self.latest)
        if updates <= self.condition.budget:
            self.steps[open_before & met] = updates
        if (self.steps >= 0).all() and not self.condition.measures:
            trainer.should_stop = True

    def outcomes(self, trainer: Trainer) -> list[ReplicaOutcome]:
        """Return the outcome of each replica, after the fit."""
        check_logged(self.condition, self.module.newest, self.updates, has_metric=self.latest is not None)
        values = {name: self.module.newest[name].double().cpu().numpy() for name in self.condition.measures}
        tensors = {**self.module.parameters_by_name, **self.module.buffers_by_name}
        outcomes = []
        for row, steps in enumerate(self.steps.tolist()):
            weights = [tensor[row].detach().cpu().numpy().tobytes() for tensor in tensors.values()]
            diverged = steps < 0 and self.latest is not None and not np.isfinite(self.latest[row])
            replica_values = {name: float(numbers[row]) for name, numbers in values.items()}
            diverged = diverged or not all(map(np.isfinite, replica_values.values()))
            digest = run_digest(steps, self.history[row], *weights)
            outcomes.append(ReplicaOutcome(None if steps < 0 else steps, bool(diverged), digest, replica_values))
        return outcomes
