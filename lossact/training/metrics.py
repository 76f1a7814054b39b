"""Metrics over the replica dimension: chunks of (updates, replicas) in, one value a replica out."""

import torch
from torch import Tensor
from torchmetrics import Metric


class Latest(Metric):
    """The latest value of every replica.

    Args:
        replicas: how many.
    """

    full_state_update = False
    latest: Tensor

    def __init__(self, replicas: int) -> None:
        super().__init__()
        self.add_state("latest", torch.zeros(replicas), dist_reduce_fx=None)

    def update(self, values: Tensor) -> None:
        """Take a chunk (updates, replicas), in the order of the updates."""
        self.latest = values[-1]

    def compute(self) -> Tensor:
        """Return the latest values, (replicas,)."""
        return self.latest


class StepsToTarget(Metric):
    """How many updates had been applied when a replica first met the target.

    Args:
        replicas: how many.
        target: the threshold of the measured value, met at or above it.
    """

    full_state_update = False
    steps: Tensor
    seen: Tensor

    NOT_REACHED = -1

    def __init__(self, replicas: int, *, target: float) -> None:
        super().__init__()
        self.target = target
        never = torch.full((replicas,), self.NOT_REACHED, dtype=torch.int64)
        self.add_state("steps", never, dist_reduce_fx=None)
        self.add_state("seen", torch.tensor(0), dist_reduce_fx=None)

    def update(self, measured: Tensor) -> None:
        """Take a chunk (updates, replicas), measured before each update, in their order. NaN never meets a target."""
        met = measured >= self.target
        first = self.seen + met.to(torch.int8).argmax(0)
        self.steps = torch.where(met.any(0) & (self.steps == self.NOT_REACHED), first, self.steps)
        self.seen = self.seen + len(measured)

    def compute(self) -> Tensor:
        """Return (replicas,) int64 updates, NOT_REACHED where the target was not met."""
        return self.steps
