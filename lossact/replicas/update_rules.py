"""How weights move: update rules over stacked replicas, elementwise, so that no replica's update sees another's."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor


class UpdateRule(Protocol):
    """An update rule. Frozen and hashable: compiled steps are kept by it."""

    numbers: ClassVar[tuple[str, ...]]

    def __hash__(self) -> int: ...

    def start(self, parameters: Tensor) -> Tensor:
        """(replicas, k) what the rule remembers, before the first update of (replicas, size) parameters."""

    def update(
        self, parameters: Tensor, optimizer_state: Tensor, gradient: Tensor, *numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Parameters and memory after one update.

        Args:
            parameters, memory, gradient: (replicas, size), as `start` made it, (replicas, size).
            *numbers: in the order of `self.numbers`, each broadcast to (replicas, size).
        """


@dataclass(frozen=True)
class SGDRule:
    """Gradient descent with momentum, as torch.optim.SGD: v <- m v + g + d p; p <- p - lr v."""

    numbers: ClassVar[tuple[str, ...]] = ("learning_rate", "momentum", "weight_decay")

    def start(self, parameters: Tensor) -> Tensor:
        """(replicas, size) velocities of 0."""
        return torch.zeros_like(parameters)

    def update(
        self, parameters: Tensor, optimizer_state: Tensor, gradient: Tensor, *numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One update."""
        learning_rate, momentum, weight_decay = numbers
        velocity = momentum * optimizer_state + gradient + weight_decay * parameters
        return parameters - learning_rate * velocity, velocity


@dataclass(frozen=True)
class AdamRule:
    """Adam, and with `decoupled` AdamW, as torch.optim has them.

    References: Kingma and Ba, Adam, ICLR 2015; Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """

    decoupled: bool = False

    numbers: ClassVar[tuple[str, ...]] = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")

    def start(self, parameters: Tensor) -> Tensor:
        """(replicas, 2 size + 1): both moments, and how many updates there have been."""
        return parameters.new_zeros(len(parameters), 2 * parameters.shape[1] + 1)

    def update(
        self, parameters: Tensor, optimizer_state: Tensor, gradient: Tensor, *numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One update."""
        learning_rate, beta1, beta2, epsilon, weight_decay = numbers
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


UPDATE_RULES: dict[str, UpdateRule] = {"sgd": SGDRule(), "adam": AdamRule(), "adamw": AdamRule(decoupled=True)}
