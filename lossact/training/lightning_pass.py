"""What a pass of a LightningModule's replicas gives, and what compares it with the pass of one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lossact.replicas.draws import Moment
from lossact.replicas.named_tensors import Tensors
from lossact.training.logged_values import LogOptions, StepLog
from lossact.training.stackable import NotStackableError


@dataclass(eq=False)
class PassLog:
    """What a pass of all replicas logged, and what it called metrics with.

    Attributes:
        values: by name, (replicas,) each.
        arguments: tensors among the arguments of metrics' calls, (replicas, ...) each.
        appended: tensors that were appended to lists, (replicas, ...) each.
        options: by name.
        metrics: name to the path of the metric that is logged under it.
        metric_values: name to the index of the call whose value is logged under it.
    """

    values: Tensors = field(default_factory=dict)
    arguments: list[Tensor] = field(default_factory=list)
    appended: list[Tensor] = field(default_factory=list)
    options: dict[str, LogOptions] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    metric_values: dict[str, int] = field(default_factory=dict)

    def take(self, log: StepLog) -> None:
        """Take all but values from one replica's log."""
        self.options, self.metrics, self.metric_values = log.options, log.metrics, log.metric_values


pytree.register_pytree_node(
    PassLog,
    lambda log: ([log.values, log.arguments, log.appended], (log.options, log.metrics, log.metric_values)),
    lambda tensors, names: PassLog(*tensors, *names),
)


def scalar_loss(returned: Any) -> Tensor:
    """Return the loss in what training_step returned.

    Raises:
        NotStackableError: it returned none.
    """
    loss = returned.get("loss") if isinstance(returned, dict) else returned
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise NotStackableError("its training_step does not return a loss for every batch")
    return loss.reshape(())


class WithOtherTensors(nn.Module):
    """Does whatever is to be done while a module has other tensors, by `functional_call`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, step: Callable[[], Any]) -> Any:
        return step()


class Probe(Protocol):
    """Compares steps of all replicas with those of one module by itself."""

    def configure(self, stacked: Any) -> None:
        """Have the modules that stand for replicas do what their own fits do before the first step."""

    def __call__(self, stacked: Any) -> None:
        """Compare the first steps, before anything is trained."""

    def check_reached(self, stacked: Any, batch: Any, shared: bool, batch_idx: int, moment: Moment) -> None:
        """Raise NotStackableError where the loss of this batch depends on other parameters than the first."""

    def begin_training_step(
        self, stacked: Any, batch: Any, shared: bool, batch_idx: int, moment: Moment
    ) -> Callable[[Tensors, Tensor, PassLog], None]:
        """Run a training_step by itself, and return what compares gradients, losses and log of all replicas with it."""

    def begin_validation_step(
        self,
        stacked: Any,
        batch: Any,
        shared: bool,
        batch_idx: int,
        dataloader_idx: int,
        moment: Moment,
    ) -> Callable[[PassLog], None]:
        """Run a validation_step by itself, and return what compares the log of all replicas with it."""
