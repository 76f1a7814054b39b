"""The LightningModule that a Trainer of one's own takes: one replica of a condition, or many."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lossact.conditions.condition import Condition
from lossact.conditions.optimizers import SGD, Optimizer
from lossact.data import GeneratedData
from lossact.replicas.minibatches import Minibatches
from lossact.replicas.modules import StackedModule
from lossact.replicas.random_streams import ORDER, TEST, replica_generator
from lossact.running.stacking import (
    DTYPES,
    ReplicaKey,
    checked_batch_size,
    criterion_of,
    data_sets,
    forward_seed,
    objective_of,
    plain_networks,
    stack_replicas,
    stacked_arrays,
    validation_sets,
)
from lossact.storage.curve_files import CURVES_KEPT
from lossact.storage.trials import Trials
from lossact.training.compute_config import PRECISIONS, ComputeConfig
from lossact.training.loaders import Examples
from lossact.training.single import SingleNetworkModule
from lossact.training.stacked import StackedReplicasModule

KINDS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def training_module(
    condition: Condition, seed: int, replicas: Sequence[int], *, precision: str = "32-true", compiled: bool = False
) -> SingleNetworkModule | StackedReplicasModule:
    """Replicas of a condition as a LightningModule, data and all; a single one takes every flag of the Trainer.

    Trainer.validate measures on the data's validation examples, or where they have none on those that are learned;
    Trainer.test on a fresh draw of data that are drawn, else as validate does. It refuses a draw by the user's function
    that is the training set again.

    Args:
        condition: what to train.
        seed: the experiment's.
        replicas: their indices, at least one.
        precision: the Trainer's.
        compiled: whether the step of many goes through torch.compile.
    """
    members = [(condition, replica) for replica in replicas]
    module = _single(*members[0], seed) if len(members) == 1 else _stacked(members, seed, precision, compiled)
    module.replicas, module.metric_name = replicas, condition.metric_name
    module.metadata = {"name": condition.name, "seed": seed, "condition": json.loads(condition.json)}
    return module


def trials_of(module: SingleNetworkModule | StackedReplicasModule) -> Trials:
    """What became of its replicas, as far as they were trained."""
    if isinstance(module, StackedReplicasModule):
        outcome = module.outcome()
        steps = np.where(outcome.reached, outcome.steps_to_target, 0)
        return Trials(steps, outcome.reached, outcome.diverged, module.budget)
    reached = module.steps_to_target is not None
    steps = np.array([module.steps_to_target or 0])
    return Trials(steps, np.array([reached]), np.array([module.diverged]), module.budget)


def _stacked(members: Sequence[ReplicaKey], seed: int, precision: str, compiled: bool) -> StackedReplicasModule:
    condition, _ = members[0]
    compute_config = ComputeConfig(precision=precision if precision in PRECISIONS else "32-true", compiled=compiled)
    module = stack_replicas(members, seed, compute_config, curves_of=CURVES_KEPT)
    dtype = DTYPES[compute_config.precision]
    held_out = validation_sets(members, seed)
    if held_out is not None:
        module.validation_examples = stacked_arrays(held_out, dtype)
    module.test_examples = module.validation_examples
    if condition.data.per_replica:
        module.test_examples = stacked_arrays(data_sets(members, seed, TEST), dtype)
        module.tests_fresh_draw = isinstance(condition.data, GeneratedData)
    if condition.stacked:
        inputs, targets = module.training_examples
        (network,) = plain_networks(members[:1], seed, tuple(inputs.shape[2:]))
        module.answer = StackedModule(network.to(dtype), objective_of(condition), inputs[0], targets[0]).outputs
    return module


def _single(condition: Condition, replica: int, seed: int) -> SingleNetworkModule:
    member: list[ReplicaKey] = [(condition, replica)]
    dtype = torch.float64
    inputs, targets = _only(stacked_arrays(data_sets(member, seed), dtype))
    held_out = validation_sets(member, seed)
    (network,) = plain_networks(member, seed, tuple(inputs.shape[1:]))
    size = checked_batch_size(condition, len(targets))

    def batches() -> Minibatches:
        assert size is not None
        return Minibatches([replica_generator(seed, replica, ORDER)], n_examples=len(targets), size=size)

    def make_optimizer(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
        return torch_optimizer(condition.optimizer, parameters)

    if isinstance(condition.optimizer, SGD) and condition.optimizer.bias_gradient_scale != 1:
        scale = condition.optimizer.bias_gradient_scale
        for name, parameter in network.named_parameters():
            if name.rpartition(".")[2] == "bias":
                parameter.register_hook(lambda gradient: gradient * scale)  # type: ignore[no-untyped-call]
    module = SingleNetworkModule(
        network,
        objective_of(condition),
        make_optimizer,
        (inputs, targets),
        validation=None if held_out is None else _only(stacked_arrays(held_out, dtype)),
        criterion=criterion_of(condition.target),
        criterion_on_validation=condition.target.split == "validation",
        batches=None if size is None else batches,
        measured_every=condition.measured_every,
        in_evaluation_mode=not condition.stacked,
        budget=condition.budget,
        forward_seed=None if condition.stacked else forward_seed(seed, replica),
    )
    if condition.data.per_replica:
        module.test_examples = _only(stacked_arrays(data_sets(member, seed, TEST), dtype))
        module.tests_fresh_draw = isinstance(condition.data, GeneratedData)
    return module


def _only(stacked: Examples) -> Examples:
    """Of the one set."""
    return stacked[0][0], stacked[1][0]


def torch_optimizer(optimizer: Optimizer, parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of torch's with the same numbers."""
    numbers: dict[str, Any] = {
        name: value for name, value in optimizer.content().items() if name not in {"kind", "bias_gradient_scale"}
    }
    numbers["lr"] = numbers.pop("learning_rate")
    if "beta1" in numbers:
        numbers["betas"] = numbers.pop("beta1"), numbers.pop("beta2")
        numbers["eps"] = numbers.pop("epsilon")
    made: torch.optim.Optimizer = KINDS[optimizer.kind](parameters, **numbers)
    return made
