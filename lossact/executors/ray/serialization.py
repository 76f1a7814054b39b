"""Serialization of conditions for Ray's workers: the user's functions by value, large arrays apart."""

import hashlib
import io
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from ray import cloudpickle

from lossact.conditions.base import BaseCondition
from lossact.errors import InputError
from lossact.fingerprint import users_modules

LARGE = 1 << 16  # bytes from which on an array does not travel with every task


def serialize(condition: BaseCondition) -> tuple[bytes, dict[str, Any]]:
    """Pickle a condition without its large arrays.

    Args:
        condition: what to send.

    Returns:
        the pickled condition, and its large arrays by digest.

    Raises:
        InputError: the condition holds an object that cannot be pickled.
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


def deserialize(content: bytes, arrays: Mapping[str, Any]) -> BaseCondition:
    """Restore a condition from what `serialize` returned.

    Args:
        content: the condition without its large arrays.
        arrays: these arrays, by digest.

    Returns:
        the condition.
    """
    condition = _Unpickler(io.BytesIO(content), arrays).load()
    assert isinstance(condition, BaseCondition)
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
    """Pickle what the user's modules define by value, so that workers need not import them."""
    modules = users_modules()
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
