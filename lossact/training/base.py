"""What the training of one network and of many share: examples, measurements, and what they are about."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import LightningModule

from lossact.errors import InputError
from lossact.replicas.engine import StoppingCriterion
from lossact.training.loaders import Examples, OneBatch
from lossact.training.unseen import check_unseen
from lossact.training.values import ValuePlan

FULL_ACCURACY = StoppingCriterion(1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExampleSets:
    """Inputs and targets of each purpose; those of stacked replicas are (sets, n, ...).

    Attributes:
        training: what is learned.
        validation: what Trainer.validate measures; None for what is learned.
        test: what Trainer.test measures; None for what validate does.
        test_by_function: whether a function of the user's drew the test examples, which may be those that are learned.
    """

    training: Examples
    validation: Examples | None = None
    test: Examples | None = None
    test_by_function: bool = False


@dataclass(frozen=True, kw_only=True)
class MeasurementPlan:
    """What is measured of replicas while they train, and when.

    Attributes:
        criterion: when a replica rests.
        on_validation: whether it is measured on the validation examples.
        every: updates between two measurements, where they are not those of the step itself.
        apart: whether what is measured takes a pass of its own in any case.
        curves_of: curves are kept for the first so many replicas.
        trains_to_budget: whether replicas go on when they meet the criterion.
        values: what is measured of the trained replicas; None for nothing.
    """

    criterion: StoppingCriterion = FULL_ACCURACY
    on_validation: bool = False
    every: int = 1
    apart: bool = False
    curves_of: int = 0
    trains_to_budget: bool = False
    values: ValuePlan | None = None


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """What is trained, for logs and checkpoints.

    Attributes:
        replicas: their indices in the experiment.
        metric_name: what logs call the metric.
        metadata: the condition and its seed, ready for JSON.
    """

    replicas: Sequence[int]
    metric_name: str = "accuracy"
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ReplicasModule(LightningModule, ABC):
    """Training of replicas of one condition.

    Args:
        examples: inputs and targets of each purpose.
        description: what is trained.
        budget: updates at most.

    Attributes:
        update_count: updates that have been applied.
        replicas, metric_name, metadata: those of the description.
    """

    def __init__(self, examples: ExampleSets, description: RunDescription, *, budget: int) -> None:
        super().__init__()
        self.budget = budget
        self.update_count = 0
        self.replicas, self.metric_name = description.replicas, description.metric_name
        self.metadata = description.metadata
        self.training_examples = examples.training
        self.validation_examples = examples.validation or examples.training
        self.test_examples = examples.test or self.validation_examples
        self._test_by_function = examples.test is not None and examples.test_by_function

    @abstractmethod
    def measured(self, batch: Examples) -> Mapping[str, Any]:
        """Return the loss and metric by name, each one number."""

    def as_computed(self, examples: Examples) -> Examples:
        """Return the examples in the precision of the Trainer."""
        return examples

    def val_dataloader(self) -> OneBatch:
        return OneBatch(self.as_computed(self.validation_examples))

    @abstractmethod
    def sets(self, examples: Examples) -> Iterator[Examples]:
        """Yield the inputs and targets of each replica's set."""

    def test_dataloader(self) -> OneBatch:
        if self._test_by_function:
            for training, test in zip(self.sets(self.training_examples), self.sets(self.test_examples), strict=True):
                check_unseen(training, test)
        return OneBatch(self.as_computed(self.test_examples))

    def predict_dataloader(self) -> OneBatch:
        return OneBatch(self.as_computed(self.training_examples))

    def validation_step(self, batch: Examples, batch_idx: int) -> None:
        self.log_dict({f"val_{name}": value for name, value in self.measured(batch).items()}, batch_size=1)

    def test_step(self, batch: Examples, batch_idx: int) -> None:
        self.log_dict({f"test_{name}": value for name, value in self.measured(batch).items()}, batch_size=1)

    def check_origin(self, checkpoint: Mapping[str, Any]) -> None:
        """Raise InputError where a checkpoint is of another network or loss, or a fit would go on as another one."""
        saved, current = (metadata.get("condition") for metadata in (checkpoint.get("about", {}), self.metadata))
        if saved is None or current is None:
            return
        for what in ("network", "loss", "average"):
            before, now = saved.get(what), current.get(what)
            if _weightless(before) != _weightless(now):
                raise InputError(
                    f"the checkpoint's {what} is {before}, that of the config {now}; give the config that it was made "
                    "with"
                )
        if self.trainer.state.fn != "fit":
            return
        if saved["budget"] != current["budget"]:
            raise InputError(
                f"the checkpoint is of a run of {saved['budget']} updates, the config's budget is {current['budget']}; "
                "a fit goes on to the budget that it began with"
            )
        self._check_goes_on(checkpoint["about"] | saved, {**self.metadata, **current})

    @staticmethod
    def _check_goes_on(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
        """Raise InputError where something differs that training depends on."""
        for what in sorted(current.keys() & saved.keys() - {"name", "condition"}):
            before, now = saved[what], current[what]
            if before != now:
                shown = "" if {type(before), type(now)} - SHOWN else f" ({before}, now {now})"
                raise InputError(
                    f"the checkpoint is of a run whose {what} was another one{shown}; a fit goes on as it began: give "
                    "the config and the code that it was made with, or begin a new fit"
                )


SHOWN = {int, float, bool, type(None)}


def _weightless(content: Any) -> Any:
    """What is left of it when weights are read, and not drawn; nothing of functions, which may have been edited."""
    if not isinstance(content, Mapping):
        return content
    if any(isinstance(value, Mapping) for value in content.values()):
        return None
    return {name: value for name, value in content.items() if name != "initial_scale"}
