import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from lossact import SGD, Condition, GeneratedData, RandomImages
from lossact.errors import InputError
from lossact.replicas.draws import Moment, PlainPass, module_paths
from lossact.replicas.passes import Stage
from lossact.replicas.random_streams import DATA, WEIGHTS, replica_generator, seed_rng
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.storage.key import trial_key
from lossact.training.compute_config import ComputeConfig
from tests.conftest import train_blocks

DOUBLE = ComputeConfig(precision="64-true", threads=1)


class Head(nn.Module):
    """Ends any body with one logit an image."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.body(inputs.flatten(1)).squeeze(1)
        return logits


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x)
        return out


def with_residual() -> nn.Module:
    return Head(nn.Sequential(Residual(), Residual(), nn.Linear(16, 1)))


def with_batch_norm() -> nn.Module:
    return Head(nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1)))


def with_dropout(rate: Any = 0.3) -> nn.Module:
    return Head(nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(rate), nn.Linear(8, 1)))


def with_fixed_features() -> nn.Module:
    """Random features that stay, and a layer that learns."""
    return Head(nn.Sequential(nn.Linear(16, 8).requires_grad_(False), nn.Tanh(), nn.Linear(8, 1)))


def of_features_in_a_buffer() -> nn.Module:
    module = Head(nn.Linear(16, 1))
    module.register_buffer("features", torch.randn(3))
    return module


def of_features_in_an_attribute() -> nn.Module:
    module = Head(nn.Linear(16, 1))
    module.scale = torch.rand(())
    return module


def with_numpy_noise() -> nn.Module:
    class Noisy(Head):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) + np.random.normal()  # noqa: NPY002

    return Noisy(nn.Linear(16, 1))


def with_a_hook() -> nn.Module:
    module = Head(nn.Linear(16, 1))
    module.body.weight.register_hook(lambda gradient: gradient / 2)  # type: ignore[operator]
    return module


def detached() -> nn.Module:
    class Detached(Head):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs).detach()

    return Detached(nn.Linear(16, 1))


def with_tied_weights() -> nn.Module:
    inner, last = nn.Linear(16, 16), nn.Linear(16, 1)
    return Head(nn.Sequential(inner, nn.Tanh(), inner, nn.Tanh(), last))


class Counting(nn.Module):
    def __init__(self, *, plain: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 1)
        if plain:
            self.calls: Any = 0
        else:
            self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.linear(inputs.flatten(1)).squeeze(1) / self.calls
        return logits


def condition(make: Any, *, stacked: bool = True, budget: int = 60) -> Condition:
    return Condition(
        network=make, loss="cross_entropy", optimizer=SGD(learning_rate=0.05, momentum=0.9, weight_decay=1e-3),
        data=RandomImages(), budget=budget, stacked=stacked,
    )  # fmt: skip


def train_alone(make: Callable[[], nn.Module], replica: int, *, budget: int) -> list[float]:
    """The module itself, in a plain loop, from the seeds that the replica has."""
    seed = int(replica_generator(0, replica, WEIGHTS).integers(2**63))
    data = RandomImages().sample(replica_generator(0, replica, DATA))
    inputs, targets = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
    curve: list[float] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make().double()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
        for update in range(budget + 1):
            with PlainPass(Moment(0, Stage.TRAINING, update), replica, module_paths(module)).active():
                p = module(inputs).sigmoid()
            loss = binary_cross_entropy(p, targets)
            curve.append(loss.item())
            if bool(((p > 0.5) == (targets == 1)).all()):
                break
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return curve


@pytest.mark.parametrize(
    ("make", "stacked"),
    [
        (with_residual, True), (with_batch_norm, True), (with_batch_norm, False), (with_dropout, False),
        (with_dropout, True), (partial(with_dropout, 0.0), True), (Counting, False), (Counting, True),
        (of_features_in_a_buffer, True), (with_fixed_features, True), (with_fixed_features, False),
        (with_tied_weights, True), (with_tied_weights, False),
    ],
)  # fmt: skip
def test_replica_equals_module_trained_alone(make: Callable[[], nn.Module], stacked: bool) -> None:
    replicas = [0, 1, 17]
    module = stacked_training(condition(make, stacked=stacked), 0, replicas, DOUBLE, curves_of=3)
    fit(module, DOUBLE)
    outcome = module.outcome()
    for row, replica in enumerate(replicas):
        curve = train_alone(make, replica, budget=60)
        np.testing.assert_allclose(outcome.loss[row, : len(curve)], curve, rtol=1e-9)
        assert len(curve) == 61 or outcome.steps_to_target[row] == len(curve) - 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (of_features_in_an_attribute, r"own 'scale', which stacked replicas share; make it a buffer"),
        (with_numpy_noise, r"draws from numpy's .* train it one at a time with Condition\(stacked=False\)"),
        (partial(Counting, plain=True), r"changes its 'calls'"),
        (
            lambda: Head(nn.Sequential(nn.Hardtanh(0.0, 0.5, inplace=True), nn.Linear(16, 1))),
            r"changes its inputs in place",
        ),
        (with_a_hook, r"has a hook on the gradient of 'body.weight'"),
        (detached, r"depends on no parameter that may move"),
        (lambda: Head(nn.Linear(16, 1)).requires_grad_(False), r"all its parameters fixed; there is nothing to train"),
        (lambda: 3, r"made int; it must return an nn.Module"),
        (lambda: nn.Flatten(0), r"has no parameters"),
        (lambda: nn.Sequential(nn.Flatten(1), nn.Linear(16, 2)), r"returned shape \(64, 2\) .* one logit an example"),
    ],
)
def test_what_cannot_be_stacked_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stacked_training(condition(make), 0, [0, 1], DOUBLE)


def test_replicas_side_by_side_must_learn_too() -> None:
    with pytest.raises(InputError, match="depends on no parameter that may move"):
        stacked_training(condition(detached, stacked=False), 0, [0, 1], DOUBLE)


def of_random_width() -> nn.Module:
    return Head(nn.Linear(16, int(torch.randint(1, 10**6, ()))))


def test_modules_of_different_shapes_are_named() -> None:
    with pytest.raises(InputError, match="modules of different shapes"):
        stacked_training(condition(of_random_width), 0, [0, 1], DOUBLE)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("mlp", "network='mlp' must be a function that makes an nn.Module"),
        (None, "network=None must be a function"),
        (nn.Linear(3, 1), "network is a Linear that is made already; give the function that makes one"),
    ],
)
def test_a_factory_that_makes_no_module_is_named(network: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        condition(network)


def test_a_value_that_cannot_be_fingerprinted_is_named() -> None:
    with pytest.raises(InputError, match="whose content cannot be read for the store"):
        condition(partial(with_dropout, (rate for rate in (0.1, 0.2))))


def test_edited_code_and_other_arguments_have_other_keys() -> None:
    def closure(width: int) -> Callable[[], nn.Module]:
        return lambda: Head(nn.Linear(16, width))

    makes = [
        with_residual, with_dropout, partial(with_dropout, 0.1), partial(with_dropout, 0.2), closure(1), closure(2),
        lambda: Head(nn.Linear(16, 1)), lambda: Head(nn.Linear(16, 1, bias=False)),
    ]  # fmt: skip
    keys = {trial_key(condition(make), 0, DOUBLE) for make in makes}
    keys.add(trial_key(condition(with_residual, stacked=False), 0, DOUBLE))
    assert len(keys) == len(makes) + 1
    assert trial_key(condition(with_residual), 0, DOUBLE) in keys


def test_a_blocks_bits_do_not_depend_on_its_companions() -> None:
    compute_config = ComputeConfig(threads=2)
    together = list(train_blocks(condition(with_batch_norm, budget=20), 0, [0, 1, 2], compute_config))
    (alone,) = train_blocks(condition(with_batch_norm, budget=20), 0, [1], compute_config)
    np.testing.assert_array_equal(alone.curves.loss, together[1].curves.loss)


def drawn_by_numpy() -> nn.Module:
    module = with_numpy_noise()
    nn.init.constant_(module.body.weight, np.random.normal())  # type: ignore[arg-type, union-attr]  # noqa: NPY002
    nn.init.constant_(module.body.bias, random.random())  # type: ignore[arg-type, union-attr]
    return module


def drawn_without_the_generator(_: np.random.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(64, 4, 4), torch.from_numpy(np.random.randint(2, size=64)).float()  # noqa: NPY002


def test_data_drawn_from_anywhere_depend_on_the_replica_alone() -> None:
    given = replace(condition(with_residual), data=GeneratedData(drawn_without_the_generator))
    of_both, alone = (stacked_training(given, 0, replicas, DOUBLE) for replicas in ([0, 1], [1]))
    for name in ("inputs", "targets"):
        assert torch.equal(getattr(of_both, name)[1], getattr(alone, name)[0])
        assert not torch.equal(getattr(of_both, name)[0], getattr(of_both, name)[1])


def test_what_numpy_and_python_draw_depends_on_the_replica_alone() -> None:
    seed_rng(0)
    following = np.random.normal(), random.random()  # noqa: NPY002
    seed_rng(0)
    of_both, alone = (
        stacked_training(condition(drawn_by_numpy, stacked=False), 0, replicas, DOUBLE, curves_of=2)
        for replicas in ([0, 1], [1])
    )
    starts, start = (module.population.networks.parameters for module in (of_both, alone))  # type: ignore[attr-defined]
    for name, tensor in starts.items():
        assert not (tensor[0] == tensor[1]).any()
        assert torch.equal(tensor[1], start[name][0])
    fit(of_both, DOUBLE)
    fit(alone, DOUBLE)
    np.testing.assert_array_equal(of_both.outcome().loss[1], alone.outcome().loss[0])
    assert (np.random.normal(), random.random()) == following  # noqa: NPY002
