"""Make a LightningCondition's module and data as its functions do, and check what they return."""

from collections import OrderedDict
from collections.abc import Iterable
from functools import wraps
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.weak import WeakTensorKeyDictionary

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError

GENERATORS_KEPT = 1024  # more than are read between two fits that share one; older torch has no weak references to them

_left_at: OrderedDict[torch.Generator, bytes] = OrderedDict()  # generators' states after their last fit
_versions = WeakTensorKeyDictionary()  # tensors of the modules that were made, each with its count of writes then


def make_module(condition: LightningCondition) -> LightningModule:
    """Return a module of a condition, as its function makes it.

    Raises:
        InputError: it is no LightningModule, or it holds a tensor that an earlier one trained.
    """
    module = condition.module(**condition.config)
    if not isinstance(module, LightningModule):
        raise InputError(f"{condition}: module made {type(module).__name__}; it must return a LightningModule")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor) or tensor.is_inference():  # nobody counts what is written into it
            continue
        known: int = _versions.setdefault(tensor, tensor._version)  # type: ignore[no-untyped-call]
        if known != tensor._version:
            raise InputError(
                f"{condition}: module gives several replicas the same {name!r}, which an earlier one has trained; have "
                "it make new ones each time (copy.deepcopy of what is loaded once, say)"
            )
    return module


def make_data(condition: LightningCondition) -> Any:
    """Return the data of one replica, as the condition's function makes them.

    Raises:
        InputError: they are nothing that a Trainer reads batches from.
    """
    assert condition.data is not None
    data = condition.data()
    if data is None or (isinstance(data, Dataset) and not isinstance(data, IterableDataset)):
        raise InputError(
            f"{condition}: data returned {'None' if data is None else f'a {type(data).__name__}'}; have it return a "
            "DataLoader, or a LightningDataModule"
        )
    return data


def generators_of(loaders: Iterable[Any]) -> list[torch.Generator]:
    """Return the generators, other than that of the process, that DataLoaders draw their order from."""
    found = []
    for loader in loaders:
        if isinstance(loader, DataLoader):
            samplers = [loader.sampler, getattr(loader.batch_sampler, "sampler", None)]
            held = [value for sampler in samplers for value in getattr(sampler, "__dict__", {}).values()]
            found += [value for value in held if isinstance(value, torch.Generator)]
    return list(dict.fromkeys(found))


def check_generators(condition: LightningCondition, loaders: Iterable[Any]) -> None:
    """Raise InputError where an order is drawn from a generator that stands where an earlier fit left it.

    A replica would go on where another stopped, and its trial would depend on which were trained before.

    Args:
        condition: of the replica.
        loaders: of its training, before they are read.

    Raises:
        InputError: as above.
    """
    if any(_left_at.get(generator) == _state(generator) for generator in generators_of(loaders)):
        raise InputError(
            f"{condition}: DataLoaders of several replicas draw their order from one generator, so that a replica goes "
            "on where another stopped; make the generator where the DataLoader is made"
        )


def check_when_made(condition: LightningCondition, source: LightningModule | LightningDataModule) -> None:
    """Have `check_generators` look at a replica's loaders as soon as they are made, before anything is drawn."""
    make = source.train_dataloader

    @wraps(make)
    def train_dataloader() -> Any:
        loaders = make()
        check_generators(condition, pytree.tree_leaves(loaders))
        return loaders

    source.train_dataloader = train_dataloader  # type: ignore[method-assign]


def note_generators(loaders: Iterable[Any]) -> None:
    """Note where a fit has left the generators that its DataLoaders draw their order from."""
    for generator in generators_of(loaders):
        _left_at[generator] = _state(generator)
        _left_at.move_to_end(generator)
        if len(_left_at) > GENERATORS_KEPT:
            _left_at.popitem(last=False)


def _state(generator: torch.Generator) -> bytes:
    return generator.get_state().numpy().tobytes()
