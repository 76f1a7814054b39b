"""Random numbers that depend on (experiment seed, replica) alone, never on how many replicas there are."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Drawing = TypeVar("Drawing")

DATA = 0
WEIGHTS = 1
FORWARD = 2
SAMPLE = 3
ORDER = 4
TEST = 5
DRAWS = 6
MEASURE = 7


def replica_generator(seed: int, replica: int, stream: int) -> np.random.Generator:
    """Return the generator of one replica for one purpose.

    Philox is counter-based: the key names the experiment and the purpose, the counter's upper half the replica, so
    that streams never overlap and any replica's can be made without those before it.

    Args:
        seed: the experiment's, >= 0.
        replica: index >= 0.
        stream: DATA, WEIGHTS, FORWARD (what a forward pass draws), SAMPLE (what a claim draws without training),
            ORDER (which examples make a batch), TEST (data that are only looked at), DRAWS (what passes draw by a
            counter) or MEASURE (what a measure of trained networks draws).

    Reference: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
    """
    # The purpose goes first: a seed beyond 32 bits takes several words and would run into what follows it.
    key = np.random.SeedSequence((stream, seed)).generate_state(2, np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, replica, 0]))


class RNGState(NamedTuple):
    """Where the generators stand that belong to the whole process, and that others' code draws from."""

    python: tuple[Any, ...]
    numpy: Any
    torch: "Tensor"
    cuda: "list[Tensor]"  # of each GPU, where they are in use

    def equals(self, other: "RNGState") -> bool:
        """Return whether the generators stand where those of another moment did."""
        same_numpy = np.array_equal(self.numpy[1], other.numpy[1]) and self.numpy[2:] == other.numpy[2:]
        same_cuda = all(state.equal(of_other) for state, of_other in zip(self.cuda, other.cuda, strict=False))
        return bool(same_numpy) and self.python == other.python and self.torch.equal(other.torch) and same_cuda


def rng_state() -> RNGState:
    """Return the present states."""
    import torch

    cuda = [torch.cuda.get_rng_state(gpu) for gpu in gpus_in_use()]
    return RNGState(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda)  # noqa: NPY002


def gpus_in_use(device: str = "cpu") -> list[int]:
    """Return the indices of the GPUs, none where this process has not used one and will not on this kind of device."""
    import torch

    is_used = device == "cuda" or torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return list(range(torch.cuda.device_count())) if is_used and torch.cuda.is_available() else []


def set_rng_state(states: RNGState) -> None:
    """Have the generators go on from there."""
    import torch

    random.setstate(states.python)
    np.random.set_state(states.numpy)  # noqa: NPY002
    torch.set_rng_state(states.torch)
    for gpu, state in enumerate(states.cuda):
        torch.cuda.set_rng_state(state, gpu)


def seed_rng(seed: int) -> None:
    """Start the generators anew, those of devices that replicas train on included; `seed` is in [0, 2^63)."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    # Not torch.manual_seed, which notes its caller's stack for each kind of device that is not there.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def start_replica(seed: int) -> None:
    """Start the generators anew, and leave in the environment what Lightning's seed_everything leaves there."""
    seed_rng(seed)
    os.environ["PL_GLOBAL_SEED"] = str(seed)
    os.environ["PL_SEED_WORKERS"] = "0"


@contextmanager
def isolate_rng() -> Iterator[None]:
    """Have the process's own random numbers go on as if nothing had been drawn within."""
    states = rng_state()
    try:
        yield
    finally:
        set_rng_state(states)


def sample_for_replica(
    function: Callable[[np.random.Generator], Drawing], seed: int, replica: int, stream: int
) -> Drawing:
    """Return what a user's function draws from the generator of a replica.

    Where it draws from the process's generators instead, the replica decides what as well; call it within
    `process_undisturbed`.
    """
    seed_rng(int(replica_generator(seed, replica, stream).integers(2**63)))
    return function(replica_generator(seed, replica, stream))
