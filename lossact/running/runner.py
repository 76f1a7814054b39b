"""Train blocks of replicas under the Lightning Trainer, in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lossact.checks import explain_out_of_memory
from lossact.conditions.base import BaseCondition
from lossact.conditions.condition import Condition
from lossact.conditions.function import FunctionCondition
from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.models.config import MLPConfig
from lossact.replicas.compiled import SLICE
from lossact.running.jobs import BlockJob, Progress, ProgressCallback, TrainedBlock, describe, replica_range
from lossact.running.measure_check import check_measures
from lossact.running.outcome import ReplicaOutcome
from lossact.running.run_digest import curve_digests
from lossact.running.stacking import launched_with, replica_seed, stack_replicas
from lossact.storage.curve_files import CURVES_KEPT
from lossact.storage.trials import Curves, Trials
from lossact.training.compute_config import ComputeConfig
from lossact.training.quiet import interruptible, quiet, terminable
from lossact.training.stacked import StackedOutcome, StackedReplicasModule

# Calls bound a stacked fit, so that four blocks take little longer than one.
BLOCKS_FITTED_TOGETHER = 4


def train_jobs(
    jobs: Sequence[BlockJob], seed: int, compute_config: ComputeConfig, progress: ProgressCallback | None = None
) -> Iterator[TrainedBlock]:
    """Train blocks in groups that run fastest, and yield each block when its group is done.

    Args:
        jobs: blocks, each once.
        seed: the experiment's, >= 0.
        compute_config: how to compute.
        progress: called after every chunk of updates; None for nobody.
    """
    launches = group_blocks(jobs, compute_config)
    if len(launches) > 1:  # a single one is checked when it begins
        check_measures([launch[0] for launch in launches], seed, compute_config)
    for launch in launches:
        yield from train_launch(launch, seed, compute_config, progress)


def group_blocks(
    jobs: Sequence[BlockJob], compute_config: ComputeConfig, *, slots: int | None = None
) -> list[list[BlockJob]]:
    """Group blocks that train together, with the blocks of the first replicas first.

    Conditions that differ only in hyperparameters that each replica can have for itself (those of the optimizer, the
    scale of the initial weights, the label rate) share groups. The trials of a block do not depend on its group.

    Args:
        jobs: blocks, each once.
        compute_config: how to compute.
        slots: how many groups can train side by side on other machines. Then there are as many groups where there are
            enough blocks, and each block of a condition that trains a replica at a time is a group. None for this
            machine alone.

    Returns:
        the groups.
    """
    groups: dict[str | BaseCondition, list[BlockJob]] = {}
    for condition, block in jobs:
        together = launched_with(condition) if isinstance(condition, Condition) else condition
        groups.setdefault(together, []).append((condition, block))
    launches = []
    for group in groups.values():
        group.sort(key=lambda job: job[1])
        first, _ = group[0]
        width = _width(first, compute_config) if isinstance(first, Condition) else len(group)
        if slots is not None:
            width = min(width, max(1, len(jobs) // slots)) if isinstance(first, Condition) else 1
        launches += [group[at : at + width] for at in range(0, len(group), width)]
    return launches


def train_launch(
    launch: Sequence[BlockJob], seed: int, compute_config: ComputeConfig, progress: ProgressCallback | None = None
) -> Iterator[TrainedBlock]:
    """Train a group of blocks together, and yield each block when it is done.

    Args:
        launch: one of the groups of `group_blocks`.
        seed: the experiment's, >= 0.
        compute_config: how to compute.
        progress: called after every chunk of updates; None for nobody.
    """
    stacked = [(condition, block) for condition, block in launch if isinstance(condition, Condition)]
    try:
        with explain_out_of_memory(describe(launch)):
            if stacked:
                yield from _train_stacked(stacked, seed, compute_config, progress)
            else:
                yield from _train_external(launch, seed, compute_config, progress)
    except Exception as error:
        error.add_note(f"while training {describe(launch)}")
        raise


def _train_external(
    launch: Sequence[BlockJob], seed: int, compute_config: ComputeConfig, progress: ProgressCallback | None
) -> Iterator[TrainedBlock]:
    from lossact.running.external import train_one

    _, last = replica_range(launch)
    reached_so_far: list[bool] = []
    reasons: dict[BaseCondition, str] = {}  # for which replicas are fitted one at a time
    fitted: dict[BlockJob, list[ReplicaOutcome]] = {}  # together with blocks that came before
    for at, (condition, block) in enumerate(launch):
        assert isinstance(condition, (LightningCondition, FunctionCondition))
        replicas = _replicas_of(condition, block)
        stacks = isinstance(condition, LightningCondition) and condition.stacked is not False
        if stacks and condition not in reasons and (condition, block) not in fitted:
            fitted |= _fit_together(launch[at : at + BLOCKS_FITTED_TOGETHER], seed, compute_config, reasons)
        runs = fitted.pop((condition, block), [])
        together = bool(runs)
        for replica in replicas:
            if not together:
                with _trainer_environment(compute_config.threads):
                    own_seed = replica_seed(seed, replica)
                    runs.append(train_one(condition, own_seed, compute_config, draws_for=(seed, replica)))
            steps = runs[replica - replicas.start].steps
            reached_so_far.append(steps is not None)
            if progress is not None and (not together or replica == replicas[-1]):
                updates = condition.budget if steps is None else steps
                where = _progress_text(condition, updates, sum(reached_so_far) / len(reached_so_far))
                reason = f"; one at a time, because {reasons[condition]}" if condition in reasons else ""
                progress(Progress(launch, where + reason, replica == last))
        yield TrainedBlock(
            condition,
            replicas.start,
            _trials(runs, condition.budget),
            Curves.empty(condition.budget),
            one_at_a_time=reasons.get(condition, ""),
        )


def _replicas_of(condition: BaseCondition, block: int) -> range:
    return range(block * condition.block, (block + 1) * condition.block)


def _fit_together(
    jobs: Sequence[BlockJob], seed: int, compute_config: ComputeConfig, reasons: dict[BaseCondition, str]
) -> dict[BlockJob, list[ReplicaOutcome]]:
    """Fit the blocks of a LightningModule together; none, and the reason noted, where that cannot be.

    Args:
        jobs: blocks; those of the first one's condition are fitted.
        seed: the experiment's.
        compute_config: how to compute.
        reasons: condition to the reason for which its replicas are fitted one at a time; added to.
    """
    from lossact.running.stacked_fit import fit_stacked
    from lossact.training.stackable import NotStackableError

    condition, _ = jobs[0]
    assert isinstance(condition, LightningCondition)
    blocks = [block for job_condition, block in jobs if job_condition == condition]
    replicas = [replica for block in blocks for replica in _replicas_of(condition, block)]
    try:
        with _trainer_environment(compute_config.threads):
            runs = fit_stacked(condition, replicas, seed, compute_config)
        size = condition.block
        return {(condition, block): runs[k * size : (k + 1) * size] for k, block in enumerate(blocks)}
    except NotStackableError as reason:
        if condition.stacked is True:
            raise InputError(
                f"{condition}: its replicas cannot be fitted together, because {reason}; leave stacked=True out to fit "
                "them one at a time"
            ) from reason
        reasons[condition] = str(reason)
        return {}


def _trials(runs: Sequence[ReplicaOutcome], budget: int) -> Trials:
    return Trials(
        np.array([run.steps or 0 for run in runs], dtype=np.int64),
        np.array([run.steps is not None for run in runs]),
        np.array([run.diverged for run in runs]),
        budget,
        run_digests=np.array([run.run_digest for run in runs], dtype=np.int64),
        values={name: np.array([run.values[name] for run in runs]) for name in runs[0].values},
    )


def _width(condition: Condition, compute_config: ComputeConfig) -> int:
    """Return how many blocks train fastest together."""
    at_once = condition.network_config.blocks_at_once
    return max(at_once, compute_config.threads) if compute_config.compiled else at_once


def _train_stacked(
    launch: Sequence[tuple[Condition, int]], seed: int, compute_config: ComputeConfig, progress: ProgressCallback | None
) -> Iterator[TrainedBlock]:
    first, _ = launch[0]
    # A step is compiled for one width. Copies of the last job fill up the rest, and only its first copy counts.
    multiple = 1
    if compute_config.compiled and isinstance(first.network, MLPConfig):
        multiple = SLICE // first.block if compute_config.device == "cpu" else _width(first, compute_config)
    filled = [*launch, *[launch[-1]] * (-len(launch) % multiple)]
    members = [(condition, block * first.block + k) for condition, block in filled for k in range(first.block)]
    kept = sum(replica < CURVES_KEPT for _, replica in members[: len(launch) * first.block])
    with quiet():
        module = stack_replicas(members, seed, compute_config, curves_of=kept)
    fit(module, compute_config, _Report(launch, progress) if progress else None)
    yield from _split(module.outcome(), launch)


def fit(module: StackedReplicasModule, compute_config: ComputeConfig, callback: Callback | None = None) -> None:
    """Fit a stacked module, without Lightning's banners."""
    with _trainer_environment(compute_config.threads):
        trainer = Trainer(
            accelerator=compute_config.device,
            devices=1,
            precision=compute_config.precision,  # type: ignore[arg-type]
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
    def __init__(self, launch: Sequence[BlockJob], progress: ProgressCallback) -> None:
        self.launch, self.progress = launch, progress

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedReplicasModule)
        reach_rate = float(trainer.callback_metrics["reach_rate"])
        update, budget = pl_module.update_count, pl_module.budget
        finished = trainer.should_stop or update == budget
        self.progress(Progress(self.launch, _progress_text(self.launch[0][0], update, reach_rate), finished))


