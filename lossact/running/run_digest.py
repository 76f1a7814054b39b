"""Digests of what replicas computed, by which replicas that are one run are recognised."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_EVIDENCE = 0  # the digest of a run that says nothing about whether another run is the same
ENOUGH_VALUES = 3  # distinct finite numbers of a curve, from which on equal curves are no coincidence


def run_digest(*parts: Any) -> int:
    """Digest what a run computed.

    Args:
        parts: arrays, bytes, numbers and text, in a fixed order.

    Returns:
        a signed 64-bit integer, equal for equal content and never NO_EVIDENCE.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part.tobytes() if isinstance(part, np.ndarray) else part
        digest.update(content if isinstance(content, bytes) else repr(content).encode())
        digest.update(b"\0")
    return int.from_bytes(digest.digest(), signed=True) or 1


def is_informative(curve: NDArray[Any]) -> bool:
    """Return whether a curve has so many distinct values that an equal one is the same run.

    Curves that stay where they begin, or that jump to infinity at once, are equal in runs that differ.
    """
    numbers = curve[np.isfinite(curve)]
    return len(np.unique(numbers)) >= ENOUGH_VALUES


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
