"""One replica's forward pass and loss: the only place where a user's network, loss and metric run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from lossact.errors import InputError
from lossact.replicas.named_tensors import Inputs, Tensors, call_with
from lossact.replicas.objective import Objective


class Stage(IntEnum):
    """What a forward pass is for; passes of different stages draw different random numbers."""

    TRAINING = 0
    MEASUREMENT = 1
    PREDICTION = 2


@dataclass(frozen=True)
class PassContext:
    """Where in its training a replica stands when it runs a forward pass.

    Attributes:
        stage: what the pass is for.
        batch_index: updates that were applied before; a () int64 tensor where passes are recorded.
    """

    stage: Stage
    batch_index: int | Tensor


class LearningPass(NamedTuple):
    """What one forward and backward pass of all replicas gives.

    Attributes:
        loss, metric: (replicas,).
        gradients: of the loss, by parameter name.
        buffers: the buffers that the pass changed, by name, with their new values.
    """

    loss: Tensor
    metric: Tensor
    gradients: Tensors
    buffers: Tensors


def run_pass(
    network: Callable[..., Any],
    inputs: Inputs,
    score: Callable[[Any], Any],
    *,
    replica: Tensor,
    context: PassContext,
) -> Any:
    """Run one replica's network, and what is computed of its outputs.

    Every pass of a user's network, loss and metric runs here, stacked (then all tensors are one replica's part of a
    vmap) or alone.

    Args:
        network: the network, with the replica's parameters in place.
        inputs: (batch, ...), a tensor, or a tuple or dict of them.
        score: the network's outputs to what the caller wants of them.
        replica: () int64, the replica's index in the experiment.
        context: what the pass is for, and when.

    Returns:
        what `score` returns.
    """
    return score(call_with(network, inputs))


def checked_outputs(outputs: Any) -> Any:
    """Return what a network answered.

    Raises:
        InputError: it holds something whose tensors nobody finds: an object of a class of its own, say.
    """
    for part in _parts(outputs):
        if not isinstance(part, (Tensor, str, int, float, bool, type(None))):
            raise InputError(
                f"network returned a {type(part).__name__}, which cannot be measured; have it return tensors, or "
                "tuples, lists or dicts of them"
            )
    return outputs


def _parts(outputs: Any) -> Iterator[Any]:
    if isinstance(outputs, (Mapping, tuple, list)):
        for part in outputs.values() if isinstance(outputs, Mapping) else outputs:
            yield from _parts(part)
    else:
        yield outputs


class Networks(Protocol):
    """R networks of one shape, stacked or side by side, without the optimiser that moves them."""

    objective: Objective
    replicas: Tensor
    trained: tuple[str, ...]
    parameters: Tensors
    buffers: Tensors

    @property
    def template(self) -> nn.Module:
        """One ordinary network, of the shapes that each has."""

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""

    def learn(self, inputs: Inputs, targets: Tensor, context: PassContext, *, rows: slice = ...) -> LearningPass:
        """Run a forward and backward pass in training mode; parameters and buffers stay as they are."""

    def measure(self, inputs: Inputs, targets: Tensor, context: PassContext) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and metric (replicas,) in evaluation mode."""

    def outputs(self, inputs: Inputs) -> Any:
        """Return what the networks answer in evaluation mode, (replicas, batch, ...)."""

    @property
    def layers(self) -> dict[str, list[str]]:
        """Layer name to the names of its trained parameters; empty where a gradient cannot be taken in passing."""
