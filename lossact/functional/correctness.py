"""Which predictions are correct."""

import torch
from torch import Tensor

from lossact.errors import InputError


def correct(logit: Tensor, target: Tensor) -> Tensor:
    """Return 1 where sigmoid(z) > 1/2 agrees with y = 1, else 0, elementwise, in the logit's dtype.

    The sign of the logit decides, because the sigmoid of a small positive one rounds to 1/2.

    Args:
        logit: z, any shape.
        target: y, 0 or 1, broadcast against the logit.

    Returns:
        1 or 0 for each example, in the shape of both broadcast together.

    >>> correct(torch.tensor([2.0, -1.0, 1e-30]), torch.tensor([1.0, 1.0, 1.0]))
    tensor([1., 0., 1.])
    """
    return ((logit > 0) == (target > 0.5)).to(logit.dtype)


def is_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return for each example whether the prediction is correct.

    Args:
        outputs: (batch,) or (batch, 1) logits against targets (batch,) or (batch, 1) in {0, 1}; or (batch, classes),
            where the largest is the prediction, against classes (batch,) as integers or (batch, classes) with the
            largest at the true class.
        targets: as above.

    Returns:
        (batch,) 1 where it is correct, else 0, in the outputs' dtype.

    Raises:
        InputError: the shapes fit neither.

    >>> is_correct(torch.tensor([[0.1, 2.0], [3.0, 0.0]]), torch.tensor([1, 1]))
    tensor([1., 0.])
    """
    if outputs.ndim == 2 and outputs.shape[1] == 1 and targets.shape in (outputs.shape, outputs.shape[:1]):
        return correct(outputs[:, 0], targets.reshape(-1))
    if outputs.ndim == 1 and targets.shape == outputs.shape:
        return correct(outputs, targets)
    if outputs.ndim == 2 and targets.shape == outputs.shape[:1] and not torch.is_floating_point(targets):
        return (outputs.argmax(1) == targets).to(outputs.dtype)
    if outputs.ndim == 2 and targets.shape == outputs.shape:
        return (outputs.argmax(1) == targets.argmax(1)).to(outputs.dtype)
    raise InputError(
        f"accuracy of outputs {tuple(outputs.shape)} against {targets.dtype} targets {tuple(targets.shape)} is not "
        "defined; (n,) logits against (n,) labels, or (n, classes) against (n,) integers or (n, classes) are needed"
    )
