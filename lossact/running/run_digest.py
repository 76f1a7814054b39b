"""Digests of what replicas computed, by which replicas that are one run are recognised."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

NO_EVIDENCE = 0  # the digest of a run that says nothing about whether another run is the same
ENOUGH_VALUES = 3  # distinct finite numbers of a curve, from which on equal curves of 8 runs are no coincidence
MANY_VALUES = 10  # and those of any two runs


def run_digest(*parts: Any, is_unique: bool = False) -> int:
    """Digest what a run computed.

    Args:
        parts: arrays, bytes, numbers and text, in a fixed order.
        is_unique: whether another run could not have the same content by chance.

    Returns:
        a signed 64-bit integer, equal for equal content and never NO_EVIDENCE; odd where it is unique.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part.tobytes() if isinstance(part, np.ndarray) else part
        digest.update(content if isinstance(content, bytes) else repr(content).encode())
        digest.update(b"\0")
    number = int.from_bytes(digest.digest(), signed=True)
    return number | 1 if is_unique else number & ~1 or 2


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether every number of some tensors is finite."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def are_telling(tensors: Iterable[Tensor]) -> bool:
    """Return whether tensors hold so many distinct numbers, all finite, that equal ones are of the same run."""
    numbers: set[float] = set()
    for tensor in tensors:
        if not bool(tensor.isfinite().all()):
            return False
        if len(numbers) < MANY_VALUES and not tensor.is_complex():
            numbers.update(tensor.detach().reshape(-1)[:1000].tolist())
    return len(numbers) >= MANY_VALUES


def is_informative(curve: NDArray[Any], enough: int = ENOUGH_VALUES) -> bool:
    """Return whether a curve has so many distinct values that an equal one is the same run.

    Curves that stay where they begin, or that jump to infinity at once, are equal in runs that differ.
    """
    numbers = curve[np.isfinite(curve)]
    return len(np.unique(numbers)) >= enough


def curve_digests(loss: NDArray[Any], metric: NDArray[Any], replicas: int) -> NDArray[np.int64]:
    """Digest the learning curves of replicas that train together.

    Args:
        loss: (kept, budget + 1), of the first replicas.
        metric: the same.
        replicas: how many there are; those without curves get NO_EVIDENCE.

    Returns:
        (replicas,) one digest each.
    """
    digests = np.full(replicas, NO_EVIDENCE, dtype=np.int64)
    for replica, curves in enumerate(zip(loss, metric, strict=True)):
        if is_informative(curves[0]):
            digests[replica] = run_digest(*curves)
    return digests
