"""How many blocks train together where memory is short."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from lossact.checks import ran_out_of_memory

Job = TypeVar("Job")
Trained = TypeVar("Trained")


@dataclass
class FittingWidth:
    """The most blocks that train together: half as many as before, wherever these were too many for the memory.

    Attributes:
        blocks: as many at most.
        smallest: they are not halved below it.
    """

    blocks: int
    smallest: int = 1

    def train_first(self, jobs: Sequence[Job], train: Callable[[Sequence[Job]], Trained]) -> tuple[int, Trained]:
        """Train the first of some blocks together.

        Args:
            jobs: blocks, at least one.
            train: called with as many of them as may fit.

        Returns:
            how many were trained, and what `train` returned.
        """
        while True:
            first = jobs[: self.blocks]
            try:
                return len(first), train(first)
            except (MemoryError, RuntimeError) as error:
                if len(first) <= self.smallest or not ran_out_of_memory(error):
                    raise
            # Only here, where the error no longer holds them, can tensors go.
            self.blocks = max(self.smallest, -(-len(first) // 2))
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
