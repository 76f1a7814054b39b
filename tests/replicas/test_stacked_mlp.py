from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, mse_loss

from lossact import SGD, Condition, RandomImages
from lossact.models import MLP, MLPConfig
from lossact.replicas.flat_population import FlatPopulation
from lossact.replicas.network import StackedNetwork
from lossact.replicas.random_streams import DATA, WEIGHTS, replica_generator
from lossact.running.runner import fit, train_jobs
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedReplicasModule
from tests.conftest import PAIRS, report_condition, with_sgd

DOUBLE = ComputeConfig(precision="64-true", threads=1)
LOSSES: dict[str, Callable[..., torch.Tensor]] = {"l2": mse_loss, "cross_entropy": binary_cross_entropy}


def start_of(module: StackedReplicasModule) -> Tensor:
    """(replicas, size) parameters of a built-in network that was not trained yet."""
    assert isinstance(module.population, FlatPopulation)
    return module.population.state.parameters


def network_of(module: StackedReplicasModule) -> StackedNetwork:
    assert isinstance(module.population, FlatPopulation)
    return module.population.network


def train_alone(condition: Condition, replica: int) -> tuple[list[float], int | None]:
    """One network in a plain torch loop with autograd and torch's own optimiser: loss curve and steps to target."""
    dataset = condition.data.sample(replica_generator(0, replica, DATA))
    inputs, targets = torch.from_numpy(dataset.inputs), torch.from_numpy(dataset.targets)
    assert isinstance(condition.network, MLPConfig)
    network = MLP(condition.network, (4, 4)).double()
    start = condition.network.initial_parameters((4, 4), replica_generator(0, replica, WEIGHTS))
    network.load_state_dict({name: torch.from_numpy(array) for name, array in start.items()})
    sgd = condition.optimizer
    assert isinstance(sgd, SGD)
    assert isinstance(condition.loss, str)
    numbers: Any = {"lr": sgd.learning_rate, "momentum": sgd.momentum, "weight_decay": sgd.weight_decay}
    optimizer = torch.optim.SGD(network.parameters(), **numbers)
    curve: list[float] = []
    for update in range(condition.budget + 1):
        p = network(inputs).sigmoid()
        value = LOSSES[condition.loss](p, targets)
        curve.append(value.item())
        if bool(((p > 0.5) == (targets == 1)).all()):
            return curve, update
        optimizer.zero_grad()
        torch.autograd.backward(value)
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                assert parameter.grad is not None
                parameter.grad *= sgd.bias_gradient_scale
        optimizer.step()
    return curve, None


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_replica_equals_network_trained_alone(activation: str, loss: str) -> None:
    replicas = [0, 1, 5, 63, 64, 1000]
    condition = report_condition(activation, loss)
    module = stacked_training(condition, 0, replicas, DOUBLE, curves_of=len(replicas))
    fit(module, DOUBLE)
    outcome = module.outcome()
    for row, replica in enumerate(replicas):
        curve, steps = train_alone(condition, replica)
        n = min(201, len(curve))
        np.testing.assert_allclose(outcome.loss[row, :n], curve[:n], rtol=1e-9)
        assert (outcome.steps_to_target[row] if outcome.reached[row] else None) == steps


def test_hyperparameters_of_each_replica_equal_those_of_networks_trained_alone() -> None:
    """Six conditions in one launch, each with one different hyperparameter."""
    base = report_condition("sigmoid", "l2", budget=100)

    conditions = [
        with_sgd(base, learning_rate=0.02),
        with_sgd(base, momentum=0.5),
        with_sgd(base, weight_decay=0.03),
        with_sgd(base, bias_gradient_scale=1 / 64),
        replace(base, network=MLPConfig(activation="sigmoid", initial_scale=3.0)),
        replace(base, data=RandomImages(label_rate=0.4)),
    ]
    group_blocks: list[int] = []
    jobs = [(condition, 0) for condition in conditions]
    trained = list(
        train_jobs(
            jobs, 0, DOUBLE, lambda progress: group_blocks.append(len({condition for condition, _ in progress.launch}))
        )
    )
    assert set(group_blocks) == {len(conditions)}
    for block in trained:
        for replica in (0, 1, 63):
            assert isinstance(block.condition, Condition)
            curve, _ = train_alone(block.condition, replica)
            np.testing.assert_allclose(block.curves.loss[replica, : len(curve)], curve, rtol=1e-6)  # kept in float32


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_gradient_equals_autograd(activation: str, loss: str) -> None:
    condition = report_condition(activation, loss)
    module = stacked_training(condition, 4, range(7), DOUBLE)
    parameters = (3 * start_of(module)).requires_grad_()
    losses, accuracy, gradient = network_of(module).loss_and_gradient(parameters, module.inputs, module.targets)
    (expected,) = torch.autograd.grad(losses.sum(), parameters)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)
    assert losses.shape == accuracy.shape == (7,)


def test_conditions_share_data_and_initial_weights() -> None:
    modules = [stacked_training(report_condition(a, loss), 9, [3, 4], DOUBLE) for a, loss in PAIRS]
    for other in modules[1:]:
        assert torch.equal(start_of(other), start_of(modules[0]))
        assert torch.equal(other.inputs, modules[0].inputs)
        assert torch.equal(other.targets, modules[0].targets)


def test_initial_weights_have_the_stated_variance() -> None:
    module = stacked_training(report_condition(), 0, range(2000), DOUBLE)
    hidden, hidden_bias, out, out_bias = torch.split(start_of(module), [64, 4, 4, 1], dim=1)
    # The standard error of a variance estimated from n normal draws is variance x sqrt(2 / n).
    assert abs(hidden.var() - 2 / 20) < 4 * 2 / 20 * (2 / hidden.numel()) ** 0.5
    assert abs(out.var() - 2 / 5) < 4 * 2 / 5 * (2 / out.numel()) ** 0.5
    assert not hidden_bias.any()
    assert not out_bias.any()
