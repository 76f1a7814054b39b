"""What a network's outputs are worth: a loss to learn from, and a metric to be judged by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossact.errors import InputError
from lossact.functional import SIGMOID_LOSSES, is_correct

Measure = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """Loss and metric of one network's outputs.

    Attributes:
        loss: a name in SIGMOID_LOSSES, of one logit an example; or (outputs, targets) -> (batch, ...) losses, one an
            example at least.
        metric: (outputs, targets) -> a number, or one an example, to be averaged; None for the accuracy.
    """

    loss: str | Measure
    metric: Measure | None = None

    def evaluate(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss () and metric () of one network's outputs.

        Raises:
            InputError: outputs, losses or metric are not of the shapes that they should have.
        """
        if not isinstance(outputs, Tensor) or not torch.is_floating_point(outputs) or len(outputs) != len(targets):
            found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise InputError(f"network returned {found} for {len(targets)} examples; one output an example is needed")
        if isinstance(self.loss, str) and outputs.shape != targets.shape:
            raise InputError(
                f"network returned {tuple(outputs.shape)}, labels are {tuple(targets.shape)} (axis 0); one logit an "
                f"image is needed for loss={self.loss!r}; give a function (outputs, targets) -> losses for others"
            )
        losses = (SIGMOID_LOSSES[self.loss].function if isinstance(self.loss, str) else self.loss)(outputs, targets)
        if not isinstance(losses, Tensor) or losses.shape[:1] != targets.shape[:1]:
            found = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise InputError(
                f"loss returned {found} for {len(targets)} examples; it must return one loss an example "
                "(reduction='none' in torch's)"
            )
        metric = (self.metric or is_correct)(outputs, targets)
        if not isinstance(metric, Tensor) or metric.shape not in {(), targets.shape[:1]}:
            found = tuple(metric.shape) if isinstance(metric, Tensor) else type(metric).__name__
            raise InputError(f"metric returned {found}; it must return a tensor: one number, or one an example")
        exact = torch.promote_types(outputs.dtype, torch.float32)  # half precision would round a share to a target
        return losses.mean(), metric.to(exact).mean()


def check_learnable(loss: Tensor) -> None:
    """Raise InputError where nothing could be learned from a loss."""
    if not loss.requires_grad:
        raise InputError(
            "the loss depends on no parameter that may move, so nothing would be learned; look for .detach(), .data, "
            ".item() or torch.no_grad in network and loss"
        )
