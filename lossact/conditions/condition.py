"""The condition whose replicas lossact trains together: a network, its loss, optimizer and data, and a target."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lossact.checks import check_choice, check_count, check_signature, checked_arguments
from lossact.conditions.base import BaseCondition
from lossact.conditions.measures import Accuracy, Measure, Metric, Target
from lossact.conditions.optimizers import SGD, Adam, AdamW, Optimizer
from lossact.data import Arrays, DataSource, GeneratedData, ImageFiles, LineImages, RandomImages
from lossact.errors import InputError
from lossact.fingerprint import fingerprint
from lossact.models.config import CNNConfig, MLPConfig, NetworkConfig
from lossact.models.factory import ModuleFactory

LOSS_NAMES = ("cross_entropy", "hinge", "huber", "l2")
FULL_ACCURACY = Accuracy().at_least(1.0)
OPTIMIZERS = (SGD, Adam, AdamW)
DATA = (RandomImages, LineImages, ImageFiles, Arrays, GeneratedData)


@checked_arguments
@dataclass(frozen=True, kw_only=True, eq=False)
class Condition(BaseCondition):
    """One way to train a network; its replicas train together.

    Attributes:
        network: a built-in network, or a function that makes an nn.Module.
        loss: "cross_entropy", "l2", "huber" or "hinge", of the sigmoid of one logit an example; or a function
            (outputs, targets) -> one loss an example. Averaged over the batch.
        optimizer: SGD, Adam or AdamW.
        data: the training data, drawn for each replica or shared by all.
        budget: the most updates, >= 1.
        target: a measure with a threshold, such as Accuracy(split="validation").at_least(0.9); a replica stops when it
            meets it.
        batch_size: examples in a batch; None for all. Each replica has its own order, a new one every epoch. The
            incomplete last batch of an epoch is left out.
        measured_every: updates between two measurements of the target, >= 1. More than 1 saves time where the target is
            measured on other examples than the batch.
        stacked: whether the parameters of the replicas are stacked; False runs modules side by side, for those that
            cannot be stacked. Stacked batch norm uses the statistics of the batch, also where a target is measured.
            Side by side, a target that is measured in a pass of its own (batches, validation examples,
            measured_every > 1) is measured in evaluation mode, with running statistics.
        version: change it to have trials trained anew for a reason that lossact cannot see, such as a new data file.
        name: the name in tables; not part of the content.

    Raises:
        InputError: a value breaks its rule.
    """

    network: NetworkConfig | Callable[[], Any]
    loss: str | Callable[[Any, Any], Any]
    optimizer: Optimizer
    data: DataSource
    budget: int
    target: Target = FULL_ACCURACY
    batch_size: int | None = None
    measured_every: int = 1
    stacked: bool = True
    version: str = ""
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.loss, type):
            raise InputError(f"loss={self.loss.__name__} is a class; give an instance of it, or a function")
        if callable(self.loss):
            check_signature("loss", self.loss, like="loss(outputs, targets)", values=2)
        else:
            check_choice("loss", self.loss, LOSS_NAMES)
        check_count("budget", self.budget, hint=1000)
        check_count("measured_every", self.measured_every)
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size, hint=32)
        if not isinstance(self.network, NetworkConfig):
            object.__setattr__(self, "network", ModuleFactory(self.network))
        for field_name, kinds in (
            ("optimizer", OPTIMIZERS),
            ("data", DATA),
            ("target", (Target,)),
        ):
            value = getattr(self, field_name)
            if isinstance(value, Measure):
                raise InputError(
                    f"{field_name}={value!r} has no threshold; write {type(value).__name__}(...).at_least(0.9)"
                )
            if not isinstance(value, kinds):
                raise InputError(f"{field_name}={value!r} must be one of {', '.join(k.__name__ for k in kinds)}")
        if type(self.optimizer) not in OPTIMIZERS:
            kind, parent = type(self.optimizer).__name__, type(self.optimizer).__mro__[1].__name__
            raise InputError(
                f"optimizer={kind}(...) would train as {parent}, whose update rule lossact knows; give one of "
                f"{', '.join(known.__name__ for known in OPTIMIZERS)}, or train with your own optimizer in a "
                "LightningCondition"
            )
        if not self.stacked and not isinstance(self.network, ModuleFactory):
            raise InputError("stacked=False is for modules of your own; leave it out for built-in networks")
        if not self.name:
            activation = getattr(self.network, "activation", self.network)
            loss = self.loss if isinstance(self.loss, str) else getattr(self.loss, "__name__", "loss")
            object.__setattr__(self, "name", f"{activation}/{loss}")

    @property
    def network_config(self) -> MLPConfig | CNNConfig | ModuleFactory:
        """The network, with a function of the user's as a ModuleFactory."""
        assert isinstance(self.network, (MLPConfig, CNNConfig, ModuleFactory))
        return self.network

    @property
    def metric_name(self) -> str:
        """The name of the number that is measured beside the loss."""
        return self.target.measure.name if isinstance(self.target.measure, Metric) else "accuracy"

    @property
    def uses_closed_form_gradients(self) -> bool:
        """Whether stacked layers with gradients in closed form train it: a built-in network, loss and measure."""
        built_in = not isinstance(self.network, ModuleFactory)
        return built_in and isinstance(self.loss, str) and not isinstance(self.target.measure, Metric)

    @property
    def block(self) -> int:
        """Replicas that are trained and stored together."""
        return self.network_config.block

    def content(self) -> dict[str, Any]:
        """Return everything about the condition that can change an outcome, ready for JSON."""
        return {
            "network": self.network_config.content(),
            "loss": fingerprint(self.loss, "loss") if callable(self.loss) else self.loss,
            "optimizer": self.optimizer.content(),
            "data": self.data.content(),
            "budget": self.budget,
            "target": self.target.content(),
            "batch_size": self.batch_size,
            "measured_every": self.measured_every,
            "stacked": self.stacked,
            "version": self.version,
        }
