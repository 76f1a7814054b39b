"""What a LightningModule does at the end of a validation epoch, for each of many replicas in turn.

Its validation steps append tensors to lists, or update metrics; its `on_validation_epoch_end` makes numbers of them.
The steps run for all replicas at once, the hook for one replica after the other, with its own items, metrics and
weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils import _pytree as pytree

from lossact.training.held_attributes import changed_names, held_by_template
from lossact.training.replica_optimizers import ReplicaOptimizer
from lossact.training.stackable import NotStackableError, drawing_nothing
from lossact.training.stacked_metrics import ReplicaMetrics

HOOK = "on_validation_epoch_end"
PLACE_OF_TENSOR = object()


class AppendOnly:
    """Stands where a module has a list, while its steps run for all replicas at once.

    Args:
        name: the list's, in its module.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: list[Any] = []

    def append(self, item: Any) -> None:
        """Take an item."""
        self.items.append(item)

    def extend(self, items: Any) -> None:
        """Take several."""
        self.items.extend(items)

    def __iadd__(self, items: Any) -> "AppendOnly":
        self.extend(items)
        return self

    def __len__(self) -> NoReturn:
        raise NotStackableError(f"its steps read self.{self.name}")

    def __getattr__(self, name: str) -> NoReturn:
        raise NotStackableError(f"its steps read self.{self.__dict__.get('name')}")

    __iter__ = __getitem__ = __len__


class EpochEnd:
    """The end of a validation epoch.

    Args:
        template: runs the steps of all replicas, and the hook of each.
        metrics: each replica's torchmetrics objects.

    Attributes:
        defined: whether the module has such a hook.
        lists: names of its empty lists, which validation steps may append to.
        latest: what the latest step appended: its structure, and its leaves without the tensors.
    """

    def __init__(self, template: LightningModule, metrics: ReplicaMetrics) -> None:
        self.template, self.metrics = template, metrics
        self.defined = type(template).on_validation_epoch_end is not LightningModule.on_validation_epoch_end
        empty = [name for name, value in vars(template).items() if type(value) is list and not value]
        self.lists = tuple(name for name in empty if self.defined and not name.startswith("_"))
        self.latest: tuple[Any, list[Any]] = (None, [])
        self._epoch: list[tuple[Any, list[Any]]] = []  # of each step, with tensors of all replicas
        self.begin_step()

    def begin_step(self) -> None:
        """Give the module lists that can only grow."""
        for name in self.lists:
            setattr(self.template, name, AppendOnly(name))

    @property
    def has_items(self) -> bool:
        """Whether a step has appended to a list."""
        return any(getattr(self.template, name).items for name in self.lists)

    def appended(self) -> list[Tensor]:
        """Return the tensors among what a step appended, in order; within vmap those of one replica."""
        items = {name: getattr(self.template, name).items for name in self.lists}
        leaves, structure = pytree.tree_flatten(items)
        self.latest = structure, [PLACE_OF_TENSOR if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.begin_step()
        return [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]

    def keep(self, tensors: Sequence[Tensor]) -> None:
        """Keep what the latest step appended.

        Args:
            tensors: those of `appended`, (replicas, ...) each.
        """
        structure, leaves = self.latest
        if leaves:
            given = iter(tensors)
            self._epoch.append((structure, [next(given) if leaf is PLACE_OF_TENSOR else leaf for leaf in leaves]))

    def _items(self, row: int) -> dict[str, list[Any]]:
        """Return what one replica's steps appended to each list."""
        lists: dict[str, list[Any]] = {name: [] for name in self.lists}
        for structure, leaves in self._epoch:
            own = [leaf[row] if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            for name, items in pytree.tree_unflatten(own, structure).items():
                lists[name] += items
        return lists

    @contextmanager
    def watched(self, trainer: Trainer) -> Iterator[None]:
        """Check that the hooks of all replicas change nothing that replicas share.

        Raises:
            NotStackableError: they do.
        """
        before, held = _shared(trainer), held_by_template(self.template)
        with drawing_nothing(f"its {HOOK} draws random numbers"):
            yield
        if _shared(trainer) != before:
            raise NotStackableError(f"its {HOOK} changes the Trainer or its optimizer")
        changed = [name for name in changed_names(held, held_by_template(self.template)) if name not in self.lists]
        if changed:
            raise NotStackableError(f"its {HOOK} changes self.{changed[0]}")
        self.begin_step()

    @contextmanager
    def of_replica(self, row: int) -> Iterator[None]:
        """Give the module one replica's items and metrics.

        Raises:
            NotStackableError: its code leaves items in a list.
        """
        items = self._items(row)
        stand_ins = {path: self.template.get_submodule(path) for path in self.metrics.metrics}
        for name, own in items.items():
            setattr(self.template, name, list(own))
        for path, of_replicas in self.metrics.metrics.items():
            of_replicas[row] = of_replicas[row].to(self.template.device)
            _replace_part(self.template, path, of_replicas[row])
        yield
        for path, stand_in in stand_ins.items():
            _replace_part(self.template, path, stand_in)
        for name in self.lists:
            if getattr(self.template, name):
                raise NotStackableError(f"its {HOOK} leaves items in self.{name}")

    def forget(self) -> None:
        """Begin the next epoch."""
        self._epoch = []


def is_equal(left: Tensor, right: Tensor) -> bool:
    """Return whether two tensors hold the same values; NaN equals NaN."""
    return torch.equal(left, right) or torch.equal(left.nan_to_num(), right.nan_to_num())


def _replace_part(module: LightningModule, path: str, part: Any) -> None:
    parent, _, name = path.rpartition(".")
    module.get_submodule(parent).register_module(name, part)


def _shared(trainer: Trainer) -> list[Any]:
    """Return what a hook might set for all replicas: whether the fit stops, and the optimizers' numbers."""
    optimizers = [
        own
        for optimizer in trainer.optimizers
        for own in (optimizer.of_replicas if isinstance(optimizer, ReplicaOptimizer) else [optimizer])
    ]
    numbers = [
        {name: repr(value) for name, value in group.items() if name != "params"}
        for optimizer in optimizers
        for group in optimizer.param_groups
    ]
    return [trainer.should_stop, *numbers]
