"""How weights move: update rules over stacked replicas, elementwise, so that no replica's update sees another's.

Each rule has two forms. `update` takes flat parameters (replicas, size) and returns new ones, for steps that are
compiled; `update_in_place` moves one tensor (replicas, ...) of a user's network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor


class UpdateRule(Protocol):
    """An update rule. Frozen and hashable: compiled steps are kept by it."""

    hyperparameter_names: ClassVar[tuple[str, ...]]

    def __hash__(self) -> int: ...

    def start(self, parameters: Tensor) -> Tensor:
        """Return (replicas, k) optimiser state before the first update of (replicas, size) parameters."""

    def update(
        self, parameters: Tensor, optimizer_state: Tensor, gradient: Tensor, *hyperparameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the parameters and the optimiser state after one update.

        Args:
            parameters, optimizer_state, gradient: (replicas, size), as `start` made it, (replicas, size).
            *hyperparameters: in the order of `hyperparameter_names`, each broadcast to (replicas, size).
        """

    def start_in_place(self, parameter: Tensor) -> tuple[Tensor, ...]:
        """Return the optimiser state before the first update of one parameter (replicas, ...)."""

    def update_in_place(
        self, parameter: Tensor, state: tuple[Tensor, ...], gradient: Tensor, hyperparameters: Sequence[Tensor | None]
    ) -> None:
        """Take one update of a parameter (replicas, ...) and its state.

        Args:
            parameter, gradient: (replicas, ...).
            state: as `start_in_place` made it.
            hyperparameters: in the order of `hyperparameter_names`, each broadcast to the parameter; None for a
                momentum or weight decay of 0.
        """


@dataclass(frozen=True)
class SGDRule:
    """Gradient descent with momentum, as torch.optim.SGD: v <- m v + g + d p; p <- p - lr v.

    With `nesterov` the step is along g + d p + m v instead of v.
    """

    nesterov: bool = False

    hyperparameter_names: ClassVar[tuple[str, ...]] = ("learning_rate", "momentum", "weight_decay")

    def start(self, parameters: Tensor) -> Tensor:
        """Return (replicas, size) velocities of 0."""
        return torch.zeros_like(parameters)

    def update(
        self, parameters: Tensor, optimizer_state: Tensor, gradient: Tensor, *hyperparameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Take one update."""
        learning_rate, momentum, weight_decay = hyperparameters
        if self.nesterov:
            decayed = gradient + weight_decay * parameters
            velocity = momentum * optimizer_state + decayed
            return parameters - learning_rate * (decayed + momentum * velocity), velocity
        velocity = momentum * optimizer_state + gradient + weight_decay * parameters
        return parameters - learning_rate * velocity, velocity

    def start_in_place(self, parameter: Tensor) -> tuple[Tensor, ...]:
        """Return velocities of 0."""
        return (torch.zeros_like(parameter),)

    def update_in_place(
        self, parameter: Tensor, state: tuple[Tensor, ...], gradient: Tensor, hyperparameters: Sequence[Tensor | None]
    ) -> None:
        """Take one update."""
        learning_rate, momentum, weight_decay = hyperparameters
        assert learning_rate is not None
        if weight_decay is not None:
            gradient = gradient + weight_decay * parameter
        step = gradient
        if momentum is not None:
            (velocity,) = state
            velocity.mul_(momentum).add_(gradient)
            step = gradient + velocity * momentum if self.nesterov else velocity
        parameter.sub_(learning_rate * step)


@dataclass(frozen=True)
class AdamRule:
    """Adam, and with `decoupled` AdamW, as torch.optim has them.

    References: Kingma and Ba, Adam, ICLR 2015; Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """

    decoupled: bool = False

    hyperparameter_names: ClassVar[tuple[str, ...]] = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")

    def start(self, parameters: Tensor) -> Tensor:
        """Return (replicas, 2 size + 1): both moments, and how many updates there have been."""
        return parameters.new_zeros(len(parameters), 2 * parameters.shape[1] + 1)

    def update(
        self, parameters: Tensor, optimizer_state: Tensor, gradient: Tensor, *hyperparameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Take one update."""
        learning_rate, beta1, beta2, epsilon, weight_decay = hyperparameters
        size = parameters.shape[1]
        first, second, count = torch.split(optimizer_state, [size, size, 1], dim=1)
        count = count + 1
        if self.decoupled:
            parameters = parameters * (1 - learning_rate * weight_decay)
        else:
            gradient = gradient + weight_decay * parameters
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        scale = (second / (1 - beta2**count)).sqrt() + epsilon
        parameters = parameters - learning_rate / (1 - beta1**count) * first / scale
        return parameters, torch.cat((first, second, count), dim=1)

    def start_in_place(self, parameter: Tensor) -> tuple[Tensor, ...]:
        """Return both moments, and how many updates there have been."""
        count = parameter.new_zeros(len(parameter), *[1] * (parameter.ndim - 1))
        return torch.zeros_like(parameter), torch.zeros_like(parameter), count

    def update_in_place(
        self, parameter: Tensor, state: tuple[Tensor, ...], gradient: Tensor, hyperparameters: Sequence[Tensor | None]
    ) -> None:
        """Take one update."""
        learning_rate, beta1, beta2, epsilon, weight_decay = hyperparameters
        assert learning_rate is not None
        assert beta1 is not None
        assert beta2 is not None
        assert epsilon is not None
        first, second, count = state
        count.add_(1)
        if weight_decay is not None and self.decoupled:
            parameter.mul_(1 - learning_rate * weight_decay)
        elif weight_decay is not None:
            gradient = gradient + weight_decay * parameter
        first.mul_(beta1).add_(gradient * (1 - beta1))
        second.mul_(beta2).add_(gradient.square().mul_(1 - beta2))
        scale = second.sqrt().div_((1 - beta2**count).sqrt()).add_(epsilon)
        parameter.sub_(torch.div(first, scale, out=scale).mul_(learning_rate / (1 - beta1**count)))


UPDATE_RULES: dict[str, UpdateRule] = {
    "sgd": SGDRule(),
    "nesterov": SGDRule(nesterov=True),
    "adam": AdamRule(),
    "adamw": AdamRule(decoupled=True),
}
