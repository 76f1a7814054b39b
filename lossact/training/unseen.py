"""Whether examples to test on are others than those that were learned."""

import warnings
from collections import Counter
from collections.abc import Iterator

from torch import Tensor

from lossact.errors import InputError
from lossact.replicas.named_tensors import Inputs, tensors_in
from lossact.training.loaders import Examples

MANY = 0.1  # share of test examples that were learned, from which on it is said


def check_unseen(training: Examples, test: Examples) -> None:
    """Check that a fresh draw of examples was not learned.

    Where the examples are few in kind, as all inputs of four bits, equal ones are in any two draws, and as often within
    one. Examples that a test repeats much oftener than training repeats its own come from one pool.

    Args:
        training: inputs and targets of one set.
        test: those of the draw.

    Raises:
        InputError: the draw is the training set again, in any order, or many of its examples come from the same pool,
            so its accuracy would be partly the training accuracy.
    """
    learned, drawn = (Counter(_rows(*examples)) for examples in (training, test))
    repeated = sum(count for row, count in drawn.items() if row in learned)
    if drawn == learned:
        raise InputError(
            "the data function returns the same examples for every generator, so a test would measure training "
            "accuracy; draw the examples from the generator, or give validation examples and run validate"
        )
    if repeated < MANY * drawn.total():
        return
    learned_twice = sum(count for count in learned.values() if count > 1)
    message = f"{repeated} of the {drawn.total()} examples of the test were also learned"
    if repeated / drawn.total() > 2 * learned_twice / learned.total():
        raise InputError(
            f"{message}, for the data function takes both from one pool, so a test would measure training accuracy; "
            "draw other examples from the generator, or return a part of them as validation and run validate"
        )
    warnings.warn(
        f"{message}: test accuracy is partly training accuracy; keep examples for validation apart, and run validate",
        stacklevel=2,
    )


def _rows(inputs: Inputs, targets: Tensor) -> Iterator[bytes]:
    """Yield the bytes of each example."""
    arrays = [tensor.detach().cpu().numpy() for tensor in (*tensors_in(inputs), targets)]
    return (b"".join(part.tobytes() for part in example) for example in zip(*arrays, strict=True))
