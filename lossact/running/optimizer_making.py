"""From the optimisers of conditions to those of stacked parameters."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from lossact.conditions.averages import EMA, SWA
from lossact.conditions.condition import Condition
from lossact.conditions.optimizers import (
    Optimizer,
    Partition,
    RuleBasedOptimizer,
    TorchOptimizer,
    without_schedules,
)
from lossact.conditions.schedules import Schedule
from lossact.errors import InputError
from lossact.replicas.averages import AverageRule
from lossact.replicas.hyperparameters import Hyperparameter
from lossact.replicas.named_tensors import Tensors
from lossact.replicas.optimizers import (
    PartitionedOptimizer,
    RuleOptimizer,
    StackedOptimizer,
    TorchRecipe,
    TorchStackedOptimizer,
    TorchUnstackedOptimizers,
    is_elementwise,
)
from lossact.replicas.update_rules import UPDATE_RULES, UpdateRule


def average_rule(condition: Condition) -> AverageRule | None:
    """Return how the weights are averaged that a condition's measures look at."""
    average = condition.average
    if isinstance(average, EMA):
        return AverageRule(average.decay)
    return AverageRule(None, average.start, average.every) if isinstance(average, SWA) else None


def optimizer_maker(
    optimizers: Sequence[Optimizer], template: nn.Module, budget: int, dtype: torch.dtype, *, accumulates: bool
) -> Callable[[Tensors], StackedOptimizer]:
    """Return a function that makes the optimiser of stacked parameters.

    Args:
        optimizers: one a replica, of one kind.
        template: one of the networks.
        budget: updates.
        dtype: of hyperparameters.
        accumulates: whether the gradients of several batches make an update.
    """
    first = optimizers[0]
    if isinstance(first, TorchOptimizer):
        recipe = torch_recipe(first, template, budget)
        if recipe.needs_closure and accumulates:
            raise InputError(
                f"{first} asks for the loss more than once in a step, which accumulated gradients do not give; leave "
                "accumulate out"
            )
        kind = TorchStackedOptimizer if recipe.elementwise else TorchUnstackedOptimizers
        return partial(kind, recipe)
    if isinstance(first, Partition):
        names = parts_of(first, template)
        makers = []
        for k, part_names in enumerate(names):
            part = [(each.chosen, each.rest)[k] for each in optimizers if isinstance(each, Partition)]
            network = _only_training(template, part_names)
            makers.append((part_names, optimizer_maker(part, network, budget, dtype, accumulates=accumulates)))

        def make(parameters: Tensors) -> StackedOptimizer:
            return PartitionedOptimizer(
                {names: of_part({name: parameters[name] for name in names}) for names, of_part in makers}
            )

        return make
    rule = rule_of(first)
    hyperparameters = rule_hyperparameters(rule, optimizers, budget, dtype)
    return lambda parameters: RuleOptimizer(rule, parameters, hyperparameters)


def parts_of(partition: Partition, network: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a network's trained parameters that go to the two optimisers of a partition.

    Raises:
        InputError: a part is empty.
    """
    chosen: list[str] = []
    rest: list[str] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (chosen if partition.chosen_by(name, parameter) else rest).append(name)
    for what, names in (("all", rest), ("none", chosen)):
        if not names:
            raise InputError(
                f"{partition} chooses {what} of the network's parameters; give its one optimizer alone, or choose some"
            )
    return tuple(chosen), tuple(rest)


def _only_training(network: nn.Module, names: Sequence[str]) -> nn.Module:
    """Return a copy of a network in which only some parameters train."""
    part = copy.deepcopy(network)
    for name, parameter in part.named_parameters():
        parameter.requires_grad_(name in names)
    return part


def rule_of(optimizer: Optimizer) -> UpdateRule:
    """Return the update rule of SGD, Adam or AdamW."""
    assert isinstance(optimizer, RuleBasedOptimizer)
    return UPDATE_RULES[optimizer.rule_name]


def rule_hyperparameters(
    rule: UpdateRule, optimizers: Sequence[Optimizer], budget: int, dtype: torch.dtype
) -> list[Hyperparameter]:
    """Return a rule's hyperparameters of every replica, in the order of their names."""

    def values(optimizer: Optimizer, name: str) -> Sequence[float]:
        value = getattr(optimizer, name)
        return tables[value] if isinstance(value, Schedule) else (value,)

    scheduled = {value for each in optimizers for value in vars(each).values() if isinstance(value, Schedule)}
    tables = {schedule: tuple(schedule.values(budget).tolist()) for schedule in scheduled}
    return [
        Hyperparameter.of([values(optimizer, name) for optimizer in optimizers], dtype)
        for name in rule.hyperparameter_names
    ]


def torch_recipe(optimizer: TorchOptimizer, network: nn.Module, budget: int) -> TorchRecipe:
    """Find the groups of an optimiser's parameters on one ordinary network, by name, and what follows a schedule.

    Raises:
        InputError: the groups are none of that network's, or the optimiser does not take them.
    """
    trained = {id(p): name for name, p in network.named_parameters() if p.requires_grad}
    groups: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    if optimizer.groups is not None:
        for group in optimizer.groups(network):
            if not isinstance(group, Mapping) or "params" not in group:
                raise InputError(f"groups returned {group!r}; a list of dicts with 'params' is needed, as torch has it")
            tensors = group["params"]
            tensors = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            names = tuple(trained[id(tensor)] for tensor in tensors if id(tensor) in trained)
            groups.append((names, {name: value for name, value in group.items() if name != "params"}))
        left_out = set(trained.values()) - {name for names, _ in groups for name in names}
        if left_out:
            raise InputError(
                f"groups leave out {sorted(left_out)[0]!r}, which would never move; put it into a group, or set its "
                "requires_grad to False in the network"
            )
        groups = [group for group in groups if group[0]]
    elementwise = optimizer.elementwise or is_elementwise(optimizer.kind)
    schedules = {
        (at, name): value.values(budget)
        for at, given in enumerate([arguments for _, arguments in groups] or [{}])
        for name, value in {**optimizer.arguments, **given}.items()
        if isinstance(value, Schedule)
    }
    plain = tuple((names, without_schedules(given)) for names, given in groups)
    recipe = TorchRecipe(optimizer.kind, without_schedules(optimizer.arguments), plain, elementwise, schedules)
    try:
        made = recipe.make({name: p for name, p in network.named_parameters() if p.requires_grad})
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{optimizer}: {error}") from None
    for at, name in schedules:
        if name not in made.param_groups[at]:
            raise InputError(
                f"{optimizer}: {name} cannot follow a schedule, for {optimizer.kind.__name__} keeps it in none of its "
                "groups; give a number"
            )
    return recipe
