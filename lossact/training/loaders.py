"""What the Trainer asks for its batches."""

from collections.abc import Callable, Iterator

from torch import Tensor

from lossact.replicas.minibatches import Minibatches
from lossact.replicas.named_tensors import Inputs, map_tensors

Examples = tuple[Inputs, Tensor]  # inputs (n, ...) and targets (n, ...); of replicas, (sets, n, ...)


class OneBatch:
    """A loader that yields all examples as they are, once.

    Args:
        examples: inputs and targets.
    """

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Examples]:
        yield self.examples


class UpdateBatches:
    """A loader that yields one batch an update in one epoch, for an epoch costs the Trainer more than a step.

    The criterion is measured before each update and once after the last, so that there are budget + 1.

    Args:
        examples: inputs (n, ...) and targets (n, ...).
        batches: makes the order of the examples, of one replica; None for all of them in every batch.
        budget: updates at most.
        seen: how many batches were taken before, by a run that is resumed.
    """

    def __init__(
        self, examples: Examples, batches: Callable[[], Minibatches] | None, *, budget: int, seen: Callable[[], int]
    ) -> None:
        self.examples, self.batches, self.budget, self.seen = examples, batches, budget, seen

    def __len__(self) -> int:
        return self.budget + 1

    def __iter__(self) -> Iterator[Examples]:
        orders = self.batches() if self.batches is not None else None
        first = self.seen()
        for at in range(self.budget + 1):
            index = None if orders is None else orders.next()[0]
            if at >= first:
                yield self.examples if index is None else _at(self.examples, index)


def _at(examples: Examples, index: Tensor) -> Examples:
    inputs, targets = examples
    return map_tensors(lambda tensor: tensor[index], inputs), targets[index]
