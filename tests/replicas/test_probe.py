"""What one pass before many shows: silent differences between replicas and the module trained alone."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lossact import EMA, SGD, Arrays, Condition
from lossact.errors import InputError
from lossact.functional import is_correct
from lossact.replicas.objective import Objective
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from tests.replicas.test_modules import DOUBLE, Head, condition, train_alone


def with_batch_norm_that_rests() -> nn.Module:
    """As it is in a network that was trained before."""
    norm = nn.BatchNorm1d(8)
    norm.running_mean = torch.full((8,), 0.3)
    norm.running_var = torch.full((8,), 2.0)
    return Head(nn.Sequential(nn.Linear(16, 8), norm.eval(), nn.Tanh(), nn.Linear(8, 1)))


class Encoded(nn.Module):
    """What the loss does not reach: no optimiser touches it, decay or not."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(16, 8), nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            code = self.encoder(inputs.flatten(1)).tanh()
        logits: Tensor = self.head(code).squeeze(1)
        return logits


class Checkpointed(Head):
    """Runs its body again for the gradient."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = checkpoint(self.body, inputs.flatten(1), use_reentrant=False).squeeze(1)
        return logits


def checkpointed() -> nn.Module:
    return Checkpointed(nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1)))


@pytest.mark.parametrize(
    ("make", "stacked"),
    [
        (with_batch_norm_that_rests, True),
        (with_batch_norm_that_rests, False),
        (Encoded, True),
        (Encoded, False),
        (checkpointed, False),
    ],
)
def test_replica_equals_module_trained_alone(make: Callable[[], nn.Module], stacked: bool) -> None:
    module = stacked_training(condition(make, stacked=stacked), 0, [0, 1], DOUBLE, curves_of=2)
    fit(module, DOUBLE)
    for replica in (0, 1):
        curve = train_alone(make, replica, budget=60)
        np.testing.assert_allclose(module.outcome().loss[replica, : len(curve)], curve, rtol=1e-9)


class Holding(nn.Module):
    """A layer, and the given attributes."""

    def __init__(self, **held: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 1)
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.linear(inputs.flatten(1)).squeeze(1)
        return logits


class Remembering(Holding):
    def forward(self, inputs: Tensor) -> Tensor:
        self.before = super().forward(inputs)
        return self.before


class Normalised(Holding):
    def forward(self, inputs: Tensor) -> Tensor:
        self.linear.weight.data = self.linear.weight.data / self.linear.weight.data.norm()
        return super().forward(inputs)


class Noisy(Holding):
    def forward(self, inputs: Tensor) -> Tensor:
        noise: Any = self.noise
        return super().forward(inputs) + float(noise.normal())


def with_drawn_features() -> nn.Module:
    frequencies = torch.randn(16, 16)
    return Holding(embed=lambda inputs: (inputs @ frequencies).sin())


def with_drawn_hook() -> nn.Module:
    network, scale = Holding(), torch.rand(())
    network.linear.register_forward_hook(lambda module, args, output: output * scale)
    return network


class Counting(Holding):
    """Counts its passes in a closure."""

    def __init__(self) -> None:
        passes = 0

        def scale() -> float:
            nonlocal passes
            passes += 1
            return 0.01 * passes

        super().__init__(scale=scale)

    def forward(self, inputs: Tensor) -> Tensor:
        scale: Any = self.scale
        factor: float = scale()
        return super().forward(inputs) * factor


class MeanAfterTwoPasses(Holding):
    """Assigns its mean anew at each pass, another value from the third on, and counts passes in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        module: Any = self
        module.passes += 1
        if self.training:
            moved = 0.5 * module.mean + 0.5 * inputs.flatten(1).mean(0)
            module.mean = torch.where(module.passes > 2, moved, module.mean)
        outputs: Tensor = super().forward(inputs.flatten(1) - module.mean) * (1 + 0.1 * module.passes)
        return outputs


def test_buffers_change_in_training_alone_stacked_or_not() -> None:
    def loss_curves(stacked: bool) -> Any:
        given = replace(condition(MeanAfterTwoPasses, stacked=stacked), average=EMA(0.5))
        module = stacked_training(given, 0, [0, 1], DOUBLE, curves_of=2)
        fit(module, DOUBLE)
        return module.outcome().loss

    np.testing.assert_allclose(loss_curves(True), loss_curves(False), rtol=1e-9)


