"""Losses and metrics that pair every output with every target, which torch computes without an error."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lossact.errors import FAILURES, InputError
from lossact.replicas.named_tensors import is_close


def check_pairs(what: str, function: Callable[[Any, Tensor], Any], outputs: Any, targets: Tensor) -> None:
    """Raise InputError where a function of outputs and targets pairs every output with every target.

    The difference of outputs (n, 1) and targets (n,) is (n, n). What is computed of it stays when targets change places
    among each other, and is another number where both have one shape.

    Args:
        what: the function is, for the error.
        function: (outputs, targets) -> a number, or one an example; it takes these.
        outputs, targets: of one network's examples.
    """
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        return
    swapped = targets.flip(0)
    if outputs.shape == targets.shape or outputs.numel() != targets.numel() or torch.equal(swapped, targets):
        return
    made_up = torch.linspace(0.1, 0.9, outputs.numel(), dtype=outputs.dtype, device=outputs.device) ** 2
    made_up = made_up.reshape(outputs.shape)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of such shapes
        try:
            given, of_swapped, of_one_shape = (
                torch.as_tensor(function(made_up.clone(), each.clone()))
                for each in (targets, swapped, targets.reshape(outputs.shape))
            )
        except FAILURES:
            return
    if is_close(of_swapped, given) and not is_close(of_one_shape, given):
        raise InputError(
            f"{what} pairs every output of {tuple(outputs.shape)} with every target of {tuple(targets.shape)}; give "
            "both one shape, by outputs.squeeze(1) or targets.unsqueeze(1), say"
        )
