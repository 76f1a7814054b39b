"""Draws by the kernel in Triton's interpreter, and by numpy; prints the cases in which they differ, as JSON.

Run as a program with TRITON_INTERPRET=1.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

import torch

from lossact.replicas.draws_native import DrawRequest
from lossact.replicas.draws_philox import MASK, UNIFORM
from lossact.replicas.draws_triton import COUNTERS, NUMBERS, draw_in_kernel, is_right

REPLICAS = torch.tensor([0, 9, 2**40, 2**62])
WHOLE = COUNTERS * NUMBERS  # numbers of a program
KINDS = (
    (UNIFORM, 0.0, torch.float32),
    (MASK, 0.3, torch.float32),
    (MASK, 0.1, torch.float64),
    (MASK, 1.0, torch.float32),
)


def requests() -> Iterator[tuple[DrawRequest, int | None]]:
    """Requests, and what is added to the stream's second word."""
    for n in (1, 7, WHOLE, WHOLE + 1):
        for kind in KINDS:
            yield DrawRequest((11, 2**63 + 5), (7, 2**64 - 3), n, *kind), 5
    for key, stream in (((2**64 - 1, 0), (2**31, 1)), ((2**32, 2**31 - 1), (2**32 - 1, 2**63))):
        yield DrawRequest(key, stream, 20, *KINDS[0]), None
        yield DrawRequest(key, stream, 20, *KINDS[0]), 2**40


if __name__ == "__main__":
    different = []
    for request, batch in requests():
        found = draw_in_kernel(REPLICAS, request, None if batch is None else torch.tensor(batch))
        first, second = request.stream
        expected = replace(request, stream=(first, (second + (batch or 0)) % 2**64)).by_numpy(REPLICAS)
        if found.dtype != expected.dtype or not torch.equal(found, expected):
            different.append(f"{request}, {batch}")
    print(json.dumps({"different": different, "is_right": is_right(torch.device("cpu"))}))
