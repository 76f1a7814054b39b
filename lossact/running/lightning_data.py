"""Every replica's batches from DataLoaders: examples read once into tensors, and each replica's own order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from lossact.replicas.held_values import snapshot
from lossact.replicas.named_tensors import map_tensors
from lossact.replicas.random_streams import isolate_rng
from lossact.training.stackable import NotStackableError, drawing_nothing

SAMPLERS = (RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler)
READ_TWICE = 64  # examples, evenly spread, that are read again, to see whether they change


class ReplicaStreams:
    """torch's generator of the process as each replica has it, in a fit of its own.

    Attributes:
        isolated: whether draws leave no trace at present, as in a Trainer's sanity check.
    """

    def __init__(self) -> None:
        self.states: list[Tensor] = []
        self.isolated: Callable[[], bool] = lambda: False

    def begin(self) -> None:
        """Add a replica, whose generator stands where that of the process does."""
        self.states.append(torch.get_rng_state())

    @contextmanager
    def of(self, row: int) -> Iterator[None]:
        """Draw from a replica's generator within; the process's own is left where that ends."""
        torch.set_rng_state(self.states[row])
        yield
        if not self.isolated():
            self.states[row] = torch.get_rng_state()


class StackedLoader:
    """Yields every replica's batch at once, each from its own order.

    Args:
        loaders: one a replica, or one that all share.
        streams: the replicas' generators.

    Raises:
        NotStackableError: the loaders read in a way that cannot be done once for all.
    """

    def __init__(self, loaders: Sequence[Any], streams: ReplicaStreams) -> None:
        for loader in loaders:
            _check_loader(loader)
        if len({len(loader.dataset) for loader in loaders}) > 1:
            raise NotStackableError("its data sets differ in length between replicas")
        if len({(len(loader), loader.batch_sampler.batch_size) for loader in loaders}) > 1:
            raise NotStackableError("its batches differ in size between replicas")
        self.loaders, self.streams = loaders, streams
        same = len({id(loader.dataset) for loader in loaders}) == 1
        with isolate_rng(), drawing_nothing("reading its data draws random numbers"):
            read = [_examples(loader.dataset) for loader in (loaders[:1] if same else loaders)]
        if any(examples is None for examples in read):
            raise NotStackableError("its data change from one reading to the next")
        self.shares_examples = all(_equal(each, read[0]) for each in read[1:])
        self.examples = read[0] if self.shares_examples else _stacked(read)
        samplers = [_sampler_of(loader) for loader in loaders]
        sequential = all(isinstance(sampler, SequentialSampler) for sampler in samplers)
        one_order = sequential or (len(loaders) == 1 and samplers[0].generator is not None)
        self.shares_order = self.shares_examples and one_order

    def __len__(self) -> int:
        return len(self.loaders[0])

    def __iter__(self) -> Iterator[tuple[Any, bool]]:
        """Yield (batch, shared); a batch's tensors are (replicas, batch, ...), or (batch, ...) where all share it."""
        for index in self._orders():
            yield self._at(index), index.ndim == 1

    def first_batch(self) -> tuple[Any, bool]:
        """Return a batch of the first examples; nothing is drawn."""
        size = min(self.loaders[0].batch_sampler.batch_size, len(self.loaders[0].dataset))
        index = torch.arange(size)
        return self._at(index if self.shares_order else index.expand(len(self.streams.states), -1)), self.shares_order

    def _at(self, index: Tensor) -> Any:
        if self.shares_examples:
            return map_tensors(lambda tensor: tensor[index], self.examples)
        rows = torch.arange(len(index)).unsqueeze(1)
        return map_tensors(lambda tensor: tensor[rows, index], self.examples)

    def _orders(self) -> list[Tensor]:
        """Draw an epoch's index of each batch, as each replica's DataLoader would draw it."""
        drawn: list[list[list[int]]] = []
        with isolate_rng():
            for row in range(len(self.streams.states)):
                loader = self.loaders[row % len(self.loaders)]
                with self.streams.of(row):  # torch's samplers draw from no other
                    if row < len(self.loaders) or loader.generator is None:
                        torch.empty((), dtype=torch.int64).random_(
                            generator=loader.generator
                        )  # the seed of its workers
                    if row < len(self.loaders) or not self.shares_order:
                        # A Trainer stops at the last batch, before a sampler that is asked for more draws again.
                        drawn.append(list(islice(loader.batch_sampler, len(loader))))
        sizes = [len(batch) for batch in drawn[0]]
        if any([len(batch) for batch in batches] != sizes for batches in drawn):
            raise NotStackableError("its batches differ in size between replicas")
        orders = torch.from_numpy(np.array([list(chain.from_iterable(batches)) for batches in drawn], dtype=np.int64))
        return list(torch.split(orders[0] if self.shares_order else orders, sizes, dim=-1))


def check_draws_whole_epochs(loaders: Sequence[Any]) -> None:
    """Raise NotStackableError where an order is drawn batch by batch, for a Trainer with limits ends that early."""
    for loader in loaders:
        sampler = _sampler_of(loader)
        draws_at_times = isinstance(sampler, RandomSampler) and sampler.generator is not None
        if draws_at_times and (sampler.replacement or sampler.num_samples > len(loader.dataset)):
            raise NotStackableError("its sampler draws on within an epoch, whose batches its Trainer limits")


