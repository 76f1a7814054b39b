"""Optimisers of a condition: SGD, Adam and AdamW with numbers for each replica, any of torch's kind, and partitions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from lossact.checks import FLOAT32_LIMIT, check_number, check_signature, checked_arguments, shortened
from lossact.conditions.schedules import Schedule
from lossact.errors import InputError
from lossact.fingerprint import fingerprint, to_canonical

POSITIVE = {"above": 0, "at_most": FLOAT32_LIMIT}
NOT_NEGATIVE = {"at_least": 0, "at_most": FLOAT32_LIMIT}
SHARE = {"at_least": 0, "below": 1}


class Optimizer(ABC):
    """How weights move: SGD, Adam, AdamW, TorchOptimizer or Partition."""

    @property
    @abstractmethod
    def launch_content(self) -> Any:
        """What the optimisers of replicas that train as one have in common, ready for JSON."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""

    @abstractmethod
    def check_schedules(self, budget: int) -> None:
        """Raise InputError where a schedule does not fit into a budget, or leaves its hyperparameter's range.

        Args:
            budget: updates, >= 1.

        Raises:
            InputError: a schedule does not fit, or a value of it is out of range.
        """


class RuleBasedOptimizer(Optimizer):
    """An optimiser whose numbers may differ between replicas that train as one, and follow schedules.

    Attributes:
        kind: its name in the store's key.
        ranges: hyperparameter to its range, as `check_number` takes it.
        hints: hyperparameter to a value that works.
        rule_name: its rule's name in lossact.replicas.update_rules.
        bias_gradient_scale: factor on the gradients of biases.
    """

    kind: ClassVar[str]
    ranges: ClassVar[Mapping[str, Mapping[str, float]]]
    hints: ClassVar[Mapping[str, float]]
    bias_gradient_scale: float = 1.0

    @property
    def rule_name(self) -> str:
        return self.kind

    @property
    def launch_content(self) -> str:
        return self.rule_name

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            "kind": self.kind,
            **{name: value.content() if isinstance(value, Schedule) else value for name, value in values.items()},
        }

    def check_schedules(self, budget: int) -> None:
        for name, bounds in self.ranges.items():
            value = getattr(self, name)
            if isinstance(value, Schedule):
                _check_scheduled(name, value, budget, bounds)

    def _check_numbers(self) -> None:
        for name, bounds in self.ranges.items():
            if not isinstance(getattr(self, name), Schedule):
                check_number(name, getattr(self, name), **bounds, hint=self.hints[name])


