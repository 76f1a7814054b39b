"""From the optimisers of conditions to those of stacked parameters."""

from collections.abc import Callable, Collection, Mapping, Sequence
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
from lossact.replicas.optimizers import PartitionedOptimizer, RuleOptimizer, StackedOptimizer
from lossact.replicas.random_streams import isolate_rng
from lossact.replicas.torch_optimizers import (
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
    optimizers: Sequence[Optimizer],
    template: nn.Module,
    budget: int,
    dtype: torch.dtype,
    *,
    accumulates: bool,
    names: Collection[str] | None = None,
) -> Callable[[Tensors], StackedOptimizer]:
    """Return a function that makes the optimiser of stacked parameters.

    Args:
        optimizers: one a replica, of one kind.
        template: one of the networks.
        budget: updates.
        dtype: of hyperparameters.
        accumulates: whether the gradients of several batches make an update.
        names: the parameters that it moves; None for all that train.
    """
    first = optimizers[0]
    if isinstance(first, TorchOptimizer):
        recipe = torch_recipe(first, template, budget, names)
        if recipe.needs_closure and accumulates:
            raise InputError(
                f"{first} asks for the loss more than once in a step, which accumulated gradients do not give; leave "
                "accumulate out"
            )
        kind = TorchStackedOptimizer if recipe.stacks else TorchUnstackedOptimizers
        return partial(kind, recipe)
    if isinstance(first, Partition):
        makers = []
        for k, part in enumerate(parts_of(first, template, names)):
            parts = [(each.chosen, each.rest)[k] for each in optimizers if isinstance(each, Partition)]
            maker = optimizer_maker(parts, template, budget, dtype, accumulates=accumulates, names=part)
            makers.append((part, maker))

        def make(parameters: Tensors) -> StackedOptimizer:
            return PartitionedOptimizer(
                {part: of_part({name: parameters[name] for name in part}) for part, of_part in makers}
            )

        return make
    rule = rule_of(first)
    hyperparameters = rule_hyperparameters(rule, optimizers, budget, dtype)
    return lambda parameters: RuleOptimizer(rule, parameters, hyperparameters)


def trained_parameters(network: nn.Module, names: Collection[str] | None = None) -> dict[str, nn.Parameter]:
    """Return the parameters that train, by name; of `names` alone where they are given."""
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and (names is None or name in names)
    }


def parts_of(
    partition: Partition, network: nn.Module, names: Collection[str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a network's trained parameters that go to the two optimisers of a partition.

    Args:
        partition: decides.
        network: an ordinary one.
        names: the parameters that are to be parted; None for all that train.

    Raises:
        InputError: a part is empty.
    """
    chosen: list[str] = []
    rest: list[str] = []
    for name, parameter in trained_parameters(network, names).items():
        (chosen if partition.chosen_by(name, parameter) else rest).append(name)
    for what, part in (("all", rest), ("none", chosen)):
        if not part:
            raise InputError(
                f"{partition} chooses {what} of the network's parameters; give its one optimizer alone, or choose some"
            )
    return tuple(chosen), tuple(rest)


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


def torch_recipe(
    optimizer: TorchOptimizer, network: nn.Module, budget: int, names: Collection[str] | None = None
) -> TorchRecipe:
    """Find the groups of an optimiser's parameters on one ordinary network, by name, and what follows a schedule.

    Args:
        optimizer: of the condition.
        network: an ordinary one.
        budget: updates.
        names: the parameters that it moves; None for all that train.

    Raises:
        InputError: the groups are none of that network's, or the optimiser does not take them.
    """
    parameters = trained_parameters(network, names)
    trained = {id(parameter): name for name, parameter in parameters.items()}
    groups: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    if optimizer.groups is not None:
        for group in optimizer.groups(network):
            if not isinstance(group, Mapping) or "params" not in group:
                raise InputError(f"groups returned {group!r}; a list of dicts with 'params' is needed, as torch has it")
            tensors = group["params"]
            tensors = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            members = tuple(trained[id(tensor)] for tensor in tensors if id(tensor) in trained)
            groups.append((members, {name: value for name, value in group.items() if name != "params"}))
        left_out = set(trained.values()) - {name for members, _ in groups for name in members}
        if left_out:
            raise InputError(
                f"groups leave out {sorted(left_out)[0]!r}, which would never move; put it into a group, or set its "
                "requires_grad to False in the network"
            )
        groups = [group for group in groups if group[0]]
    stacks = optimizer.elementwise or optimizer.stacked or is_elementwise(optimizer.kind)
    schedules = {
        (at, name): value.values(budget)
        for at, given in enumerate([arguments for _, arguments in groups] or [{}])
        for name, value in {**optimizer.arguments, **given}.items()
        if isinstance(value, Schedule)
    }
    plain = tuple((members, without_schedules(given)) for members, given in groups)
    recipe = TorchRecipe(optimizer.kind, without_schedules(optimizer.arguments), plain, stacks, schedules)
    try:
        made = recipe.make(dict(parameters))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{optimizer}: {error}") from None
    for at, name in schedules:
        if name not in made.param_groups[at]:
            raise InputError(
                f"{optimizer}: {name} cannot follow a schedule, for {optimizer.kind.__name__} keeps it in none of its "
                "groups; give a number"
            )
    if stacks and not is_elementwise(optimizer.kind):
        with isolate_rng():
            _check_rows_move_alone(optimizer, recipe, parameters, n_updates=min(budget, 2))
    return recipe


def _check_rows_move_alone(
    optimizer: TorchOptimizer, recipe: TorchRecipe, parameters: Mapping[str, nn.Parameter], n_updates: int
) -> None:
    """Raise InputError where two stacked replicas move otherwise than each alone, by made-up gradients.

    The second replica has larger weights and smaller gradients, so that a step by any norm of the two together shows.
    """
    generator = torch.Generator().manual_seed(0)

    def drawn(factor: float) -> Tensors:
        both = {name: torch.randn(2, *of.shape, generator=generator, dtype=of.dtype) for name, of in parameters.items()}
        return {name: torch.stack([first, factor * second]) for name, (first, second) in both.items()}

    start, gradients = drawn(3.0), [drawn(0.1) for _ in range(n_updates)]

    def moved(row: int | slice) -> Tensors:
        leaves = {name: tensor[row].clone().requires_grad_() for name, tensor in start.items()}
        made = recipe.make(leaves)
        for update, of_update in enumerate(gradients):
            for name, leaf in leaves.items():
                leaf.grad = of_update[name][row].clone()
            recipe.set_scheduled(made, update)
            made.step()
        return {name: leaf.detach() - start[name][row] for name, leaf in leaves.items()}

    option = "elementwise" if optimizer.elementwise else "stacked"
    try:
        together, each_alone = moved(slice(None)), [moved(row) for row in range(2)]
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(f"{optimizer}: with {option}=True its step failed: {error}; leave {option} out") from None
    for row, of_row in enumerate(each_alone):
        for name, alone in of_row.items():
            if not torch.allclose(together[name][row], alone, rtol=0, atol=0.02 * float(alone.abs().max())):
                raise InputError(
                    f"{optimizer}: {option}=True, but it moves {name!r} of two replicas together otherwise than of "
                    f"each alone; leave {option} out, and replicas move one after the other"
                )
