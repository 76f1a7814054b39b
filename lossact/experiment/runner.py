"""Trains blocks of replicas under the Lightning Trainer, in this process."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lossact.checks import memory_told
from lossact.experiment.condition import Condition, Trainable
from lossact.experiment.curve_files import CURVES_KEPT
from lossact.experiment.executor import Job, Progress, Told, TrainedBlock, named, replicas_of
from lossact.experiment.foreign import FunctionCondition, LightningCondition
from lossact.experiment.key import Setting
from lossact.experiment.stacking import (
    DTYPES,
    data_sets,
    replica_seed,
    stack_replicas,
    stacked_arrays,
    stacked_training,
)
from lossact.experiment.trials import Curves, Trials
from lossact.models.config import MLPConfig
from lossact.replicas.compiled import SLICE
from lossact.training.quiet import interruptible, quiet, terminable
from lossact.training.stacked import StackedOutcome, StackedTraining


def train_blocks(
    condition: Condition, seed: int, blocks: Sequence[int], setting: Setting, progress: Told | None = None
) -> Iterator[TrainedBlock]:
    """Train blocks of one condition; see `train_jobs`."""
    yield from train_jobs([(condition, block) for block in blocks], seed, setting, progress)


def train_jobs(
    jobs: Sequence[Job], seed: int, setting: Setting, progress: Told | None = None
) -> Iterator[TrainedBlock]:
    """Train blocks, as many at once as run fastest, and yield each when its launch is done; see `launches`."""
    for launch in launches(jobs, setting):
        yield from train_launch(launch, seed, setting, progress)


def launches(jobs: Sequence[Job], setting: Setting, *, slots: int | None = None) -> list[list[Job]]:
    """Blocks in groups that are trained together, those of the first replicas first.

    Conditions that differ only in numbers that a replica can have for itself (those of the optimiser, the scale of the
    start, the label rate) share launches. No block's trials depend on what it is launched with.

    Args:
        jobs: each once.
        setting: how to compute.
        slots: how many groups can train side by side elsewhere, where each comes back as a whole: then there are as
            many where there are blocks, and what is trained one by one goes block by block.
    """
    groups: dict[str | Trainable, list[Job]] = {}
    for condition, block in jobs:
        together = _launched_with(condition) if isinstance(condition, Condition) else condition
        groups.setdefault(together, []).append((condition, block))
    found = []
    for group in groups.values():
        group.sort(key=lambda job: job[1])
        first, _ = group[0]
        width = _width(first, setting) if isinstance(first, Condition) else len(group)
        if slots is not None:
            width = min(width, max(1, len(jobs) // slots)) if isinstance(first, Condition) else 1
        found += [group[at : at + width] for at in range(0, len(group), width)]
    return found


def train_launch(
    launch: Sequence[Job], seed: int, setting: Setting, progress: Told | None = None
) -> Iterator[TrainedBlock]:
    """Train the blocks of a launch.

    Args:
        launch: one of those that `launches` makes.
        seed: the experiment's.
        setting: how to compute.
        progress: told after every chunk of updates.
    """
    stacked = [(condition, block) for condition, block in launch if isinstance(condition, Condition)]
    try:
        with memory_told(named(launch)):
            if stacked:
                yield from _train_stacked(stacked, seed, setting, progress)
            else:
                yield from _train_one_by_one(launch, seed, setting, progress)
    except Exception as error:
        error.add_note(f"while training {named(launch)}")
        raise


def _train_one_by_one(
    launch: Sequence[Job], seed: int, setting: Setting, progress: Told | None
) -> Iterator[TrainedBlock]:
    from lossact.experiment.one_by_one import Run, train_one

    _, last = replicas_of(launch)
    arrived: list[bool] = []
    for condition, block in launch:
        assert isinstance(condition, (LightningCondition, FunctionCondition))
        runs: list[Run] = []
        for replica in range(block * condition.block, (block + 1) * condition.block):
            with _undisturbed(setting.threads):
                runs.append(train_one(condition, replica_seed(seed, replica), setting))
            arrived.append(runs[-1].steps is not None)
            if progress is not None:
                used = condition.budget if runs[-1].steps is None else runs[-1].steps
                share = sum(arrived) / len(arrived)
                progress(Progress(launch, _where(used, condition.budget, share), replica == last))
        steps = np.array([run.steps or 0 for run in runs], dtype=np.int64)
        reached = np.array([run.steps is not None for run in runs])
        diverged = np.array([run.diverged for run in runs])
        trials = Trials(steps, reached, diverged, condition.budget)
        yield TrainedBlock(condition, block * condition.block, trials, Curves.empty(condition.budget))


def _launched_with(condition: Condition) -> str:
    """What conditions of one launch have in common."""
    content = condition.content()
    content.pop("version")
    for part, own in (("network", ("initial_scale",)), ("data", ("label_rate",))):
        content[part] = {name: value for name, value in content[part].items() if name not in own}
    content["optimizer"] = condition.optimizer.kind
    return json.dumps(content, sort_keys=True, default=str)


def _width(condition: Condition, setting: Setting) -> int:
    """Blocks that train fastest together."""
    at_once = condition.built.blocks_at_once
    return max(at_once, setting.threads) if setting.compiled else at_once


def _train_stacked(
    launch: Sequence[tuple[Condition, int]], seed: int, setting: Setting, progress: Told | None
) -> Iterator[TrainedBlock]:
    first, _ = launch[0]
    # What is compiled is compiled for one width. The last job fills up what is left, and its first copy counts.
    multiple = 1
    if setting.compiled and isinstance(first.network, MLPConfig):
        multiple = SLICE // first.block if setting.device == "cpu" else _width(first, setting)
    filled = [*launch, *[launch[-1]] * (-len(launch) % multiple)]
    members = [(condition, block * first.block + k) for condition, block in filled for k in range(first.block)]
    kept = sum(replica < CURVES_KEPT for _, replica in members[: len(launch) * first.block])
    module = stack_replicas(members, seed, setting, curves_of=kept)
    fit(module, setting, _Report(launch, progress) if progress else None)
    yield from _split(module.outcome(), launch)


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
    members = [(condition, replica) for replica in replicas]
    images, labels = stacked_arrays(data_sets(members, seed), DTYPES[setting.precision])
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


def fit(module: StackedTraining, setting: Setting, callback: Callback | None = None) -> None:
    """Run the Trainer over a stacked module, quietly."""
    with _undisturbed(setting.threads):
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
            limit_val_batches=0,
            callbacks=[callback] if callback else [],
        )
        trainer.fit(module)


class _Report(Callback):
    def __init__(self, launch: Sequence[Job], progress: Told) -> None:
        self.launch, self.progress = launch, progress

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedTraining)
        reach_rate = float(trainer.callback_metrics["reach_rate"])
        update, budget = pl_module.update_count, pl_module.budget
        finished = trainer.should_stop or update == budget
        self.progress(Progress(self.launch, _where(update, budget, reach_rate), finished))


def _where(update: int, budget: int, reach_rate: float) -> str:
    return f"update {update} of {budget}, {reach_rate:.0%} reached the target"


def _split(outcome: StackedOutcome, launch: Sequence[Job]) -> Iterator[TrainedBlock]:
    for slot, (condition, block) in enumerate(launch):
        size = condition.block
        rows = slice(slot * size, (slot + 1) * size)
        steps = np.where(outcome.reached, outcome.steps_to_target, 0)
        yield TrainedBlock(
            condition=condition,
            first_replica=block * size,
            trials=Trials(steps[rows], outcome.reached[rows], outcome.diverged[rows], condition.budget),
            curves=Curves(
                outcome.loss[rows].astype(np.float32),
                outcome.metric[rows].astype(np.float32),
                outcome.gradient_norm[rows].astype(np.float32),
                outcome.layers,
                outcome.updates_per_step,
            ),
        )


@contextmanager
def _undisturbed(threads: int) -> Iterator[None]:
    """A Trainer that is quiet, leaves signals alone and uses so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with quiet(), interruptible(), terminable():
            yield
    finally:
        torch.set_num_threads(before)
