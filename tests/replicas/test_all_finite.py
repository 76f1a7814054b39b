"""Whether a replica's numbers are finite, beside a look at each number."""

import math

import pytest
import torch
from torch import Tensor

from lossact.replicas.named_tensors import all_finite

LARGE = 3e38  # two of them add up to more than float32 holds


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        [[1.0, math.inf], [math.nan, 0.0], [2.0, 3.0]],
        [[math.inf, -math.inf], [LARGE, LARGE], [-LARGE, -LARGE]],
        [[LARGE, LARGE], [LARGE, LARGE], [0.0, 0.0]],
    ],
)
def test_a_replica_is_finite_where_each_number_is(rows: list[list[float]]) -> None:
    real = torch.tensor(rows)
    tensors: dict[str, Tensor] = {"real": real, "complex": torch.complex(torch.ones(3, 1), real[:, :1])}
    expected = [all(math.isfinite(number) for number in row) for row in rows]
    assert all_finite(tensors, 3, torch.device("cpu")).tolist() == expected


def test_one_tensor_that_is_not_finite_suffices() -> None:
    tensors = {"a": torch.ones(2, 3, 4), "b": torch.tensor([[0.0], [math.nan]])}
    assert all_finite(tensors, 2, torch.device("cpu")).tolist() == [True, False]
