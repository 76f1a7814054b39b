"""Trains blocks of replicas in this process, under the Lightning Trainer."""

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningModule, Trainer

from lossact.experiment.condition import Condition
from lossact.experiment.key import Setting
from lossact.experiment.store import CURVES_KEPT
from lossact.experiment.trials import Curves, Trials
from lossact.models.config import MLPConfig
from lossact.models.factory import ModuleFactory
from lossact.replicas.compiled import SLICE
from lossact.replicas.generators import DATA, FORWARD, WEIGHTS, replica_generator
from lossact.replicas.modules import SeparateModules, StackedModule, flat_parameters, make_modules
from lossact.replicas.network import StackedNetwork, stacked_network
from lossact.training.stacked import StackedOutcome, StackedTraining

DTYPES = {"32-true": torch.float32, "64-true": torch.float64, "bf16-mixed": torch.float32}  # of the parameters


@dataclass(frozen=True)
class Progress:
    """How far a launch is.

    Attributes:
        condition: what trains.
        replicas: first and last index, inclusive.
        update, budget: updates taken, and at most.
        reach_rate: share of the launch's replicas that met the target.
        finished: whether the launch is over.
    """

    condition: Condition
    replicas: tuple[int, int]
    update: int
    budget: int
    reach_rate: float
    finished: bool


@dataclass(frozen=True, eq=False)
class TrainedBlock:
    """One block as it comes from training; curves hold the replicas below the number that is kept."""

    first_replica: int
    trials: Trials
    curves: Curves


