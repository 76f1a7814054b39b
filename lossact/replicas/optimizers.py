"""Optimisers of stacked parameters: lossact's own rules, parts of the parameters, and limits on gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossact.errors import InputError
from lossact.replicas.hyperparameters import Hyperparameter
from lossact.replicas.named_tensors import Tensors, per_replica, python_may_look
from lossact.replicas.update_rules import UpdateRule

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


@dataclass(frozen=True)
class Clipping:
    """Limits on each replica's gradient.

    Attributes:
        norm: the largest Euclidean norm of a replica's whole gradient; None for any.
        value: the largest magnitude of a number of it; None for any.
    """

    norm: float | None = None
    value: float | None = None

    def clip(self, gradients: Tensors) -> Tensors:
        """Return each replica's gradient, scaled or cut as torch.nn.utils does for one network.

        Not in place: torch.func gives two parameters one tensor where their gradients are equal.
        """
        if self.value is not None:
            if any(gradient.is_complex() for gradient in gradients.values()):
                raise InputError("clip_value is for real weights; clip complex ones by clip_norm")
            gradients = {name: gradient.clamp(-self.value, self.value) for name, gradient in gradients.items()}
        if self.norm is not None:
            norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients.values()]
            total = torch.linalg.vector_norm(torch.stack(norms), dim=0)
            scale = (self.norm / (total + 1e-6)).clamp(max=1.0)
            gradients = {name: gradient * per_replica(scale, gradient) for name, gradient in gradients.items()}
        return gradients

    def clip_one(self, parameters: Iterable[Tensor]) -> None:
        """Clip the gradients of one network's parameters in place."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        clipped = self.clip({str(k): gradient.unsqueeze(0) for k, gradient in enumerate(gradients)})
        for gradient, limited in zip(gradients, clipped.values(), strict=True):
            gradient.copy_(limited.squeeze(0))


NO_CLIPPING = Clipping()
