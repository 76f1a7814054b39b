"""Snapshots beside networks that are trained alone in a plain torch loop, in double precision."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lossact import EMA, SGD, Arrays, Condition, Loss, MLPConfig, RandomImages, record_snapshots
from lossact.errors import LossactError
from lossact.running.stacking import plain_networks
from tests.replicas.against_alone import DOUBLE, network_alone

REPLICAS = [0, 3]
GENERATOR = np.random.default_rng(2)
INPUTS, LABELS = GENERATOR.normal(size=(12, 4)), GENERATOR.integers(0, 3, 12)
UNSEEN = torch.from_numpy(GENERATOR.normal(size=(5, 4)))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.0), nn.Linear(6, 3))


CONDITION = Condition(
    network=network,
    loss=nn.CrossEntropyLoss(),
    optimizer=SGD(learning_rate=0.3, momentum=0.9),
    data=Arrays(INPUTS, LABELS),
    budget=7,
    target=Loss().at_most(-1.0),
)


def train_alone(
    module: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor, updates: int
) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    for _ in range(updates):
        optimizer.zero_grad()
        loss(module(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.mark.parametrize("stacked", [True, False])
def test_snapshots_answer_as_networks_trained_alone(stacked: bool) -> None:
    condition = replace(CONDITION, stacked=stacked)
    snapshots, inputs, targets = record_snapshots(condition, 0, REPLICAS, every=3, compute_config=DOUBLE)
    np.testing.assert_array_equal(inputs[0], INPUTS)
    np.testing.assert_array_equal(targets[0], LABELS)
    assert [snapshot.update for snapshot in snapshots] == [0, 3, 6, 7]
    for snapshot in snapshots:
        outputs = snapshot.outputs(UNSEEN.unsqueeze(0))
        assert not outputs.requires_grad
        own = snapshot.outputs(torch.stack([UNSEEN, 2 * UNSEEN]))
        for row, replica in enumerate(REPLICAS):
            alone = network_alone(network, replica)
            train_alone(alone, functional.cross_entropy, inputs[0], targets[0], snapshot.update)
            alone.eval()
            torch.testing.assert_close(outputs[row], alone(UNSEEN).detach(), rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(own[row], alone((1 + row) * UNSEEN).detach(), rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(snapshot.networks[row](UNSEEN), alone(UNSEEN), rtol=1e-9, atol=1e-12)
            vector = nn.utils.parameters_to_vector(alone.parameters()).detach()
            torch.testing.assert_close(snapshot.parameters[row], vector, rtol=1e-9, atol=1e-12)


def test_snapshots_of_a_built_in_network_answer_as_one_trained_alone() -> None:
    condition = Condition(
        network=MLPConfig(activation="relu"), loss="cross_entropy", data=RandomImages(n_images=8), budget=4,
        optimizer=SGD(learning_rate=0.3, momentum=0.9), target=Loss().at_most(-1.0),
    )  # fmt: skip
    snapshots, images, labels = record_snapshots(condition, 0, REPLICAS, every=4, compute_config=DOUBLE)
    for row, replica in enumerate(REPLICAS):
        (alone,) = plain_networks([(condition, replica)], 0, (4, 4))
        for snapshot, updates in zip(snapshots, (0, 4), strict=True):
            train_alone(alone, functional.binary_cross_entropy_with_logits, images[row], labels[row], updates)
            torch.testing.assert_close(snapshot.outputs(images)[row], alone(images[row]).detach())
            torch.testing.assert_close(snapshot.networks[row](images[row]), alone(images[row]))


@pytest.mark.parametrize("stacked", [True, False])
def test_a_snapshot_has_the_average_of_weights(stacked: bool) -> None:
    decay = 0.6
    condition = replace(CONDITION, average=EMA(decay), stacked=stacked, budget=3)
    plain, inputs, _ = record_snapshots(
        replace(condition, average=None), 0, REPLICAS, every=1, compute_config=DOUBLE
    )  # fmt: skip
    averaged, _, _ = record_snapshots(condition, 0, REPLICAS, every=1, compute_config=DOUBLE)
    expected = plain[1].parameters
    for snapshot in plain[2:]:
        expected = decay * expected + (1 - decay) * snapshot.parameters
    torch.testing.assert_close(averaged[-1].parameters, expected, rtol=1e-9, atol=1e-12)
    answers = torch.stack([module(inputs[0]).detach() for module in averaged[-1].networks])
    torch.testing.assert_close(averaged[-1].outputs(inputs), answers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 0}, "every=0 must be an integer >= 1"),
        ({"replicas": []}, "replicas is empty; give indices"),
        ({"replicas": [-1]}, "replicas=-1 must be an integer >= 0"),
        ({"replicas": "ab"}, "replicas='ab' must be indices"),
        ({"replicas": {1: 2}}, "replicas={1: 2} must be indices"),
        ({"seed": -1}, "seed=-1 must be an integer >= 0"),
        ({"condition": network}, "must be a lossact.Condition"),
    ],
)
def test_bad_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "condition": CONDITION,
        "seed": 0,
        "replicas": REPLICAS,
        "every": 3,
        "compute_config": DOUBLE,
    } | changes
    with pytest.raises(LossactError, match=message):
        record_snapshots(**given)


def test_indices_may_be_a_tensor() -> None:
    condition = replace(CONDITION, budget=1)
    snapshots, _, _ = record_snapshots(condition, 0, torch.arange(2), every=1, compute_config=DOUBLE)  # type: ignore[arg-type]
    assert len(snapshots[0].parameters) == 2


@pytest.mark.parametrize("inputs", [UNSEEN, UNSEEN.numpy(), (UNSEEN.unsqueeze(0), UNSEEN), torch.tensor(1.0)])
def test_inputs_of_other_replicas_are_refused(inputs: Any) -> None:
    snapshots, _, _ = record_snapshots(
        replace(CONDITION, budget=1), 0, REPLICAS, every=1, compute_config=DOUBLE
    )  # fmt: skip
    with pytest.raises(LossactError, match="tensors with 2 or 1 along their first axis are needed"):
        snapshots[0].outputs(inputs)
