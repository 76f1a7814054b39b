"""Optimisers of torch's kind for stacked parameters: one for all replicas, or one each."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossact.replicas.named_tensors import Tensors, without_sharing
from lossact.replicas.optimizers import Closure, StackedOptimizer, keep_resting

# Each number of a parameter is updated from its own gradient and state alone, by arithmetic that does not see shapes.
ELEMENTWISE = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "ASGD", "Rprop")
CAPTURING = ("cuda",)  # kinds of devices
# Those whose rate may be a tensor, by torch's documentation.
TENSOR_RATES = (torch.optim.Adam, torch.optim.AdamW)


@dataclass(frozen=True)
class TorchRecipe:
    """How to make an optimiser of torch's kind.

    Attributes:
        kind: the class.
        arguments: its keyword arguments.
        groups: groups of parameter names, each with its own arguments; empty for one group of all.
        stacks: whether it moves each row of stacked parameters as it would move that row alone.
        schedules: a group's index and the name of one of its numbers, to (updates,) values.
    """

    kind: type[torch.optim.Optimizer]
    arguments: dict[str, Any]
    groups: tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
    stacks: bool
    schedules: Mapping[tuple[int, str], NDArray[np.float64]] = field(default_factory=dict)

    @property
    def needs_closure(self) -> bool:
        """Whether a step asks for the loss, perhaps more than once."""
        closure = inspect.signature(self.kind.step).parameters.get("closure")
        return closure is not None and closure.default is inspect.Parameter.empty

    @property
    def can_be_captured(self) -> bool:
        """Whether steps may be part of a CUDA graph: torch says so, and what changes can be a tensor."""
        changing = {name for _, name in self.schedules}
        may_change = {"lr"} if self.kind in TENSOR_RATES else set()
        return is_elementwise(self.kind) and "capturable" in _arguments_of(self.kind) and changing <= may_change

    def make(self, tensors: Tensors, **more: Any) -> torch.optim.Optimizer:
        """Make the optimiser of tensors by name, with more arguments in place of its own."""
        groups: list[Any] = [
            {"params": [tensors[name] for name in names], **arguments, **more} for names, arguments in self.groups
        ]
        make: Callable[..., torch.optim.Optimizer] = self.kind
        made = make(groups or list(tensors.values()), **{**self.arguments, **more})
        for group in made.param_groups:
            if group.get("capturable") and any(tensor.device.type not in CAPTURING for tensor in group["params"]):
                group["capturable"] = False  # elsewhere it means nothing, and torch's steps fail
        return made

    def set_scheduled(self, optimizer: Any, update: int) -> None:
        """Set what follows a schedule to its value at an update."""
        for (group, name), values in self.schedules.items():
            optimizer.param_groups[group][name] = float(values[update])


def _arguments_of(kind: type[torch.optim.Optimizer]) -> Iterable[str]:
    return inspect.signature(kind).parameters


def is_elementwise(kind: type) -> bool:
    """Return whether a class is one of torch's optimisers that treat each number by itself."""
    return any(kind is getattr(torch.optim, name) for name in ELEMENTWISE)


