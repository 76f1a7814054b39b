"""The optimizers of conditions, as values; their update rules are in lossact.replicas.update_rules."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from lossact.checks import FLOAT32_LIMIT, check_number, checked_arguments


class Optimizer(ABC):
    """The rule by which weights are updated: SGD, Adam or AdamW.

    Attributes:
        kind: the name of its update rule in lossact.replicas.update_rules.
    """

    kind: ClassVar[str]

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Gradient descent with momentum: v <- momentum v + grad + weight_decay p; p <- p - learning_rate v.

    Attributes:
        learning_rate: in (0, 1e38].
        momentum: in [0, 1).
        weight_decay: >= 0, on weights and biases alike.
        bias_gradient_scale: factor in (0, 1e38] on the gradients of biases; 1 / batch size repeats a framework that
            averages them over the batch once more.
    """

    kind: ClassVar[str] = "sgd"

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    bias_gradient_scale: float = 1.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0, at_most=FLOAT32_LIMIT, hint=0.1)
        check_number("momentum", self.momentum, at_least=0, below=1, hint=0.9)
        check_number("weight_decay", self.weight_decay, at_least=0, at_most=FLOAT32_LIMIT, hint=5e-4)
        check_number("bias_gradient_scale", self.bias_gradient_scale, above=0, at_most=FLOAT32_LIMIT, hint=1.0)

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        return {"kind": self.kind, **asdict(self)}


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam as in torch.optim.Adam: weight decay is added to the gradient.

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
    """AdamW as in torch.optim.AdamW: weight decay is kept apart from the moments. The attributes are Adam's."""

    kind: ClassVar[str] = "adamw"

    weight_decay: float = 0.01