def loaders_alike(loaders: Sequence[Any], others: Sequence[Any], *, read: bool) -> bool:
    """Return whether loaders give the same examples and draw their orders from generators in the same state.

    Args:
        loaders, others: of two replicas. What StackedLoader refuses counts as alike.
        read: whether examples are read and compared, beside what the data sets hold.
    """
    return len(loaders) == len(others) and all(_alike(*pair, read=read) for pair in zip(loaders, others, strict=True))


def _alike(loader: Any, other: Any, *, read: bool) -> bool:
    if loader is other or type(loader) is not DataLoader or type(other) is not DataLoader:
        return type(loader) is type(other)
    data: Any = loader.dataset
    other_data: Any = other.dataset
    if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
        return True
    if _held_by(loader) != _held_by(other) or len(data) != len(other_data):
        return False
    if data is other_data or not read:
        return True
    with isolate_rng(), drawing_nothing("reading its data draws random numbers"):
        examples, others = _examples(data), _examples(other_data)
    if examples is None or others is None:
        return True
    return len(_leaves(examples)) == len(_leaves(others)) and _equal(examples, others)


def _held_by(loader: Any) -> Any:
    """Return what a loader's data set, sampler and generators hold, to be compared."""
    sampler = {name: value for name, value in vars(_sampler_of(loader)).items() if name != "data_source"}
    return snapshot([loader.dataset, sampler, loader.generator])


def _check_loader(loader: Any) -> None:
    if type(loader) is not DataLoader:
        raise NotStackableError(f"its data come from a {type(loader).__name__}, not a DataLoader")
    if isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__len__"):
        raise NotStackableError("its data set can only be iterated")
    dataset = loader.dataset
    while type(dataset) is Subset:  # which asks the data set that it is of
        dataset = dataset.dataset
    if hasattr(dataset, "__getitems__"):
        raise NotStackableError("its data set reads several examples at once, by __getitems__")
    is_plain = type(loader.batch_sampler) is BatchSampler
    drawn_by = _sampler_of(loader) if is_plain else loader.batch_sampler
    if not is_plain or type(drawn_by) not in SAMPLERS:
        raise NotStackableError(f"its DataLoader draws by a {type(drawn_by).__name__}")
    if loader.collate_fn is not default_collate:
        raise NotStackableError("its DataLoader has a collate_fn of its own")
    if loader.persistent_workers or loader.multiprocessing_context is not None:
        raise NotStackableError("its DataLoader keeps workers of its own")


def _sampler_of(loader: Any) -> Any:
    """Return what draws a loader's order; a loader that is given a batch sampler has an unused one beside it."""
    return loader.batch_sampler.sampler


def _examples(dataset: Any) -> Any:
    """Return all examples of a data set as one batch; None where reading them again changes them or the data set."""
    if type(dataset) is TensorDataset:
        return [tensor.detach() for tensor in dataset.tensors]
    items = [dataset[index] for index in range(len(dataset))]
    spread = sorted(set(torch.linspace(0, len(dataset) - 1, READ_TWICE).long().tolist())) if items else []
    held = snapshot(dataset)  # what it keeps of the examples, it has now
    if not all(_is_same(items[index], dataset[index]) for index in spread) or snapshot(dataset) != held:
        return None
    examples = default_collate(items)
    _check_tensors(examples)
    return examples


def _is_same(item: Any, again: Any) -> bool:
    """Return whether two readings are alike, quickly where they are tensors."""
    if isinstance(item, Tensor) and isinstance(again, Tensor):
        comparable = item.dtype == again.dtype and item.layout == again.layout == torch.strided
        if comparable and torch.equal(item, again):
            return True
    if isinstance(item, (tuple, list)) and type(item) is type(again) and len(item) == len(again):
        return all(map(_is_same, item, again))
    return bool(snapshot(item) == snapshot(again))


def _check_tensors(examples: Any) -> None:
    if isinstance(examples, Tensor):
        return
    if isinstance(examples, dict):
        parts = list(examples.values())
    elif isinstance(examples, (list, tuple)):
        parts = list(examples)
    else:
        raise NotStackableError(f"its batches hold a {type(examples).__name__}")
    for part in parts:
        _check_tensors(part)


def _leaves(examples: Any) -> list[Tensor]:
    leaves: list[Tensor] = []
    map_tensors(leaves.append, examples)
    return leaves


def _equal(examples: Any, others: Any) -> bool:
    pairs = zip(_leaves(examples), _leaves(others), strict=True)
    return all(left.dtype == right.dtype and torch.equal(left, right) for left, right in pairs)


def _stacked(read: Sequence[Any]) -> Any:
    """Return the examples of every replica as one, (replicas, n, ...)."""
    tensors = [_leaves(examples) for examples in read]
    if len({tuple((tensor.shape, tensor.dtype) for tensor in leaves) for leaves in tensors}) > 1:
        raise NotStackableError("its examples differ in shape between replicas")
    stacked = iter([torch.stack(parts) for parts in zip(*tensors, strict=True)])
    return map_tensors(lambda _: next(stacked), read[0])
