"""Trials on demand: from the store where they are, trained where they are missing."""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_choice, check_count
from lossact.errors import InputError
from lossact.experiment.condition import Trainable
from lossact.experiment.key import DEVICES, Setting, digest, key_content, numbers_content, trial_key
from lossact.experiment.store import Store
from lossact.experiment.trials import Curves, Trials

if TYPE_CHECKING:
    from lossact.experiment.runner import Progress


LOCKED_AT_ONCE = 256  # a lock is an open file, and processes may have few of them


class Experiment:
    """Everything that is trained from one seed.

    Args:
        seed: replica r of every condition draws its data and initial weights from (seed, r); >= 0.
        store: where trials are kept; None keeps them for the life of this object.
        setting: how to compute.
        retrain: train each condition anew once, whatever is stored.
        curves: whether the first replicas' learning curves are stored as well.
        progress: told how far training is.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        store: Store | None = None,
        setting: Setting | None = None,
        retrain: bool = False,
        curves: bool = True,
        progress: "Callable[[Progress], None] | None" = None,
    ) -> None:
        check_count("seed", seed, at_least=0, hint=0)
        self.seed = seed
        self.store = Store(None) if store is None else store
        self.setting = default_setting() if setting is None else setting
        self.progress = progress
        self.trained_replicas = 0
        self._retrain, self._curves = retrain, curves
        self._retrained: set[str] = set()

    def key(self, condition: Trainable) -> str:
        """Under which the store keeps the condition's trials."""
        return trial_key(condition, self.seed, self.setting)

    def trials(self, conditions: Sequence[Trainable], replicas: int) -> list[Trials]:
        """The first `replicas` trials of each condition.

        What is missing is trained together as far as conditions may share a launch, and stored launch by launch.
        """
        keys = [self.key(condition) for condition in conditions]
        wanted = dict(zip(keys, conditions, strict=True))
        anew = {key for key in wanted if self._retrain and key not in self._retrained}
        found = {key: self._stored(key, one, replicas) for key, one in wanted.items() if key not in anew}
        short = {key: condition for key, condition in wanted.items() if key not in found or len(found[key]) < replicas}
        missing = list(short.items())
        for at in range(0, len(missing), LOCKED_AT_ONCE):
            self._train(dict(missing[at : at + LOCKED_AT_ONCE]), replicas, anew)
        found |= {key: self._stored(key, condition, replicas) for key, condition in short.items()}
        return [found[key] for key in keys]

    def _stored(self, key: str, condition: Trainable, replicas: int) -> Trials:
        return self.store.trials(key, condition.budget, first=replicas)

    def numbers(
        self, measure: Callable[..., Any], find: Callable[[int], NDArray[np.float64]], replicas: int
    ) -> NDArray[np.float64]:
        """One number for each of the first `replicas`, from the store where they are.

        Args:
            measure: the function whose numbers they are; where its content cannot be told, nothing is stored.
            find: finds the numbers of so many replicas by it.
            replicas: >= 1.

        Raises:
            InputError: the first replicas' numbers are others than when fewer were asked for.
        """
        try:
            content = numbers_content(measure, self.seed, self.setting)
        except InputError:
            return find(replicas)
        key = digest(content)
        with self.store.training(key):
            known = self.store.numbers(key, first=replicas)
            if self._retrain and key not in self._retrained:
                self._retrained.add(key)
            elif len(known) == replicas:
                return known
            found = find(replicas)
            if not np.array_equal(found[: len(known)], known, equal_nan=True):
                name = getattr(measure, "__name__", "measure")
                raise InputError(
                    f"{name} finds other numbers for the first {len(known)} replicas when {replicas} are asked for; "
                    "make each replica's number depend on the seed and its index alone"
                )
            self.store.add_numbers(key, content, found)
        return found

    def curves(self, condition: Trainable) -> Curves | None:
        """Learning curves of a condition's first replicas, as far as they are stored."""
        return self.store.curves(self.key(condition), condition.block)

    def _train(self, conditions: Mapping[str, Trainable], replicas: int, anew: Set[str]) -> None:
        with ExitStack() as locks:
            for key in sorted(conditions):  # one order for all processes, so that none waits for another in a circle
                locks.enter_context(self.store.training(key))
            for key in anew & conditions.keys():
                self.store.forget(key)
                self._retrained.add(key)
            self._train_missing(conditions, replicas)

    def _train_missing(self, conditions: Mapping[str, Trainable], replicas: int) -> None:
        from lossact.experiment.runner import train_jobs

        jobs = []
        for key, condition in conditions.items():
            stored = self.store.stored_blocks(key, condition.block)
            wanted = range(-(-replicas // condition.block))
            jobs += [(condition, block) for block in wanted if block not in stored]
        keys = {condition: key for key, condition in conditions.items()}
        contents = {key: key_content(condition, self.seed, self.setting) for key, condition in conditions.items()}
        for block in train_jobs(jobs, self.seed, self.setting, self.progress):
            key = keys[block.condition]
            self.store.add(
                key, contents[key], block.first_replica, block.trials, block.curves if self._curves else None
            )
            self.trained_replicas += len(block.trials)


def default_setting(*, device: str = "cpu", precision: str = "32-true", compiled: bool = False) -> Setting:
    """Single precision and eager, with two CPU threads where there are two.

    A compiled step is twice as fast, after some 5 s to compile each condition; where the machine has no C++ compiler
    it is eager all the same, with a warning.

    Eager torch cuts an elementwise operation into pieces, one a thread, and computes a piece's odd end by other code
    than its whole vectors. Two pieces of a launch are always whole vectors, so that a block's bits do not depend on the
    blocks beside it; more pieces need not be.

    Raises:
        InputError: this machine has no such device.
    """
    import torch

    check_choice("device", device, DEVICES)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        found = ", ".join(name for name, there in available.items() if there)
        raise InputError(f"device={device!r} is not on this machine; it has {found}")
    if (
        compiled
        and device == "cpu"
        and not any(map(shutil.which, (os.environ.get("CXX", ""), "g++", "c++", "clang++")))
    ):
        warnings.warn("no C++ compiler on PATH: replicas train eagerly, at half the speed", stacklevel=2)
        compiled = False
    threads = torch.get_num_threads() if compiled else min(2, torch.get_num_threads())
    return Setting(device=device, precision=precision, threads=threads, compiled=compiled)
