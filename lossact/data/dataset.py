"""The examples that every data source yields."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import shortened
from lossact.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Hold inputs with one target each.

    Attributes:
        inputs: (n, ...); images are (n, height, width) float64. A network of several inputs has a tuple or dict of
            arrays.
        targets: (n, ...); (n,) float64 in {0, 1} for a network with one logit.
        validation: held-out examples, which are measured and not learned, or None.
        test: further ones, which are measured at the end alone, or None.
    """

    inputs: Any
    targets: NDArray[Any]
    validation: "Dataset | None" = None
    test: "Dataset | None" = None

    def __len__(self) -> int:
        return len(self.targets)


def checked_dataset(inputs: Any, targets: Any, validation: Any = None, test: Any = None, *, name: str) -> Dataset:
    """Return a dataset of the given arrays: integers stay integers, everything else becomes float64.

    Args:
        inputs, targets: arrays of equal length.
        validation, test: a pair of such arrays each, or None.
        name: what errors call it.

    Returns:
        the examples, with those held out.

    Raises:
        DataError: they are no numbers, not finite, empty, or of unequal lengths.
    """
    targets = _numbers(targets, f"{name}: targets")
    inputs = _checked_inputs(inputs, len(targets), name)
    training = Dataset(inputs, targets)
    held_out = {
        split: None if given is None else _held_out(given, training, split, name)
        for split, given in (("validation", validation), ("test", test))
    }
    return Dataset(inputs, targets, **held_out)


def _held_out(pair: Any, training: Dataset, split: str, name: str) -> Dataset:
    """Check examples that are only measured against those that are learned."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise DataError(f"{name}: {split} must be a pair (inputs, targets), not {shortened(pair)}")
    held_out = checked_dataset(*pair, name=f"{name}: {split}")
    pairs = zip(input_arrays(training.inputs), input_arrays(held_out.inputs), strict=True)
    for what, array, other in (*(("inputs", *pair) for pair in pairs), ("targets", training.targets, held_out.targets)):
        if array.shape[1:] != other.shape[1:] or array.dtype != other.dtype:
            raise DataError(
                f"{name}: {split} {what} are {other.dtype} of shape {other.shape[1:]} each, those of training "
                f"{array.dtype} of shape {array.shape[1:]}; make them alike"
            )
    return held_out


def input_arrays(inputs: Any) -> list[NDArray[Any]]:
    """Return the arrays of a network's inputs.

    Args:
        inputs: an array, a tuple of arrays, or a dict of arrays.

    Returns:
        arrays, in the order of a tuple, or of a dict's sorted names.
    """
    if isinstance(inputs, Mapping):
        return [inputs[name] for name in sorted(inputs)]
    return list(inputs) if isinstance(inputs, tuple) else [inputs]


def _checked_inputs(inputs: Any, n_targets: int, name: str) -> Any:
    if isinstance(inputs, Mapping):
        return {part: _checked_inputs(array, n_targets, f"{name}: {part}") for part, array in inputs.items()}
    if isinstance(inputs, tuple) and all(hasattr(array, "shape") for array in inputs):
        return tuple(_checked_inputs(array, n_targets, f"{name}: part {k}") for k, array in enumerate(inputs))
    array = _numbers(inputs, f"{name}: inputs")
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(f"{name}: inputs have shape {array.shape}; (examples, features, ...) with no zero is needed")
    if len(array) != n_targets:
        raise DataError(f"{name}: {len(array)} inputs and {n_targets} targets; one target an input is needed")
    return array


def _numbers(array: Any, name: str) -> NDArray[Any]:
    if np.ma.is_masked(array):
        raise DataError(f"{name} are masked in part; leave those examples out")
    if hasattr(array, "detach"):
        if str(array.layout) != "torch.strided":
            raise DataError(f"{name} are a tensor of layout {array.layout}; give it as .to_dense()")
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() and array.itemsize < 4 else array).numpy()
    numbers = np.asarray(array)
    if numbers.dtype.kind not in "buif":
        way_out = ""
        if isinstance(array, (str, Path)):
            way_out = "; read a file first, by numpy.load, say"
        elif isinstance(array, Iterator):
            way_out = "; it is a generator: give numpy.stack(list(...))"
        raise DataError(f"{name} have dtype {numbers.dtype}; numbers are needed{way_out}")
    if not numbers.ndim:
        raise DataError(f"{name} are the single number {numbers}; give one for each example")
    if not np.isfinite(numbers).all():
        raise DataError(f"{name} hold inf or NaN; leave those examples out")
    return numbers.astype(np.int64 if numbers.dtype.kind in "ui" else np.float64)
