"""Which side of p = 1/2 a sigmoid output falls on."""

from torch import Tensor


def correct(logit: Tensor, target: Tensor) -> Tensor:
    """1 where sigmoid(z) > 1/2 agrees with y = 1, else 0, elementwise, in the logit's dtype.

    Taken from the sign of the logit, for a small positive one has a sigmoid that rounds to 1/2.
    """
    return ((logit > 0) == (target > 0.5)).to(logit.dtype)
