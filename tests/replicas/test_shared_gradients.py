"""Parameters that get the same gradient are each moved by their own, though torch.func gives them one tensor."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lossact import SGD, TorchOptimizer
from tests.replicas.against_alone import check_equal_to_alone, make_condition

RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.standard_normal((24, 3)), RNG.standard_normal((24, 2))


class TwoOffsets(nn.Module):
    """Two vectors that are added, and two biases."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.first, self.second = nn.Parameter(torch.randn(2)), nn.Parameter(torch.randn(2))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs).tanh() + (self.first + self.second)
        return outputs


class TwoBiases(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.left(inputs) + self.right(inputs)
        return outputs


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean(1)


@pytest.mark.parametrize("network", [TwoOffsets, TwoBiases])
@pytest.mark.parametrize("limit", [{}, {"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 1e9}])
@pytest.mark.parametrize("foreach", [None, True])
def test_equal_gradients_are_clipped_once(network: Any, limit: dict[str, float], foreach: bool | None) -> None:
    def clip(module: nn.Module) -> None:
        if "clip_norm" in limit:
            nn.utils.clip_grad_norm_(module.parameters(), limit["clip_norm"])
        if "clip_value" in limit:
            nn.utils.clip_grad_value_(module.parameters(), limit["clip_value"])

    def nesterov(module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9, nesterov=True, foreach=False)

    ours: Any = SGD(learning_rate=0.3, momentum=0.9, nesterov=True)
    if foreach:  # which adds momentum to gradients in place
        ours = TorchOptimizer(torch.optim.SGD, lr=0.3, momentum=0.9, nesterov=True, foreach=True)
    given = make_condition(network, squares, INPUTS, TARGETS, optimizer=ours, **limit)
    check_equal_to_alone(given, network, functional.mse_loss, nesterov, clip=clip, updates=8)


def test_equal_gradients_of_biases_are_scaled_once() -> None:
    def scale(module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            if name.endswith("bias") and parameter.grad is not None:
                parameter.grad *= 0.1

    def plain(module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(module.parameters(), lr=0.3)

    ours = SGD(learning_rate=0.3, bias_gradient_scale=0.1)
    given = make_condition(TwoBiases, squares, INPUTS, TARGETS, optimizer=ours)
    check_equal_to_alone(given, TwoBiases, functional.mse_loss, plain, clip=scale)
