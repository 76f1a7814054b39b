"""Pack measured values into bytes, eight per number."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.storage.trials import Trials

BYTES_OF_A_VALUE = 8


def pack_values(trials: Trials) -> list[bytes | None]:
    """Return one replica's values as little-endian float64 each, in the order of their names.

    Args:
        trials: of one block.

    Returns:
        (replicas,) bytes; None where nothing was measured.
    """
    if not trials.values:
        return [None] * len(trials)
    columns = np.stack([values.astype("<f8") for values in trials.values.values()], axis=1)
    return [row.tobytes() for row in columns]


def unpack_values(measures: Sequence[tuple[str, str]], rows: Sequence[bytes | None]) -> dict[str, NDArray[np.floating]]:
    """Return what was packed, by name.

    Args:
        measures: name and type of each value, in their order.
        rows: (replicas,) bytes.

    Returns:
        name to (replicas,) values in their type; NaN where a row holds other values than those named.
    """
    width = BYTES_OF_A_VALUE * len(measures)
    unknown = np.full(len(measures), np.nan).tobytes()
    packed = b"".join(row if row is not None and len(row) == width else unknown for row in rows)
    columns = np.frombuffer(packed, dtype="<f8").reshape(len(rows), len(measures)).T
    return {name: column.astype(dtype) for (name, dtype), column in zip(measures, columns, strict=True)}
