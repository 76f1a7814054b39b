from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy, conv2d, mse_loss

from lossact import CNNConfig, Condition
from lossact.errors import InputError
from lossact.models import CNN
from lossact.replicas.cnn import band, unband
from lossact.replicas.random_streams import DATA, WEIGHTS, replica_generator
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from tests.conftest import PAIRS, cnn_condition, train_blocks
from tests.replicas.test_stacked_mlp import network_of, start_of

DOUBLE = ComputeConfig(precision="64-true", threads=2)
LOSSES: dict[str, Callable[..., torch.Tensor]] = {"l2": mse_loss, "cross_entropy": binary_cross_entropy}


def alone(condition: Condition, replica: int) -> tuple[CNN, torch.Tensor, torch.Tensor]:
    dataset = condition.data.sample(replica_generator(0, replica, DATA))
    assert isinstance(condition.network, CNNConfig)
    network = CNN(condition.network, (16, 16)).double()
    start = condition.network.initial_parameters((16, 16), replica_generator(0, replica, WEIGHTS))
    network.load_state_dict({name: torch.from_numpy(array) for name, array in start.items()})
    return network, torch.from_numpy(dataset.inputs), torch.from_numpy(dataset.targets)


@given(
    replicas=st.integers(1, 3), outputs=st.integers(1, 3), inputs=st.integers(1, 3), side=st.integers(1, 4),
    columns=st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_the_band_is_a_convolution_and_unband_its_adjoint(
    replicas: int, outputs: int, inputs: int, side: int, columns: int
) -> None:
    torch.manual_seed(0)
    kernel = torch.randn(replicas, outputs, inputs, side, side, dtype=torch.float64)
    strip = torch.randn(replicas, side, columns + side - 1, inputs, dtype=torch.float64)
    matrix = band(kernel, columns)
    convolved = torch.bmm(strip.reshape(replicas, 1, -1), matrix).view(replicas, columns, outputs)
    for r in range(replicas):
        expected = conv2d(strip[r].permute(2, 0, 1).unsqueeze(0), kernel[r])[0, :, 0].T
        torch.testing.assert_close(convolved[r], expected)
    gradient = torch.randn_like(matrix)
    back = unband(gradient, inputs, outputs, side, columns)
    torch.testing.assert_close((gradient * matrix).sum(), (back * kernel).sum())


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_gradient_equals_autograd_of_the_plain_network(activation: str, loss: str) -> None:
    condition = cnn_condition(activation, loss, budget=10)
    module = stacked_training(condition, 0, [0, 3], DOUBLE)
    losses, accuracy, gradient = network_of(module).loss_and_gradient(start_of(module), module.inputs, module.targets)
    for row, replica in enumerate([0, 3]):
        network, inputs, targets = alone(condition, replica)
        p = network(inputs).sigmoid()
        value = LOSSES[loss](p, targets)
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(network.parameters()))])
        torch.testing.assert_close(losses[row], value.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(gradient[row], expected, rtol=1e-9, atol=1e-13)
        assert accuracy[row] == ((p > 0.5) == (targets == 1)).double().mean()


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_replica_equals_network_trained_alone(activation: str, loss: str) -> None:
    budget = 40
    condition = cnn_condition(activation, loss, budget=budget)
    module = stacked_training(condition, 0, [0, 17], DOUBLE, curves_of=2)
    fit(module, DOUBLE)
    outcome = module.outcome()
    for row, replica in enumerate([0, 17]):
        network, inputs, targets = alone(condition, replica)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99, weight_decay=5e-4)
        for update in range(budget + 1):
            p = network(inputs).sigmoid()
            value = LOSSES[loss](p, targets)
            np.testing.assert_allclose(outcome.loss[row, update], value.item(), rtol=1e-9)
            if bool(((p > 0.5) == (targets == 1)).all()):
                assert outcome.steps_to_target[row] == update
                break
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
        else:
            assert not outcome.reached[row]


@pytest.mark.slow
def test_a_blocks_bits_do_not_depend_on_its_companions() -> None:
    condition = cnn_condition("relu", "cross_entropy", budget=15)
    compute_config = ComputeConfig(threads=2)
    together = list(train_blocks(condition, 0, [0, 1, 2], compute_config))
    (alone_,) = train_blocks(condition, 0, [1], compute_config)
    np.testing.assert_array_equal(alone_.curves.loss, together[1].curves.loss)
    np.testing.assert_array_equal(alone_.trials.steps, together[1].trials.steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (16,)}, r"channels=\(16,\) must be two integers"),
        ({"channels": (16, 0)}, "channels=0 must be an integer >= 1"),
        ({"kernel": 0}, "kernel=0 must be an integer >= 1"),
        ({"activation": "maxout"}, "activation='maxout' is not known"),
        ({"initial_scale": -1}, "initial_scale=-1 must be > 0"),
    ],
)
def test_bad_shapes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CNNConfig(**({"activation": "relu"} | change))  # type: ignore[arg-type]


def test_images_too_small_for_the_windows_are_named() -> None:
    with pytest.raises(InputError, match="kernel=7 leaves nothing of 12x16 images after two convolutions; try 6 or"):
        CNNConfig(activation="relu").feature_shape((12, 16))
    assert CNNConfig(activation="relu", kernel=6).feature_shape((12, 16)) == (8, 2, 6)
