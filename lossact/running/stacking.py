"""Builds the LightningModule of many replicas: their data, their networks and starts, and the numbers of each."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lossact.conditions.condition import Condition
from lossact.conditions.measures import Loss, Metric, Target
from lossact.data import Dataset, GeneratedData
from lossact.errors import InputError
from lossact.models import plain_network
from lossact.models.config import CNNConfig
from lossact.models.factory import ModuleFactory
from lossact.replicas.engine import StoppingCriterion
from lossact.replicas.minibatches import Minibatches
from lossact.replicas.modules import (
    StackedModule,
    UnstackedModules,
    flat_parameters,
    freeze,
    make_modules,
)
from lossact.replicas.network import StackedNetwork, image_sides, stacked_network
from lossact.replicas.objective import Objective
from lossact.replicas.probe import check_alike, probe
from lossact.replicas.random_streams import (
    DATA,
    FORWARD,
    ORDER,
    WEIGHTS,
    isolate_rng,
    replica_generator,
    sample_for_replica,
)
from lossact.replicas.update_rules import UPDATE_RULES
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedReplicasModule

ReplicaKey = tuple[Condition, int]  # a condition that replicas may be stacked of, and a replica of it
DTYPES = {"32-true": torch.float32, "64-true": torch.float64, "bf16-mixed": torch.float32}  # of the parameters


def stacked_training(
    condition: Condition, seed: int, replicas: Sequence[int], compute_config: ComputeConfig, *, curves_of: int = 0
) -> StackedReplicasModule:
    """The LightningModule that trains the given replicas of a condition together."""
    return stack_replicas([(condition, replica) for replica in replicas], seed, compute_config, curves_of=curves_of)


def stack_replicas(
    members: Sequence[ReplicaKey], seed: int, compute_config: ComputeConfig, *, curves_of: int
) -> StackedReplicasModule:
    """The LightningModule of replicas of conditions that may share a launch."""
    dtype = DTYPES[compute_config.precision]
    sets = data_sets(members, seed)
    inputs, targets = stacked_arrays(sets, dtype)
    condition, _ = members[0]
    _check_labels(condition, targets)
    if condition.uses_closed_form_gradients:
        inputs = inputs.to(dtype)
    validation = None
    held_out = validation_sets(members, seed, sets)
    if condition.target.split == "validation" and held_out is not None:
        shown, answers = stacked_arrays(held_out, dtype)
        _check_labels(condition, answers)
        validation = shown.to(inputs.dtype), answers
    batches = None
    size = checked_batch_size(condition, targets.shape[1])
    if size is not None:
        orders = [replica_generator(seed, replica, ORDER) for _, replica in members]
        batches = Minibatches(orders, n_examples=targets.shape[1], size=size)
    network, start = _network_and_start(members, seed, inputs, targets, dtype)
    rule = UPDATE_RULES[condition.optimizer.kind]
    optimizers = [condition.optimizer for condition, _ in members]
    bias_scales = [getattr(one, "bias_gradient_scale", 1.0) for one in optimizers]
    return StackedReplicasModule(
        network,
        start,
        inputs,
        targets,
        rule=rule,
        numbers=torch.tensor([[getattr(one, name) for one in optimizers] for name in rule.numbers], dtype=dtype),
        bias_gradient_scale=torch.tensor(bias_scales, dtype=dtype),
        criterion=criterion_of(condition.target),
        batches=batches,
        validation=validation,
        measured_every=condition.measured_every,
        budget=condition.budget,
        compiled=compute_config.compiled and condition.uses_closed_form_gradients,
        curves_of=curves_of,
        updates_per_step=condition.network_config.updates_per_step,
    )


def _check_labels(condition: Condition, targets: torch.Tensor) -> None:
    """Losses with a name are of the sigmoid of one logit."""
    if isinstance(condition.loss, str) and (targets.ndim != 2 or not ((targets == 0) | (targets == 1)).all()):
        raise InputError(
            f"{condition}: loss={condition.loss!r} needs targets of shape (examples,) in {{0, 1}}; those of the data "
            f"have shape {tuple(targets.shape[1:])}, from {targets.min():g} to {targets.max():g}; "
            "for others give a function (outputs, targets) -> losses"
        )


def checked_batch_size(condition: Condition, n_examples: int) -> int | None:
    """The condition's batch size.

    Raises:
        InputError: there are fewer examples.
    """
    if condition.batch_size is not None and condition.batch_size > n_examples:
        raise InputError(f"{condition}: batch_size={condition.batch_size} must be at most the {n_examples} examples")
    return condition.batch_size


def objective_of(condition: Condition) -> Objective:
    """Loss and metric that the condition names."""
    measure = condition.target.measure
    return Objective(condition.loss, measure.function if isinstance(measure, Metric) else None)


def criterion_of(target: Target) -> StoppingCriterion:
    """The target on the scale that the engine measures."""
    return StoppingCriterion(
        target.threshold, of_loss=isinstance(target.measure, Loss), at_most=target.at_most is not None
    )


def _network_and_start(
    members: Sequence[ReplicaKey], seed: int, inputs: torch.Tensor, targets: torch.Tensor, dtype: torch.dtype
) -> tuple[StackedNetwork, torch.Tensor]:
    """The stacked network, and (replicas, size) initial parameters."""
    condition, _ = members[0]
    config = condition.network_config
    objective = objective_of(condition)
    shown = inputs[0][: condition.batch_size], targets[0][: condition.batch_size]
    if isinstance(config, ModuleFactory):
        modules = plain_networks(members, seed, tuple(inputs.shape[2:]))
        start = torch.stack([flat_parameters(module) for module in modules]).to(dtype)
        if condition.stacked:
            check_alike(modules)
            _check_replicas_differ(members, start, inputs, targets)
            return StackedModule(modules[0].to(dtype), objective, *shown), start
        modules = [module.to(dtype) for module in modules]
        (one_more,) = plain_networks(members[:1], seed, tuple(inputs.shape[2:]))  # the pass may leave traces in it
        tried = probe(one_more.to(dtype), objective, *shown)
        if not tried.drew and tried.changed is None:
            _check_replicas_differ(members, start, inputs, targets)
            for module in modules:
                freeze(module, tried.unreached)
        seeds = [forward_seed(seed, replica) for _, replica in members]
        return UnstackedModules(modules, objective, seeds), start
    image_shape = tuple(inputs.shape[2:])
    starts = [_flat_start(condition, image_shape, seed, replica) for condition, replica in members]
    start = torch.from_numpy(np.stack(starts)).to(dtype)
    if condition.uses_closed_form_gradients:
        return stacked_network(config, image_shape, str(condition.loss)), start
    return StackedModule(plain_network(config, image_shape).to(dtype), objective, *shown), start


def _check_replicas_differ(
    members: Sequence[ReplicaKey], start: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor
) -> None:
    """Raise InputError where all replicas are the same run, whose verdict would be that of a single one.

    Args:
        members: the replicas.
        start: (replicas, size) initial parameters.
        inputs, targets: (replicas or 1, n, ...) the training data.
    """
    first, _ = members[0]
    if first.batch_size is not None and first.batch_size < targets.shape[1]:
        return  # each replica has its own order of batches
    own = torch.tensor([condition == first for condition, _ in members])
    rows = [tensor if len(tensor) == 1 else tensor[own] for tensor in (start, inputs, targets)]
    if own.sum() > 1 and all(bool((tensor == tensor[0]).all()) for tensor in rows):
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
    """Each replica's network as a module of its own, with the weights that it starts from, in double precision."""
    config = members[0][0].network_config
    if isinstance(config, ModuleFactory):
        return make_modules(config, [_torch_seed(seed, replica, WEIGHTS) for _, replica in members])
    networks: list[nn.Module] = []
    for condition, replica in members:
        network = plain_network(config, image_shape).double()
        nn.utils.vector_to_parameters(
            torch.from_numpy(_flat_start(condition, image_shape, seed, replica)), network.parameters()
        )
        networks.append(network)
    return networks


