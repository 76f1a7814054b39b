"""The step that all replicas take together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lossact.replicas.network import StackedNetwork

Step = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Hyperparameters:
    """Gradient descent with momentum, one value a replica: v <- m v + g + d p; p <- p - lr v.

    Attributes:
        learning_rate, momentum, weight_decay: (replicas, 1).
        gradient_scale: (replicas, size) factor on each parameter's gradient; 1 is plain gradient descent.
    """

    learning_rate: Tensor
    momentum: Tensor
    weight_decay: Tensor
    gradient_scale: Tensor


@dataclass
class ReplicaState:
    """Where every replica stands.

    Attributes:
        parameters, velocity: (replicas, size).
        reached: (replicas,) bool; the target was met, the replica rests.
        diverged: (replicas,) bool; a loss or a weight stopped being finite, the replica rests.
    """

    parameters: Tensor
    velocity: Tensor
    reached: Tensor
    diverged: Tensor

    @classmethod
    def start(cls, parameters: Tensor) -> "ReplicaState":
        flags = torch.zeros(len(parameters), dtype=torch.bool, device=parameters.device)
        return cls(parameters, torch.zeros_like(parameters), flags, flags.clone())

    @property
    def finished(self) -> bool:
        """Whether no replica moves any more. Waits for the device."""
        return bool((self.reached | self.diverged).all())


def make_step(network: StackedNetwork, target: float, *, compiled: bool) -> Step:
    """The function that measures every replica and then moves those that still train.

    (parameters, velocity, reached, diverged, images, labels, learning_rate, momentum, weight_decay, gradient_scale)
    -> (parameters, velocity, reached, diverged, loss, accuracy). Loss and accuracy are those before the update.
    A resting replica keeps its parameters, so what is measured of it stays as it was.

    Args:
        network: the stacked network.
        target: accuracy at which a replica rests.
        compiled: whether the step goes through torch.compile; equal networks share one compiled step.
    """
    return _compiled_step(network, target) if compiled else _eager_step(network, target)


@lru_cache(maxsize=64)
def _compiled_step(network: StackedNetwork, target: float) -> Step:
    return torch.compile(_eager_step(network, target), dynamic=False, fullgraph=True)


def _eager_step(network: StackedNetwork, target: float) -> Step:
    def step(
        parameters: Tensor,
        velocity: Tensor,
        reached: Tensor,
        diverged: Tensor,
        images: Tensor,
        labels: Tensor,
        learning_rate: Tensor,
        momentum: Tensor,
        weight_decay: Tensor,
        gradient_scale: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        loss, accuracy, gradient = network.loss_and_gradient(parameters, images, labels)
        # 0 x parameter is NaN where the parameter is not finite, and the sum cannot overflow.
        finite = torch.isfinite(loss + (parameters * 0).sum(1))
        diverged = diverged | ~finite
        reached = reached | (finite & (accuracy >= target))
        velocity = momentum * velocity + gradient * gradient_scale + weight_decay * parameters
        rests = (reached | diverged).unsqueeze(1)
        parameters = torch.where(rests, parameters, parameters - learning_rate * velocity)
        return parameters, velocity, reached, diverged, loss, accuracy

    return step


def advance(
    step: Step,
    state: ReplicaState,
    images: Tensor,
    labels: Tensor,
    hyperparameters: Hyperparameters,
    n_updates: int,
) -> tuple[Tensor, Tensor]:
    """Take `n_updates` steps; `state` is given new tensors, the old ones stay as they were.

    Returns:
        loss and accuracy before each update, (n_updates, replicas).
    """
    curve_shape = (n_updates, len(state.parameters))
    losses, accuracies = (state.parameters.new_empty(curve_shape) for _ in range(2))
    now = (state.parameters, state.velocity, state.reached, state.diverged)
    h = hyperparameters
    with torch.no_grad():
        for k in range(n_updates):
            *moved, losses[k], accuracies[k] = step(
                *now, images, labels, h.learning_rate, h.momentum, h.weight_decay, h.gradient_scale
            )
            now = (moved[0], moved[1], moved[2], moved[3])
    state.parameters, state.velocity, state.reached, state.diverged = now
    return losses, accuracies
