"""How many more replicas would probably settle an open claim."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

DOUBLINGS, STEPS_A_DOUBLING = 6, 16

Totals = NDArray[np.int64]
Crossing = Callable[[Sequence[NDArray[np.float64]]], NDArray[np.bool_]]


def replicas_to_go(totals: Sequence[Totals], crosses: Crossing) -> int | None:
    """Return the replicas beyond those seen until a verdict, if outcomes go on in the shares seen so far.

    A plan, not evidence. It follows the expected path, and chance crosses a boundary sooner: most claims need fewer.

    Args:
        totals: (5,) counts of each comparison's outcomes so far.
        crosses: whether any verdict falls, at every moment of (5, moments) totals of each comparison.

    Returns:
        the number rounded up to two figures, None where 64 times as many would probably not settle it.
    """
    seen = int(totals[0].sum())
    moments = np.unique(np.ceil(seen * 2 ** (np.arange(1, DOUBLINGS * STEPS_A_DOUBLING + 1) / STEPS_A_DOUBLING)))
    going_on = [np.outer(total / seen, moments) for total in totals]
    crossed = crosses(going_on)
    if not crossed.any():
        return None
    more = int(moments[crossed.argmax()]) - seen
    figures: int = 10 ** max(0, len(str(more)) - 2)
    return -(-more // figures) * figures
