"""Examples from datasets: anything that gives one item after the other."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.errors import DataError

READ_TWICE = 16  # items, to see that they stay


def read_dataset(dataset: Any, columns: tuple[str, str] | None, split: str) -> tuple[Any, NDArray[Any]]:
    """Read every item of a dataset into arrays.

    Args:
        dataset: has a length and items, as torch's map-style datasets, or is iterated over.
        columns: the names of inputs and targets where items are dicts.
        split: what errors call it.

    Returns:
        inputs (n, ...), a tuple or dict of them where the items' inputs are; targets (n, ...).

    Raises:
        DataError: items are no pairs, have no such columns, or inputs of several shapes.
    """
    pairs = [_pair(item, columns, split) for item in _items(dataset, split)]
    if not pairs:
        raise DataError(f"the {split} dataset is empty")
    _check_fixed(dataset, pairs, columns, split)
    inputs, targets = zip(*pairs, strict=True)
    return _stacked(inputs, "inputs", split), _stacked(targets, "targets", split)


def _items(dataset: Any, split: str) -> list[Any]:
    if _has_indices(dataset):
        return [dataset[index] for index in range(len(dataset))]
    try:
        return list(dataset)
    except TypeError:
        raise DataError(f"the {split} dataset is a {type(dataset).__name__}; give a sequence of items") from None


def _has_indices(dataset: Any) -> bool:
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")


def _check_fixed(dataset: Any, pairs: list[tuple[Any, Any]], columns: tuple[str, str] | None, split: str) -> None:
    """Raise DataError where the first items are others when they are read again, as random transforms make them."""
    if not _has_indices(dataset):
        return
    for index, pair in enumerate(pairs[:READ_TWICE]):
        if _contents(_pair(dataset[index], columns, split)) != _contents(pair):
            raise DataError(
                f"item {index} of the {split} dataset is another one when it is read again; give fixed examples, and "
                "what is drawn anew in each update by Condition(augment=...)"
            )


def _contents(value: Any) -> Any:
    """Return what an item holds, to be compared."""
    if isinstance(value, Mapping):
        return {name: _contents(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_contents(part) for part in value]
    array = _array(value)
    return array.shape, array.tolist() if array.dtype == object else array.tobytes()


def _array(value: Any) -> NDArray[Any]:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _pair(item: Any, columns: tuple[str, str] | None, split: str) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        if columns is None:
            raise DataError(
                f"items of the {split} dataset are dicts of {', '.join(map(str, item))}; say which are inputs and "
                "targets: columns=('image', 'label')"
            )
        missing = [name for name in columns if name not in item]
        if missing:
            raise DataError(
                f"items of the {split} dataset have no {missing[0]!r}; they have {', '.join(map(str, item))}"
            )
        return item[columns[0]], item[columns[1]]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(
            f"items of the {split} dataset are {type(item).__name__}; each must be a pair of inputs and a target"
        )
    return item[0], item[1]


def _stacked(values: Any, what: str, split: str) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {name: _stacked([value[name] for value in values], f"{what} {name}", split) for name in first}
    if isinstance(first, tuple):
        return tuple(_stacked(part, what, split) for part in zip(*values, strict=True))
    arrays = [_array(value) for value in values]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise DataError(
            f"{what} of the {split} dataset have shapes {shapes[0]} and {shapes[1]}; resize or pad them to one"
        )
    return np.stack(arrays)
