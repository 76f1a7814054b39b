"""Means that are shares: all right answers of any number are exactly 1."""

import torch
from torch import Tensor


def exact_mean(scores: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return the mean as the sum divided by the number, which on a GPU `Tensor.mean` is not.

    There torch multiplies the sum by the rounded reciprocal of the number: the share of 41 right answers of 41 is
    0.99999994, which never meets a target of 1. Compiled code divides there only approximately in single precision. So
    the division is in double precision, and the share is rounded from it.

    Args:
        scores: of any shape, on any device.
        dim: what is averaged over.

    Returns:
        without these dimensions, in the precision of the scores; on a CPU `scores.mean(dim)`.
    """
    if scores.device.type == "cpu":
        return scores.mean(dim)
    has_double = scores.device.type != "mps"
    total = scores.sum(dim, dtype=torch.float64 if has_double else scores.dtype)
    number = torch.full_like(total, scores.numel() // max(1, total.numel()))  # by a plain number torch multiplies, too
    return (total / number).to(scores.dtype)
