"""Optimisers of parts of one network's parameters, as one optimiser of torch's kind."""

from collections.abc import Callable, Sequence
from typing import Any

import torch


class PartsOptimizer(torch.optim.Optimizer):
    """Optimisers of different parameters that step together, for a Trainer that optimises automatically.

    Its parameter groups are those of the parts, one part after the other; each part keeps a state of its own.

    Args:
        parts: optimisers of torch's kind, no parameter in two of them.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)
        super().__init__([dict(group) for part in self.parts for group in part.param_groups], {})
        self._take_groups()

    def _take_groups(self) -> None:
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step of each part.

        Args:
            closure: computes the loss and its gradients, once; None where they have been computed.

        Returns:
            the loss that `closure` returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each part, as torch saves it."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that was saved.

        Raises:
            ValueError: the state is of other parts.
        """
        saved = state_dict.get("parts", ())
        if len(saved) != len(self.parts):
            raise ValueError(f"the saved state is of {len(saved) or 1} optimizers, not of {len(self.parts)}")
        for part, state in zip(self.parts, saved, strict=True):
            part.load_state_dict(state)
        self._take_groups()
