"""The one rule for when a number meets a threshold, whatever precision the number was computed in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def meets(values: Any, *, at_least: float | None = None, at_most: float | None = None) -> NDArray[np.bool_]:
    """Compare numbers with a threshold in the precision of the numbers.

    The threshold is rounded to the type of the numbers first: 0.9 in float32 is 0.89999998, which is less than the
    double 0.9, and still meets it. The engine compares in the same way, because torch rounds a Python number to the
    type of the tensor that it is compared with. Integers and booleans are compared as they are.

    Args:
        values: a number, a numpy array or a torch tensor, of any shape.
        at_least, at_most: the threshold; exactly one of the two.

    Returns:
        for each number whether it meets the threshold, in the same shape; NaN never does,
        nor -inf a threshold from above, for such a loss diverged.

    >>> meets(np.float32([0.5, 0.9]), at_least=0.9)
    array([False,  True])
    >>> bool(np.float64(np.float32(0.9)) >= 0.9)
    False
    """
    threshold = at_least if at_least is not None else at_most
    if hasattr(values, "new_tensor"):  # a tensor, which may have a type that numpy lacks, such as bfloat16
        numbers = values.detach()
        if numbers.is_floating_point():
            bound = numbers.new_tensor(threshold)
            met = numbers >= bound if at_least is not None else (numbers <= bound) & ~numbers.isneginf()
            return np.asarray(met.cpu())
        values = numbers.cpu()
    numbers = np.asarray(values)
    with np.errstate(over="ignore"):  # a threshold beyond the type's largest number is infinite
        bound = numbers.dtype.type(threshold) if numbers.dtype.kind == "f" else threshold
    return np.asarray(numbers >= bound if at_least is not None else (numbers <= bound) & (numbers != -np.inf))
