"""What configure_optimizers of a LightningModule returned, for all replicas of it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lossact.replicas.held_values import snapshot
from lossact.replicas.named_tensors import Tensors
from lossact.replicas.optimizers import Clipping
from lossact.replicas.random_streams import isolate_rng
from lossact.replicas.torch_optimizers import is_elementwise
from lossact.training.replica_optimizers import ReplicaOptimizer, ReplicaPlateaus, ReplicaSchedulers
from lossact.training.stackable import NotStackableError, drawing_nothing


def stacked_configuration(modules: Sequence[LightningModule], stacked: Tensors, hidden: Callable[[], bool]) -> Any:
    """Configure one optimizer that moves the parameters of all replicas, and their schedulers.

    Modules of several conditions may configure numbers of their own: then each condition has its own schedulers.
    Schedulers that watch a metric make the numbers each replica's own: then each replica has its own.

    Args:
        modules: one a replica, the same for replicas of a condition; their configure_optimizers are called.
        stacked: their parameters by name, (replicas, ...) each.
        hidden: whether the optimizer's numbers may not be read now, where they are not the same for all.

    Returns:
        what a Trainer takes.

    Raises:
        NotStackableError: the optimizer of one replica cannot move all.
    """
    different = list(dict.fromkeys(modules))
    configuration = _configured(modules[0])
    outline = _outline(configuration, modules[0])
    optimizer = _only_optimizer(configuration)
    watches = bool(_instances(configuration, ReduceLROnPlateau))
    if len(different) == 1 and not watches:
        _take_over(optimizer, {id(tensor): stacked[name] for name, tensor in modules[0].named_parameters()})
        return configuration
    configurations = [_configured(module) for module in (modules if watches else different)]
    if len(different) > 1 and any(
        _outline(each, module) != outline
        for each, module in zip(configurations, modules if watches else different, strict=True)
    ):
        raise NotStackableError("what it configures differs in more than numbers between conditions")
    _take_over(optimizer, {id(tensor): stacked[name] for name, tensor in modules[0].named_parameters()})
    optimizers = [_only_optimizer(each) for each in configurations]
    for each in optimizers:
        each._opt_called = True  # type: ignore[attr-defined]  # schedulers warn where it has not stepped
    of_replicas = optimizers if watches else [optimizers[different.index(module)] for module in modules]
    of_all = ReplicaOptimizer(optimizer, of_replicas, hidden)
    schedulers = zip(*(_instances(each, LRScheduler) for each in configurations), strict=True)
    stand_ins = iter(
        [(ReplicaPlateaus if isinstance(each[0], ReduceLROnPlateau) else ReplicaSchedulers)(each, of_all)
         for each in schedulers]
    )  # fmt: skip
    return _replaced(configuration, lambda value: of_all if value is optimizer else next(stand_ins))


def clip_each_replica(optimizer: torch.optim.Optimizer, limit: float, *, by_value: bool) -> None:
    """Clip the gradients of stacked parameters, each replica's by itself.

    Args:
        optimizer: of the stacked parameters, whose gradients are replaced.
        limit: of the norm of a replica's gradient, or of the size of each number, > 0.
        by_value: whether it is that of each number.
    """
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = {str(index): each.grad for index, each in enumerate(moved) if each.grad is not None}
    clipping = Clipping(value=limit) if by_value else Clipping(norm=limit)
    for index, clipped in clipping.clip(gradients).items():
        moved[int(index)].grad = clipped


def _outline(configuration: Any, module: LightningModule) -> Any:
    """Return what a module configured, without the numbers of its optimizer and schedulers, to be compared."""
    names = {id(tensor): name for name, tensor in module.named_parameters()}

    def outline(value: Any) -> Any:
        if isinstance(value, torch.optim.Optimizer):
            groups = [
                {name: (type(number), None if _is_number(number) else number) for name, number in _numbers(group)}
                | {"params": [names.get(id(tensor)) for tensor in group["params"]]}
                for group in value.param_groups
            ]
            state = {names.get(id(tensor)): snapshot(held) for tensor, held in value.state.items()}
            return type(value), groups, state
        if isinstance(value, LRScheduler):
            return isinstance(value, ReduceLROnPlateau)
        if isinstance(value, dict):
            return {name: outline(part) for name, part in value.items()}
        return [outline(part) for part in value] if isinstance(value, (list, tuple)) else value

    return outline(configuration)


def _numbers(group: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in group.items() if name != "params"]


def _is_number(value: Any) -> bool:
    """Whether a value is a number and no flag, or several."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_number, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _configured(module: LightningModule) -> Any:
    tensors = _tensors_of(module)
    with isolate_rng(), drawing_nothing("configure_optimizers draws random numbers"):
        configuration = module.configure_optimizers()
    if _tensors_of(module) != tensors:
        raise NotStackableError("configure_optimizers changes parameters or buffers")
    if any(tensor._backward_hooks or tensor._post_accumulate_grad_hooks for tensor in module.parameters()):
        raise NotStackableError("configure_optimizers puts hooks on gradients")
    return configuration


def _tensors_of(module: LightningModule) -> list[Any]:
    parameters = [(name, tensor.requires_grad, snapshot(tensor)) for name, tensor in module.named_parameters()]
    return [*parameters, *((name, snapshot(tensor)) for name, tensor in module.named_buffers())]


def _only_optimizer(configuration: Any) -> torch.optim.Optimizer:
    optimizers: list[torch.optim.Optimizer] = _instances(configuration, torch.optim.Optimizer)
    if len(optimizers) != 1:
        raise NotStackableError(f"it has {len(optimizers)} optimizers")
    return optimizers[0]


def _take_over(optimizer: torch.optim.Optimizer, stacked: dict[int, Tensor]) -> None:
    """Have an optimizer of one module's parameters move the replicas' instead; schedulers keep their optimizer.

    Elementwise arithmetic does to each number of a stack what it would do to it alone.
    """
    if not is_elementwise(type(optimizer)):
        raise NotStackableError(f"its optimizer {type(optimizer).__name__} does not treat each number by itself")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise NotStackableError("its optimizer has hooks")
    step, of_class = vars(optimizer).get("step"), type(optimizer).step
    by_scheduler = hasattr(step, "_wrapped_by_lr_sched") and getattr(step, "__wrapped__", None) is of_class
    if step is not None and not by_scheduler:
        raise NotStackableError("its optimizer has a step of its own")
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
    raise NotStackableError(f"its replicas have optimizers of their own, and it configures a {type(value).__name__}")
