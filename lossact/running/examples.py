"""The examples of replicas: drawn or shared, checked against the condition, stacked as tensors."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossact.conditions.condition import Condition
from lossact.conditions.measures import Accuracy
from lossact.data import Dataset, DataSource
from lossact.errors import InputError
from lossact.replicas.random_streams import DATA, TEST, isolate_rng, replica_generator, sample_for_replica
from lossact.training.loaders import Examples

ReplicaKey = tuple[Condition, int]  # a condition that replicas may be stacked of, and a replica of it
DTYPES = {"32-true": torch.float32, "64-true": torch.float64, "bf16-mixed": torch.float32}  # of the parameters


def data_sets(members: Sequence[ReplicaKey], seed: int) -> list[Dataset]:
    """Draw each replica's data, or return the one set that all share."""
    drawn = members if members[0][0].data.per_replica else members[:1]
    return _drawn_for(drawn, attrgetter("sample"), seed, DATA)


def held_out_test_sets(members: Sequence[ReplicaKey], seed: int, sets: Sequence[Dataset]) -> list[Dataset] | None:
    """Return test examples: those of the data, or one more draw for each replica; None where there are neither."""
    if members[0][0].data.draws_test:
        return _drawn_for(members, attrgetter("sample_test"), seed, TEST)
    held_out = [dataset.test for dataset in sets if dataset.test is not None]
    return held_out if len(held_out) == len(sets) else None


def _drawn_for(
    members: Sequence[ReplicaKey],
    sample_of: Callable[[DataSource], Callable[[np.random.Generator], Dataset]],
    seed: int,
    stream: int,
) -> list[Dataset]:
    """Draw examples for each member, once for members that are equal."""
    drawn = {
        (condition, replica): _drawn(condition.data, sample_of(condition.data), seed, replica, stream)
        for condition, replica in dict.fromkeys(members)
    }
    return [drawn[member] for member in members]


def _drawn(
    data: DataSource, sample: Callable[[np.random.Generator], Dataset], seed: int, replica: int, stream: int
) -> Dataset:
    if data.is_by_function:
        with isolate_rng():
            return sample_for_replica(sample, seed, replica, stream)
    return sample(replica_generator(seed, replica, stream))


def validation_sets(condition: Condition, sets: Sequence[Dataset]) -> list[Dataset] | None:
    """Return what each replica is only measured on, or None where the data have none.

    Args:
        condition: of the replicas.
        sets: each replica's data, or the one set that all share.

    Raises:
        InputError: they have none, and the target is about them.
    """
    held_out = [dataset.validation for dataset in sets if dataset.validation is not None]
    if len(held_out) == len(sets):
        return held_out
    if condition.watched.split == "validation":
        raise InputError(
            f"{condition}: its target is on validation data, and its data have none; give some, as "
            "Arrays(..., validation=(inputs, targets))"
        )
    return None


def stacked_arrays(sets: Sequence[Dataset], dtype: torch.dtype) -> Examples:
    """Return the inputs (sets, n, ...) and targets (sets, n, ...); integers stay what they are."""
    first = sets[0].inputs
    if isinstance(first, Mapping):
        inputs: Any = {name: _stacked([each.inputs[name] for each in sets], "inputs", dtype) for name in first}
    elif isinstance(first, tuple):
        inputs = tuple(_stacked(list(part), "inputs", dtype) for part in zip(*(s.inputs for s in sets), strict=True))
    else:
        inputs = _stacked([each.inputs for each in sets], "inputs", dtype)
    return inputs, _stacked([each.targets for each in sets], "targets", dtype)


def _stacked(arrays: Sequence[NDArray[Any]], name: str, dtype: torch.dtype) -> torch.Tensor:
    if len({(array.shape, array.dtype) for array in arrays}) > 1:
        shapes = sorted({str(array.shape) for array in arrays})
        raise InputError(f"data: {name} of replicas have shapes {', '.join(shapes)}; all replicas must share one")
    tensor = torch.from_numpy(np.stack(arrays))
    if not tensor.is_floating_point():
        return tensor
    cast = tensor.to(dtype)
    if dtype != tensor.dtype and not cast.isfinite().all():
        raise InputError(
            f"data: {name} hold {tensor.abs().max():.3g}, beyond the largest number of {dtype}, "
            f"{torch.finfo(dtype).max:.3g}; scale them"
        )
    return cast


def as_trained(condition: Condition, examples: Examples, dtype: torch.dtype) -> Examples:
    """Cast inputs as a network takes them: built-in ones real numbers, users' networks integers as they are."""
    if not condition.uses_closed_form_gradients:
        return examples
    inputs, targets = examples
    if not isinstance(inputs, torch.Tensor):
        raise InputError(f"{condition}: a built-in network takes one array of inputs; its data have several")
    return inputs.to(dtype), targets.to(dtype)


def check_targets(condition: Condition, targets: torch.Tensor) -> None:
    """Raise InputError where the targets do not fit a loss that has a name, or do not say what accuracy is."""
    if isinstance(condition.loss, str) and (targets.ndim != 2 or not ((targets == 0) | (targets == 1)).all()):
        raise InputError(
            f"{condition}: loss={condition.loss!r} needs targets of shape (examples,) in {{0, 1}}; those of the data "
            f"have shape {tuple(targets.shape[1:])}, from {targets.min():g} to {targets.max():g}; "
            "for others give a function (outputs, targets) -> losses"
        )
    if isinstance(condition.watched, Accuracy) and targets.ndim == 3 and targets.shape[2] > 1:
        shares = targets.double().sum(2)
        if not torch.allclose(shares, torch.ones_like(shares)):
            raise InputError(
                f"{condition}: accuracy is not defined, for targets of shape {tuple(targets.shape[1:])} hold several "
                "labels an example; say what counts: Metric(f) with f(outputs, targets) = "
                "((outputs > 0) == (targets > 0.5)).double().mean() is the share of labels that are right"
            )


def checked_batch_size(condition: Condition, n_examples: int) -> int | None:
    """Return the condition's batch size.

    Raises:
        InputError: there are fewer examples.
    """
    if condition.batch_size is not None and condition.batch_size > n_examples:
        raise InputError(f"{condition}: batch_size={condition.batch_size} must be at most the {n_examples} examples")
    return condition.batch_size
