"""Whether examples to test on are others than those that were learned."""

import warnings
from collections import Counter
from collections.abc import Iterator

from torch import Tensor

from lossact.errors import InputError
from lossact.replicas.named_tensors import Inputs, tensors_in
from lossact.training.loaders import Examples

MANY = 0.5


def check_unseen(training: Examples, test: Examples) -> None:
    """Check that a fresh draw of examples is not the training set.

    Args:
        training: inputs and targets of one set.
        test: those of the draw.

    Raises:
        InputError: the draw is the training set again, in any order, so its accuracy would be the training accuracy.
    """
    learned, drawn = (Counter(_rows(*examples)) for examples in (training, test))
    repeated = sum(count for row, count in drawn.items() if row in learned)
    if drawn == learned:
        raise InputError(
            "the data function returns the same examples for every generator, so a test would measure training "
            "accuracy; draw the examples from the generator, or give validation examples and run validate"
        )
    if repeated >= MANY * drawn.total():
        warnings.warn(
            f"{repeated} of the {drawn.total()} examples of the test were also learned: test accuracy is partly "
            "training accuracy; keep examples for validation apart, and run validate",
            stacklevel=2,
        )


def _rows(inputs: Inputs, targets: Tensor) -> Iterator[bytes]:
    """Yield the bytes of each example."""
    arrays = [tensor.detach().cpu().numpy() for tensor in (*tensors_in(inputs), targets)]
    return (b"".join(part.tobytes() for part in example) for example in zip(*arrays, strict=True))
