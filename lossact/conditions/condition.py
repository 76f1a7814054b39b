"""The condition whose replicas lossact trains together: a network, its loss, optimizer and data, and a target."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossact.checks import (
    check_choice,
    check_count,
    check_name,
    check_number,
    check_signature,
    checked_arguments,
    name_of,
    shortened,
)
from lossact.conditions.averages import SWA, Average
from lossact.conditions.base import BaseCondition
from lossact.conditions.measures import Accuracy, Loss, Measure, Metric, Target
from lossact.conditions.optimizers import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    Partition,
    RuleBasedOptimizer,
    TorchOptimizer,
)
from lossact.conditions.value_measures import Best, checked_measures, checked_moments, value_names
from lossact.data import (
    Arrays,
    DataSource,
    GeneratedData,
    ImageFiles,
    LineImages,
    NoisyLabels,
    RandomImages,
    SavedArrays,
    Subset,
)
from lossact.errors import InputError
from lossact.fingerprint import fingerprint
from lossact.models.config import CNNConfig, MLPConfig, NetworkConfig
from lossact.models.factory import ModuleFactory

LOSS_NAMES = ("cross_entropy", "hinge", "huber", "l2")
FULL_ACCURACY = Accuracy().at_least(1.0)
HINTS = {
    "optimizer": "; one of torch's goes into TorchOptimizer(torch.optim.Adam, lr=0.01)",
    "data": "; arrays and tensors go into Arrays(inputs, targets), a data set of torch's into Arrays.from_dataset",
    "target": "; try Accuracy().at_least(0.9)",
}
DATA = (RandomImages, LineImages, ImageFiles, Arrays, SavedArrays, GeneratedData, NoisyLabels, Subset)


@checked_arguments
@dataclass(frozen=True, kw_only=True, eq=False)
class Condition(BaseCondition):
    """One way to train a network; its replicas train together.

    Args:
        network: a built-in network, or a function that makes an nn.Module.
        loss: "cross_entropy", "l2", "huber" or "hinge", of the sigmoid of one logit an example; or a function
            (outputs, targets) -> one loss an example, which are averaged, or one number for the batch.
        optimizer: how weights move: SGD, Adam, AdamW, TorchOptimizer or a Partition of the parameters among them. Their
            numbers may follow schedules.
        data: the training data, drawn for each replica or shared by all.
        budget: the most updates, >= 1.
        target: a measure with a threshold, such as Accuracy(split="validation").at_least(0.9). Without measures a
            replica stops when it meets its target, by default full accuracy. With measures a target is optional, and
            training goes on to the budget.
        measures: name to measure, such as {"accuracy": Accuracy(split="validation"), "norm": OfNetwork(norm)}. Each is
            taken of every replica after the last update, in evaluation mode, and its value is kept.
        measured_at: further numbers of updates after which measures are taken, below the budget; their values are
            called "accuracy@100".
        batch_size: examples in a batch; None for all. Each replica has its own order, a new one every epoch. The
            incomplete last batch of an epoch is left out.
        measured_every: updates between two measurements of the target, >= 1. More than 1 saves time where the target is
            measured on other examples than the batch.
        clip_norm: largest Euclidean norm of a replica's whole gradient, > 0; None for any. A longer one is scaled.
        clip_value: largest magnitude of each number of the gradient, > 0; None for any.
        accumulate: batches whose gradients are averaged in an update, >= 1; more than 1 needs a batch_size.
        average: EMA(0.999) or SWA(start=500): the target and measures look at an average of the weights (and of buffers
            of floating point) in place of the weights; None for the weights.
        augment: a function of the inputs that stands before the network in training mode: inputs -> inputs, or
            several -> a tuple of them. What it draws by torch is each replica's own.
        stacked: whether the parameters of the replicas are stacked; False runs modules side by side, for those that
            cannot be stacked. Either way a target is measured in evaluation mode (batch norm by its running statistics,
            no dropout) where that is a pass of its own: with batches, validation examples or measured_every > 1. Else
            it is measured in the pass that learns.
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
    target: Target | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    measured_at: Sequence[int] = ()
    batch_size: int | None = None
    measured_every: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    accumulate: int = 1
    average: Average | None = None
    augment: Callable[..., Any] | None = None
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
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0, hint=1.0)
        if self.clip_norm is not None and self.clip_value is not None:
            raise InputError(f"clip_norm={self.clip_norm} and clip_value={self.clip_value}: give one of the two")
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size, hint=32)
        check_count("accumulate", self.accumulate, hint=1)
        if self.accumulate > 1 and self.batch_size is None:
            raise InputError(f"accumulate={self.accumulate} without a batch_size; say how many examples a batch has")
        if self.average is not None and not isinstance(self.average, Average):
            raise InputError(f"average={self.average!r} must be EMA(0.999), SWA(start=500) or None")
        if self.augment is not None and not callable(self.augment):
            raise InputError(f"augment={self.augment!r} must be a function of the inputs that returns inputs")
        if not isinstance(self.network, NetworkConfig):
            object.__setattr__(self, "network", ModuleFactory(self.network))
        object.__setattr__(self, "measures", checked_measures(self.measures))
        object.__setattr__(self, "measured_at", checked_moments(self.measured_at, self.budget))
        if self.measured_at and not self.measures:
            raise InputError(f"measured_at={self.measured_at} without measures; say what is measured then: measures=")
        if self.target is None and not self.measures:
            object.__setattr__(self, "target", FULL_ACCURACY)
        for field_name, kinds in (
            ("network", (MLPConfig, CNNConfig, ModuleFactory)),
            ("optimizer", (SGD, Adam, AdamW, TorchOptimizer, Partition)),
            ("data", DATA),
            *([] if self.target is None else [("target", (Target,))]),
        ):
            value = getattr(self, field_name)
            if isinstance(value, Measure):
                raise InputError(
                    f"{field_name}={value!r} has no threshold; write {type(value).__name__}(...)."
                    f"{'at_most(0.1)' if isinstance(value, Loss) else 'at_least(0.9)'}"
                )
            if type(value) not in kinds:  # of a subclass, methods of its own would not be used, nor be in the key
                names = ", ".join(kind.__name__ for kind in kinds)
                hint = HINTS.get(field_name, "")
                raise InputError(f"{field_name}={shortened(value)} must be one of {names}{hint}")
        self.optimizer.check_schedules(self.budget)
        if isinstance(self.average, SWA) and self.average.start + self.average.every > self.budget:
            raise InputError(f"average={self.average} begins after the budget of {self.budget} updates; begin earlier")
        if not self.stacked and not isinstance(self.network, ModuleFactory):
            raise InputError("stacked=False is for modules of your own; leave it out for built-in networks")
        if not self.name:
            activation = getattr(self.network, "activation", self.network)
            loss = self.loss if isinstance(self.loss, str) else name_of(self.loss)
            object.__setattr__(self, "name", f"{activation}/{loss}")
        check_name(self.name)

    @property
    def network_config(self) -> MLPConfig | CNNConfig | ModuleFactory:
        """The network, with a function of the user's as a ModuleFactory."""
        assert isinstance(self.network, (MLPConfig, CNNConfig, ModuleFactory))
        return self.network

    @property
    def metric_name(self) -> str:
        """What is measured beside the loss, in a word."""
        measure = self.watched
        return measure.name if isinstance(measure, Metric) or not self.measures_accuracy else "accuracy"

    @property
    def has_target(self) -> bool:
        """Whether a threshold says when a replica has arrived."""
        return self.target is not None

    @property
    def watched(self) -> Measure:
        """Measure taken at each update: the target's, else the accuracy where a measure is one, else the loss."""
        if self.target is not None:
            return self.target.measure
        return Accuracy() if any(isinstance(measure, Accuracy) for measure in self.measures.values()) else Loss()

    @property
    def value_names(self) -> tuple[str, ...]:
        """What the values of its trials are called."""
        return value_names(self.measures, self.measured_at)

    def measured_after(self, value_name: str) -> int:
        """Return the number of updates after which a value is taken.

        Args:
            value_name: "accuracy@100", say, which is taken after 100; one without @ is taken after the last.

        Returns:
            updates.
        """
        _, _, moment = value_name.partition("@")
        return int(moment) if moment else self.budget

    def is_share(self, value_name: str) -> bool:
        """Return whether a value is an accuracy.

        Args:
            value_name: one of `value_names`.

        Returns:
            whether the measure, or what a Best is of, is Accuracy.
        """
        name, _, _ = value_name.partition("@")
        measure = self.measures[name]
        return isinstance(measure.measure if isinstance(measure, Best) else measure, Accuracy)

    @property
    def measures_test_examples(self) -> bool:
        """Whether a measure needs test examples."""
        return any(measure.split == "test" for measure in self.measures.values())

    @property
    def measures_accuracy(self) -> bool:
        """Whether accuracy is measured: where the target is about it, and where closed forms give it anyway."""
        return isinstance(self.watched, Accuracy) or self.uses_closed_form_gradients

    @property
    def accuracy_splits(self) -> set[str]:
        """The splits on which the target or a measure is about accuracy."""
        measures = (each.measure if isinstance(each, Best) else each for each in self.measures.values())
        return {measure.split for measure in (self.watched, *measures) if isinstance(measure, Accuracy)}

    @property
    def uses_closed_form_gradients(self) -> bool:
        """Whether stacked layers with gradients in closed form train it: a built-in network, loss and measure."""
        built_in = not isinstance(self.network, ModuleFactory)
        by_rule = isinstance(self.optimizer, RuleBasedOptimizer) and self.clip_norm is None and self.clip_value is None
        plainly = by_rule and self.accumulate == 1 and self.average is None and self.augment is None
        return built_in and isinstance(self.loss, str) and not isinstance(self.watched, Metric) and plainly

    @property
    def block(self) -> int:
        """Replicas that are trained and stored together."""
        return self.network_config.block

    @property
    def launch(self) -> int:
        """Replicas that train together about as fast as a block alone: a user's stacked network is bound by calls."""
        network = self.network_config
        return (
            network.block * network.blocks_at_once
            if isinstance(network, ModuleFactory) and self.stacked
            else self.block
        )

    def content(self) -> dict[str, Any]:
        """Return everything about the condition that can change an outcome, ready for JSON."""
        return {
            "network": self.network_config.content(),
            "loss": fingerprint(self.loss, "loss") if callable(self.loss) else self.loss,
            "optimizer": self.optimizer.content(),
            "data": self.data.content(),
            "budget": self.budget,
            "target": None if self.target is None else self.target.content(),
            "measures": {name: measure.content() for name, measure in self.measures.items()},
            "measured_at": list(self.measured_at),
            "batch_size": self.batch_size,
            "measured_every": self.measured_every,
            "clip_norm": self.clip_norm,
            "clip_value": self.clip_value,
            "accumulate": self.accumulate,
            "average": None if self.average is None else self.average.content(),
            "augment": None if self.augment is None else fingerprint(self.augment, "augment"),
            "stacked": self.stacked,
            "version": self.version,
        }
