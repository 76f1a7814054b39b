"""Replicas for their own sake: the same runs that claims train, with their networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lossact import (
    SGD,
    Accuracy,
    Arrays,
    Condition,
    Experiment,
    FunctionCondition,
    Loss,
    MLPConfig,
    RandomImages,
    Store,
    replicate,
)
from lossact.errors import LossactError
from lossact.replicas.random_streams import DATA, replica_generator
from tests.replicas.against_alone import DOUBLE

GENERATOR = np.random.default_rng(1)
INPUTS, LABELS = GENERATOR.normal(size=(20, 3)), GENERATOR.integers(0, 2, 20)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


CONDITION = Condition(
    network=network,
    loss=nn.CrossEntropyLoss(),
    optimizer=SGD(learning_rate=0.5),
    data=Arrays(INPUTS, LABELS),
    budget=12,
    target=Loss().at_most(0.6),
    measures={"loss": Loss(), "accuracy": Accuracy()},
    measured_at=(3,),
)


def test_networks_curves_and_values_are_of_the_same_runs() -> None:
    n = CONDITION.block + 3
    runs = replicate(CONDITION, replicas=n, compute_config=DOUBLE)
    assert len(runs) == len(runs.networks) == len(runs.trials) == n
    assert runs.loss.shape == runs.metric.shape == (n, 13)
    inputs, labels = torch.from_numpy(INPUTS), torch.from_numpy(LABELS)
    for k, module in enumerate(runs.networks):
        value = functional.cross_entropy(module(inputs), labels).item()
        assert value == pytest.approx(runs.trials.values["loss"][k], rel=1e-9)
        assert value == pytest.approx(runs.loss[k, -1], rel=1e-9)
        assert runs.trials.values["loss@3"][k] == pytest.approx(runs.loss[k, 3], rel=1e-9)
    assert len({module.get_parameter("0.weight").sum().item() for module in runs.networks}) == n


def test_rows_hold_what_claims_would_have_trained() -> None:
    with Store(None) as store:
        (trials,) = Experiment(seed=4, store=store, compute_config=DOUBLE).trials([CONDITION], CONDITION.block)
    rows = replicate(CONDITION, replicas=CONDITION.block, seed=4, compute_config=DOUBLE).rows()
    for k, row in enumerate(rows):
        assert list(row) == ["replica", "steps_to_target", "diverged", "loss@3", "accuracy@3", "loss", "accuracy"]
        assert row["replica"] == k
        assert row["steps_to_target"] == (trials.steps[k] if trials.reached[k] else None)
        assert row["loss"] == pytest.approx(trials.values["loss"][k], rel=1e-9)


def test_a_built_in_network_comes_with_its_weights() -> None:
    condition = Condition(
        network=MLPConfig(activation="relu"), loss="l2", data=RandomImages(n_images=8),
        optimizer=SGD(learning_rate=0.1), budget=5, measures={"loss": Loss()},
    )  # fmt: skip
    runs = replicate(condition, replicas=2, compute_config=replace(DOUBLE, compiled=False))
    for replica, module in enumerate(runs.networks):
        images = condition.data.sample(replica_generator(0, replica, DATA))
        logits = module(torch.from_numpy(images.inputs))
        loss = (logits.sigmoid() - torch.from_numpy(images.targets)).square().mean()
        assert loss.item() == pytest.approx(runs.trials.values["loss"][replica], rel=1e-9)


def test_what_cannot_be_replicated_is_refused() -> None:
    function = FunctionCondition(train=lambda seed: None, budget=3)
    with pytest.raises(LossactError, match=r"must be a lossact\.Condition"):
        replicate(function)  # type: ignore[arg-type]
    with pytest.raises(LossactError, match="replicas=0 must be an integer >= 1; try 64"):
        replicate(CONDITION, replicas=0)
    with pytest.raises(LossactError, match="seed=-1 must be"):
        replicate(CONDITION, seed=-1)
