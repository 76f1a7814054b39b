"""Optimisers of stacked parameters: lossact's own rules, and torch's, on all replicas at once or one by one."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossact.errors import InputError
from lossact.replicas.hyperparameters import Hyperparameter
from lossact.replicas.named_tensors import Tensors, per_replica, python_may_look
from lossact.replicas.update_rules import UpdateRule

# Each number of a parameter is updated from its own gradient and state alone, by arithmetic that does not see shapes.
ELEMENTWISE = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "ASGD", "Rprop")
CAPTURING = ("cuda",)  # kinds of devices
# Those whose rate may be a tensor, by torch's documentation.
TENSOR_RATES = (torch.optim.Adam, torch.optim.AdamW)
Closure = Callable[[int], tuple[Tensor, Tensors]]


class StackedOptimizer(ABC):
    """Moves stacked parameters in place."""

    @property
    def can_be_recorded(self) -> bool:
        """Whether a step does the same whatever Python computes in it, and moves only what `state_tensors` lists."""
        return False

    @property
    def state_tensors(self) -> list[Tensor]:
        """The tensors of its state that a step writes into; all of them where it can be recorded."""
        return []

    @abstractmethod
    def step(self, gradients: Tensors, rests: Tensor, closure: Closure, update: int | Tensor) -> None:
        """Move the parameters of all replicas that still train.

        Args:
            gradients: by parameter name, (replicas, ...).
            rests: (replicas,) bool; these keep their parameters and their optimiser's state, bit for bit.
            closure: row -> loss and gradients of that replica at its present parameters, for optimisers that ask for
                them more than once in a step.
            update: updates that were applied before, where a hyperparameter follows a schedule; a () int64 tensor where
                steps are recorded.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that was saved."""


def keep_resting(tensors: Iterable[Tensor], rests: Tensor) -> Callable[[], None]:
    """Note the rows of replicas that rest; the function that is returned puts them back."""
    if python_may_look(rests.device):
        rows = rests.nonzero().squeeze(1)
        kept = [(tensor, tensor[rows]) for tensor in tensors] if len(rows) else []

        def put_back() -> None:
            for tensor, before in kept:
                tensor[rows] = before

    else:
        copies = [(tensor, tensor.clone()) for tensor in tensors]

        def put_back() -> None:
            for tensor, before in copies:
                torch.where(per_replica(rests, tensor), before, tensor, out=tensor)

    return put_back


class RuleOptimizer(StackedOptimizer):
    """SGD, Adam or AdamW with numbers of each replica's own.

    The arithmetic is the same whether numbers are equal or not, so that no replica's bits depend on its companions.

    Args:
        rule: the update rule.
        parameters: those that train, by name; moved in place.
        hyperparameters: in the order of the rule's hyperparameter names.
    """

    def __init__(self, rule: UpdateRule, parameters: Tensors, hyperparameters: Sequence[Hyperparameter]) -> None:
        self.rule = rule
        device = next(iter(parameters.values())).device
        # What is 0 for all changes nothing, and a pass over all numbers is saved.
        self.hyperparameters = [
            None if name in ("momentum", "weight_decay") and not each.table.any() else each.to(device)
            for name, each in zip(rule.hyperparameter_names, hyperparameters, strict=True)
        ]
        self.parameters = parameters
        self.state = {name: rule.start_in_place(_real(tensor)) for name, tensor in parameters.items()}

    @property
    def can_be_recorded(self) -> bool:
        return True

    @property
    def state_tensors(self) -> list[Tensor]:
        return [tensor for tensors in self.state.values() for tensor in tensors]

    def step(self, gradients: Tensors, rests: Tensor, closure: Closure, update: int | Tensor) -> None:
        moved = [tensor for name in gradients for tensor in (self.parameters[name], *self.state[name])]
        put_back = keep_resting(moved, rests)
        now = self.hyperparameters_at(update)
        for name, gradient in gradients.items():
            update_by_rule(self.rule, self.parameters[name], self.state[name], gradient, now)
        put_back()

    def hyperparameters_at(self, update: int | Tensor) -> list[Tensor | None]:
        """Return (replicas,) values of each hyperparameter at an update; None for what is 0 for all."""
        return [None if each is None else each.at(update) for each in self.hyperparameters]

    def state_dict(self) -> dict[str, Any]:
        return {name: list(tensors) for name, tensors in self.state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, tensors in self.state.items():
            for tensor, saved in zip(tensors, state[name], strict=True):
                tensor.copy_(saved)


def update_by_rule(
    rule: UpdateRule,
    parameter: Tensor,
    state: tuple[Tensor, ...],
    gradient: Tensor,
    values: Sequence[Tensor | None],
) -> None:
    """Take one update in place.

    Args:
        rule: how it moves.
        parameter: (replicas, ...).
        state: the rule's, of the parameter.
        gradient: (replicas, ...).
        values: (replicas,) of each hyperparameter; None for what is 0 for all.
    """
    real = _real(parameter)
    broadcast = [None if value is None else per_replica(value, real) for value in values]
    rule.update_in_place(real, state, _real(gradient), broadcast)


def _real(tensor: Tensor) -> Tensor:
    """View complex numbers as pairs of real ones, as torch's optimisers do."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


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
        return make(groups or list(tensors.values()), **{**self.arguments, **more})

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
        for name, leaf in self.moving.items():
            leaf.grad = gradients[name]
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


