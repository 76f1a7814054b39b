import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossact.training.metrics import Latest, StepsToTarget


@given(
    curves=st.integers(1, 20).flatmap(
        lambda updates: st.lists(
            st.lists(st.sampled_from([0.0, 0.5, 0.99, 1.0]), min_size=updates, max_size=updates), min_size=1, max_size=5
        )
    ),
    cut=st.integers(0, 20),
)
def test_steps_to_target_is_the_first_time_it_was_met(curves: list[list[float]], cut: int) -> None:
    chunk = torch.tensor(curves).T
    metric = StepsToTarget(len(curves), target=1.0)
    for part in (chunk[:cut], chunk[cut:]):
        if len(part):
            metric.update(part)
    expected = [curve.index(1.0) if 1.0 in curve else StepsToTarget.NOT_REACHED for curve in curves]
    np.testing.assert_array_equal(metric.compute().numpy(), expected)


def test_nan_never_meets_a_target() -> None:
    metric = StepsToTarget(2, target=0.5)
    metric.update(torch.tensor([[torch.nan, 0.7], [0.7, torch.nan]]))
    assert metric.compute().tolist() == [1, 0]


def test_replica_accuracy_is_the_latest() -> None:
    metric = Latest(2)
    metric.update(torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    assert metric.compute().tolist() == pytest.approx([0.3, 0.4])
    metric.update(torch.tensor([[0.5, 0.6]]))
    assert metric.compute().tolist() == pytest.approx([0.5, 0.6])
