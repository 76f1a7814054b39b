"""How the replicas of a user's network share the cores of a CPU, or take turns on a GPU.

A network's size is how many numbers one replica's forward pass computes.

- Small: one thread computes all replicas.
- Larger: the replicas are cut into slices. Each slice is computed by one thread, several of them side by side.

Compiled code for a CPU is always cut. On a GPU slices are computed one after the other, each as wide as is fastest
there. A slice is computed by itself, so that its bits depend neither on other slices nor on how many threads there are.
"""

from collections.abc import Iterator

import torch

SMALL = 30_000  # of smaller networks, a second thread costs more than it spares
WIDEST = 16  # replicas; wide slices need fewer calls
COMPILED_NUMBERS = 800_000  # most numbers of a slice that is compiled: more do not fit a core's caches
EAGER_NUMBERS = 9_000_000  # most numbers of a slice that is not, whose calls are many
# Most numbers of a slice on a GPU. On an H100 128 replicas of a transformer block (560 million) were faster together
# than 16 at a time, and 64 of a small residual network (2 billion) slower.
GPU_NUMBERS = 600_000_000
GPU_BLOCKS = 256
STEP_NUMBERS = 20_000_000  # most numbers of the replicas of a LightningModule whose steps run at once on a CPU


def slice_width(block: int, pass_size: int, numbers: int) -> int:
    """Return how many replicas are a slice: the largest divisor of a block that is not too wide.

    Args:
        block: replicas, >= 1.
        pass_size: the network's size, >= 0.
        numbers: most numbers of a slice; a single replica may have more.

    Returns:
        replicas, in [1, WIDEST].
    """
    most = min(WIDEST, max(1, numbers // max(1, pass_size)))
    return max(width for width in range(1, most + 1) if block % width == 0)


def blocks_of_slice(block: int, pass_size: int) -> int:
    """Return how many blocks a slice on a GPU holds: a power of 2.

    Args:
        block: replicas, >= 1.
        pass_size: the network's size, >= 0.

    Returns:
        blocks, in [1, GPU_BLOCKS].
    """
    blocks = 1
    while 2 * blocks <= GPU_BLOCKS and 2 * blocks * block * pass_size <= GPU_NUMBERS:
        blocks *= 2
    return blocks


def step_width(replicas: int, step_size: int, device: torch.device) -> int:
    """Return how many replicas of a LightningModule run a step at once, so that slices differ by few.

    Args:
        replicas: >= 1.
        step_size: numbers that one replica's training_step computes, >= 0.
        device: where.

    Returns:
        replicas of a slice, in [1, replicas].
    """
    numbers = STEP_NUMBERS if device.type == "cpu" else GPU_NUMBERS
    most = max(1, numbers // max(1, step_size))
    slices = -(-replicas // most)
    return -(-replicas // slices)


def slices_of(replicas: int, width: int | None) -> Iterator[slice]:
    """Yield the slices of so many replicas; None for one of all."""
    width = width or replicas
    return (slice(at, min(at + width, replicas)) for at in range(0, replicas, width))
