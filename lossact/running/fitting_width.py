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
        multiple: copies of the last block fill them up to a multiple of it, for their pass has a fixed width.
    """

    blocks: int
    multiple: int = 1

    def filled(self, blocks: int) -> int:
        """Return how many blocks are computed where so many are trained."""
        return blocks + -blocks % self.multiple

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
                computed = self.filled(len(first))
                if computed == 1 or not ran_out_of_memory(error):
                    raise
            # Only here, where the error no longer holds them, can tensors go.
            self.blocks = -(-computed // 2)
            self.multiple = min(self.multiple, self.blocks)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
