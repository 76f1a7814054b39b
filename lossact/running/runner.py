"""Train blocks of replicas under the Lightning Trainer, in this process."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from lossact.checks import explain_out_of_memory, first_sentence, ran_out_of_memory
from lossact.conditions.base import BaseCondition
from lossact.conditions.condition import Condition
from lossact.conditions.function import FunctionCondition
from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.models.config import MLPConfig
from lossact.replicas.flat_population import FlatPopulation
from lossact.replicas.named_population import NamedPopulation
from lossact.replicas.workers import n_workers
from lossact.running.fitting_width import FittingWidth
from lossact.running.jobs import BlockJob, Progress, ProgressCallback, TrainedBlock, describe, replicas_of
from lossact.running.measure_check import check_measures
from lossact.running.outcome import ReplicaOutcome
from lossact.running.run_digest import curve_digests
from lossact.running.stacking import launched_with, replica_seed, stack_replicas
from lossact.storage.curve_files import CURVES_KEPT
from lossact.storage.trials import NOT_COUNTED, Curves, Trials
from lossact.training.compute_config import ComputeConfig
from lossact.training.quiet import quiet, trainer_environment
from lossact.training.stacked import StackedOutcome, StackedReplicasModule

# Calls bound a stacked fit, so that four blocks take little longer than one.
BLOCKS_FITTED_TOGETHER = 4
ELSEWHERE = "on the same device", "type (torch.cuda."  # what torch says of tensors on two devices
_blocks_of_kinds: dict[tuple[str, str], int] = {}  # of a pass, by what a network is launched with and its precision


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
    widths: dict[str, FittingWidth] = {}
    for launch in launches:
        yield from train_launch(launch, seed, compute_config, progress, widths)


def group_blocks(
    jobs: Sequence[BlockJob], compute_config: ComputeConfig, *, slots: int | None = None
) -> list[list[BlockJob]]:
    """Group blocks that train together, with the blocks of the first replicas first.

    Conditions that differ only in hyperparameters that each replica can have for itself (those of the optimizer, the
    scale of the initial weights, the label rate) share groups; so do LightningConditions that differ only in numbers
    of their config. The trials of a block do not depend on its group.

    Args:
        jobs: blocks, each once.
        compute_config: how to compute.
        slots: how many groups can train side by side on other machines. Then there are as many groups where there are
            enough blocks, and each block of a condition that always trains a replica at a time is a group. None for
            this machine alone.

    Returns:
        the groups.
    """
    groups: dict[str | BaseCondition, list[BlockJob]] = {}
    for condition, block in jobs:
        groups.setdefault(_shared_content(condition), []).append((condition, block))
    launches = []
    for group in groups.values():
        group.sort(key=lambda job: job[1])
        first, _ = group[0]
        width = launch_width(first, compute_config) if isinstance(first, Condition) else len(group)
        if slots is not None:
            most = width if isinstance(first, Condition) else _blocks_fitted_together(first)
            width = min(most, max(1, len(jobs) // slots))
        launches += [group[at : at + width] for at in range(0, len(group), width)]
    return launches


def _shared_content(condition: BaseCondition) -> str | BaseCondition:
    """Return what conditions of a group have in common."""
    if isinstance(condition, Condition):
        return launched_with(condition)
    if isinstance(condition, LightningCondition) and condition.stacked is not False:
        return condition.fit_content
    return condition


def _blocks_fitted_together(condition: BaseCondition) -> int:
    stacks = isinstance(condition, LightningCondition) and condition.stacked is not False
    return BLOCKS_FITTED_TOGETHER if stacks else 1


def train_launch(
    launch: Sequence[BlockJob],
    seed: int,
    compute_config: ComputeConfig,
    progress: ProgressCallback | None = None,
    widths: dict[str, FittingWidth] | None = None,
) -> Iterator[TrainedBlock]:
    """Train a group of blocks together, in halves where memory runs out, and yield each block when it is done.

    Args:
        launch: one of the groups of `group_blocks`.
        seed: the experiment's, >= 0.
        compute_config: how to compute.
        progress: called after every chunk of updates; None for nobody.
        widths: how many blocks of Conditions fitted into memory in launches before; added to.
    """
    stacked = [(condition, block) for condition, block in launch if isinstance(condition, Condition)]
    try:
        with explain_out_of_memory(describe(launch)):
            if stacked:
                yield from _train_stacked(stacked, seed, compute_config, progress, {} if widths is None else widths)
            else:
                yield from _train_external(launch, seed, compute_config, progress)
    except Exception as error:
        error.add_note(f"while training {describe(launch)}")
        raise


def _train_external(
    launch: Sequence[BlockJob], seed: int, compute_config: ComputeConfig, progress: ProgressCallback | None
) -> Iterator[TrainedBlock]:
    from lossact.running.external import train_one
    from lossact.running.fits_together import FitsTogether

    fits = FitsTogether(seed, compute_config, FittingWidth(BLOCKS_FITTED_TOGETHER))
    reached_so_far: list[bool] = []
    fitted: dict[BlockJob, list[ReplicaOutcome]] = {}  # together with blocks that came before
    for at, job in enumerate(launch):
        condition, block = job
        assert isinstance(condition, (LightningCondition, FunctionCondition))
        if job not in fitted and isinstance(condition, LightningCondition):
            fitted |= fits.fit([other for other in launch[at:] if other not in fitted])
        together = fitted.pop(job, None)
        runs: list[ReplicaOutcome] = []
        replicas = replicas_of(condition, block)
        reason = fits.one_at_a_time.get(condition, "")
        for k, replica in enumerate(replicas):
            if together is not None:
                run = together[k]
            else:
                with trainer_environment(compute_config.threads):
                    own_seed = replica_seed(seed, replica)
                    run = train_one(condition, own_seed, compute_config, draws_for=(seed, replica))
            runs.append(run)
            reached_so_far.append(run.steps is not None)
            last = replica == replicas[-1]
            if progress is not None and (together is None or last):
                updates = condition.budget if run.steps is None else run.steps
                text = _progress_text(condition, updates, sum(reached_so_far) / len(reached_so_far))
                text += f"; one at a time, because {reason}" if reason else ""
                text += f"; each condition by itself, because {fits.apart}" if fits.apart and not reason else ""
                progress(Progress(launch, text, last and at == len(launch) - 1))
        yield TrainedBlock(
            condition,
            replicas.start,
            _trials(runs, condition.budget),
            Curves.empty(condition.budget),
            one_at_a_time=reason,
        )


def _trials(runs: Sequence[ReplicaOutcome], budget: int) -> Trials:
    return Trials(
        np.array([(run.steps or 0) if run.counts_steps else NOT_COUNTED for run in runs], dtype=np.int64),
        np.array([run.steps is not None for run in runs]),
        np.array([run.diverged for run in runs]),
        budget,
        run_digests=np.array([run.run_digest for run in runs], dtype=np.int64),
        values={name: np.array([run.values[name] for run in runs]) for name in runs[0].values},
    )


def launch_width(condition: Condition, compute_config: ComputeConfig) -> int:
    """Return how many blocks are in a launch, at most.

    Args:
        condition: of the blocks.
        compute_config: how to compute.
    """
    network = condition.network_config
    if compute_config.device != "cpu":
        if isinstance(network, MLPConfig) and condition.uses_closed_form_gradients:
            return network.blocks_in_a_kernel
        return network.blocks_at_once
    return max(network.blocks_at_once, n_workers()) if compute_config.may_compile else network.blocks_at_once


def _train_stacked(
    launch: Sequence[tuple[Condition, int]],
    seed: int,
    compute_config: ComputeConfig,
    progress: ProgressCallback | None,
    widths: dict[str, FittingWidth],
) -> Iterator[TrainedBlock]:
    first, _ = launch[0]
    kind = launched_with(first)
    if kind not in widths:
        multiple = _blocks_of_a_pass(first, seed, compute_config)
        is_fixed = first.uses_closed_form_gradients and multiple > 1
        widths[kind] = FittingWidth(multiple if is_fixed else max(multiple, len(launch)), multiple)
    width = widths[kind]

    def train(jobs: Sequence[tuple[Condition, int]]) -> list[TrainedBlock]:
        computed = width.filled(len(jobs))
        with explain_out_of_memory(describe(jobs)) if computed == 1 else nullcontext():
            return _train_at_once(jobs, computed, seed, compute_config, progress)

    while launch:
        n_trained, blocks = width.train_first(launch, train)
        yield from blocks
        launch = launch[n_trained:]


def _blocks_of_a_pass(condition: Condition, seed: int, compute_config: ComputeConfig) -> int:
    """Return how many blocks a pass on a GPU always computes, so that bits do not depend on how many are trained."""
    if compute_config.device == "cpu" or not condition.stacked:
        return 1
    kind = launched_with(condition), compute_config.precision
    if kind not in _blocks_of_kinds:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # said again where it is trained
            module = stack_replicas([(condition, 0)], seed, compute_config, curves_of=0)
        if isinstance(module.population, NamedPopulation):
            _blocks_of_kinds[kind] = min(module.population.blocks_of_a_pass, condition.network_config.blocks_at_once)
        else:  # all replicas of a launch are in one pass
            assert isinstance(module.population, FlatPopulation)
            is_plain = not module.measures_apart and compute_config.precision != "bf16-mixed"
            in_kernel = is_plain and module.population.is_for_gpu_kernel(module.targets)
            _blocks_of_kinds[kind] = 1 if in_kernel else condition.network_config.blocks_at_once
    return _blocks_of_kinds[kind]


def _train_at_once(
    jobs: Sequence[tuple[Condition, int]],
    n_blocks: int,
    seed: int,
    compute_config: ComputeConfig,
    progress: ProgressCallback | None,
) -> list[TrainedBlock]:
    first, _ = jobs[0]
    # Copies of the last job fill up what a pass computes, and only its first copy counts.
    filled = [*jobs, *[jobs[-1]] * (n_blocks - len(jobs))]
    members = [(condition, block * first.block + k) for condition, block in filled for k in range(first.block)]
    kept = sum(replica < CURVES_KEPT for _, replica in members[: len(jobs) * first.block])
    with quiet():
        module = stack_replicas(members, seed, compute_config, curves_of=kept, logs=False)
    try:
        fit(module, compute_config, _Report(jobs, progress) if progress else None)
    except RuntimeError as error:
        of_mixed = compute_config.precision == "bf16-mixed" and "BFloat16" in str(error)
        if not of_mixed or not first.stacked or module.update_count or ran_out_of_memory(error):
            raise
        raise InputError(
            f"{first}: stacked replicas of this network do not train with precision='bf16-mixed' "
            f"({first_sentence(error)}); take another precision, or stacked=False"
        ) from error
    return list(_split(module.outcome(), jobs))


def fit(module: StackedReplicasModule, compute_config: ComputeConfig, callback: Callback | None = None) -> None:
    """Fit a stacked module, without Lightning's banners."""
    with trainer_environment(compute_config.threads):
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
        try:
            trainer.fit(module)
        except RuntimeError as error:
            if compute_config.device == "cpu" or not any(words in str(error) for words in ELSEWHERE):
                raise
            raise InputError(
                f"{first_sentence(error)}; what network, loss and target make and hold must be where their inputs are, "
                "as torch.zeros(3, device=inputs.device), a registered buffer or weight.to(outputs.device) are"
            ) from error
        finally:
            module.recorded = None  # its memory on a GPU is for the next launch


class _Report(Callback):
    def __init__(self, launch: Sequence[BlockJob], progress: ProgressCallback) -> None:
        self.launch, self.progress = launch, progress

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedReplicasModule)
        reach_rate = float(pl_module.population.reached.float().mean())
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
