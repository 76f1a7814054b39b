"""Muon for matrices of many replicas at once."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.775, 2.0315)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices (..., rows, columns) near 1 by Newton-Schulz steps in their precision.

    torch.optim.Muon takes the same five steps in bfloat16, one matrix after the other.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon as torch.optim.Muon has it: Nesterov's momentum, orthogonalised, with decoupled weight decay.

    Args:
        params: matrices (..., rows, columns).
        lr: of a square matrix; times the root of rows / columns where there are more rows.
        momentum: decay of the average of gradients.
        weight_decay: decoupled.

    Reference: Jordan et al., Muon, 2024.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.1
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take one step from the gradients as they are."""
        for group in self.param_groups:
            for matrix in group["params"]:
                average = self.state[matrix].setdefault("average", torch.zeros_like(matrix))
                average.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonalised(matrix.grad.lerp(average, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.sub_(update * max(1, matrix.shape[-2] / matrix.shape[-1]) ** 0.5, alpha=group["lr"])
