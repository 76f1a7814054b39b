"""Which examples each replica learns from in each update."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Minibatches:
    """Each replica's own order of the examples, a new one every epoch; an epoch's incomplete last batch is left out.

    Args:
        generators: one a replica; its order depends on nothing else.
        n_examples: in the training set.
        size: examples in a batch, 1 … n_examples.
        parts: batches of an update, >= 1.
    """

    def __init__(
        self, generators: Sequence[np.random.Generator], *, n_examples: int, size: int, parts: int = 1
    ) -> None:
        self.generators, self.n_examples, self.size, self.parts = generators, n_examples, size, parts
        self._order = torch.empty(len(generators), 0, dtype=torch.int64)
        self._at = 0

    def next(self) -> Tensor:
        """Return (replicas, parts x size) int64 indices of the examples of the next update."""
        return torch.cat([self._next() for _ in range(self.parts)], dim=1) if self.parts > 1 else self._next()

    def _next(self) -> Tensor:
        if self._at + self.size > self._order.shape[1]:
            orders = [generator.permutation(self.n_examples) for generator in self.generators]
            self._order, self._at = torch.from_numpy(np.stack(orders)), 0
        self._at += self.size
        return self._order[:, self._at - self.size : self._at]


def batch_of(data: Tensor, index: Tensor) -> Tensor:
    """(sets, n, ...) examples, sets = replicas or 1 (shared), at (replicas, size) indices: (replicas, size, ...)."""
    if len(data) == 1:
        return data[0][index]
    return data[torch.arange(len(index), device=index.device).unsqueeze(1), index]
