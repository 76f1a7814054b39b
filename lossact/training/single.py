"""One network in a LightningModule, with automatic optimisation: every Trainer flag works."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from lossact.functional import SIGMOID_LOSSES, correct


class RepeatedBatch:
    """A loader that yields one full batch `times` times in one epoch, for an epoch costs the Trainer more than a step.

    Args:
        images: (batch, height, width).
        labels: (batch,).
        times: batches in the epoch.
    """

    def __init__(self, images: Tensor, labels: Tensor, *, times: int) -> None:
        self.batch = (images, labels)
        self.times = times

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.times):
            yield self.batch


class NetworkTraining(LightningModule):
    """Full-batch training of one network until its accuracy meets the target.

    The metric is taken before each update and once after the last, so the loader yields budget + 1 batches.

    Args:
        network: (batch, height, width) images to (batch,) logits.
        loss: a name in SIGMOID_LOSSES.
        make_optimizer: the network's parameters to an optimiser.
        target: accuracy at which training stops.
        budget: updates at most.

    Attributes:
        steps_to_target: updates that had been applied when the target was first met, or None.
        losses, accuracies: one value before each update, and one after the last.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: str,
        make_optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer],
        *,
        target: float = 1.0,
        budget: int,
    ) -> None:
        super().__init__()
        self.network, self.loss = network, SIGMOID_LOSSES[loss]
        self.make_optimizer = make_optimizer
        self.target, self.budget = target, budget
        self.steps_to_target: int | None = None
        self.losses: list[Tensor] = []
        self.accuracies: list[Tensor] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.network.parameters())

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss: Tensor = self.loss.function(logits, labels).mean()
        accuracy = correct(logits, labels).mean()
        self.losses.append(loss.detach())
        self.accuracies.append(accuracy)
        if accuracy >= self.target:
            self.steps_to_target = self.global_step
            self.trainer.should_stop = True
        return loss

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        # The closure measures; only then is it known whether an update is due.
        assert optimizer_closure is not None
        loss = optimizer_closure()
        if self.steps_to_target is None and self.global_step < self.budget:
            optimizer.step(closure=lambda: loss)
