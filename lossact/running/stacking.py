"""Build the LightningModule of many replicas: their data, their networks, their optimiser and their start."""

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torchmetrics
from numpy.typing import NDArray
from torch import nn

from lossact.checks import EMPTY
from lossact.conditions.condition import Condition
from lossact.conditions.measures import Loss, Metric, Target
from lossact.errors import InputError
from lossact.functional import is_correct
from lossact.models import plain_network
from lossact.models.config import CNNConfig
from lossact.models.factory import ModuleFactory
from lossact.replicas.accuracy_check import check_accuracy
from lossact.replicas.draws_native import CPU_DRAWS
from lossact.replicas.engine import NEVER, StoppingCriterion
from lossact.replicas.flat_population import FlatPopulation
from lossact.replicas.minibatches import Minibatches
from lossact.replicas.modules import augment_inputs, cast_module, freeze, make_modules
from lossact.replicas.named_population import NamedPopulation
from lossact.replicas.named_tensors import first_tensor, map_tensors, tensors_in
from lossact.replicas.network import image_sides, stacked_network
from lossact.replicas.objective import Objective, OfOneBatch
from lossact.replicas.optimizers import Clipping
from lossact.replicas.passes import Networks
from lossact.replicas.population import Population
from lossact.replicas.probe import check_alike, check_stackable, metric_stacks, pass_size, probe
from lossact.replicas.random_streams import (
    ORDER,
    WEIGHTS,
    replica_generator,
)
from lossact.replicas.stacked_module import StackedModule
from lossact.replicas.unstacked_modules import UnstackedModules
from lossact.running.examples import (
    DTYPES,
    ReplicaKey,
    as_trained,
    check_targets,
    checked_batch_size,
    data_sets,
    held_out_test_sets,
    stacked_arrays,
    validation_sets,
)
from lossact.running.optimizer_making import average_rule, optimizer_maker, rule_hyperparameters, rule_of
from lossact.running.value_plan import value_plan
from lossact.training.base import ExampleSets, MeasurementPlan, RunDescription
from lossact.training.compute_config import ComputeConfig
from lossact.training.loaders import Examples
from lossact.training.stacked import StackedReplicasModule

MOMENTS_ON_A_GPU = 10  # in a training_step: a GPU would wait for the Trainer between two of 25 short updates


def stacked_training(
    condition: Condition,
    seed: int,
    replicas: Sequence[int],
    compute_config: ComputeConfig,
    *,
    curves_of: int = 0,
    updates_per_step: int | None = None,
    logs: bool = True,
) -> StackedReplicasModule:
    """Build the LightningModule that trains the given replicas of a condition together."""
    members = [(condition, replica) for replica in replicas]
    return stack_replicas(
        members, seed, compute_config, curves_of=curves_of, updates_per_step=updates_per_step, logs=logs
    )


def stack_replicas(
    members: Sequence[ReplicaKey],
    seed: int,
    compute_config: ComputeConfig,
    *,
    curves_of: int,
    updates_per_step: int | None = None,
    logs: bool = True,
    fresh_test_data: bool = False,
    metadata: Mapping[str, Any] = EMPTY,
) -> StackedReplicasModule:
    """Build the LightningModule of replicas of conditions that may share a launch.

    Args:
        members: conditions and replica indices.
        seed: the experiment's.
        compute_config: how to compute.
        curves_of: curves are kept for the first so many replicas.
        updates_per_step: updates in one training_step; None for what suits the network and the device.
        logs: whether each training_step logs how training goes.
        fresh_test_data: whether Trainer.test measures on test examples: a fresh draw where data are drawn.
        metadata: what is trained, for logs and checkpoints, ready for JSON.
    """
    CPU_DRAWS.is_allowed = compute_config.may_compile
    is_unwatched = updates_per_step is None and not logs  # nobody looks at each training_step
    dtype = DTYPES[compute_config.precision]
    condition, _ = members[0]
    sets = data_sets(members, seed)
    training = as_trained(condition, stacked_arrays(sets, dtype), dtype)
    check_targets(condition, training[1])
    held_out = validation_sets(condition, sets)
    validation = None if held_out is None else as_trained(condition, stacked_arrays(held_out, dtype), dtype)
    if validation is not None and condition.watched.split == "validation":
        check_targets(condition, validation[1])
    test = None
    if fresh_test_data or condition.measures_test_examples:
        test_sets = held_out_test_sets(members, seed, sets)
        test = None if test_sets is None else as_trained(condition, stacked_arrays(test_sets, dtype), dtype)
    examples = ExampleSets(
        training=training,
        validation=validation,
        test=test,
        test_by_function=condition.data.is_by_function,
    )
    batches = None
    n_examples = training[1].shape[1]
    size = checked_batch_size(condition, n_examples)
    if size is not None:
        orders = [replica_generator(seed, replica, ORDER) for _, replica in members]
        batches = Minibatches(orders, n_examples=n_examples, size=size, parts=condition.accumulate)
    return StackedReplicasModule(
        make_population(members, seed, examples, dtype),
        examples,
        replace(
            plan_of(condition, curves_of=curves_of),
            trains_to_budget=bool(condition.measures),
            values=value_plan(members, seed, objective_of(condition), examples),
        ),
        batches=batches,
        budget=condition.budget,
        compiled=compute_config.compiles(condition.budget) and compute_config.compiled,
        native=compute_config.may_compile,
        updates_per_step=updates_per_step or condition.network_config.updates_per_step,
        moments_per_step=MOMENTS_ON_A_GPU if is_unwatched and compute_config.device == "cuda" else 1,
        logs=logs,
        description=RunDescription(
            replicas=[replica for _, replica in members], metric_name=condition.metric_name, metadata=metadata
        ),
    )