def _check_scheduled(name: str, schedule: Schedule, budget: int, bounds: Mapping[str, float]) -> None:
    """Raise InputError where a schedule leaves a range; one of positive numbers may come to 0, but not stay there."""
    values = schedule.values(budget)
    if values.shape != (budget,):
        raise InputError(f"{name}={schedule}: values({budget}) has shape {values.shape}; one value an update is needed")
    relaxed = {"at_least" if rule == "above" else rule: bound for rule, bound in bounds.items()}
    wrong = ~np.isfinite(values)
    for rule, breaks in (("at_least", np.less), ("below", np.greater_equal), ("at_most", np.greater)):
        if rule in relaxed:
            wrong |= breaks(values, relaxed[rule])
    if wrong.any():
        at = int(wrong.argmax())
        words = {"at_least": ">=", "below": "<", "at_most": "<="}
        rules = [f"{words[rule]} {bound:g}" for rule, bound in relaxed.items() if bound < FLOAT32_LIMIT]
        raise InputError(
            f"{name}={schedule} is {values[at]:g} at update {at}; it must be finite and {' and '.join(rules)} at each "
            f"of the {budget} updates"
        )
    if "above" in bounds and not values.any():
        raise InputError(f"{name}={schedule} is 0 at each of the {budget} updates; nothing would be learned")


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class SGD(RuleBasedOptimizer):
    """Gradient descent with momentum: v <- momentum v + grad + weight_decay p; p <- p - learning_rate v.

    Args:
        learning_rate: in (0, 1e38], or a schedule such as cosine(0.1).
        momentum: in [0, 1), or a schedule.
        weight_decay: >= 0, on weights and biases alike, or a schedule.
        nesterov: whether the step is along grad + momentum v, as torch.optim.SGD has it.
        bias_gradient_scale: factor in (0, 1e38] on the gradients of biases; 1 / batch size repeats a framework that
            averages them over the batch once more.

    Raises:
        InputError: a value breaks its rule.
    """

    kind: ClassVar[str] = "sgd"
    ranges: ClassVar[Mapping[str, Mapping[str, float]]] = {
        "learning_rate": POSITIVE, "momentum": SHARE, "weight_decay": NOT_NEGATIVE, "bias_gradient_scale": POSITIVE
    }  # fmt: skip
    hints: ClassVar[Mapping[str, float]] = {
        "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "bias_gradient_scale": 1.0
    }  # fmt: skip

    learning_rate: float | Schedule
    momentum: float | Schedule = 0.0
    weight_decay: float | Schedule = 0.0
    nesterov: bool = False
    bias_gradient_scale: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.nesterov, bool):
            raise InputError(f"nesterov={self.nesterov!r} must be True or False")
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov=True needs a momentum > 0; try momentum=0.9")
        if isinstance(self.bias_gradient_scale, Schedule):
            raise InputError(
                f"bias_gradient_scale={self.bias_gradient_scale} must be a number; schedules are for others"
            )
        self._check_numbers()

    @property
    def rule_name(self) -> str:
        return "nesterov" if self.nesterov else "sgd"


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class Adam(RuleBasedOptimizer):
    """Adam as torch.optim.Adam has it, weight decay added to the gradient.

    Each number may be a schedule, such as cosine(1e-3, warmup=100).

    Args:
        learning_rate: in (0, 1e38].
        beta1, beta2: decay of the first and second moment, in [0, 1).
        epsilon: in (0, 1e38].
        weight_decay: in [0, 1e38].

    Raises:
        InputError: a value breaks its rule.
    """

    kind: ClassVar[str] = "adam"
    ranges: ClassVar[Mapping[str, Mapping[str, float]]] = {
        "learning_rate": POSITIVE, "beta1": SHARE, "beta2": SHARE, "epsilon": POSITIVE, "weight_decay": NOT_NEGATIVE
    }  # fmt: skip
    hints: ClassVar[Mapping[str, float]] = {
        "learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01
    }  # fmt: skip

    learning_rate: float | Schedule = 1e-3
    beta1: float | Schedule = 0.9
    beta2: float | Schedule = 0.999
    epsilon: float | Schedule = 1e-8
    weight_decay: float | Schedule = 0.0

    def __post_init__(self) -> None:
        self._check_numbers()


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """AdamW as torch.optim.AdamW has it: weight decay apart from the moments.

    Args:
        learning_rate, beta1, beta2, epsilon: as for Adam.
        weight_decay: in [0, 1e38], or a schedule.

    Raises:
        InputError: a value breaks its rule.
    """

    kind: ClassVar[str] = "adamw"

    weight_decay: float | Schedule = 0.01


