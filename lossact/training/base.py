"""What the training of one network and of many share: what they are about, and what is only measured."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule

from lossact.errors import InputError
from lossact.training.loaders import Examples, OneBatch
from lossact.training.unseen import check_unseen


class ReplicasModule(LightningModule, ABC):
    """Training of replicas of one condition.

    Attributes:
        budget: updates at most.
        update_count: updates that have been applied.
        replicas: indices of what trains.
        metric_name: what logs call the metric.
        metadata: what is trained, ready for JSON; for what is written of it.
        training_examples, validation_examples, test_examples: what is learned, and what Trainer.validate and .test
            measure.
        tests_fresh_draw: whether the test examples were drawn anew by the data's own function.
    """

    tests_fresh_draw = False

    def __init__(self, *, budget: int, training: Examples, validation: Examples | None) -> None:
        super().__init__()
        self.budget = budget
        self.update_count = 0
        self.replicas: Sequence[int] = [0]
        self.metric_name = "accuracy"
        self.metadata: Mapping[str, Any] = {}
        self.training_examples = training
        self.validation_examples = self.test_examples = validation or training

    @abstractmethod
    def measured(self, batch: Examples) -> Mapping[str, Any]:
        """Loss and metric by name, each one number."""

    def as_computed(self, examples: Examples) -> Examples:
        """Examples in the precision of the Trainer."""
        return examples

    def val_dataloader(self) -> OneBatch:
        return OneBatch(self.as_computed(self.validation_examples))

    @abstractmethod
    def sets(self, examples: Examples) -> Iterator[Examples]:
        """Yield the inputs and targets of each replica's set."""

    def test_dataloader(self) -> OneBatch:
        if self.tests_fresh_draw:
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
        """Raise InputError where a checkpoint is of another network or loss, or would go on to another budget."""
        saved, own = (metadata.get("condition") for metadata in (checkpoint.get("about", {}), self.metadata))
        if saved is None or own is None:
            return
        for what in ("network", "loss"):
            if _weightless(saved[what]) != _weightless(own[what]):
                raise InputError(
                    f"the checkpoint's {what} is {saved[what]}, that of the config {own[what]}; give the config that "
                    "it was made with"
                )
        if self.trainer.state.fn == "fit" and saved["budget"] != own["budget"]:
            raise InputError(
                f"the checkpoint is of a run of {saved['budget']} updates, the config's budget is {own['budget']}; a "
                "fit goes on to the budget that it began with"
            )


def _weightless(content: Any) -> Any:
    """What is left of it when weights are read, and not drawn; nothing of functions, which may have been edited."""
    if not isinstance(content, Mapping):
        return content
    if any(isinstance(one, Mapping) for one in content.values()):
        return None
    return {name: one for name, one in content.items() if name != "initial_scale"}
