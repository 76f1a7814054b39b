"""The kernel that draws uniform numbers and masks on a GPU, in Triton: Philox4x64-10, a counter a lane.

Importing this file imports triton, so only `draws_triton` does, and late. Words of 64 bits are given as halves, so that
Triton builds the kernel once and not for each size of a word.
"""

import triton
import triton.language as tl


@triton.jit
def _word(low, high):
    return (high.to(tl.uint64) << 32) | (low.to(tl.uint64) & 0xFFFFFFFF)


@triton.jit(
    do_not_specialize=[
        "key0_low", "key0_high", "key1_low", "key1_high", "second_low", "second_high", "third_low", "third_high",
        "n", "programs_of_a_replica",
    ]
)  # fmt: skip
def draw_numbers(
    numbers,  # (replicas, n) float32, written
    replicas,  # (replicas,) int64
    batch,  # () int64, added to the counter's third word
    key0_low,
    key0_high,
    key1_low,
    key1_high,
    second_low,
    second_high,
    third_low,
    third_high,
    n,
    programs_of_a_replica,
    limit,  # of masks: smaller numbers become 0
    kept,  # what others become
    IS_MASK: tl.constexpr,  # noqa: N803
    COUNTERS: tl.constexpr,  # noqa: N803
):
    """Draw from some counters of one replica, eight numbers from each; numpy's first counter is 1."""
    program = tl.program_id(0)
    row = program // programs_of_a_replica
    counter = (program % programs_of_a_replica) * COUNTERS + tl.arange(0, COUNTERS)
    word0 = (counter + 1).to(tl.uint64)
    word1 = tl.zeros_like(word0) + _word(second_low, second_high)
    word2 = tl.zeros_like(word0) + _word(third_low, third_high) + tl.load(batch).to(tl.uint64)
    word3 = tl.zeros_like(word0) + tl.load(replicas + row).to(tl.uint64)
    key0, key1 = _word(key0_low, key0_high), _word(key1_low, key1_high)
    multiplier0 = tl.zeros_like(word0) + 0xD2E7470EE14C6C93
    multiplier1 = tl.zeros_like(word0) + 0xCA5A826395121157
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(word0, multiplier0), word0 * multiplier0
        high1, low1 = tl.umulhi(word2, multiplier1), word2 * multiplier1
        word0, word1, word2, word3 = high1 ^ word1 ^ key0, low1, high0 ^ word3 ^ key1, low0
        key0 += 0x9E3779B97F4A7C15
        key1 += 0xBB67AE8584CAA73B
    first = row.to(tl.int64) * n + counter.to(tl.int64) * 8
    for half in tl.static_range(8):
        if half // 2 == 0:
            word = word0
        elif half // 2 == 1:
            word = word1
        elif half // 2 == 2:
            word = word2
        else:
            word = word3
        bits = (word >> 32) if half % 2 else (word & 0xFFFFFFFF)
        number = (bits >> 8).to(tl.int32).to(tl.float32) * 5.9604644775390625e-08  # 2**-24
        if IS_MASK:
            number = tl.where(number >= limit, kept, 0.0)
        tl.store(numbers + first + half, number, mask=counter * 8 + half < n)
