"""What configure_optimizers of a LightningModule returned, for all replicas of it."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lossact.replicas.named_tensors import Tensors
from lossact.replicas.optimizers import is_elementwise
from lossact.replicas.random_streams import isolate_rng, rng_state
from lossact.training.replica_optimizers import ReplicaOptimizer, ReplicaPlateaus, ReplicaSchedulers
from lossact.training.stackable import NotStackableError


def stacked_configuration(
    template: LightningModule, stacked: Tensors, n_replicas: int, hidden: Callable[[], bool]
) -> Any:
    """Configure one optimizer that moves the parameters of all replicas, and their schedulers.

    Schedulers that watch a metric make the numbers of an optimizer each replica's own: then each replica has its own
    schedulers.

    Args:
        template: the module whose configure_optimizers is called.
        stacked: its parameters of all replicas by name, (replicas, ...) each.
        n_replicas: how many.
        hidden: whether the optimizer's numbers may not be read now, where they are each replica's own.

    Returns:
        what a Trainer takes.

    Raises:
        NotStackableError: the optimizer of one replica cannot move all.
    """
    configuration = _configured(template)
    optimizer = _only_optimizer(configuration)
    _take_over(optimizer, {id(tensor): stacked[name] for name, tensor in template.named_parameters()})
    if not _instances(configuration, ReduceLROnPlateau):
        return configuration
    of_replicas = [_configured(template) for _ in range(n_replicas)]
    optimizers = [_only_optimizer(each) for each in of_replicas]
    for each in optimizers:
        each._opt_called = True  # type: ignore[attr-defined]  # schedulers warn where it has not stepped
    of_all = ReplicaOptimizer(optimizer, optimizers, hidden)
    schedulers = zip(*(_instances(each, LRScheduler) for each in of_replicas), strict=True)
    stand_ins = iter(
        [(ReplicaPlateaus if isinstance(each[0], ReduceLROnPlateau) else ReplicaSchedulers)(each, of_all)
         for each in schedulers]
    )  # fmt: skip
    return _replaced(configuration, lambda value: of_all if value is optimizer else next(stand_ins))


def _configured(template: LightningModule) -> Any:
    with isolate_rng():
        before = rng_state()
        configuration = template.configure_optimizers()
        if not before.equals(rng_state()):
            raise NotStackableError("configure_optimizers draws random numbers")
    return configuration


def _only_optimizer(configuration: Any) -> torch.optim.Optimizer:
    optimizers: list[torch.optim.Optimizer] = _instances(configuration, torch.optim.Optimizer)
    if len(optimizers) != 1:
        raise NotStackableError(f"it has {len(optimizers)} optimizers")
    return optimizers[0]


def _take_over(optimizer: torch.optim.Optimizer, stacked: dict[int, Tensor]) -> None:
    """Have an optimizer of the template's parameters move the replicas' instead; schedulers keep their optimizer.

    Elementwise arithmetic does to each number of a stack what it would do to it alone.
    """
    if not is_elementwise(type(optimizer)):
        raise NotStackableError(f"its optimizer {type(optimizer).__name__} does not treat each number by itself")
    for group in optimizer.param_groups:
        if any(id(tensor) not in stacked for tensor in group["params"]):
            raise NotStackableError("its optimizer moves tensors that are not its parameters")
        if any(isinstance(value, Tensor) for value in group.values()):
            raise NotStackableError("its optimizer has tensors among its numbers")
    state = dict(optimizer.state)
    optimizer.state.clear()
    for tensor, values in state.items():
        whole = stacked[id(tensor)]
        optimizer.state[whole] = {
            name: value.expand(whole.shape).clone() if isinstance(value, Tensor) and name != "step" else value
            for name, value in values.items()
        }
    for group in optimizer.param_groups:
        group["params"] = [stacked[id(tensor)] for tensor in group["params"]]


def _instances(value: Any, kind: type) -> list[Any]:
    """Return objects of a kind in what configure_optimizers returned: one, or in tuples, lists and dicts."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [item for part in value for item in _instances(part, kind)]
    return []


def _replaced(value: Any, stand_in: Callable[[Any], Any]) -> Any:
    """Return what configure_optimizers returned, with something else for its optimizer and schedulers."""
    if isinstance(value, (torch.optim.Optimizer, LRScheduler)):
        return stand_in(value)
    if isinstance(value, dict):
        return {name: _replaced(part, stand_in) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_replaced(part, stand_in) for part in value])
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise NotStackableError(f"beside a scheduler that watches a metric, it has a {type(value).__name__}")
