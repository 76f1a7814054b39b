"""Random numbers that depend on (experiment seed, replica) alone, never on how many replicas there are."""

import numpy as np

DATA = 0
WEIGHTS = 1
FORWARD = 2
SAMPLE = 3
ORDER = 4
TEST = 5


def replica_generator(seed: int, replica: int, stream: int) -> np.random.Generator:
    """The generator of one replica for one purpose.

    Philox is counter-based: the key names the experiment and the purpose, the counter's upper half the replica, so
    that streams never overlap and any replica's can be made without those before it.

    Args:
        seed: the experiment's, >= 0.
        replica: index >= 0.
        stream: DATA, WEIGHTS, FORWARD (what a forward pass draws), SAMPLE (what a claim draws without training),
            ORDER (which examples make a batch) or TEST (data that are only looked at).

    Reference: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
    """
    # The purpose goes first: a seed beyond 32 bits takes several words and would run into what follows it.
    key = np.random.SeedSequence((stream, seed)).generate_state(2, np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, replica, 0]))
