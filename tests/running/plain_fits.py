"""A LightningModule to fit plainly and as a replica, to be compared."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lossact import LightningCondition
from lossact.running.external import train_one
from lossact.running.outcome import ReplicaOutcome
from lossact.training.compute_config import ComputeConfig

SETTING = ComputeConfig(threads=1)
SEED = 7
EPOCHS = 10
BATCHES = 4  # an epoch
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def points() -> DataLoader[Any]:
    x = torch.linspace(-1, 1, 64).reshape(16, 4)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16 // BATCHES)


class Regression(LightningModule):
    """A linear regression that records its learning rates; subclasses choose optimizer and schedule."""

    def __init__(self, rates: list[float]) -> None:
        super().__init__()
        self.line, self.rates = nn.Linear(4, 1), rates

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        loss = nn.functional.mse_loss(self.line(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.5)


def whole() -> DataLoader[Any]:
    dataset: Any = points().dataset
    return DataLoader(dataset, batch_size=16)


def fit_alone(make: Callable[[], LightningModule], data: Any, **options: Any) -> LightningModule:
    with torch.random.fork_rng():
        seed_everything(SEED, verbose=False)
        module = make()
        trainer = Trainer(accelerator="cpu", num_sanity_val_steps=0, **QUIET | options)
        trainer.fit(module, train_dataloaders=None if data is None else data())
    return module


def train(make: Callable[[], LightningModule], *, data: Any = points, **changes: Any) -> ReplicaOutcome:
    values: dict[str, Any] = {"metric": "train_loss", "at_most": -1.0, "budget": EPOCHS * BATCHES, "name": "own"}
    return train_one(LightningCondition(module=make, data=data, **values | changes), SEED, SETTING)
