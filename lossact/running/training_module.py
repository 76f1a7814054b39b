"""The LightningModule that a user's own Trainer takes: one replica of a condition, or many."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from lossact.conditions.condition import Condition
from lossact.cpp_compiler import find_compiler
from lossact.errors import InputError
from lossact.models.factory import ModuleFactory
from lossact.replicas.minibatches import Minibatches
from lossact.replicas.modules import cast_module
from lossact.replicas.named_tensors import first_tensor, map_tensors
from lossact.replicas.random_streams import ORDER, replica_generator
from lossact.running.examples import (
    ReplicaKey,
    check_targets,
    checked_batch_size,
    data_sets,
    held_out_test_sets,
    stacked_arrays,
    validation_sets,
)
from lossact.running.optimizer_making import average_rule
from lossact.running.single_optimizer import schedule_setter, torch_optimizer
from lossact.running.stacking import (
    clipping_of,
    objective_of,
    plain_networks,
    plan_of,
    stack_replicas,
)
from lossact.storage.curve_files import CURVES_KEPT
from lossact.storage.trials import Trials
from lossact.training.base import ExampleSets, RunDescription
from lossact.training.compute_config import PRECISIONS, Compiled, ComputeConfig
from lossact.training.loaders import Examples
from lossact.training.single import SingleNetworkModule
from lossact.training.stacked import StackedReplicasModule


def training_module(
    condition: Condition, seed: int, replicas: Sequence[int], *, precision: str = "32-true", compiled: Compiled = "auto"
) -> SingleNetworkModule | StackedReplicasModule:
    """Make replicas of a condition a LightningModule, data and all; a single one takes every flag of the Trainer.

    Trainer.validate measures on the data's validation examples, or where they have none on those that are learned;
    Trainer.test on a fresh draw of data that are drawn, else as validate does. It refuses a draw by the user's function
    that is the training set again.

    Args:
        condition: what to train.
        seed: the experiment's.
        replicas: their indices, at least one.
        precision: the Trainer's.
        compiled: see `ComputeConfig`; "auto" is False without a C++ compiler.
    """
    members = [(condition, replica) for replica in replicas]
    metadata = {
        "name": condition.name, "seed": seed, "replicas": list(replicas), "condition": json.loads(condition.json)
    }  # fmt: skip
    if len(members) == 1:
        return _single(condition, replicas[0], seed, metadata)
    if compiled == "auto" and find_compiler() is None:
        compiled = False
    compute_config = ComputeConfig(precision=precision if precision in PRECISIONS else "32-true", compiled=compiled)
    return stack_replicas(members, seed, compute_config, curves_of=CURVES_KEPT, fresh_test_data=True, metadata=metadata)


def trials_of(module: SingleNetworkModule | StackedReplicasModule) -> Trials:
    """Return what became of its replicas, as far as they were trained."""
    if isinstance(module, StackedReplicasModule):
        outcome = module.outcome()
        steps = np.where(outcome.reached, outcome.steps_to_target, 0)
        return Trials(steps, outcome.reached, outcome.diverged, module.budget, values=outcome.values)
    reached = module.steps_to_target is not None
    steps = np.array([module.steps_to_target or 0])
    return Trials(steps, np.array([reached]), np.array([module.diverged]), module.budget)


def _single(condition: Condition, replica: int, seed: int, metadata: Mapping[str, Any]) -> SingleNetworkModule:
    member: list[ReplicaKey] = [(condition, replica)]
    dtype = torch.float64
    sets = data_sets(member, seed)
    training = _only(stacked_arrays(sets, dtype))
    check_targets(condition, training[1].unsqueeze(0))
    held_out = validation_sets(condition, sets)
    test = held_out_test_sets(member, seed, sets)
    input_shape = tuple(first_tensor(training[0]).shape[1:])
    network = cast_module(plain_networks(member, seed, input_shape)[0], dtype)
    n_examples = len(training[1])
    size = checked_batch_size(condition, n_examples)

    def batches() -> Minibatches:
        assert size is not None
        return Minibatches([replica_generator(seed, replica, ORDER)], n_examples=n_examples, size=size)

    scale = getattr(condition.optimizer, "bias_gradient_scale", 1.0)
    if scale != 1:
        for name, parameter in network.named_parameters():
            if name.rpartition(".")[2] == "bias":
                parameter.register_hook(lambda gradient: gradient * scale)  # type: ignore[no-untyped-call]
    if condition.accumulate > 1:
        raise InputError(
            f"accumulate={condition.accumulate} is for two replicas or more; a single one takes the Trainer's "
            f"accumulate_grad_batches={condition.accumulate}"
        )
    if condition.measures:
        raise InputError(
            f"measures={list(condition.measures)} are taken of two replicas or more; a single one has metrics in its "
            "logs: train more replicas, or leave measures out"
        )
    return SingleNetworkModule(
        network,
        objective_of(condition),
        partial(torch_optimizer, condition.optimizer, budget=condition.budget),
        ExampleSets(
            training=training,
            validation=None if held_out is None else _only(stacked_arrays(held_out, dtype)),
            test=None if test is None else _only(stacked_arrays(test, dtype)),
            test_by_function=condition.data.is_by_function,
        ),
        plan_of(condition),
        batches=None if size is None else batches,
        clipping=clipping_of(condition),
        set_scheduled=schedule_setter(condition.optimizer, network, condition.budget),
        average=average_rule(condition),
        budget=condition.budget,
        draws_for=(seed, replica) if condition.augment or isinstance(condition.network_config, ModuleFactory) else None,
        description=RunDescription(replicas=[replica], metric_name=condition.metric_name, metadata=metadata),
    )


def _only(stacked: Examples) -> Examples:
    """Return the set of a stack of one."""
    inputs, targets = map_tensors(lambda tensor: tensor[0], stacked)
    return inputs, targets