def train_blocks(
    condition: Condition,
    seed: int,
    blocks: Sequence[int],
    setting: Setting,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[TrainedBlock]:
    """Train blocks of a condition, as many at once as run fastest, and yield each when its launch is done.

    Args:
        condition: what to train.
        seed: the experiment's.
        blocks: indices, each once; their order does not matter to any block's trials.
        setting: how to compute.
        progress: told after every chunk of updates.
    """
    width = condition.built.blocks_at_once
    if setting.compiled:
        width = max(width, setting.threads)
    # What is compiled is compiled for one width. The last block fills up what is left, and its first copy counts.
    multiple = 1
    if setting.compiled and isinstance(condition.network, MLPConfig):
        multiple = SLICE // condition.block if setting.device == "cpu" else width
    for at in range(0, len(blocks), width):
        launch = sorted(blocks[at : at + width])
        filled = launch + [launch[-1]] * (-len(launch) % multiple)
        replicas = [block * condition.block + k for block in filled for k in range(condition.block)]
        kept = sum(replica < CURVES_KEPT for replica in replicas[: len(launch) * condition.block])
        module = stacked_training(condition, seed, replicas, setting, curves_of=kept)
        fit(module, setting, _Report(condition, replicas, progress) if progress else None)
        yield from _split(module.outcome(), launch, condition)


def stacked_training(
    condition: Condition, seed: int, replicas: Sequence[int], setting: Setting, *, curves_of: int = 0
) -> StackedTraining:
    """The LightningModule that trains the given replicas of a condition together."""
    dtype = DTYPES[setting.precision]
    images, labels = _data(condition, seed, replicas, dtype)
    network, start = _network_and_start(condition, seed, replicas, images, labels)
    optimizer = condition.optimizer
    learning_rate, momentum, weight_decay = (
        torch.full((len(replicas),), value, dtype=dtype)
        for value in (optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay)
    )
    return StackedTraining(
        network,
        start,
        images,
        labels,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        bias_gradient_scale=optimizer.bias_gradient_scale,
        target=condition.target.at_least,
        budget=condition.budget,
        compiled=setting.compiled and not isinstance(condition.network, ModuleFactory),
        curves_of=curves_of,
        updates_per_step=condition.built.updates_per_step,
    )


def _network_and_start(
    condition: Condition, seed: int, replicas: Sequence[int], images: torch.Tensor, labels: torch.Tensor
) -> tuple[StackedNetwork, torch.Tensor]:
    """The stacked network, and (replicas, size) initial parameters."""
    config = condition.built
    if isinstance(config, ModuleFactory):
        modules = make_modules(config, [_torch_seed(seed, replica, WEIGHTS) for replica in replicas])
        start = torch.stack([flat_parameters(module) for module in modules]).to(images.dtype)
        if condition.stacked:
            return StackedModule(modules[0].to(images.dtype), condition.loss, images[0], labels[0]), start
        modules = [module.to(images.dtype) for module in modules]
        seeds = [_torch_seed(seed, replica, FORWARD) for replica in replicas]
        return SeparateModules(modules, condition.loss, seeds), start
    image_shape = (images.shape[2], images.shape[3])
    starts = [
        np.concatenate([array.ravel() for array in config.initial_parameters(image_shape, generator).values()])
        for generator in (replica_generator(seed, replica, WEIGHTS) for replica in replicas)
    ]
    start = torch.from_numpy(np.stack(starts)).to(images.dtype)
    return stacked_network(config, image_shape, condition.loss), start


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Where replicas stand in the middle of their training.

    Attributes:
        update: how many updates have been applied.
        parameters: (replicas, size), each row a network's state_dict flattened in its order.
    """

    update: int
    parameters: torch.Tensor


def watch(
    condition: Condition, seed: int, replicas: Sequence[int], *, every: int, setting: Setting
) -> tuple[list[Snapshot], torch.Tensor, torch.Tensor]:
    """Train replicas of a built-in network and keep their parameters on the way; nothing is stored.

    Args:
        condition: what to train.
        seed: the experiment's.
        replicas: indices, trained together.
        every: updates between two snapshots; the first is of the start.
        setting: how to compute.

    Returns:
        the snapshots, the images (replicas or 1, batch, height, width) and labels (replicas or 1, batch).
    """
    images, labels = _data(condition, seed, replicas, DTYPES[setting.precision])
    module = stacked_training(condition, seed, replicas, setting)
    module.updates_per_step = every
    watcher = _Watch()
    fit(module, setting, watcher)
    return watcher.snapshots, images, labels


class _Watch(Callback):
    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedTraining)
        self.snapshots.append(Snapshot(pl_module.update_count, pl_module.state.parameters.cpu().clone()))


def _data(
    condition: Condition, seed: int, replicas: Sequence[int], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (sets, batch, height, width) and labels (sets, batch), one set where all replicas share it."""
    drawn = replicas if condition.data.per_replica else replicas[:1]
    sets = [condition.data.sample(replica_generator(seed, replica, DATA)) for replica in drawn]
    images, labels = (np.stack([getattr(one, name) for one in sets]) for name in ("images", "labels"))
    return torch.from_numpy(images).to(dtype), torch.from_numpy(labels).to(dtype)


def _torch_seed(seed: int, replica: int, stream: int) -> int:
    return int(replica_generator(seed, replica, stream).integers(2**63))


def fit(module: StackedTraining, setting: Setting, callback: Callback | None = None) -> None:
    """Run the Trainer over a stacked module, quietly."""
    with _quiet(), _interruptible(), _threads(setting.threads):
        trainer = Trainer(
            accelerator=setting.device,
            devices=1,
            precision=setting.precision,  # type: ignore[arg-type]
            min_epochs=0,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[callback] if callback else [],
        )
        trainer.fit(module, train_dataloaders=module.chunks)


class _Report(Callback):
    def __init__(self, condition: Condition, replicas: Sequence[int], progress: Callable[[Progress], None]) -> None:
        self.condition, self.progress = condition, progress
        self.replicas = (replicas[0], replicas[-1])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedTraining)
        reach_rate = float(trainer.callback_metrics["reach_rate"])
        update, budget = pl_module.update_count, pl_module.budget
        finished = trainer.should_stop or update == budget
        self.progress(Progress(self.condition, self.replicas, update, budget, reach_rate, finished))


def _split(outcome: StackedOutcome, launch: Sequence[int], condition: Condition) -> Iterator[TrainedBlock]:
    size = condition.block
    for slot, block in enumerate(launch):
        rows = slice(slot * size, (slot + 1) * size)
        steps = np.where(outcome.reached, outcome.steps_to_target, 0)
        yield TrainedBlock(
            first_replica=block * size,
            trials=Trials(steps[rows], outcome.reached[rows], outcome.diverged[rows], condition.budget),
            curves=Curves(outcome.loss[rows].astype(np.float32), outcome.accuracy[rows].astype(np.float32)),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """No banner and no advice from Lightning, and no deprecation that it or torch's compiler runs into itself."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=PossibleUserWarning)
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*TypedStorage is deprecated.*")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays a KeyboardInterrupt; Lightning turns it into an exit and leaves SIGINT ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        if isinstance(stopped.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if handler is not None and signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