class TorchStackedOptimizer(StackedOptimizer):
    """One optimiser of torch's kind for all replicas: it does to each what it would do to it alone.

    On a GPU its counters and rates are tensors where torch can have them so, and steps can be recorded.
    """

    def __init__(self, recipe: TorchRecipe, parameters: Tensors) -> None:
        self.recipe, self.parameters = recipe, parameters
        self.device = next(iter(parameters.values())).device
        self.is_captured = self.device.type in CAPTURING and recipe.can_be_captured
        self._make()

    def _make(self) -> None:
        self.leaves = {name: tensor.detach().requires_grad_() for name, tensor in self.parameters.items()}
        self.optimizer = self.recipe.make(self.leaves, **{"capturable": True} if self.is_captured else {})
        self.rates: dict[int, Tensor] = {}  # of each update, by group
        if self.is_captured:
            dtype = torch.promote_types(next(iter(self.leaves.values())).real.dtype, torch.float32)
            for (group, _), values in self.recipe.schedules.items():
                self.rates[group] = torch.from_numpy(values).to(self.device, dtype)
                self.optimizer.param_groups[group]["lr"] = self.rates[group][0].clone()
        moving = {id(tensor) for group in self.optimizer.param_groups for tensor in group["params"]}
        self.moving = {name: leaf for name, leaf in self.leaves.items() if id(leaf) in moving}

    def step(self, gradients: Tensors, rests: Tensor, closure: Closure, update: int | Tensor) -> None:
        tensors = []
        for leaf in self.moving.values():
            state = [value for value in self.optimizer.state.get(leaf, {}).values() if isinstance(value, Tensor)]
            tensors += [leaf.detach(), *(value for value in state if value.shape[:1] == leaf.shape[:1])]
        put_back = keep_resting(tensors, rests)
        apart = without_sharing(gradients)
        for name, leaf in self.moving.items():
            leaf.grad = apart[name]
        if self.is_captured:
            for group, rates in self.rates.items():
                at = update if isinstance(update, Tensor) else torch.full((), update, device=self.device)
                self.optimizer.param_groups[group]["lr"].copy_(rates.index_select(0, at.view(1)).squeeze(0))
        else:
            self.recipe.set_scheduled(self.optimizer, int(update))
        self.optimizer.step()
        put_back()

    @property
    def can_be_recorded(self) -> bool:
        return self.is_captured

    @property
    def state_tensors(self) -> list[Tensor]:
        states = (self.optimizer.state[leaf] for leaf in self.moving.values() if leaf in self.optimizer.state)
        return [value for state in states for value in state.values() if isinstance(value, Tensor)]

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        groups = self.optimizer.param_groups
        names = ("capturable", "lr")
        own: list[dict[str, Any]] = [{name: group[name] for name in names if name in group} for group in groups]
        _load_bit_for_bit(self.optimizer, state)
        for group, numbers in zip(self.optimizer.param_groups, own, strict=True):  # of the device, not of the state
            group.update(numbers)
        if self.is_captured:
            for of_leaf in self.optimizer.state.values():
                of_leaf |= {name: value.to(self.device) for name, value in of_leaf.items() if isinstance(value, Tensor)}


class TorchUnstackedOptimizers(StackedOptimizer):
    """One optimiser a replica, on views of its row: for those that look at a whole tensor, or take closures."""

    def __init__(self, recipe: TorchRecipe, parameters: Tensors) -> None:
        self.recipe, self.parameters = recipe, parameters
        self._make()

    def _make(self) -> None:
        n_replicas = len(next(iter(self.parameters.values())))
        self.leaves = [
            {name: tensor[row].detach().requires_grad_() for name, tensor in self.parameters.items()}
            for row in range(n_replicas)
        ]
        self.optimizers = [self.recipe.make(leaves) for leaves in self.leaves]

    def step(self, gradients: Tensors, rests: Tensor, closure: Closure, update: int | Tensor) -> None:
        for row, rest in enumerate(rests.tolist()):
            if rest:
                continue
            optimizer: Any = self.optimizers[row]
            self.recipe.set_scheduled(optimizer, int(update))
            self._give(row, {name: gradient[row] for name, gradient in gradients.items()})
            if self.recipe.needs_closure:
                optimizer.step(self._closure(row, closure))
            else:
                optimizer.step()

    def _closure(self, row: int, closure: Closure) -> Callable[[], Tensor]:
        def evaluate() -> Tensor:
            loss, gradients = closure(row)
            self._give(row, gradients)
            return loss

        return evaluate

    def _give(self, row: int, gradients: Tensors) -> None:
        for name, leaf in self.leaves[row].items():
            leaf.grad = gradients[name].clone()

    def state_dict(self) -> dict[str, Any]:
        return {str(row): optimizer.state_dict() for row, optimizer in enumerate(self.optimizers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for row, optimizer in enumerate(self.optimizers):
            _load_bit_for_bit(optimizer, state[str(row)])


def _load_bit_for_bit(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state as torch does, and undo its casts: it turns all of a parameter's state into that one's dtype."""
    optimizer.load_state_dict(state)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, saved in state["state"].items():
        loaded = optimizer.state[parameters[index]]
        for name, value in saved.items():
            if isinstance(value, Tensor) and loaded[name].dtype != value.dtype:
                loaded[name] = value.to(loaded[name].device, copy=True)
