"""Whether runs that keep coming are in the order in which they were made."""

import math

import numpy as np
from numpy.typing import NDArray

from lossact.errors import InputError

FEWEST = 8
BY_CHANCE = 0.001


def check_order(name: str, values: NDArray[np.float64]) -> None:
    """Raise InputError where runs to which more may be added are sorted by what decides the claim.

    Evidence for such runs is gathered in their order, so a sorted table is evidence of a trend that nobody measured.
    Ties can make an order likely: with counts c_i of the distinct values, 2 prod c_i! / n! of all orders are sorted,
    and from one in a thousand on nothing is refused.

    Args:
        name: of the condition.
        values: (runs,) in the order in which they count.

    Raises:
        InputError: eight or more runs are in ascending or descending order, and not all equal.
    """
    n = len(values)
    steps = values[1:] >= values[:-1], values[1:] <= values[:-1]
    if n < FEWEST or not (steps[0].all() or steps[1].all()):
        return
    _, counts = np.unique(values, return_counts=True)
    chance = 2 * math.exp(sum(math.lgamma(count + 1) for count in counts) - math.lgamma(n + 1))
    if len(counts) > 1 and chance < BY_CHANCE:
        direction = "ascending" if steps[0].all() else "descending"
        raise InputError(
            f"extendable=True counts runs in the order in which they were made, and the {n} runs of {name} are sorted "
            f"by what is compared, {direction}; order the rows as the runs were made, or leave out extendable"
        )
