"""The modules of replicas, written into stacked tensors one after the other, so that each can go at once."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import nn

from lossact.replicas.held_values import differing, held_attributes
from lossact.replicas.named_tensors import Tensors
from lossact.running.lightning_stackability import check_module
from lossact.training.stackable import NotStackableError


class ModuleStack:
    """Parameters and buffers of replicas' modules.

    Args:
        first: the first replica's module, whose tensors' names and shapes all must have.
        n_replicas: how many there will be.

    Attributes:
        tensors: by name, (replicas, ...) each.

    Raises:
        NotStackableError: the module has what replicas cannot share.
    """

    def __init__(self, first: LightningModule, n_replicas: int) -> None:
        check_module(first)
        self._first = _tensors(first)
        self._shapes = _shapes(self._first)
        self.tensors: Tensors = {
            name: tensor.detach().new_empty((n_replicas, *tensor.shape)) for name, tensor in self._first.items()
        }
        self._held: dict[LightningModule, dict[str, Any]] = {}  # of each condition's first, as it was made
        self._n_written = 0

    def write(self, module: LightningModule, like: LightningModule) -> None:
        """Write the tensors of the next replica's module.

        Args:
            module: another object than those before.
            like: the first module of the same condition, which is written first.

        Raises:
            NotStackableError: it differs from the first in more than its tensors' values, or shares parameters with it.
        """
        tensors = _tensors(module)
        if _shapes(tensors) != self._shapes:
            raise NotStackableError("its parameters differ in shape between replicas")
        attributes = held_attributes(module, tensors.values())
        name = differing(self._held.setdefault(like, attributes), attributes)
        if name is not None:
            raise NotStackableError(f"its {name} differs between replicas")
        if self._n_written and any(
            tensor is self._first[name] for name, tensor in tensors.items() if isinstance(tensor, nn.Parameter)
        ):
            raise NotStackableError("its replicas share parameters")
        with torch.no_grad():
            for name, whole in self.tensors.items():
                whole[self._n_written] = tensors[name]
        self._n_written += 1


def _tensors(module: nn.Module) -> Tensors:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _shapes(tensors: Tensors) -> list[tuple[str, torch.Size, torch.dtype, bool]]:
    return [(name, tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in tensors.items()]