def data_sets(members: Sequence[ReplicaKey], seed: int, stream: int = DATA) -> list[Dataset]:
    """Each replica's data, or the one set that all share."""
    drawn = members if members[0][0].data.per_replica else members[:1]
    if isinstance(members[0][0].data, GeneratedData):
        with isolate_rng():
            return [sample_for_replica(condition.data.sample, seed, replica, stream) for condition, replica in drawn]
    return [condition.data.sample(replica_generator(seed, replica, stream)) for condition, replica in drawn]


def validation_sets(
    members: Sequence[ReplicaKey], seed: int, sets: Sequence[Dataset] | None = None
) -> list[Dataset] | None:
    """What each replica is only measured on, or None where the data have none.

    Raises:
        InputError: they have none, and the target is about them.
    """
    sets = data_sets(members, seed) if sets is None else sets
    held_out = [one.validation for one in sets if one.validation is not None]
    if len(held_out) == len(sets):
        return held_out
    condition, _ = members[0]
    if condition.target.split == "validation":
        raise InputError(f"{condition}: its target is on validation data, and its data have none")
    return None


def stacked_arrays(sets: Sequence[Dataset], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (sets, n, ...) and labels (sets, n, ...); integers stay what they are."""
    stacked = []
    for name in ("inputs", "targets"):
        arrays = [getattr(one, name) for one in sets]
        if len({(array.shape, array.dtype) for array in arrays}) > 1:
            shapes = sorted({str(array.shape) for array in arrays})
            raise InputError(f"data: {name} of replicas have shapes {', '.join(shapes)}; all replicas must share one")
        tensor = torch.from_numpy(np.stack(arrays))
        stacked.append(tensor.to(dtype) if tensor.is_floating_point() else tensor)
    return stacked[0], stacked[1]


def replica_seed(seed: int, replica: int) -> int:
    """What a replica of a LightningModule or a function is seeded with: in [0, 2^32)."""
    return _torch_seed(seed, replica, WEIGHTS) % 2**32


def forward_seed(seed: int, replica: int) -> int:
    """What a replica's forward passes draw from."""
    return _torch_seed(seed, replica, FORWARD)


def _torch_seed(seed: int, replica: int, stream: int) -> int:
    return int(replica_generator(seed, replica, stream).integers(2**63))
