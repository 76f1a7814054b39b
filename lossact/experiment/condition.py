"""What is trained: a frozen value; equal content, equal condition."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from lossact.checks import check_choice, check_count, check_number
from lossact.data import ImageFiles, LineImages, RandomImages
from lossact.errors import InputError
from lossact.models.config import CNNConfig, MLPConfig
from lossact.models.factory import ModuleFactory

LOSS_NAMES = ("cross_entropy", "hinge", "huber", "l2")


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Gradient descent with momentum: v <- momentum v + grad + weight_decay p; p <- p - learning_rate v.

    Attributes:
        learning_rate: > 0.
        momentum: in [0, 1).
        weight_decay: >= 0, on weights and biases alike.
        bias_gradient_scale: factor > 0 on the gradients of biases; 1 / batch size repeats a framework that
            averages them over the batch once more.
    """

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    bias_gradient_scale: float = 1.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0, hint=0.1)
        check_number("momentum", self.momentum, at_least=0, below=1, hint=0.9)
        check_number("weight_decay", self.weight_decay, at_least=0, hint=5e-4)
        check_number("bias_gradient_scale", self.bias_gradient_scale, above=0, hint=1.0)

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        return {"kind": "sgd", **asdict(self)}


@dataclass(frozen=True)
class Accuracy:
    """The target: the share of the training images on their right side of p = 1/2 is at least `at_least`.

    Attributes:
        at_least: in (0, 1].
    """

    at_least: float = 1.0

    def __post_init__(self) -> None:
        check_number("at_least", self.at_least, above=0, at_most=1, hint=1.0)

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        return {"kind": "training_accuracy", **asdict(self)}

    def __str__(self) -> str:
        return f"{self.at_least:.0%} accuracy"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One way to train a network, to be compared with others.

    Attributes:
        network: what is trained: a built-in network, or a function that makes an nn.Module which maps (batch,
            height, width) images to (batch,) logits.
        loss: "cross_entropy", "l2", "huber" or "hinge", of the sigmoid output, averaged over the batch.
        optimizer: how weights move; the whole data set is one batch.
        data: what it is trained on, fresh per replica or fixed.
        budget: updates at most, >= 1.
        target: when a replica is done.
        stacked: whether replicas train as one; False runs modules side by side, for those that cannot be stacked.
        version: change it to have trials trained anew for a reason the store cannot see.
        name: what tables call it; not part of its content.
    """

    network: MLPConfig | CNNConfig | ModuleFactory | Callable[[], Any]
    loss: str
    optimizer: SGD
    data: RandomImages | LineImages | ImageFiles
    budget: int
    target: Accuracy = Accuracy()
    stacked: bool = True
    version: str = ""
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, LOSS_NAMES)
        check_count("budget", self.budget, hint=1000)
        if not isinstance(self.network, (MLPConfig, CNNConfig, ModuleFactory)):
            object.__setattr__(self, "network", ModuleFactory(self.network))
        for field_name, kind in (
            ("optimizer", SGD),
            ("data", (RandomImages, LineImages, ImageFiles)),
            ("target", Accuracy),
        ):
            value = getattr(self, field_name)
            if not isinstance(value, kind):
                known = kind if isinstance(kind, tuple) else (kind,)
                raise InputError(f"{field_name}={value!r} must be one of {', '.join(k.__name__ for k in known)}")
        if not self.stacked and not isinstance(self.network, ModuleFactory):
            raise InputError("stacked=False is for modules of your own; leave it out for built-in networks")
        if not self.name:
            activation = getattr(self.network, "activation", self.network)
            object.__setattr__(self, "name", f"{activation}/{self.loss}")

    @property
    def built(self) -> MLPConfig | CNNConfig | ModuleFactory:
        """The network, with a function of the user's as a ModuleFactory."""
        assert isinstance(self.network, (MLPConfig, CNNConfig, ModuleFactory))
        return self.network

    @property
    def block(self) -> int:
        """Replicas that are trained and stored together."""
        return self.built.block

    def content(self) -> dict[str, Any]:
        """Everything about the condition that can change an outcome, ready for JSON."""
        return {
            "network": self.built.content(),
            "loss": self.loss,
            "optimizer": self.optimizer.content(),
            "data": self.data.content(),
            "budget": self.budget,
            "target": self.target.content(),
            "stacked": self.stacked,
            "version": self.version,
        }

    def __str__(self) -> str:
        return self.name
