"""Whether two sides computed the same bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.storage import Curves, Trials

ENOUGH_VALUES = 3  # distinct numbers, from which on equal ones are no coincidence


def same_bits(before: Trials, after: Trials) -> bool:
    """Return whether every bit of two sides' trials is equal.

    Steps, divergence, values and digests of the runs are compared.

    Args:
        before: trials under the revision.
        after: as many under the working tree.

    Returns:
        whether all are equal.
    """
    if before.budget != after.budget or list(before.values) != list(after.values):
        return False
    arrays = [(getattr(before, name), getattr(after, name)) for name in ("steps", "reached", "diverged", "run_digests")]
    return all(
        _same(*both) for both in [*arrays, *((before.values[name], after.values[name]) for name in after.values)]
    )


def same_curves(before: Curves | None, after: Curves | None) -> bool:
    """Return whether every bit of the loss and the metric is equal, as far as both are kept.

    Args:
        before: curves under the revision, None where none were kept.
        after: curves under the working tree.

    Returns:
        whether what both keep is equal; True where a side keeps none.
    """
    if before is None or after is None:
        return True
    n = min(len(before), len(after))
    return all(_same(getattr(before, name)[:n], getattr(after, name)[:n]) for name in ("loss", "metric"))


def is_telling(trials: Trials) -> bool:
    """Return whether equal trials can be no coincidence.

    They could be one where nobody reached the target.

    Args:
        trials: of one side, equal to the other's.

    Returns:
        whether all runs have digests, or some number takes enough different values.
    """
    numbers = [trials.steps[trials.reached], *trials.values.values()]
    return bool(trials.run_digests.all()) or any(len(np.unique(each)) >= ENOUGH_VALUES for each in numbers)


def _same(first: NDArray[Any], second: NDArray[Any]) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and _bytes(first) == _bytes(second)


def _bytes(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array).tobytes()
