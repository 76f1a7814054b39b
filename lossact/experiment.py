"""Trials on demand: from the store where they are, trained where they are missing."""

import importlib
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_choice, check_count, replaced_arguments
from lossact.conditions.base import BaseCondition
from lossact.conditions.recorded_runs import RecordedRuns
from lossact.errors import InputError, TrainingError
from lossact.executors.base import Executor
from lossact.executors.local import LocalExecutor
from lossact.running.jobs import BlockJob, ProgressCallback, TrainedBlock
from lossact.storage.key import digest, key_content, numbers_content, trial_key
from lossact.storage.store import Store
from lossact.storage.trials import Curves, Trials
from lossact.training.compute_config import DEVICES, ComputeConfig

LOCKED_AT_ONCE = 128  # a lock is an open file, and of these a process may have but 256


@replaced_arguments({"setting": "Experiment(compute_config=...)"})
class Experiment:
    """Everything that is trained from one seed.

    Args:
        seed: replica r of every condition draws its data and initial weights from (seed, r); >= 0.
        store: where trials are kept; None keeps them for the life of this object.
        compute_config: how to compute; by default as default_compute_config has it.
        retrain: train each condition anew once, whatever is stored.
        curves: whether the first replicas' learning curves are stored as well.
        progress: told how far training is.
        executor: where to train; by default in this process.

    Attributes:
        trained_replicas: how many were trained, and not read from the store.
        one_at_a_time: why replicas of a LightningCondition were fitted one at a time, in a few words.
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
        self.seed = seed
        self.store = Store(None) if store is None else store
        self.compute_config = default_compute_config() if compute_config is None else compute_config
        self.progress = progress
        self.executor = LocalExecutor() if executor is None else executor
        self.trained_replicas = 0
        self.one_at_a_time: dict[BaseCondition, str] = {}
        self._retrain, self._curves = retrain, curves
        self._retrained: set[str] = set()

    def key(self, condition: BaseCondition) -> str:
        """Under which the store keeps the condition's trials."""
        if isinstance(condition, RecordedRuns):  # nothing but the table's content can change them
            return condition.key
        return trial_key(condition, self.seed, self.compute_config)

    def trials(self, conditions: Sequence[BaseCondition], replicas: int) -> list[Trials]:
        """The first `replicas` trials of each condition.

        What is missing is trained together as far as conditions may share a launch, and stored launch by launch.
        """
        found: list[Trials] = []
        for at in range(0, len(conditions), LOCKED_AT_ONCE):
            with closing(self.looks(conditions[at : at + LOCKED_AT_ONCE], [replicas])) as look:
                found += next(look)
        return found

    def looks(self, conditions: Sequence[BaseCondition], sizes: Sequence[int]) -> Generator[list[Trials], None, None]:
        """The first trials of each condition, for one number of replicas after the other.

        What is missing is trained, and stored as it arrives. An executor may train for later looks what the present
        one leaves it room for; close the generator, to end that. Until then no other process trains these conditions.

        Args:
            conditions: at most 128.
            sizes: numbers of replicas, growing.
        """
        keys = [self.key(condition) for condition in conditions]
        wanted = dict(zip(keys, conditions, strict=True))
        for at, n in enumerate(sizes):
            found = self._complete(wanted, n)
            if found is None and "torch" not in sys.modules:
                import_torch()
                keys = [self.key(condition) for condition in conditions]
                wanted = dict(zip(keys, conditions, strict=True))
                found = self._complete(wanted, n)
            if found is None:
                yield from self._trained(wanted, keys, sizes[at:])
                return
            yield [found[key] for key in keys]

    def _complete(self, wanted: Mapping[str, BaseCondition], replicas: int) -> dict[str, Trials] | None:
        """So many trials of each condition, None where some are to be trained."""
        found: dict[str, Trials] = {}
        for key, condition in wanted.items():
            if self._retrain and key not in self._retrained:
                return None
            found[key] = self.store.trials(key, condition.budget, first=replicas)
            if len(found[key]) < replicas:
                return None
        return found

    def numbers(
        self,
        measure: Callable[..., Any],
        find: Callable[[NDArray[np.float64], int], NDArray[np.float64]],
        replicas: int,
    ) -> NDArray[np.float64]:
        """Return one number for each of the first `replicas`, from the store where they are.

        Args:
            measure: the function whose numbers they are; where it cannot be fingerprinted, nothing is stored.
            find: takes the numbers known so far and how many are asked for; returns the first numbers, more than are
                known, which are stored before it is called again.
            replicas: >= 1.

        Raises:
            InputError: the first replicas' numbers are others than when fewer were asked for.
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
            anew = self._retrain and key not in self._retrained
            known = self.store.numbers(key, first=0 if anew else replicas)
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
        """Learning curves of a condition's first replicas, as far as they are stored."""
        return self.store.curves(self.key(condition), condition.block)

    def _trained(
        self, wanted: Mapping[str, BaseCondition], keys: Sequence[str], sizes: Sequence[int]
    ) -> Iterator[list[Trials]]:
        with ExitStack() as held:
            for key in sorted(wanted):  # one order for all processes, so that none waits for another in a circle
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
            contents = {one: (key, key_content(one, self.seed, self.compute_config)) for key, one in wanted.items()}
            arrived: set[BlockJob] = set()
            for step in steps:
                needed = set(missing(*step))
                while not needed <= arrived:
                    arrived.add(self._keep(next(trained, None), contents))
                arrived -= needed
                yield [self.store.trials(key, wanted[key].budget, first=step[1]) for key in keys]

    def _keep(
        self, block: TrainedBlock | None, contents: Mapping[BaseCondition, tuple[str, dict[str, Any]]]
    ) -> BlockJob:
        """Store what was trained."""
        if block is None:
            raise TrainingError(f"{type(self.executor).__name__} ended without blocks that were asked of it")
        curves = block.curves if self._curves else None
        self.store.add(*contents[block.condition], block.first_replica, block.trials, curves)
        self.trained_replicas += len(block.trials)
        if block.one_at_a_time:
            self.one_at_a_time[block.condition] = block.one_at_a_time
        return block.condition, block.first_replica // block.condition.block