def plan_of(condition: Condition, *, curves_of: int = 0) -> MeasurementPlan:
    """Return what is measured of a condition's replicas, and when."""
    return MeasurementPlan(
        criterion=criterion_of(condition.target),
        on_validation=condition.watched.split == "validation",
        every=condition.measured_every,
        apart=condition.average is not None,
        curves_of=curves_of,
    )


def objective_of(condition: Condition) -> Objective:
    """Return the loss and metric that the condition names."""
    measure = condition.watched
    if isinstance(measure, Metric):
        function = measure.function
        if isinstance(function, torchmetrics.Metric):
            function = OfOneBatch(copy.deepcopy(function))  # the user's own stays as it is
        return Objective(condition.loss, function)
    return Objective(condition.loss, is_correct if condition.measures_accuracy else None)


def criterion_of(target: Target | None) -> StoppingCriterion:
    """Return the target on the scale that the engine measures; without a target, what is never met."""
    if target is None:
        return NEVER
    return StoppingCriterion(
        target.threshold, of_loss=isinstance(target.measure, Loss), at_most=target.at_most is not None
    )


def launched_with(condition: Condition) -> str:
    """Return the content that conditions must share to train together, and that fixes what is compiled for them."""
    content = condition.content()
    content.pop("version")
    for part, per_replica in (("network", ("initial_scale",)), ("data", ("label_rate",))):
        content[part] = {name: value for name, value in content[part].items() if name not in per_replica}
    content["optimizer"] = condition.optimizer.launch_content
    return json.dumps(content, sort_keys=True, default=str)


def make_population(members: Sequence[ReplicaKey], seed: int, examples: ExampleSets, dtype: torch.dtype) -> Population:
    """Make the replicas of conditions that share a launch, with their start and their optimiser."""
    condition, _ = members[0]
    config = condition.network_config
    optimizers = [condition.optimizer for condition, _ in members]
    bias_scales = [getattr(optimizer, "bias_gradient_scale", 1.0) for optimizer in optimizers]
    bias_gradient_scale = torch.tensor(bias_scales, dtype=dtype)
    inputs, _ = examples.training
    if condition.uses_closed_form_gradients:
        assert not isinstance(config, ModuleFactory)
        image_shape = tuple(inputs.shape[2:])
        starts = [_flat_start(condition, image_shape, seed, replica) for condition, replica in members]
        rule = rule_of(condition.optimizer)
        return FlatPopulation(
            stacked_network(config, image_shape, str(condition.loss)),
            torch.from_numpy(np.stack(starts)).to(dtype),
            rule=rule,
            hyperparameters=rule_hyperparameters(rule, optimizers, condition.budget, dtype),
            bias_gradient_scale=bias_gradient_scale,
            template=plain_network(config, image_shape).to(dtype),
        )
    networks = _networks(members, seed, examples, dtype)
    return NamedPopulation(
        networks,
        optimizer_maker(optimizers, networks.template, condition.budget, dtype, accumulates=condition.accumulate > 1),
        bias_gradient_scale=bias_gradient_scale,
        clipping=clipping_of(condition),
        average=average_rule(condition),
        accumulate=condition.accumulate,
        kind=launched_with(condition),
        block=condition.block,
    )


def clipping_of(condition: Condition) -> Clipping:
    """Return the condition's limits on gradients."""
    return Clipping(condition.clip_norm, condition.clip_value)


