"""What a network's outputs are worth: a loss to learn from, and a metric to be judged by."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional

from lossact.errors import InputError
from lossact.functional import SIGMOID_LOSSES, is_correct
from lossact.replicas.exact_mean import exact_mean
from lossact.replicas.named_tensors import first_tensor, shapes_of

Function = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """Loss and metric of one network's outputs.

    Attributes:
        loss: a name in SIGMOID_LOSSES, of one logit an example; or (outputs, targets) -> the batch's loss, or the
            losses of its examples, which are averaged.
        metric: (outputs, targets) -> a number, or one an example, to be averaged; None for the loss itself.
        given: the one that this was moved from; None where it was not moved.
        device: where it was moved to.
    """

    loss: str | Function
    metric: Function | None = is_correct
    given: "Objective | None" = field(default=None, repr=False, compare=False)
    device: torch.device = field(default=torch.device("cpu"), repr=False, compare=False)

    def on(self, device: torch.device) -> "Objective":
        """Return it with the tensors that loss and metric hold on a device, such as the weights of classes.

        Modules, with their parameters and buffers, and tensors and modules among the arguments of partials are moved;
        on the CPU it is the one that was given.
        """
        given = self.given or self
        if device == self.device:
            return self
        if device.type == "cpu":
            return given
        with torch.inference_mode(mode=False):
            return Objective(_held_on(device, given.loss), _held_on(device, given.metric), given, device)

    def mean_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the mean loss () of one network's outputs.

        Raises:
            InputError: outputs or losses are not of the shapes that they should have.
        """
        if isinstance(self.loss, str):
            if not isinstance(outputs, Tensor) or outputs.shape != targets.shape:
                raise InputError(
                    f"network returned {shapes_of(outputs)}, targets have {shapes_of(targets)}; loss={self.loss!r} "
                    "needs one logit an example; for others give a function (outputs, targets) -> loss"
                )
            return SIGMOID_LOSSES[self.loss].function(outputs, targets).mean()
        losses = averaged_as_torch_does(self.loss)(outputs, targets)
        n = len(targets)
        if not isinstance(losses, Tensor) or (losses.ndim and (not len(losses) or len(losses) % n)):
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise InputError(
                f"loss returned {shape} for {n} examples; it must return a tensor: one number for the batch "
                "(reduction='mean' in torch's), or one loss an example"
            )
        pairs = isinstance(outputs, Tensor) and (outputs.shape, targets.shape) == ((n, 1), (n,))
        if pairs and n > 1 and losses.shape == (n, n):
            raise InputError(
                f"loss returned {(n, n)} for outputs {(n, 1)} and targets {(n,)}: it pairs every output with every "
                "target; give both one shape, by outputs.squeeze(1) in the loss, say"
            )
        if losses.is_complex():
            raise InputError("loss returned complex numbers; a loss is real: take .abs() or .real of them")
        return losses.mean() if losses.ndim else losses

    def mean_metric(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the metric () of one network's outputs.

        Raises:
            InputError: the metric returned something else than a number, or one an example.
        """
        assert self.metric is not None
        if self.metric is is_correct and not isinstance(outputs, Tensor):
            raise InputError(
                f"accuracy of outputs {shapes_of(outputs)} is not defined; give the target a measure of your own, "
                "Metric(function of (outputs, targets)), or Loss()"
            )
        metric = self.metric(outputs, targets)
        if not isinstance(metric, Tensor) or metric.shape not in {(), targets.shape[:1]}:
            shape = tuple(metric.shape) if isinstance(metric, Tensor) else type(metric).__name__
            raise InputError(f"metric returned {shape}; it must return a tensor: one number, or one an example")
        output = first_tensor(outputs)
        exact = torch.promote_types(metric.dtype, torch.float32)  # half precision would round a share to a target
        metric = metric.to(output.device, torch.promote_types(exact, output.real.dtype))
        return exact_mean(metric, 0) if metric.ndim else metric

    def evaluate(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss () and metric () of one network's outputs."""
        loss = self.mean_loss(outputs, targets)
        return loss, loss if self.metric is None else self.mean_metric(outputs, targets)


def _held_on(device: torch.device, value: Any) -> Any:
    """Return a loss, a metric or an argument of theirs with its tensors on a device; what holds none as it is."""
    there = partial(_held_on, device)
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device)
    if isinstance(value, partial):
        return partial(there(value.func), *map(there, value.args), **there(value.keywords))
    if type(value) is dict:
        return {name: there(part) for name, part in value.items()}
    return type(value)(map(there, value)) if type(value) in (list, tuple) else value


def averaged_as_torch_does(loss: Function) -> Function:
    """Return the loss, or where it is torch's cross-entropy unreduced, the mean that torch itself takes.

    With class weights, or targets to be ignored, torch divides by the sum of the weights that count, which a mean of
    the unreduced losses would not.
    """
    if isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)) and loss.reduction == "none":
        reduced = copy.copy(loss)
        reduced.reduction = "mean"
        return reduced
    known = isinstance(loss, partial) and loss.func in (functional.cross_entropy, functional.nll_loss)
    if isinstance(loss, partial) and known and loss.keywords.get("reduction") == "none":
        return partial(loss.func, *loss.args, **{**loss.keywords, "reduction": "mean"})
    return loss


@dataclass(frozen=True)
class OfOneBatch:
    """A torchmetrics metric as a function of one batch, which keeps nothing of the batches before.

    Attributes:
        metric: the metric.
    """

    metric: torchmetrics.Metric

    def __call__(self, outputs: Any, targets: Tensor) -> Tensor:
        self.metric.to(targets.device).reset()
        try:
            self.metric.update(outputs, targets)
            value: Tensor = self.metric.compute()
        finally:  # also where vmap does not take it, whose tensors nobody can read afterwards
            self.metric.reset()
        return value


def check_learnable(loss: Tensor) -> None:
    """Raise InputError where nothing could be learned from a loss."""
    if not loss.requires_grad:
        raise InputError(
            "the loss depends on no parameter that may move, so nothing would be learned; look for .detach(), .data, "
            ".item() or torch.no_grad in network and loss"
        )
