"""What has layers computed by operations that `torch.func.vmap` has rules for, where torch has others that are faster.

Without such a rule vmap computes one replica after the other, or raises an error.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from threading import Lock
from typing import Any

import torch
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel

from lossact.replicas.layers_apart import LayersApart


class _Setting:
    """A setting of the process, made as the first thread needs it and undone as the last one no longer does.

    Args:
        make: returns a context manager that makes it and undoes it.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self.make = make
        self._lock, self._within, self._made = Lock(), 0, ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it within."""
        with self._lock:
            if self._within == 0:
                self._made.enter_context(self.make())
            self._within += 1
        try:
            yield
        finally:
            with self._lock:
                self._within -= 1
                if self._within == 0:
                    self._made.close()


@contextmanager
def _without_fast_path() -> Iterator[None]:
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        mha.set_fastpath_enabled(before)


_LAYER_BY_LAYER = _Setting(_without_fast_path)
_PLAIN_ATTENTION = _Setting(lambda: sdpa_kernel(SDPBackend.MATH))


@contextmanager
def as_vmap_needs(device: torch.device) -> Iterator[None]:
    """Have layers computed within by operations that vmap has rules for.

    Args:
        device: where they are computed. torch has one operation for attention, in evaluation one for a transformer's
            layer, and on a GPU one for a recurrent layer and one for weight norm.
    """
    with _LAYER_BY_LAYER.held(), _PLAIN_ATTENTION.held(), nullcontext() if device.type == "cpu" else LayersApart():
        yield