def _networks(members: Sequence[ReplicaKey], seed: int, examples: ExampleSets, dtype: torch.dtype) -> Networks:
    """Make replicas' networks, stacked or side by side as the condition says."""
    condition, _ = members[0]
    objective = objective_of(condition)
    shown = map_tensors(lambda tensor: tensor[0][: condition.batch_size], examples.training)
    input_shape = tuple(first_tensor(shown[0]).shape[1:])
    modules = [cast_module(module, dtype) for module in plain_networks(members, seed, input_shape)]
    (one_more,) = plain_networks(members[:1], seed, input_shape)  # its passes may change what it holds
    cast_module(one_more, dtype)
    report = probe(one_more, objective, *shown)
    if condition.accuracy_splits:
        splits = sorted(condition.accuracy_splits)
        labels = {split: each[1] for split in splits if (each := getattr(examples, split)) is not None}
        check_accuracy(one_more, shown[0], shown[1], labels)
    replicas = [replica for _, replica in members]
    if condition.stacked:
        check_stackable(report)
        check_alike(modules)
    if not report.draws and (condition.stacked or report.changed is None):
        _check_replicas_differ(members, modules, examples.training)
    if not condition.stacked:  # a later pass may reach other parameters than the first one
        return UnstackedModules(modules, objective, replicas, seed, unreached=report.unreached)
    for module in modules:
        freeze(module, report.unreached)
    part = map_tensors(lambda tensor: tensor[: max(1, len(tensor) // condition.accumulate)], shown)
    networks = StackedModule(
        modules,
        objective,
        replicas,
        changing=report.changed_buffers,
        keeps_nothing=not report.changed_globals,
        draws_by=seed if report.draws else None,
        pass_size=0 if report.changed_globals else pass_size(one_more, objective, *part),
    )
    networks.metric_stacks = metric_stacks(networks, *shown)
    if not networks.metric_stacks:
        warnings.warn(
            f"metric {condition.metric_name} is measured replica by replica, for torch.func.vmap does not take it",
            stacklevel=2,
        )
    return networks


def _check_replicas_differ(members: Sequence[ReplicaKey], modules: Sequence[nn.Module], training: Examples) -> None:
    """Raise InputError where all replicas are the same run, whose verdict would be that of a single one.

    Args:
        members: the replicas.
        modules: one each, with its initial weights.
        training: inputs and targets (replicas or 1, n, ...).
    """
    first, _ = members[0]
    arrays = tensors_in(training)
    if first.batch_size is not None and first.batch_size < arrays[-1].shape[1]:
        return  # each replica has its own order of batches
    rows = [row for row, (condition, _) in enumerate(members) if condition == first]
    starts = [[*modules[row].parameters(), *modules[row].buffers()] for row in rows]
    same_start = all(all(map(torch.equal, start, starts[0])) for start in starts[1:])
    same_data = all(len(array) == 1 or bool((array[rows] == array[rows[0]]).all()) for array in arrays)
    if len(rows) > 1 and same_start and same_data:
        raise InputError(
            f"{first}: all replicas start from the same weights and learn the same examples, so that many are one run; "
            "leave seeds to lossact (no torch.manual_seed in network), or give data that are drawn"
        )


def _flat_start(condition: Condition, image_shape: tuple[int, ...], seed: int, replica: int) -> NDArray[np.float64]:
    config = condition.network_config
    assert not isinstance(config, ModuleFactory)
    generator = replica_generator(seed, replica, WEIGHTS)
    if isinstance(config, CNNConfig):
        parameters = config.initial_parameters(image_sides(config, image_shape), generator)
    else:
        parameters = config.initial_parameters(image_shape, generator)
    return np.concatenate([array.ravel() for array in parameters.values()])


def plain_networks(members: Sequence[ReplicaKey], seed: int, image_shape: tuple[int, ...]) -> list[nn.Module]:
    """Make each replica's network as a module of its own, with the weights that it starts from, in double precision."""
    config = members[0][0].network_config
    networks: list[nn.Module] = []
    if isinstance(config, ModuleFactory):
        networks = make_modules(config, [_torch_seed(seed, replica, WEIGHTS) for _, replica in members])
    else:
        for condition, replica in members:
            network: nn.Module = plain_network(config, image_shape).double()
            nn.utils.vector_to_parameters(
                torch.from_numpy(_flat_start(condition, image_shape, seed, replica)), network.parameters()
            )
            networks.append(network)
    augment = members[0][0].augment
    if augment is not None:
        for network in networks:
            augment_inputs(network, augment)
    return networks


def replica_seed(seed: int, replica: int) -> int:
    """Return what a replica of a LightningModule or a function is seeded with: in [0, 2^32)."""
    return _torch_seed(seed, replica, WEIGHTS) % 2**32


def _torch_seed(seed: int, replica: int, stream: int) -> int:
    return int(replica_generator(seed, replica, stream).integers(2**63))
