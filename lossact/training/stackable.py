"""The reason for which a LightningModule trains one replica at a time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from torch import nn

from lossact.replicas.random_streams import rng_state


class NotStackableError(Exception):
    """Replicas of a LightningModule cannot train as one; the message says why in a few words, for a table."""


@contextmanager
def drawing_nothing(reason: str) -> Iterator[None]:
    """Check that what runs within draws from no generator of the process, for replicas would share what it draws.

    Args:
        reason: of the error, such as "reading its data draws random numbers".

    Raises:
        NotStackableError: it draws.
    """
    before = rng_state()
    yield
    if not before.equals(rng_state()):
        raise NotStackableError(reason)


@contextmanager
def reading_no_tensors(modules: Iterable[nn.Module], reason: str) -> Iterator[None]:
    """Check that what runs within reads no parameters or buffers of some modules, for these are no replica's.

    Args:
        modules: whose.
        reason: of the error, such as "its scheduler reads parameters or buffers".

    Raises:
        NotStackableError: it reads one.
    """
    parts = {id(part): part for module in modules for part in module.modules()}.values()
    held = [(vars(part), name, vars(part)[name]) for part in parts for name in ("_parameters", "_buffers")]
    try:
        for attributes, name, tensors in held:
            attributes[name] = _Unreadable(tensors, reason)
        yield
    finally:
        for attributes, name, tensors in held:
            attributes[name] = tensors


class _Unreadable(dict[str, Any]):
    """Tensors by name, which are not to be read."""

    def __init__(self, tensors: dict[str, Any], reason: str) -> None:
        super().__init__(tensors)
        self.reason = reason

    def refuse(self, *_: Any) -> NoReturn:
        raise NotStackableError(self.reason)

    __getitem__ = get = items = values = refuse
