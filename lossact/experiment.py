"""Return trials on demand: read from the store, or trained where they are missing."""

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_choice, check_count, checked_arguments, checked_call, replaced_arguments
from lossact.conditions.base import BaseCondition
from lossact.conditions.function import FunctionCondition
from lossact.conditions.lightning import LightningCondition
from lossact.conditions.recorded_runs import RecordedRuns
from lossact.cpp_compiler import find_compiler
from lossact.errors import EditedFileError, InputError, TrainingError
from lossact.executors.base import Executor
from lossact.executors.local import LocalExecutor
from lossact.running.jobs import BlockJob, Progress, ProgressCallback, TrainedBlock
from lossact.storage.key import digest, key_content, numbers_content, trial_key
from lossact.storage.store import Store
from lossact.storage.trials import Curves, Trials
from lossact.training.compute_config import DEVICES, Compiled, ComputeConfig

LOCKED_AT_ONCE = 128  # each lock is an open file, and a process may be limited to 256 of them


@replaced_arguments({"setting": "Experiment(compute_config=...)"})
@checked_arguments
class Experiment:
    """Train conditions from one seed, and keep their trials.

    Args:
        seed: replica r of every condition draws its data and initial weights from (seed, r); >= 0.
        store: where trials are kept; None keeps them as long as this object lives.
        compute_config: how to compute; None takes default_compute_config().
        retrain: train each condition once more, whatever is stored.
        curves: whether to store the learning curves of the first replicas too.
        progress: called with the progress of training.
        executor: where to train; None trains in this process.

    Attributes:
        trained_replicas: how many replicas were trained, not read from the store.
        one_at_a_time: why replicas of a LightningCondition were fitted one at a time, in a few words.
        changing: conditions whose training changed values that their code reads, such as a global variable.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        store: Store | None = None,
        compute_config: ComputeConfig | None = None,
        retrain: bool = False,
        curves: bool = True,
        progress: ProgressCallback | None = None,
        executor: Executor | None = None,
    ) -> None:
        check_count("seed", seed, at_least=0, hint=0)
        if store is not None and not hasattr(store, "trials"):
            raise InputError(f"store={store!r} must be a Store; try store=Store('.lossact')")
        if not isinstance(compute_config, (ComputeConfig, type(None))):
            raise InputError(f"compute_config={compute_config!r} must be a ComputeConfig; try default_compute_config()")
        if not isinstance(retrain, bool):
            raise InputError(f"retrain={retrain!r} must be True or False; leave it out for False")
        if progress is not None and not callable(progress):
            raise InputError(f"progress={progress!r} must be a function of a Progress; try progress=print")
        if executor is not None and not hasattr(executor, "train"):
            raise InputError(f"executor={executor!r} must be an Executor; try executor=LocalExecutor()")
        self.seed = seed
        self.store = Store(None) if store is None else store
        self.compute_config = default_compute_config() if compute_config is None else compute_config
        self.progress = progress
        self.executor = LocalExecutor() if executor is None else executor
        self.trained_replicas = 0
        self.one_at_a_time: dict[BaseCondition, str] = {}
        self.changing: set[BaseCondition] = set()
        self._retrain, self._curves = retrain, curves
        self._retrained: set[str] = set()

    def key(self, condition: BaseCondition) -> str:
        """Return the key under which the store keeps the condition's trials.

        Args:
            condition: any condition.

        Returns:
            a digest of all that its trials depend on.
        """
        if isinstance(condition, RecordedRuns):  # their content is the table's alone
            return condition.key
        return trial_key(condition, self.seed, self.compute_config)

    def trials(self, conditions: Sequence[BaseCondition], replicas: int) -> list[Trials]:
        """Return the first `replicas` trials of each condition.

        Missing trials are trained, conditions that may share a launch together, and stored launch by launch.

        Args:
            conditions: any number.
            replicas: how many of each, >= 1.

        Returns:
            trials of each condition, in the same order.

        Raises:
            InputError: `conditions` is a single one, or `replicas` no count.
        """
        if isinstance(conditions, BaseCondition):
            raise InputError(f"conditions={conditions} must be a sequence of conditions; try [{conditions}]")
        check_count("replicas", replicas, hint=64)
        trials: list[Trials] = []
        for at in range(0, len(conditions), LOCKED_AT_ONCE):
            with closing(self.looks(conditions[at : at + LOCKED_AT_ONCE], [replicas])) as look:
                trials += next(look)
        return trials

    def looks(self, conditions: Sequence[BaseCondition], sizes: Sequence[int]) -> Generator[list[Trials], None, None]:
        """Yield the first trials of each condition, for each number of replicas in turn.

        Missing trials are trained, and stored as they arrive. With capacity to spare, an executor may already train for
        later looks; close the generator to stop that. Until it is closed no other process trains these conditions.

        Args:
            conditions: at most 128.
            sizes: numbers of replicas, increasing.

        Yields:
            trials of each condition, in the same order.
        """
        keys = [self.key(condition) for condition in conditions]
        wanted = dict(zip(keys, conditions, strict=True))
        for at, n in enumerate(sizes):
            stored = self._stored(wanted, n)
            if stored is None and "torch" not in sys.modules:
                import_torch()
                keys = [self.key(condition) for condition in conditions]
                wanted = dict(zip(keys, conditions, strict=True))
                stored = self._stored(wanted, n)
            if stored is None:
                yield from self._trained(wanted, keys, sizes[at:])
                return
            yield [stored[key] for key in keys]

    def _stored(self, wanted: Mapping[str, BaseCondition], replicas: int) -> dict[str, Trials] | None:
        """Return the first trials of each condition, or None where some must be trained."""
        stored: dict[str, Trials] = {}
        for key, condition in wanted.items():
            if self._retrain and key not in self._retrained:
                return None
            stored[key] = self.store.trials(key, condition.budget, first=replicas)
            if len(stored[key]) < replicas:
                return None
        return stored

    def numbers(
        self,
        measure: Callable[..., Any],
        find: Callable[[NDArray[np.float64], int], NDArray[np.float64]],
        replicas: int,
    ) -> NDArray[np.float64]:
        """Return one number for each of the first `replicas`, from the store where it has them.

        Args:
            measure: the function that computes the numbers; if it cannot be fingerprinted, nothing is stored.
            find: takes the numbers known so far and the number wanted; returns more first numbers than were known,
                which are stored before it is called again.
            replicas: >= 1.

        Returns:
            (replicas,) numbers.

        Raises:
            InputError: the numbers of the first replicas change with how many are computed.
        """
        try:
            content = numbers_content(measure, self.seed, self.compute_config)
        except InputError:
            known = np.zeros(0)
            while len(known) < replicas:
                known = find(known, replicas)
            return known
        key = digest(content)
        if self._retrain or len(self.store.numbers(key, first=replicas)) < replicas:
            import_torch()
            content = numbers_content(measure, self.seed, self.compute_config)
            key = digest(content)
        with self.store.lock(key):
            recompute = self._retrain and key not in self._retrained
            if recompute:
                self.store.forget(key)
            known = self.store.numbers(key, first=replicas)
            while len(known) < replicas:
                numbers = find(known, replicas)
                if not np.array_equal(numbers[: len(known)], known, equal_nan=True):
                    name = getattr(measure, "__name__", "measure")
                    raise InputError(
                        f"{name} finds other numbers for the first {len(known)} replicas when {replicas} are asked "
                        "for; make each replica's number depend on the seed and its index alone"
                    )
                self.store.add_numbers(key, content, numbers)
                self._retrained.add(key)
                known = numbers
        return known

    def curves(self, condition: BaseCondition) -> Curves | None:
        """Return the stored learning curves of a condition's first replicas, or None.

        Args:
            condition: one that was trained.

        Returns:
            the curves, None where none are stored.
        """
        return self.store.curves(self.key(condition), condition.block)

    def _trained(
        self, wanted: Mapping[str, BaseCondition], keys: Sequence[str], sizes: Sequence[int]
    ) -> Iterator[list[Trials]]:
        with ExitStack() as held:
            for key in sorted(wanted):  # in the same order in all processes, so that they cannot deadlock
                if self.progress is not None and self.store.is_locked(key):
                    self._say_waiting(wanted[key], self.progress)
                held.enter_context(self.store.lock(key))
            if self._retrain:
                for key in wanted.keys() - self._retrained:
                    self.store.forget(key)
                self._retrained |= wanted.keys()
            stored = {key: self.store.stored_blocks(key, condition.block) for key, condition in wanted.items()}

            def missing(before: int, n: int) -> list[BlockJob]:
                return [
                    (condition, block)
                    for key, condition in wanted.items()
                    for block in range(-(-before // condition.block), -(-n // condition.block))
                    if block not in stored[key]
                ]

            steps = list(pairwise([0, *sizes]))
            looks = (missing(*step) for step in steps)
            trained = self.executor.train(looks, self.seed, self.compute_config, self.progress)
            held.enter_context(closing(trained))
            contents = {
                condition: (key, key_content(condition, self.seed, self.compute_config))
                for key, condition in wanted.items()
            }
            arrived: set[BlockJob] = set()
            for step in steps:
                needed = set(missing(*step))
                while not needed <= arrived:
                    arrived.add(self._keep(next(trained, None), contents))
                arrived -= needed
                if step == steps[0]:
                    self._look_for_changes(contents)
                yield [self.store.trials(key, wanted[key].budget, first=step[1]) for key in keys]

    def _say_waiting(self, condition: BaseCondition, progress: ProgressCallback) -> None:
        for finished in (True, False):  # a line of its own, and on a terminal in place
            progress(Progress([], f"waiting for another process that trains {condition}", finished))

    def _look_for_changes(self, contents: Mapping[BaseCondition, tuple[str, dict[str, Any]]]) -> None:
        """Note conditions whose code would read other values now than before training, in this process."""
        for condition, (_, before) in contents.items():
            if isinstance(condition, (FunctionCondition, LightningCondition)):
                try:
                    is_same = key_content(condition, self.seed, self.compute_config) == before
                except EditedFileError:
                    continue
                except InputError:  # what it reads now cannot be read for a key
                    is_same = False
                if not is_same:
                    self.changing.add(condition)

    def _keep(
        self, block: TrainedBlock | None, contents: Mapping[BaseCondition, tuple[str, dict[str, Any]]]
    ) -> BlockJob:
        """Store a trained block, and return which one it is."""
        if block is None:
            raise TrainingError(f"{type(self.executor).__name__} ended without blocks that were asked of it")
        curves = block.curves if self._curves else None
        self.store.add(*contents[block.condition], block.first_replica, block.trials, curves)
        self.trained_replicas += len(block.trials)
        if block.one_at_a_time:
            self.one_at_a_time[block.condition] = block.one_at_a_time
        return block.condition, block.first_replica // block.condition.block


def import_torch() -> None:
    """Import torch, so that keys name the CPU capability that torch uses, not the one expected of it."""
    importlib.import_module("torch")


@checked_call
def default_compute_config(
    *, device: str = "cpu", precision: str = "32-true", compiled: Compiled = "auto", is_remote: bool = False
) -> ComputeConfig:
    """Return the default: single precision, compiled where that pays, two CPU threads where the machine has two.

    Without a C++ compiler training stays eager, and a warning says so where compiling was asked for.

    Eager torch splits an elementwise operation into one piece per thread, and computes the tail of a piece by other
    code than its full vectors. With two threads the pieces of a launch are always full vectors, so a block's bits do
    not depend on the blocks beside it; with more threads they may.

    Args:
        device, precision, compiled: see `ComputeConfig`.
        is_remote: whether training runs on other machines; devices and compilers of this one are then not checked.

    Returns:
        how to compute.

    Raises:
        InputError: this machine has no such device.
    """
    check_choice("device", device, DEVICES)
    if device != "cpu" and not is_remote:
        _check_there(device)
    if device == "cpu" and find_compiler() is None:
        if compiled is True and not is_remote:
            warnings.warn("no C++ compiler on PATH: replicas train eagerly, which is slower", stacklevel=2)
        compiled = compiled is True and is_remote
    return ComputeConfig(device=device, precision=precision, threads=min(2, n_threads()), compiled=compiled)


def n_threads() -> int:
    """Return how many CPU threads torch uses by default: OMP_NUM_THREADS, else one per core of the process.

    If torch is imported it is asked, since the number may have been changed there.

    Returns:
        threads, >= 1.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def _check_there(device: str) -> None:
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        names = ", ".join(name for name, there in available.items() if there)
        raise InputError(f"device={device!r} is not on this machine; it has {names}")
