"""Threads that compute shares of the replicas."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

import torch


@lru_cache(maxsize=1)
def worker_threads(n: int) -> ThreadPoolExecutor:
    """Return n threads, each of which has one thread for torch's operations."""
    # Teams below them would crowd the machine, also after their work.
    return ThreadPoolExecutor(n, thread_name_prefix="replicas", initializer=torch.set_num_threads, initargs=(1,))


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Have each of torch's operations take n threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=worker_threads.cache_clear)