@checked_arguments
class TorchOptimizer(Optimizer):
    """Any optimiser of torch's kind, by its class and arguments.

    SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adamax, ASGD and Rprop of torch.optim move all replicas
    at once, each as it would move alone. Every other class (Muon, Adafactor, LBFGS, a user's own) moves one replica
    after the other, unless `elementwise` or `stacked` says that all replicas can move at once.

    Args:
        kind: a subclass of torch.optim.Optimizer.
        groups: network -> a list of parameter groups as torch takes them, {"params": [...], "lr": ...}; it is called
            with one ordinary network. None for one group of all parameters.
        elementwise: whether a class of the user's own updates each number from its own gradient and state alone.
        stacked: whether a class of the user's own moves parameters (replicas, ...) row by row as it would move each row
            alone, as one does that works on the last two axes of a matrix.
        **arguments: what the class takes beside the parameters. A number may be a schedule: lr=cosine(1e-2).

    Raises:
        InputError: `kind` is not a torch optimizer class, or does not take the arguments.

    Example:
        >>> import torch
        >>> TorchOptimizer(torch.optim.NAdam, lr=0.01)
        TorchOptimizer(NAdam, lr=0.01)
    """

    def __init__(
        self,
        kind: type,
        *,
        groups: Callable[[Any], Any] | None = None,
        elementwise: bool = False,
        stacked: bool = False,
        **arguments: Any,
    ) -> None:
        import torch

        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
            raise InputError(
                f"TorchOptimizer takes a class, not {shortened(kind)}; try TorchOptimizer(torch.optim.NAdam, lr=0.01)"
            )
        if groups is not None and not callable(groups):
            raise InputError("groups must be a function of a network that returns a list of parameter groups")
        for name, value in arguments.items():
            if isinstance(value, float) and not np.isfinite(value):
                raise InputError(f"TorchOptimizer: {name}={value} must be finite; try lr=0.01")
        if arguments.get("differentiable"):
            raise InputError("TorchOptimizer: differentiable=True has no use where replicas train; leave it out")
        if kind is torch.optim.SparseAdam:
            raise InputError(
                "TorchOptimizer: SparseAdam needs sparse gradients, which replicas have none of; take Adam"
            )
        self.kind, self.groups, self.arguments = kind, groups, arguments
        self.elementwise, self.stacked = elementwise, stacked
        try:
            # Of two dimensions, for those that need them.
            kind([torch.nn.Parameter(torch.zeros(2, 2))], **without_schedules(arguments))
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{self}: {error}{self._hint()}") from None
        self.content()

    def _hint(self) -> str:
        for name, value in self.arguments.items():
            if isinstance(value, Mapping):
                return f"; in a config a schedule is {name}: {{class_path: lossact.cosine, init_args: {{peak: 0.01}}}}"
        return ""

    @property
    def launch_content(self) -> dict[str, Any]:
        return self.content()

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON.

        Raises:
            InputError: an argument cannot be fingerprinted.
        """
        return {
            "kind": "torch",
            "class": fingerprint(self.kind, "optimizer"),
            "arguments": to_canonical(
                {k: v.content() if isinstance(v, Schedule) else v for k, v in self.arguments.items()}, "optimizer"
            ),
            "groups": None if self.groups is None else fingerprint(self.groups, "groups"),
            "elementwise": self.elementwise,
            **({"stacked": True} if self.stacked else {}),
        }

    def check_schedules(self, budget: int) -> None:
        for name, value in self.arguments.items():
            if isinstance(value, Schedule):
                _check_scheduled(name, value, budget, POSITIVE if name == "lr" else {"at_least": 0})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TorchOptimizer) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(str(self.content()))

    def __repr__(self) -> str:
        arguments = "".join(f", {name}={value!r}" for name, value in self.arguments.items())
        return f"TorchOptimizer({self.kind.__name__}{arguments})"


def without_schedules(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's arguments with a number in the place of each schedule.

    Args:
        arguments: of the optimizer, by name.

    Returns:
        arguments that torch takes; the numbers are set before each step.
    """
    return {name: 1e-3 if isinstance(value, Schedule) else value for name, value in arguments.items()}


@checked_arguments
class Partition(Optimizer):
    """One optimiser for some of the parameters, another for the rest.

    Args:
        chosen_by: (name, parameter) -> whether a parameter goes to the first optimiser; it is called with those of one
            ordinary network.
        chosen: the optimiser of those.
        rest: the optimiser of the others; it may be a Partition itself.

    Raises:
        InputError: `chosen_by` is no such function, or `chosen` or `rest` is not an optimiser.

    Example:
        >>> from torch.optim import Muon
        >>> matrices_by_muon = Partition(lambda name, p: p.ndim == 2, TorchOptimizer(Muon, lr=0.02), AdamW())
        >>> no_decay = Partition(lambda name, p: p.ndim < 2, AdamW(weight_decay=0.0), AdamW(weight_decay=0.1))
    """

    def __init__(self, chosen_by: Callable[[str, Any], bool], chosen: Optimizer, rest: Optimizer) -> None:
        check_signature("chosen_by", chosen_by, like="chosen_by(name, parameter)", values=2)
        for name, optimizer in (("chosen", chosen), ("rest", rest)):
            if not isinstance(optimizer, Optimizer):
                raise InputError(f"Partition: {name}={optimizer!r} must be an optimizer; try AdamW(learning_rate=1e-3)")
            if isinstance(optimizer, TorchOptimizer) and optimizer.groups is not None:
                raise InputError(f"Partition: {name}={optimizer} has groups of its own; say by chosen_by what is whose")
            if getattr(optimizer, "bias_gradient_scale", 1.0) != 1.0:
                raise InputError(f"Partition: {name}={optimizer} scales gradients of biases, which a part cannot")
        self.chosen_by, self.chosen, self.rest = chosen_by, chosen, rest
        self.content()

    @property
    def launch_content(self) -> dict[str, Any]:
        return self.content()

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON.

        Raises:
            InputError: `chosen_by` holds values that cannot be fingerprinted.
        """
        return {
            "kind": "partition",
            "chosen_by": fingerprint(self.chosen_by, "chosen_by"),
            "chosen": self.chosen.content(),
            "rest": self.rest.content(),
        }

    def check_schedules(self, budget: int) -> None:
        self.chosen.check_schedules(budget)
        self.rest.check_schedules(budget)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partition) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(str(self.content()))

    def __repr__(self) -> str:
        where = getattr(self.chosen_by, "__qualname__", type(self.chosen_by).__name__)
        return f"Partition({where}, {self.chosen}, {self.rest})"
