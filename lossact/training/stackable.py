"""The reason for which a LightningModule trains one replica at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

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