def import_torch() -> None:
    """Import torch, so that keys name the CPU capability that it takes, and not the one that was expected of it."""
    importlib.import_module("torch")


def default_compute_config(
    *, device: str = "cpu", precision: str = "32-true", compiled: bool = False, is_remote: bool = False
) -> ComputeConfig:
    """Single precision and eager, with two CPU threads where there are two.

    A compiled step is twice as fast, after some 5 s to compile each condition; where the machine has no C++ compiler
    it is eager all the same, with a warning.

    Eager torch cuts an elementwise operation into pieces, one a thread, and computes a piece's odd end by other code
    than its whole vectors. Two pieces of a launch are always whole vectors, so that a block's bits do not depend on the
    blocks beside it; more pieces need not be.

    Args:
        device, precision, compiled: as `ComputeConfig` has them.
        is_remote: whether other machines train, whose devices and compilers this one need not have.

    Raises:
        InputError: this machine has no such device.
    """
    check_choice("device", device, DEVICES)
    if device != "cpu" and not is_remote:
        _check_there(device)
    if (
        compiled
        and not is_remote
        and device == "cpu"
        and not any(map(shutil.which, (os.environ.get("CXX", ""), "g++", "c++", "clang++")))
    ):
        warnings.warn("no C++ compiler on PATH: replicas train eagerly, at half the speed", stacklevel=2)
        compiled = False
    threads = n_threads() if compiled else min(2, n_threads())
    return ComputeConfig(device=device, precision=precision, threads=threads, compiled=compiled)


def n_threads() -> int:
    """Return how many CPU threads torch takes by default: as OMP_NUM_THREADS has it, else one a core of the process.

    torch itself is asked where it was imported, for it may have been told another number.
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
