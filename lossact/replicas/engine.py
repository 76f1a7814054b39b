"""The step that all replicas take together."""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import torch
from torch import Tensor

from lossact.replicas.compiling import compile_whole
from lossact.replicas.network import StackedNetwork
from lossact.replicas.update_rules import UpdateRule

_numbers = count()  # of compiled steps

Step = Callable[..., tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]]


@dataclass(frozen=True)
class StoppingCriterion:
    """When a replica is done.

    Attributes:
        threshold: of the loss or the metric.
        of_loss: whether the loss counts, and not the metric.
        at_most: whether the threshold is met from above.
    """

    threshold: float
    of_loss: bool = False
    at_most: bool = False

    def score(self, loss: Tensor, metric: Tensor) -> Tensor:
        """Return what counts, the higher the better."""
        value = loss if self.of_loss else metric
        return -value if self.at_most else value

    @property
    def lowest_score(self) -> float:
        """The threshold on the scale of `score`."""
        return -self.threshold if self.at_most else self.threshold


NEVER = StoppingCriterion(math.inf)


@dataclass(frozen=True)
class Hyperparameters:
    """What each replica has for itself.

    Attributes:
        values: (replicas, 1) or (replicas, size) each, in the order of the rule's hyperparameter names.
        gradient_scale: (replicas, size) factor on each parameter's gradient; 1 is plain gradient descent.
    """

    values: tuple[Tensor, ...]
    gradient_scale: Tensor


@dataclass
class ReplicaState:
    """The state of every replica in training.

    Attributes:
        parameters: (replicas, size).
        optimizer_state: (replicas, k) the update rule's state.
        reached: (replicas,) bool; the target was met, the replica rests.
        diverged: (replicas,) bool; a loss or a weight stopped being finite, the replica rests.
    """

    parameters: Tensor
    optimizer_state: Tensor
    reached: Tensor
    diverged: Tensor

    @classmethod
    def start(cls, parameters: Tensor, rule: UpdateRule) -> "ReplicaState":
        flags = torch.zeros(len(parameters), dtype=torch.bool, device=parameters.device)
        return cls(parameters, rule.start(parameters), flags, flags.clone())

    def to(self, device: torch.device) -> None:
        """Move all tensors to a device."""
        for name, tensor in vars(self).items():
            setattr(self, name, tensor.to(device))

    @property
    def finished(self) -> bool:
        """Whether no replica moves any more. Waits for the device."""
        return bool((self.reached | self.diverged).all())

    def measure(self, loss: Tensor, metric: Tensor, criterion: StoppingCriterion) -> None:
        """Note what loss and metric (replicas,) at the present parameters say of each replica."""
        finite = _finite(loss, self.parameters)
        self.reached, self.diverged = flags_after(criterion, loss, metric, finite, self.reached, self.diverged)


def flags_after(
    criterion: StoppingCriterion | None,
    loss: Tensor,
    metric: Tensor,
    finite: Tensor,
    reached: Tensor,
    diverged: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return who has reached the target and who has diverged after a measurement.

    Args:
        criterion: when a replica rests; None where that is measured elsewhere.
        loss, metric: (replicas,) what was measured.
        finite: (replicas,) bool, whether the loss and all weights are finite.
        reached, diverged: (replicas,) bool, as they were before.
    """
    diverged = diverged | (~finite & ~reached)  # one that rests is done, whatever its later batches say
    if criterion is not None:
        reached = reached | (finite & (criterion.score(loss, metric) >= criterion.lowest_score))
    return reached, diverged


def _finite(loss: Tensor, parameters: Tensor) -> Tensor:
    # 0 x parameter is NaN where the parameter is not finite, and the sum cannot overflow.
    return torch.isfinite(loss + (parameters * 0).sum(1))


def make_step(
    network: StackedNetwork,
    rule: UpdateRule,
    criterion: StoppingCriterion | None,
    *,
    compiled: bool,
    shapes: Hashable = None,
) -> Step:
    """Return the function that measures every replica and then moves those that still train.

    (parameters, optimizer_state, reached, diverged, inputs, targets, gradient_scale, *values)
    -> (loss, metric, (parameters, optimizer_state, reached, diverged)). Loss and metric are those before the update. A
    resting replica keeps its parameters, so what is measured of it stays as it was.

    Args:
        network: the stacked network.
        rule: how weights move.
        criterion: when a replica rests; None where that is measured elsewhere.
        compiled: whether the step goes through torch.compile; equal networks share one compiled step.
        shapes: for which it is compiled; others have steps of their own.
    """
    return _compiled_step(network, rule, criterion, shapes) if compiled else _eager_step(network, rule, criterion)


@lru_cache(maxsize=64)
def _compiled_step(
    network: StackedNetwork, rule: UpdateRule, criterion: StoppingCriterion | None, shapes: Hashable
) -> Step:
    return compile_whole(_eager_step(network, rule, criterion), f"step_{next(_numbers)}", moving=4)


def _eager_step(network: StackedNetwork, rule: UpdateRule, criterion: StoppingCriterion | None) -> Step:
    def step(
        parameters: Tensor,
        optimizer_state: Tensor,
        reached: Tensor,
        diverged: Tensor,
        inputs: Tensor,
        targets: Tensor,
        gradient_scale: Tensor,
        *values: Tensor,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        loss, metric, gradient = network.loss_and_gradient(parameters, inputs, targets)
        reached, diverged = flags_after(criterion, loss, metric, _finite(loss, parameters), reached, diverged)
        moved, optimizer_state = rule.update(parameters, optimizer_state, gradient * gradient_scale, *values)
        rests = (reached | diverged).unsqueeze(1)
        return loss, metric, (torch.where(rests, parameters, moved), optimizer_state, reached, diverged)

    return step


def advance(
    step: Step,
    state: ReplicaState,
    inputs: Tensor,
    targets: Tensor,
    hyperparameters: Hyperparameters,
    n_updates: int,
) -> tuple[Tensor, Tensor]:
    """Take `n_updates` steps on the same batch; `state` is given new tensors, the old ones stay as they were.

    Returns:
        loss and metric before each update, (n_updates, replicas).
    """
    curve_shape = (n_updates, len(state.parameters))
    losses, metrics = (state.parameters.new_empty(curve_shape) for _ in range(2))
    now = (state.parameters, state.optimizer_state, state.reached, state.diverged)
    h = hyperparameters
    with torch.no_grad():
        for k in range(n_updates):
            losses[k], metrics[k], now = step(*now, inputs, targets, h.gradient_scale, *h.values)
    state.parameters, state.optimizer_state, state.reached, state.diverged = now
    return losses, metrics
