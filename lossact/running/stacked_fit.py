"""Fit all replicas of a LightningModule at once, under one Trainer."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule

from lossact.checks import ran_out_of_memory
from lossact.conditions.lightning import LightningCondition
from lossact.errors import FAILURES, InputError
from lossact.replicas.draws import SharedDrawError
from lossact.replicas.draws_native import CPU_DRAWS
from lossact.replicas.random_streams import gpus_in_use, isolate_rng, rng_state, start_replica
from lossact.running.fit_trainer import make_trainer, set_max_epochs
from lossact.running.lightning_data import ReplicaStreams, StackedLoader, check_draws_whole_epochs, loaders_alike
from lossact.running.lightning_fit import LIGHTNINGS_ERRORS
from lossact.running.lightning_stackability import StepProbe, check_data_module, check_options
from lossact.running.module_making import generators_of, make_data, make_module
from lossact.running.module_stack import ModuleStack
from lossact.running.outcome import ReplicaOutcome
from lossact.running.replica_stopping import replica_stoppings
from lossact.running.stacked_watcher import StackedWatcher
from lossact.running.stacking import replica_seed
from lossact.running.values_read import ValuesRead
from lossact.training.compute_config import ComputeConfig
from lossact.training.shown_trainer import OF_ANY_FIT, ShownTrainer
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_lightning import StackedLightningModule

Member = tuple[LightningCondition, int]  # a condition and the index of a replica

NO_TRAINER: Any = ShownTrainer(None, "its data read", OF_ANY_FIT)  # while data are made and read, once for all epochs
LIMITS = {"limit_train_batches", "limit_val_batches"}
MAKING = "making its module or its data changes"
TRIED = 4  # replicas whose modules and data are looked at, to see whether all can share what the first has

READS_VALUES = "it calls .item() or branches on a tensor's value"
REASONS = {
    "data-dependent control flow": READS_VALUES,
    ".item()": READS_VALUES,
    "randomness error mode": "it draws by a function that has no counter",
}
LONGEST = 80  # characters of a reason


def fit_stacked(members: Sequence[Member], seed: int, compute_config: ComputeConfig) -> list[ReplicaOutcome]:
    """Fit replicas at once.

    Args:
        members: conditions, of equal fit_content, and replica indices.
        seed: the experiment's.
        compute_config: the device and precision.

    Returns:
        the outcome of each, to rounding the one that it has in a fit of its own.

    Raises:
        NotStackableError: they cannot be fitted at once.
        InputError: the metric was never logged.
        RuntimeError: memory ran out.
    """
    condition, _ = members[0]
    check_options(condition, compute_config)
    CPU_DRAWS.is_allowed = compute_config.may_compile
    with torch.random.fork_rng(gpus_in_use(compute_config.device)), isolate_rng():
        try:
            return _fit(members, seed, compute_config)
        except SharedDrawError:
            raise NotStackableError("it draws from a generator of its own, or within a vmap") from None
        except InputError:
            raise
        except (*FAILURES, MisconfigurationException) as error:
            if ran_out_of_memory(error):
                raise
            if str(error).startswith(LIGHTNINGS_ERRORS):
                raise InputError(f"{condition}: {error}") from None
            raise NotStackableError(_reason(error)) from error


def _fit(members: Sequence[Member], seed: int, compute_config: ComputeConfig) -> list[ReplicaOutcome]:
    prepared = PreparedReplicas(members, seed)
    watcher = StackedWatcher(prepared.condition, prepared.module)
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
        members: conditions, of equal fit_content, and replica indices.
        seed: the experiment's.

    Attributes:
        condition: the first.
        module: the replicas as one LightningModule.
        training: their batches.
        validation: their batches of each validation loader.
        probe: compares steps of all replicas with those of one.

    Raises:
        NotStackableError: they cannot be fitted at once.
    """

    def __init__(self, members: Sequence[Member], seed: int) -> None:
        self.condition, _ = members[0]
        self.streams = ReplicaStreams()
        self.loader_methods: dict[str, None] = {}  # of the modules themselves that made loaders, in order
        self.training_loaders: list[Any] = []  # one a replica, or one where making the data draws nothing
        self.validation_loaders: list[list[Any]] = []
        firsts: dict[LightningCondition, LightningModule] = {}
        values_read, generators = ValuesRead(self.condition), list[Any]()
        stack: ModuleStack | None = None
        shares = self.condition.data is not None  # data are the same for all, as far as is known
        for row, (condition, replica) in enumerate(members):
            start_replica(replica_seed(seed, replica))
            module = make_module(condition)
            is_first = condition not in firsts
            stack = stack or ModuleStack(module, len(members))
            stack.write(module, like=firsts.setdefault(condition, module))
            module.trainer = NO_TRAINER
            if shares and row >= TRIED:
                if is_first:
                    values_read.check_same(MAKING)
                self.streams.begin()
                continue
            before = rng_state() if shares else None
            source = self._make_source(module)
            shares = before is not None and before.equals(rng_state())
            self.streams.begin()
            self._add_loaders(source, module)
            if row < TRIED or is_first:
                values_read.check_same(MAKING)
            for generator in generators_of([self.training_loaders[-1]]):
                if any(generator is other for other in generators):
                    raise NotStackableError("its DataLoaders draw their order from one generator")
                generators.append(generator)
            shares = shares and (row == 0 or self._forget_latest_if_alike(row))
        assert stack is not None
        self.training = StackedLoader(self.training_loaders, self.streams)
        self.validation = [
            StackedLoader(loaders, self.streams) for loaders in zip(*self.validation_loaders, strict=True)
        ]
        if LIMITS & self.condition.trainer.keys():
            check_draws_whole_epochs([*self.training_loaders, *chain.from_iterable(self.validation_loaders)])
        with isolate_rng():  # once more, for a probe may leave traces in them
            probed = {row: self._made_again(members[row], seed) for row in self._first_rows(members)}
            template = firsts[self.condition] if len(firsts) == 1 else self._made_again(members[0], seed)
        batches = self.training.first_batch(), [each.first_batch() for each in self.validation]
        self.probe = StepProbe(probed, *batches, ValuesRead(self.condition))
        configured = [firsts[condition] for condition, _ in members]
        replicas = [replica for _, replica in members]
        self.module = StackedLightningModule(template, stack.tensors, configured, replicas, seed, self.probe)
        self.streams.isolated = lambda: self.module.trainer.sanity_checking

    @staticmethod
    def _first_rows(members: Sequence[Member]) -> list[int]:
        """Return the row of each condition's first replica."""
        conditions = [condition for condition, _ in members]
        return [conditions.index(condition) for condition in dict.fromkeys(conditions)]

    def _made_again(self, member: Member, seed: int) -> LightningModule:
        condition, replica = member
        start_replica(replica_seed(seed, replica))
        module = make_module(condition)
        module.trainer = NO_TRAINER
        for name in self.loader_methods:  # they may set attributes
            getattr(module, name)()
        return module

    def _make_source(self, module: LightningModule) -> Any:
        """Return what has a replica's loaders: a data module that is set up, a DataLoader, or the replica's module."""
        if self.condition.data is None:
            return module
        data = make_data(self.condition)
        if isinstance(data, LightningDataModule):
            check_data_module(data)
            data.trainer = NO_TRAINER
            data.prepare_data()
            data.setup("fit")
        return data

    def _forget_latest_if_alike(self, row: int) -> bool:
        """Drop the latest replica's loaders where they are as the first's; return whether they are.

        Data that were made without drawing may still follow from the seed.
        """
        first, *_, latest = zip(self.training_loaders, self.validation_loaders, strict=True)
        if loaders_alike([first[0], *first[1]], [latest[0], *latest[1]], read=row == 1):
            self.training_loaders.pop()
            self.validation_loaders.pop()
            return True
        if row > 1:
            raise NotStackableError("its data differ between some replicas, though making them draws nothing")
        return False

    def _add_loaders(self, source: Any, module: LightningModule) -> None:
        makes_loaders = isinstance(source, (LightningModule, LightningDataModule))
        self.training_loaders.append(self._made_by(source.train_dataloader) if makes_loaders else source)
        base = LightningDataModule if isinstance(source, LightningDataModule) else LightningModule
        validating = source if makes_loaders else module  # a DataLoader is for training alone
        defined = type(validating).val_dataloader is not base.val_dataloader
        validates = defined and type(module).validation_step is not LightningModule.validation_step
        loaders = self._made_by(validating.val_dataloader) if validates else []
        self.validation_loaders.append(
            [] if loaders is None else list(loaders) if isinstance(loaders, (list, tuple)) else [loaders]
        )

    def _made_by(self, method: Any) -> Any:
        """Return loaders; nothing may be drawn, for a Trainer makes them at a time of its own."""
        if isinstance(method.__self__, LightningModule):
            self.loader_methods[method.__name__] = None
        whole = len(self.streams.states) == 1  # of other replicas torch's alone, which costs less
        before = rng_state() if whole else None
        loaders = method()
        if not torch.equal(self.streams.states[-1], torch.get_rng_state()) or (
            before is not None and not before.equals(rng_state())
        ):
            raise NotStackableError(f"its {method.__name__} draws random numbers")
        return loaders

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
        try:
            trainer.fit(self.module, train_dataloaders=self.training, val_dataloaders=self.validation or None)
            self.probe.check_unchanged(self.module)
        finally:
            self.module.recorded = None  # its memory on a GPU is for the next fit
