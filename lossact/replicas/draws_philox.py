"""Philox4x64-10, a counter-based generator: any number of any replica is computed from where it stands alone.

numpy's generator of that name fills arrays on the CPU; other devices compute the same integers in tensor arithmetic.
A normal or exponential number is made by another rule there, so that its bits are equal within a kind of device only.

Reference: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
KEY_INCREMENTS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
ROUNDS = 10
CACHED = 16_384  # numbers
WORDS = 4  # 64-bit integers that one counter gives

UNIFORM, NORMAL, EXPONENTIAL, MASK = "uniform", "normal", "exponential", "mask"


def signed(word: int) -> int:
    """Return the int64 with the same bits as an unsigned 64-bit word."""
    return (word + 2**63) % 2**64 - 2**63


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift to the right logically; torch's own shift keeps the sign."""
    mask: int = 2 ** (64 - bits) - 1
    return (x >> bits) & mask


def _high_product(x: Tensor, multiplier: int) -> Tensor:
    """Return the upper 64 bits of the 128-bit product of unsigned words, from products of their halves."""
    low_half = 0xFFFFFFFF
    m_low, m_high = multiplier & low_half, multiplier >> 32
    x_low, x_high = x & low_half, _shifted(x, 32)
    cross = x_high * m_low + _shifted(x_low * m_low, 32)
    other_cross = x_low * m_high + (cross & low_half)
    return x_high * m_high + _shifted(cross, 32) + _shifted(other_cross, 32)


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Return four random words for each counter.

    Args:
        counter: four int64 tensors of one shape, the lowest word first.
        key: two words, each in [0, 2^64).

    Returns:
        four int64 tensors whose bits are the words.
    """
    word0, word1, word2, word3 = counter
    for round_index in range(ROUNDS):
        keys = [signed((word + round_index * step) % 2**64) for word, step in zip(key, KEY_INCREMENTS, strict=True)]
        high0, low0 = _high_product(word0, MULTIPLIERS[0]), word0 * signed(MULTIPLIERS[0])
        high1, low1 = _high_product(word2, MULTIPLIERS[1]), word2 * signed(MULTIPLIERS[1])
        word0, word1, word2, word3 = high1 ^ word1 ^ keys[0], low1, high0 ^ word3 ^ keys[1], low0
    return word0, word1, word2, word3


def _words(replicas: Tensor, key: tuple[int, int], stream: tuple[int | Tensor, int | Tensor], n: int) -> Tensor:
    """Return (replicas, n) words of each replica's stream, as numpy's generator yields them: its first counter is 1."""
    blocks = torch.arange(1, -(-n // WORDS) + 1, device=replicas.device)
    places = replicas.unsqueeze(1).expand(-1, len(blocks))
    second, third = (
        word.expand_as(places) if isinstance(word, Tensor) else torch.full_like(places, signed(word)) for word in stream
    )
    counter = blocks.expand_as(places), second, third, places
    return torch.stack(philox(counter, key), dim=-1).flatten(1)[:, :n]


def tensor_draw(
    replicas: Tensor,
    key: tuple[int, int],
    stream: tuple[int | Tensor, int | Tensor],
    n: int,
    kind: str,
    *,
    number: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return `numpy_draw` in tensor arithmetic, on any device: equal bits for UNIFORM and MASK."""
    if kind == MASK or (kind == UNIFORM and dtype != torch.float64):
        words = _words(replicas, key, stream, -(-n // 2))
        halves = torch.stack((words & 0xFFFFFFFF, _shifted(words, 32)), dim=-1).flatten(1)[:, :n]
        uniform = (halves >> 8).to(torch.float32) * 2.0**-24
        return (uniform >= number).to(dtype) * scale_of_kept(number) if kind == MASK else uniform.to(dtype)
    uniform = _shifted(_words(replicas, key, stream, n + n % 2), 11).double() * 2.0**-53
    if kind == UNIFORM:
        return uniform[:, :n].to(dtype)
    if kind == EXPONENTIAL:
        return -torch.log1p(-uniform[:, :n]).to(dtype)
    first, second = uniform.view(len(replicas), -1, 2).unbind(-1)  # Box and Muller
    radius, angle = (-2 * torch.log1p(-first)).sqrt(), 2 * math.pi * second
    return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1).flatten(1)[:, :n].to(dtype)


def numpy_draw(
    replicas: Sequence[int],
    key: tuple[int, int],
    stream: tuple[int, int],
    n: int,
    kind: str,
    *,
    number: float = 0.0,
    dtype: type[np.float32] | type[np.float64] = np.float32,
) -> NDArray[np.floating[Any]]:
    """Return numbers of each replica's stream, each row from its counter alone.

    Args:
        replicas: indices >= 0, the counter's highest word.
        key: two words.
        stream: the counter's second and third word.
        n: numbers a replica.
        kind: UNIFORM in [0, 1), NORMAL, EXPONENTIAL (of rate 1), or MASK: 0 with probability `number`, else
            1 / (1 - number).
        number: the probability of 0 in a MASK, in [0, 1].
        dtype: float32 or float64.

    Returns:
        (replicas, n).
    """
    generator = np.random.Generator(
        np.random.Philox(key=np.array(key, np.uint64), counter=np.array([0, *stream, 0], np.uint64))
    )
    position = generator.bit_generator.state
    fill: Callable[..., Any] = generator.random
    if kind in (NORMAL, EXPONENTIAL):
        fill = generator.standard_normal if kind == NORMAL else generator.standard_exponential
    rows = np.empty((len(replicas), n), dtype)
    together = max(1, CACHED // max(1, n)) if kind == MASK else len(replicas)  # a mask is made while still in cache
    numbers = np.empty((together, n), np.float32) if kind == MASK else rows
    for at in range(0, len(replicas), together):
        for row, replica in zip(numbers, replicas[at : at + together], strict=False):
            position["state"]["counter"][3] = replica
            generator.bit_generator.state = position
            fill(out=row, dtype=row.dtype)
        if kind == MASK:
            masks = rows[at : at + together]
            np.multiply(
                numbers[: len(masks)] >= np.float32(number), scale_of_kept(number), out=masks, casting="same_kind"
            )
    return rows


def scale_of_kept(p: float) -> float:
    """Return what dropout multiplies the values by that it keeps."""
    return 0.0 if p == 1 else 1 / (1 - p)
