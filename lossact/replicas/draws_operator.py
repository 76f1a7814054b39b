"""Random numbers of many replicas as one torch operator, which vmap takes apart by replica."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossact.replicas.draws_native import CPU_DRAWS, DrawRequest
from lossact.replicas.draws_triton import GPU_DRAWS, draw_in_arithmetic


@torch.library.custom_op("lossact::draw", mutates_args=())
def draw(
    replica: Tensor,
    key: Sequence[int],
    stream: Sequence[int],
    shape: Sequence[int],
    kind: str,
    number: float,
    dtype: torch.dtype,
    batch: Tensor | None = None,
) -> Tensor:
    """Draw numbers for one replica, or for a row of replicas.

    Args:
        replica: () or (replicas,) int64 indices.
        key, stream: two words each, as int64.
        shape: of the numbers of one replica.
        kind, number: as `numpy_draw` takes them.
        dtype: float32 or float64.
        batch: () int64, added to the stream's second word; None for nothing.

    Returns:
        replica.shape + shape.
    """
    n = int(np.prod(shape, dtype=np.int64))
    replicas = replica.reshape(-1)
    device = replica.device.type
    third = stream[1] + (int(batch) if batch is not None and device == "cpu" else 0)
    request = DrawRequest(
        (key[0] % 2**64, key[1] % 2**64), (stream[0] % 2**64, third % 2**64), n, kind, number, dtype
    )  # fmt: skip
    if device == "cpu":
        rows = CPU_DRAWS.draw(replicas, request)
    elif device == "cuda":
        rows = GPU_DRAWS.draw(replicas, request, batch)
    else:
        rows = draw_in_arithmetic(replicas, request, batch)
    return rows.reshape((*replica.shape, *shape))


@draw.register_fake
def _(
    replica: Tensor,
    key: Sequence[int],
    stream: Sequence[int],
    shape: Sequence[int],
    kind: str,
    number: float,
    dtype: torch.dtype,
    batch: Tensor | None = None,
) -> Tensor:
    return replica.new_empty((*replica.shape, *shape), dtype=dtype)


@draw.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], replica: Tensor, *arguments: Any) -> tuple[Tensor, int | None]:
    if in_dims[0] is None:
        return draw(replica, *arguments), None
    return draw(replica.movedim(in_dims[0], 0), *arguments), 0
