"""Replicas at moments of their training: their weights, their networks and what these answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lossact.checks import check_count, checked_call
from lossact.conditions.condition import Condition
from lossact.errors import InputError
from lossact.replicas.named_tensors import Inputs, tensors_in
from lossact.replicas.population import Population
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedReplicasModule


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Where replicas stand in the middle of their training, on the CPU.

    Attributes:
        update: how many updates have been applied.
        population: holds the replicas.
    """

    update: int
    population: Population = field(repr=False)

    def outputs(self, inputs: Inputs) -> Any:
        """Compute what the networks answer, in evaluation mode and without gradients.

        Args:
            inputs: (replicas, n, ...), or (1, n, ...) for the same examples for all; a tensor, or a tuple or dict of
                tensors where the networks take several, of the type that the networks compute in.

        Returns:
            (replicas, n, ...), or several in the structure that the networks return.

        Raises:
            InputError: `inputs` are no tensors, or not of so many replicas.
        """
        sets = [len(tensor) if tensor.ndim else 0 for tensor in tensors_in(inputs)]
        replicas = self.population.n_replicas
        if not sets or len(set(sets)) > 1 or sets[0] not in {1, replicas}:
            raise InputError(
                f"inputs: tensors with {replicas} or 1 along their first axis are needed, for as many replicas; "
                f"these have {sets}; for examples (n, ...) that all share give examples.unsqueeze(0)"
            )
        return self.population.outputs(inputs)

    @cached_property
    def networks(self) -> tuple[nn.Module, ...]:
        """Each replica as an ordinary module in evaluation mode."""
        return self.population.networks_apart()

    @property
    def parameters(self) -> Tensor:
        """(replicas, size), each row the parameters of a network, flattened in its order."""
        return torch.stack([nn.utils.parameters_to_vector(network.parameters()).detach() for network in self.networks])


@checked_call
def record_snapshots(
    condition: Condition, seed: int, replicas: Sequence[int], *, every: int, compute_config: ComputeConfig
) -> tuple[list[Snapshot], Inputs, Tensor]:
    """Train replicas and keep where they stand on the way; nothing is stored.

    Args:
        condition: what to train, a built-in network or one of your own.
        seed: the experiment's, >= 0.
        replicas: indices, trained together.
        every: updates between two snapshots, >= 1; the first is of the start, the last of the end. Where the condition
            averages weights, a snapshot has the average.
        compute_config: how to compute.

    Returns:
        the snapshots, and what is learned from: inputs (replicas or 1, n, ...) and targets (replicas or 1, n, ...).

    Raises:
        InputError: the condition is not a Condition, or another argument breaks its rule.
    """
    if not isinstance(condition, Condition):
        raise InputError(f"condition={condition!r} must be a lossact.Condition, whose networks lossact holds")
    check_count("seed", seed, at_least=0, hint=0)
    check_count("every", every, hint=50)
    if not isinstance(replicas, Iterable) or isinstance(replicas, (str, Mapping)):
        raise InputError(f"replicas={replicas!r} must be indices, such as range(16)")
    replicas = [replica.item() if isinstance(replica, Tensor) else replica for replica in replicas]
    if not replicas:
        raise InputError("replicas is empty; give indices, such as range(16)")
    for replica in replicas:
        check_count("replicas", replica, at_least=0, hint=0)
    module = stacked_training(condition, seed, replicas, compute_config, updates_per_step=every)
    watcher = _Watch()
    fit(module, compute_config, watcher)
    return watcher.snapshots, *module.training_examples


class _Watch(Callback):
    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedReplicasModule)
        self.snapshots.append(Snapshot(pl_module.update_count, pl_module.population.cpu_copy()))
