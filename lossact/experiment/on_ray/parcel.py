"""What travels to Ray's workers: conditions with the user's functions by value, and large arrays once."""

import hashlib
import io
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
from ray import cloudpickle

from lossact.errors import InputError
from lossact.experiment.condition import Trainable
from lossact.experiment.executor import Job
from lossact.experiment.key import Setting, machine_content
from lossact.experiment.on_ray.task import Errand, train_there
from lossact.fingerprint import users_modules

LARGE = 1 << 16  # bytes of an array that does not travel with every task


class Sender:
    """Begins launches; what they share travels once.

    Args:
        seed, setting: as `train_launch` takes them.
        known: references of arrays that travelled before, by digest.

    Attributes:
        arrays: references of those that travelled for this sender.
    """

    def __init__(self, seed: int, setting: Setting, known: Mapping[str, Any]) -> None:
        self.seed, self.setting, self.known = seed, setting, known
        self.arrays: dict[str, Any] = {}
        self._packed: dict[Trainable, tuple[bytes, list[str]]] = {}
        self._machine = machine_content()
        gpus = {"num_gpus": 1} if setting.device == "cuda" else {}
        # Ray's own retries do not tell a lost node from a block that ends its process.
        self._task = ray.remote(num_cpus=setting.threads, max_retries=0, **gpus)(train_there)

    def begin(self, jobs: Sequence[Job]) -> Any:
        """The object reference of a launch that now waits for its turn.

        Raises:
            InputError: a condition holds what cannot travel.
        """
        conditions = list(dict.fromkeys(condition for condition, _ in jobs))
        packed = [self._pack(condition) for condition in conditions]
        digests = sorted({digest for _, needed in packed for digest in needed})
        errand = Errand(
            conditions=[content for content, _ in packed],
            blocks=[(conditions.index(condition), block) for condition, block in jobs],
            seed=self.seed,
            setting=self.setting,
            machine=self._machine,
            path=sys.path,
        )
        return self._task.remote(errand, digests, *(self.arrays[digest] for digest in digests))

    def _pack(self, condition: Trainable) -> tuple[bytes, list[str]]:
        if condition not in self._packed:
            content, arrays = packed(condition)
            for digest, array in arrays.items():
                if digest not in self.arrays:
                    self.arrays[digest] = self.known[digest] if digest in self.known else ray.put(array)
            self._packed[condition] = content, list(arrays)
        return self._packed[condition]


def packed(condition: Trainable) -> tuple[bytes, dict[str, Any]]:
    """A condition without its large arrays, and these by digest.

    Raises:
        InputError: it holds what cannot travel.
    """
    file, arrays = io.BytesIO(), dict[str, Any]()
    try:
        with _by_value():
            _Pickler(file, arrays).dump(condition)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{condition} cannot be sent to Ray's workers ({error}); make inside the function what it needs there"
        ) from None
    return file.getvalue(), arrays


def unpacked(content: bytes, arrays: Mapping[str, Any]) -> Trainable:
    """The condition that was packed."""
    condition = _Unpickler(io.BytesIO(content), arrays).load()
    assert isinstance(condition, Trainable)
    return condition


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, arrays: dict[str, Any]) -> None:
        super().__init__(file)
        self.arrays = arrays

    def persistent_id(self, value: Any) -> str | None:
        if type(value) is not np.ndarray or value.nbytes < LARGE or value.dtype.hasobject:
            return None
        content = hashlib.sha256(f"{value.dtype}{value.shape}".encode())
        content.update(np.ascontiguousarray(value).data)
        self.arrays[content.hexdigest()] = value
        return content.hexdigest()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, arrays: Mapping[str, Any]) -> None:
        super().__init__(file)
        self.arrays = arrays

    def persistent_load(self, pid: str) -> Any:
        return self.arrays[pid]


@contextmanager
def _by_value() -> Iterator[None]:
    """What the user's own modules define travels whole: a worker need not find them."""
    modules = users_modules()
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