def _progress_text(condition: BaseCondition, update: int, reach_rate: float) -> str:
    reached = f", {reach_rate:.0%} reached the target" if condition.has_target else ""
    return f"update {update} of {condition.budget}{reached}"


def _split(outcome: StackedOutcome, launch: Sequence[BlockJob]) -> Iterator[TrainedBlock]:
    steps = np.where(outcome.reached, outcome.steps_to_target, 0)
    digests = curve_digests(outcome.loss, outcome.metric, len(steps))
    for slot, (condition, block) in enumerate(launch):
        size = condition.block
        rows = slice(slot * size, (slot + 1) * size)
        yield TrainedBlock(
            condition=condition,
            first_replica=block * size,
            trials=Trials(
                steps[rows],
                outcome.reached[rows],
                outcome.diverged[rows],
                condition.budget,
                run_digests=digests[rows],
                values={name: values[rows] for name, values in outcome.values.items()},
            ),
            curves=Curves(
                outcome.loss[rows].astype(np.float32),
                outcome.metric[rows].astype(np.float32),
                outcome.gradient_norm[rows].astype(np.float32),
                outcome.layers,
                outcome.updates_per_step,
            ),
        )


@contextmanager
def _trainer_environment(threads: int) -> Iterator[None]:
    """Run a Trainer without banners and with its number of threads, and leave signal handlers as they were."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with quiet(), interruptible(), terminable():
            yield
    finally:
        torch.set_num_threads(threads_before)