class PartitionedOptimizer(StackedOptimizer):
    """Optimisers of parts of the parameters.

    Args:
        parts: names of parameters to the optimiser that moves them.
    """

    def __init__(self, parts: Mapping[tuple[str, ...], StackedOptimizer]) -> None:
        self.parts = parts

    @property
    def can_be_recorded(self) -> bool:
        return all(optimizer.can_be_recorded for optimizer in self.parts.values())

    @property
    def state_tensors(self) -> list[Tensor]:
        return [tensor for optimizer in self.parts.values() for tensor in optimizer.state_tensors]

    def step(self, gradients: Tensors, rests: Tensor, closure: Closure, update: int | Tensor) -> None:
        for names, optimizer in self.parts.items():
            optimizer.step({name: gradients[name] for name in names}, rests, _of_part(names, closure), update)

    def state_dict(self) -> dict[str, Any]:
        return {str(k): optimizer.state_dict() for k, optimizer in enumerate(self.parts.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for k, optimizer in enumerate(self.parts.values()):
            optimizer.load_state_dict(state[str(k)])


def _of_part(names: Sequence[str], closure: Closure) -> Closure:
    def evaluate(row: int) -> tuple[Tensor, Tensors]:
        loss, gradients = closure(row)
        return loss, {name: gradients[name] for name in names}

    return evaluate


def _load_bit_for_bit(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state as torch does, and undo its casts: it turns all of a parameter's state into that one's dtype."""
    optimizer.load_state_dict(state)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, saved in state["state"].items():
        loaded = optimizer.state[parameters[index]]
        for name, value in saved.items():
            if isinstance(value, Tensor) and loaded[name].dtype != value.dtype:
                loaded[name] = value.to(loaded[name].device, copy=True)


@dataclass(frozen=True)
class Clipping:
    """Limits on each replica's gradient.

    Attributes:
        norm: the largest Euclidean norm of a replica's whole gradient; None for any.
        value: the largest magnitude of a number of it; None for any.
    """

    norm: float | None = None
    value: float | None = None

    def clip(self, gradients: Tensors) -> None:
        """Scale or cut each replica's gradient in place, as torch.nn.utils does for one network."""
        if self.value is not None:
            for gradient in gradients.values():
                if gradient.is_complex():
                    raise InputError("clip_value is for real weights; clip complex ones by clip_norm")
                gradient.clamp_(-self.value, self.value)
        if self.norm is not None:
            norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients.values()]
            total = torch.linalg.vector_norm(torch.stack(norms), dim=0)
            scale = (self.norm / (total + 1e-6)).clamp(max=1.0)
            for gradient in gradients.values():
                gradient.mul_(per_replica(scale, gradient))

    def clip_one(self, parameters: Iterable[Tensor]) -> None:
        """Clip the gradients of one network's parameters in place."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.clip({str(k): gradient.unsqueeze(0) for k, gradient in enumerate(gradients)})  # views


NO_CLIPPING = Clipping()
