"""The weights of replicas at moments of their training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lossact.conditions.condition import Condition
from lossact.replicas.flat_population import FlatPopulation
from lossact.running.examples import DTYPES, data_sets, stacked_arrays
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedReplicasModule


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Where replicas stand in the middle of their training.

    Attributes:
        update: how many updates have been applied.
        parameters: (replicas, size), each row a network's state_dict flattened in its order.
    """

    update: int
    parameters: torch.Tensor


def record_snapshots(
    condition: Condition, seed: int, replicas: Sequence[int], *, every: int, compute_config: ComputeConfig
) -> tuple[list[Snapshot], torch.Tensor, torch.Tensor]:
    """Train replicas of a built-in network and keep their parameters on the way; nothing is stored.

    Args:
        condition: what to train.
        seed: the experiment's.
        replicas: indices, trained together.
        every: updates between two snapshots; the first is of the start.
        compute_config: how to compute.

    Returns:
        the snapshots, the images (replicas or 1, batch, height, width) and labels (replicas or 1, batch).
    """
    members = [(condition, replica) for replica in replicas]
    inputs, targets = stacked_arrays(data_sets(members, seed), DTYPES[compute_config.precision])
    module = stacked_training(condition, seed, replicas, compute_config, updates_per_step=every)
    watcher = _Watch()
    fit(module, compute_config, watcher)
    return watcher.snapshots, inputs, targets


class _Watch(Callback):
    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedReplicasModule)
        assert isinstance(pl_module.population, FlatPopulation)
        self.snapshots.append(Snapshot(pl_module.update_count, pl_module.population.state.parameters.cpu().clone()))
