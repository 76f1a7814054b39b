"""Trains blocks of replicas in this process, under the Lightning Trainer."""

import json
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
from numpy.typing import NDArray

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

Job = tuple[Condition, int]  # a condition and a block of it
Member = tuple[Condition, int]  # a condition and a replica of it
OF_EACH_REPLICA = ("learning_rate", "momentum", "weight_decay", "bias_gradient_scale")
DTYPES = {"32-true": torch.float32, "64-true": torch.float64, "bf16-mixed": torch.float32}  # of the parameters


@dataclass(frozen=True)
class Progress:
    """How far a launch is.

    Attributes:
        conditions: what trains.
        replicas: first and last index of any, inclusive.
        update, budget: updates taken, and at most.
        reach_rate: share of the launch's replicas that met the target.
        finished: whether the launch is over.
    """

    conditions: tuple[Condition, ...]
    replicas: tuple[int, int]
    update: int
    budget: int
    reach_rate: float
    finished: bool

    @property
    def what(self) -> str:
        """What trains, in words."""
        first, *others = self.conditions
        return f"{first} and {len(others)} more" if others else str(first)


@dataclass(frozen=True, eq=False)
class TrainedBlock:
    """One block as it comes from training; curves hold the replicas below the number that is kept."""

    condition: Condition
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
    """Train blocks of one condition; see `train_jobs`."""
    yield from train_jobs([(condition, block) for block in blocks], seed, setting, progress)


def train_jobs(
    jobs: Sequence[Job],
    seed: int,
    setting: Setting,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[TrainedBlock]:
    """Train blocks, as many at once as run fastest, and yield each when its launch is done.

    Conditions that differ only in numbers that a replica can have for itself (those of the optimiser, the scale of the
    start, the label rate) share launches. No block's trials depend on what it is launched with.

    Args:
        jobs: a condition and the index of a block, each pair once.
        seed: the experiment's.
        setting: how to compute.
        progress: told after every chunk of updates.
    """
    together: dict[str, list[Job]] = {}
    for job in jobs:
        together.setdefault(_launched_with(job[0]), []).append(job)
    for group in together.values():
        yield from _launch(sorted(group, key=lambda job: job[1]), seed, setting, progress)


def _launched_with(condition: Condition) -> str:
    """What conditions of one launch have in common."""
    content = condition.content()
    content.pop("version")
    for part, own in (
        ("network", ("initial_scale",)),
        ("optimizer", OF_EACH_REPLICA),
        ("data", ("label_rate",)),
    ):
        content[part] = {name: value for name, value in content[part].items() if name not in own}
    return json.dumps(content, sort_keys=True, default=str)


def _launch(
    jobs: Sequence[Job], seed: int, setting: Setting, progress: Callable[[Progress], None] | None
) -> Iterator[TrainedBlock]:
    """Train jobs that may share a launch, those of the first blocks first."""
    first = jobs[0][0]
    width = first.built.blocks_at_once
    if setting.compiled:
        width = max(width, setting.threads)
    # What is compiled is compiled for one width. The last job fills up what is left, and its first copy counts.
    multiple = 1
    if setting.compiled and isinstance(first.network, MLPConfig):
        multiple = SLICE // first.block if setting.device == "cpu" else width
    for at in range(0, len(jobs), width):
        launch = jobs[at : at + width]
        filled = [*launch, *[launch[-1]] * (-len(launch) % multiple)]
        members = [(condition, block * first.block + k) for condition, block in filled for k in range(first.block)]
        kept = sum(replica < CURVES_KEPT for _, replica in members[: len(launch) * first.block])
        module = _stack(members, seed, setting, curves_of=kept)
        fit(module, setting, _Report(launch, progress) if progress else None)
        yield from _split(module.outcome(), launch)


def stacked_training(
    condition: Condition, seed: int, replicas: Sequence[int], setting: Setting, *, curves_of: int = 0
) -> StackedTraining:
    """The LightningModule that trains the given replicas of a condition together."""
    return _stack([(condition, replica) for replica in replicas], seed, setting, curves_of=curves_of)


def _stack(members: Sequence[Member], seed: int, setting: Setting, *, curves_of: int) -> StackedTraining:
    """The LightningModule of replicas of conditions that may share a launch."""
    dtype = DTYPES[setting.precision]
    images, labels = _data(members, seed, dtype)
    network, start = _network_and_start(members, seed, images, labels)
    optimizers = [condition.optimizer for condition, _ in members]
    of_each = {name: torch.tensor([getattr(one, name) for one in optimizers], dtype=dtype) for name in OF_EACH_REPLICA}
    condition = members[0][0]
    return StackedTraining(
        network,
        start,
        images,
        labels,
        **of_each,
        target=condition.target.at_least,
        budget=condition.budget,
        compiled=setting.compiled and not isinstance(condition.network, ModuleFactory),
        curves_of=curves_of,
        updates_per_step=condition.built.updates_per_step,
    )


def _network_and_start(
    members: Sequence[Member], seed: int, images: torch.Tensor, labels: torch.Tensor
) -> tuple[StackedNetwork, torch.Tensor]:
    """The stacked network, and (replicas, size) initial parameters."""
    condition = members[0][0]
    config = condition.built
    if isinstance(config, ModuleFactory):
        modules = make_modules(config, [_torch_seed(seed, replica, WEIGHTS) for _, replica in members])
        start = torch.stack([flat_parameters(module) for module in modules]).to(images.dtype)
        if condition.stacked:
            return StackedModule(modules[0].to(images.dtype), condition.loss, images[0], labels[0]), start
        modules = [module.to(images.dtype) for module in modules]
        seeds = [_torch_seed(seed, replica, FORWARD) for _, replica in members]
        return SeparateModules(modules, condition.loss, seeds), start
    image_shape = (images.shape[2], images.shape[3])
    starts = [_flat_start(condition, image_shape, seed, replica) for condition, replica in members]
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
    images, labels = _data([(condition, replica) for replica in replicas], seed, DTYPES[setting.precision])
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


def _flat_start(condition: Condition, image_shape: tuple[int, int], seed: int, replica: int) -> NDArray[np.float64]:
    config = condition.built
    assert not isinstance(config, ModuleFactory)
    parameters = config.initial_parameters(image_shape, replica_generator(seed, replica, WEIGHTS))
    return np.concatenate([array.ravel() for array in parameters.values()])


def _data(members: Sequence[Member], seed: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (sets, batch, height, width) and labels (sets, batch), one set where all replicas share it."""
    drawn = members if members[0][0].data.per_replica else members[:1]
    sets = [condition.data.sample(replica_generator(seed, replica, DATA)) for condition, replica in drawn]
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
    def __init__(self, launch: Sequence[Job], progress: Callable[[Progress], None]) -> None:
        self.conditions = tuple(dict.fromkeys(condition for condition, _ in launch))
        self.progress = progress
        size = self.conditions[0].block
        self.replicas = (launch[0][1] * size, (launch[-1][1] + 1) * size - 1)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedTraining)
        reach_rate = float(trainer.callback_metrics["reach_rate"])
        update, budget = pl_module.update_count, pl_module.budget
        finished = trainer.should_stop or update == budget
        self.progress(Progress(self.conditions, self.replicas, update, budget, reach_rate, finished))


def _split(outcome: StackedOutcome, launch: Sequence[Job]) -> Iterator[TrainedBlock]:
    for slot, (condition, block) in enumerate(launch):
        size = condition.block
        rows = slice(slot * size, (slot + 1) * size)
        steps = np.where(outcome.reached, outcome.steps_to_target, 0)
        yield TrainedBlock(
            condition=condition,
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
