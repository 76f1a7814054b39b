"""How the replicas of a user's network share the cores of a CPU.

Of a small network, one thread computes all replicas. Of a larger one, torch's threads share each operation. The
replicas of a large one are cut into slices, each of which one thread computes while others compute others. Compiled
code is always cut. A slice is computed by itself, so that a replica's bits depend neither on other slices nor on the
number of threads.

A network's size is how many numbers one replica's pass keeps for its gradient.
"""

from collections.abc import Iterator

SMALL = 40_000  # below it, a second thread costs more than it spares
LARGE = 400_000  # from it on, calls from Python take little of a slice's time
WIDEST = 16  # replicas: a call of compiled code costs as much as some six replicas of a small network
COMPILED_NUMBERS = 800_000  # that the passes of a slice keep: more of them leave a core's caches
EAGER_NUMBERS = 5_000_000  # where each operation is a call


def slice_width(block: int, pass_size: int, numbers: int) -> int:
    """Return how many replicas are computed together: a divisor of a block's size, up to WIDEST.

    Args:
        block: replicas, >= 1.
        pass_size: the network's size, >= 0.
        numbers: that the passes of a slice should keep at most; a single one may keep more.
    """
    most = min(WIDEST, max(1, numbers // max(1, pass_size)))
    return max(width for width in range(1, most + 1) if block % width == 0)


def slices_of(replicas: int, width: int | None) -> Iterator[slice]:
    """Yield the slices of so many replicas; None for one of all."""
    width = width or replicas
    return (slice(at, min(at + width, replicas)) for at in range(0, replicas, width))
