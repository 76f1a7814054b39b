"""From the optimiser of a condition to torch's, for one network under the Trainer."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import nn

from lossact.conditions.optimizers import (
    Optimizer,
    Partition,
    RuleBasedOptimizer,
    TorchOptimizer,
    without_schedules,
)
from lossact.conditions.schedules import Schedule
from lossact.errors import InputError
from lossact.running.optimizer_making import parts_of, torch_recipe, trained_parameters
from lossact.training.parts_optimizer import PartsOptimizer

TORCH_NAMES = {"learning_rate": "lr", "epsilon": "eps"}
KINDS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def schedule_setter(
    optimizer: Optimizer, network: nn.Module, budget: int, names: Collection[str] | None = None
) -> Callable[[Any, int], None] | None:
    """Return what sets the numbers of torch's optimiser that follow schedules, before an update; None without any.

    Args:
        optimizer: of the condition.
        network: that it moves.
        budget: updates.
        names: the parameters that it moves; None for all that train.

    Raises:
        InputError: the optimiser does not fit the network.
    """
    if isinstance(optimizer, Partition):
        setters = [
            schedule_setter(part, network, budget, part_names) for part, part_names in _parts(optimizer, network, names)
        ]

        def set_parts(torchs: Any, update: int) -> None:
            for part, set_part in zip(torchs.parts, setters, strict=True):
                if set_part is not None:
                    set_part(part, update)

        return set_parts if any(setters) else None
    if isinstance(optimizer, TorchOptimizer):
        recipe = torch_recipe(optimizer, network, budget, names)
        return recipe.set_scheduled if recipe.schedules else None
    tables = {name: value.values(budget) for name, value in vars(optimizer).items() if isinstance(value, Schedule)}
    if not tables:
        return None

    def set_scheduled(torchs: Any, update: int) -> None:
        now = {name: float(values[update]) for name, values in tables.items()}
        for group in torchs.param_groups:
            if "betas" in group:
                beta1, beta2 = group["betas"]
                group["betas"] = now.get("beta1", beta1), now.get("beta2", beta2)
            group.update({TORCH_NAMES.get(name, name): value for name, value in now.items() if "beta" not in name})

    return set_scheduled


def _parts(
    partition: Partition, network: nn.Module, names: Collection[str] | None
) -> Iterator[tuple[Optimizer, tuple[str, ...]]]:
    """Yield both optimisers of a partition, each with the names of its parameters."""
    yield from zip((partition.chosen, partition.rest), parts_of(partition, network, names), strict=True)


def torch_optimizer(
    optimizer: Optimizer, network: nn.Module, *, budget: int, names: Collection[str] | None = None
) -> torch.optim.Optimizer:
    """Make torch's optimiser of one network, or of some of its parameters.

    Args:
        optimizer: of the condition.
        network: that it moves.
        budget: updates.
        names: the parameters that it moves; None for all that train.

    Raises:
        InputError: it asks for the loss more than once in a step, which a single network under the Trainer does not do.
    """
    if isinstance(optimizer, Partition):
        return PartsOptimizer(
            [
                torch_optimizer(part, network, budget=budget, names=part_names)
                for part, part_names in _parts(optimizer, network, names)
            ]
        )
    if isinstance(optimizer, TorchOptimizer):
        recipe = torch_recipe(optimizer, network, budget, names)
        if recipe.needs_closure:
            raise InputError(
                f"{optimizer} asks for the loss more than once in a step, which a single network under the Trainer "
                "does not do; train two replicas or more"
            )
        return recipe.make(dict(trained_parameters(network, names)))
    assert isinstance(optimizer, RuleBasedOptimizer)
    arguments = without_schedules({TORCH_NAMES.get(name, name): value for name, value in vars(optimizer).items()})
    arguments.pop("bias_gradient_scale", None)
    if "beta1" in arguments:
        arguments["betas"] = arguments.pop("beta1"), arguments.pop("beta2")
    kind: type[torch.optim.Optimizer] = KINDS[optimizer.kind]
    parameters = network.parameters() if names is None else trained_parameters(network, names).values()
    return kind(parameters, **arguments)
