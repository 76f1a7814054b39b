"""Optimisers of a condition: SGD, Adam and AdamW with numbers for each replica, and any of torch's kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from lossact.checks import FLOAT32_LIMIT, check_number, checked_arguments
from lossact.errors import InputError
from lossact.fingerprint import fingerprint, to_canonical


class Optimizer(ABC):
    """How weights move: SGD, Adam, AdamW or TorchOptimizer."""

    @property
    @abstractmethod
    def launch_content(self) -> Any:
        """What the optimisers of replicas that train as one have in common, ready for JSON."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""


class RuleBasedOptimizer(Optimizer):
    """An optimiser whose numbers may differ between replicas that train as one.

    Attributes:
        kind: its name in the store's key.
        rule_name: its rule's name in lossact.replicas.update_rules.
        bias_gradient_scale: factor on the gradients of biases.
    """

    kind: ClassVar[str]
    bias_gradient_scale: float = 1.0

    @property
    def rule_name(self) -> str:
        return self.kind

    @property
    def launch_content(self) -> str:
        return self.rule_name


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class SGD(RuleBasedOptimizer):
    """Gradient descent with momentum: v <- momentum v + grad + weight_decay p; p <- p - learning_rate v.

    Attributes:
        learning_rate: in (0, 1e38].
        momentum: in [0, 1).
        weight_decay: >= 0, on weights and biases alike.
        nesterov: whether the step is along grad + momentum v, as torch.optim.SGD has it.
        bias_gradient_scale: factor in (0, 1e38] on the gradients of biases; 1 / batch size repeats a framework that
            averages them over the batch once more.
    """

    kind: ClassVar[str] = "sgd"

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    bias_gradient_scale: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.nesterov, bool):
            raise InputError(f"nesterov={self.nesterov!r} must be True or False")
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov=True needs a momentum > 0; try momentum=0.9")
        check_number("learning_rate", self.learning_rate, above=0, at_most=FLOAT32_LIMIT, hint=0.1)
        check_number("momentum", self.momentum, at_least=0, below=1, hint=0.9)
        check_number("weight_decay", self.weight_decay, at_least=0, at_most=FLOAT32_LIMIT, hint=5e-4)
        check_number("bias_gradient_scale", self.bias_gradient_scale, above=0, at_most=FLOAT32_LIMIT, hint=1.0)

    @property
    def rule_name(self) -> str:
        return "nesterov" if self.nesterov else "sgd"

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        return {"kind": self.kind, **asdict(self)}


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class Adam(RuleBasedOptimizer):
    """Adam as torch.optim.Adam has it, weight decay added to the gradient.

    Attributes:
        learning_rate: in (0, 1e38].
        beta1, beta2: decay of the first and second moment, in [0, 1).
        epsilon: in (0, 1e38].
        weight_decay: in [0, 1e38].
    """

    kind: ClassVar[str] = "adam"

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0, at_most=FLOAT32_LIMIT, hint=1e-3)
        check_number("beta1", self.beta1, at_least=0, below=1, hint=0.9)
        check_number("beta2", self.beta2, at_least=0, below=1, hint=0.999)
        check_number("epsilon", self.epsilon, above=0, at_most=FLOAT32_LIMIT, hint=1e-8)
        check_number("weight_decay", self.weight_decay, at_least=0, at_most=FLOAT32_LIMIT, hint=0.01)

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        return {"kind": self.kind, **asdict(self)}


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """AdamW as torch.optim.AdamW has it: weight decay apart from the moments. Attributes are Adam's."""

    kind: ClassVar[str] = "adamw"

    weight_decay: float = 0.01


class TorchOptimizer(Optimizer):
    """Any optimiser of torch's kind, by its class and arguments.

    SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adamax, ASGD and Rprop of torch.optim move all replicas
    at once, each as it would move alone. Every other class (Muon, Adafactor, LBFGS, a user's own) moves one replica
    after the other, unless `elementwise` says that it treats each number of a parameter by itself.

    Args:
        kind: a subclass of torch.optim.Optimizer.
        groups: network -> a list of parameter groups as torch takes them, {"params": [...], "lr": ...}; it is called
            with one ordinary network. None for one group of all parameters.
        elementwise: whether a class of the user's own updates each number from its own gradient and state alone.
        **arguments: what the class takes beside the parameters.

    Raises:
        InputError: the class is none of torch's kind, or does not take the arguments.

    Example:
        >>> import torch
        >>> TorchOptimizer(torch.optim.NAdam, lr=0.01)
        TorchOptimizer(NAdam, lr=0.01)
    """

    def __init__(
        self,
        kind: type,
        /,
        *,
        groups: Callable[[Any], Any] | None = None,
        elementwise: bool = False,
        **arguments: Any,
    ) -> None:
        import torch

        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
            raise InputError(
                f"TorchOptimizer takes a class, not {kind!r}; try TorchOptimizer(torch.optim.NAdam, lr=0.01)"
            )
        if groups is not None and not callable(groups):
            raise InputError("groups must be a function of a network that returns a list of parameter groups")
        self.kind, self.groups, self.elementwise, self.arguments = kind, groups, elementwise, arguments
        try:
            kind([torch.nn.Parameter(torch.zeros(2, 2))], **arguments)  # of two dimensions, for those that need them
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{self}: {error}") from None
        self.content()

    @property
    def launch_content(self) -> dict[str, Any]:
        return self.content()

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON.

        Raises:
            InputError: an argument is none whose content can be written down.
        """
        return {
            "kind": "torch",
            "class": fingerprint(self.kind, "optimizer"),
            "arguments": to_canonical(self.arguments, "optimizer"),
            "groups": None if self.groups is None else fingerprint(self.groups, "groups"),
            "elementwise": self.elementwise,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TorchOptimizer) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(str(self.content()))

    def __repr__(self) -> str:
        arguments = "".join(f", {name}={value!r}" for name, value in self.arguments.items())
        return f"TorchOptimizer({self.kind.__name__}{arguments})"
