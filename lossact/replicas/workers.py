"""Threads: how many each of torch's operations takes, and those that compute shares of the replicas side by side.

An operation's bits may depend on how many threads it takes, so that their number is set, and in the key. Workers take
one thread an operation, and how many there are decides about nothing but speed.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch

from lossact.errors import InputError

_is_forked = False
_outside: ContextVar[int] = ContextVar("_outside", default=0)  # threads before any were set here


def n_workers() -> int:
    """Return how many shares are computed side by side: as many as torch has threads outside of training."""
    return _outside.get() or torch.get_num_threads()


@lru_cache(maxsize=1)
def worker_threads(n: int) -> ThreadPoolExecutor:
    """Return n threads, each of which has one thread for torch's operations."""
    # Teams below them would crowd the machine, also after their work.
    return ThreadPoolExecutor(n, thread_name_prefix="replicas", initializer=torch.set_num_threads, initargs=(1,))


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Have each of torch's operations take n threads.

    Raises:
        InputError: n > 1 in a forked process, where an operation may wait without an end for threads of its parent.
    """
    if n > 1 and _is_forked:
        raise InputError(
            f"threads={n} in a forked process, in which torch has one thread; give threads=1, or start processes by "
            "multiprocessing.get_context('spawn')"
        )
    before = torch.get_num_threads()
    token = _outside.set(n_workers())
    try:
        torch.set_num_threads(n)
        yield
    finally:
        torch.set_num_threads(before)
        _outside.reset(token)


def _after_fork() -> None:
    """Go on with one thread: a forked process has none of its parent's, and OpenMP's would be waited for."""
    global _is_forked
    _is_forked = True
    worker_threads.cache_clear()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
