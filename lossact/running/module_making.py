"""Make a LightningCondition's module and data as its functions do, and check what they return."""

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler
from torch.utils.weak import WeakTensorKeyDictionary

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError

# Generators of DataLoaders that were made, each with the seed of its replica and its state then.
_generators: WeakKeyDictionary[torch.Generator, tuple[int, bytes]] = WeakKeyDictionary()
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
        if tensor.is_inference():  # nobody counts what is written into it
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


def check_generators(condition: LightningCondition, loaders: Iterable[Any]) -> None:
    """Raise InputError where an order is drawn from a generator that another replica draws from, too.

    A replica would go on where the other stopped, and its trial would depend on which were trained before.

    Args:
        condition: of the replica, by whose seed torch was seeded.
        loaders: of the replica, before they are read.

    Raises:
        InputError: as above.
    """
    for loader in loaders:
        if not isinstance(loader, DataLoader) or isinstance(loader.sampler, SequentialSampler):
            continue
        generator = getattr(loader.sampler, "generator", None)
        if not isinstance(generator, torch.Generator):
            continue
        found = torch.initial_seed(), generator.get_state().numpy().tobytes()
        if _generators.setdefault(generator, found) != found:
            raise InputError(
                f"{condition}: DataLoaders of several replicas draw their order from one generator, so that a replica "
                "goes on where another stopped; make the generator where the DataLoader is made"
            )