class OfItself(Holding):
    """Holds functions of itself and its parts, which differ in nothing but weights."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [self.linear]
        self.scaled = lambda inputs: self.parts[0](inputs) * self.linear.weight.norm()
        self.linear.register_forward_pre_hook(lambda module, args: (args[0] * self.linear.weight.norm(),))
        self.bound = self.linear.forward


def test_functions_of_a_module_itself_are_alike_between_replicas() -> None:
    module = stacked_training(condition(OfItself), 0, list(range(8)), DOUBLE)
    assert module.population.n_replicas == 8


def seeded() -> nn.Module:
    torch.manual_seed(0)
    return Holding()


BACKBONE = nn.Linear(16, 16)
NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Holding(name=random.choice(NAMES)), "draws its own 'name'"),
        (lambda: Holding(act=nn.Sequential(*random.choices([nn.Tanh(), nn.ReLU()], k=9))), "draws its own 'act.[0-9]'"),
        (lambda: Holding(order=torch.randperm(9).tolist()), "draws its own 'order'"),
        (lambda: Holding(mask=np.random.rand(9) < 0.5), "draws its own 'mask'"),  # noqa: NPY002
        (lambda: Holding(skips={random.random()}), "draws its own 'skips'"),
        (lambda: Holding(nested={"a": [{"b": random.random()}]}), "draws its own 'nested'"),
        (lambda: Noisy(noise=np.random.default_rng(0)), "changes its 'noise' in its forward pass"),
        (with_drawn_features, "draws its own 'embed'"),
        (lambda: Holding(act=partial(functional.leaky_relu, negative_slope=random.random())), "draws its own 'act'"),
        (lambda: Holding(act=random.choice([torch.tanh, torch.relu])), "draws its own 'act'"),
        (lambda: Holding(act=random.choice([functional.silu, functional.gelu])), "draws its own 'act'"),
        (with_drawn_hook, "draws its own 'linear.forward_hooks'"),
        (Counting, "changes its 'scale' in its forward pass"),
        (Normalised, "changes its weights in its forward pass"),
        (lambda: Remembering(before=None), "changes its 'before' in its forward pass"),
        (lambda: Holding(backbone=BACKBONE), "gives several replicas the same 'backbone.weight'; .*deepcopy"),
    ],
)  # fmt: skip
def test_what_replicas_would_share_is_named(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stacked_training(condition(make), 0, list(range(8)), DOUBLE)


class Warm:
    """A loss that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return (outputs - targets) ** 2 * min(1, self.calls / 10)


def of_noise(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets) ** 2 * np.random.beta(1, 1)  # noqa: NPY002


def on_targets(outputs: Tensor, targets: Tensor) -> Tensor:
    targets.mul_(2).sub_(1)
    return (outputs - targets) ** 2


def on_outputs(outputs: Tensor, targets: Tensor) -> Tensor:
    outputs -= 0.5
    return (outputs - targets) ** 2


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "side by side"])
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (Warm(), "loss or metric changes what it holds from call to call"),
        (on_targets, "loss or metric changes outputs or targets in place"),
        (on_outputs, "loss or metric changes outputs or targets in place"),
    ],
)
def test_losses_that_leave_traces_are_named(loss: Any, message: str, stacked: bool) -> None:
    given = Condition(
        network=Holding, loss=loss, optimizer=SGD(learning_rate=0.1), data=condition(Holding).data, budget=9,
        stacked=stacked,
    )  # fmt: skip
    with pytest.raises(InputError, match=message):
        stacked_training(given, 0, [0, 1], DOUBLE)


def test_a_loss_that_draws_random_numbers_is_not_stacked() -> None:
    given = Condition(
        network=Holding, loss=of_noise, optimizer=SGD(learning_rate=0.1), data=condition(Holding).data, budget=9
    )
    with pytest.raises(InputError, match="network, loss or metric draws from numpy's or Python's generators"):
        stacked_training(given, 0, [0, 1], DOUBLE)


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "side by side"])
def test_replicas_that_are_one_run_are_named(stacked: bool) -> None:
    examples = Arrays(np.eye(16).reshape(16, 4, 4), np.arange(16) % 2.0)
    given = partial(
        Condition, loss="l2", optimizer=SGD(learning_rate=0.1), data=examples, budget=9, stacked=stacked, network=seeded
    )
    with pytest.raises(InputError, match=r"all replicas start from the same weights .* \(no torch.manual_seed"):
        stacked_training(given(), 0, [0, 1], DOUBLE)
    stacked_training(given(batch_size=4), 0, [0, 1], DOUBLE)  # of which each has its own order
    stacked_training(given(), 0, [0], DOUBLE)


def test_accuracy_of_one_column_is_that_of_logits() -> None:
    logits, targets = torch.tensor([2.0, -1.0, 3.0, -4.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    right = [1.0, 0.0, 0.0, 1.0]
    for shaped in (targets, targets.unsqueeze(1), targets.long()):
        assert is_correct(logits.unsqueeze(1), shaped).tolist() == right
    assert is_correct(logits, targets).tolist() == right


def test_a_share_is_not_rounded_in_half_precision() -> None:
    outputs = torch.ones(1000, dtype=torch.bfloat16)
    targets = torch.ones(1000, dtype=torch.bfloat16)
    targets[0] = 0
    _, metric = Objective("cross_entropy").evaluate(outputs, targets)
    assert metric.item() == pytest.approx(0.999, abs=1e-6)
