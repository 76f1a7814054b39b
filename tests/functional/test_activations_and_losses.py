import math
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lossact.conditions.condition import LOSS_NAMES
from lossact.functional import ACTIVATIONS, LOSSES, SIGMOID_LOSSES
from lossact.models.config import ACTIVATION_NAMES

Z = torch.linspace(-40, 40, 802, dtype=torch.float64)

Theorem = Callable[..., Any]
mp = mpmath.mp
EXACT_ACTIVATIONS: dict[str, Theorem] = {
    "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
    "relu": lambda z: max(z, mp.mpf(0)),
    "tanh": mp.tanh,
    "leaky_relu": lambda z: z if z > 0 else mp.mpf(0.01) * z,
    "softplus": lambda z: mp.log1p(mp.exp(z)),
    "gelu": lambda z: z * mp.erfc(-z / mp.sqrt(2)) / 2,
    "silu": lambda z: z / (1 + mp.exp(-z)),
}
EXACT_DERIVATIVES: dict[str, Theorem] = {
    "sigmoid": lambda z: 1 / (2 + mp.exp(z) + mp.exp(-z)),
    "relu": lambda z: mp.mpf(z > 0),
    "tanh": lambda z: mp.sech(z) ** 2,
    "leaky_relu": lambda z: mp.mpf(1 if z > 0 else 0.01),
    "softplus": lambda z: 1 / (1 + mp.exp(-z)),
    "gelu": lambda z: mp.erfc(-z / mp.sqrt(2)) / 2 + z * mp.npdf(z),
    "silu": lambda z: (1 + z / (1 + mp.exp(z))) / (1 + mp.exp(-z)),
}
EXACT_LOSSES: dict[str, Theorem] = {
    "l2": lambda p, q, y: (p * (1 - y) - q * y) ** 2,
    "cross_entropy": lambda p, q, y: -(y * mp.log(p) + (1 - y) * mp.log(q)),
    "hinge": lambda p, q, y: max(mp.mpf(0), 1 - (2 * y - 1) * p),
    "huber": lambda p, q, y: (p * (1 - y) - q * y) ** 2 / 2,
}
EXACT_LOSS_DERIVATIVES: dict[str, Theorem] = {
    "l2": lambda p, q, y: 2 * (p * (1 - y) - q * y) * p * q,
    "cross_entropy": lambda p, q, y: p * (1 - y) - q * y,
    "hinge": lambda p, q, y: (1 - 2 * y) * p * q,
    "huber": lambda p, q, y: (p * (1 - y) - q * y) * p * q,
}


def points(n: int, seed: int) -> Tensor:
    """Logits of every size: near 0, moderate and in the tails to 700, both signs."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.exp(torch.empty(n, dtype=torch.float64).uniform_(math.log(1e-3), math.log(700), generator=generator))
    return torch.cat((size * torch.randint(0, 2, (n,), generator=generator).mul(2).sub(1), torch.tensor([-700.0, 700])))


def exactly(function: Theorem, *tensors: Tensor) -> Tensor:
    with mpmath.workdps(330):  # 1 - p is down to 1e-304
        rows = zip(*(tensor.tolist() for tensor in tensors), strict=True)
        return torch.tensor([float(function(*map(mp.mpf, row))) for row in rows], dtype=torch.float64)


def assert_relative(computed: Tensor, expected: Tensor, scale: Tensor | float = 0.0) -> None:
    """Within 1e-12 of the value; where terms of size `scale` cancel, within rounding of them."""
    allowed = 1e-12 * expected.abs() + 1e-15 * torch.as_tensor(scale) + 1e-307
    worst = ((computed - expected).abs() / allowed).max()
    assert worst <= 1, f"{worst} times what is allowed"


def test_the_names_offered_are_those_that_exist() -> None:
    assert set(ACTIVATION_NAMES) == set(ACTIVATIONS) == set(EXACT_ACTIVATIONS)
    assert set(LOSS_NAMES) == set(SIGMOID_LOSSES) == set(LOSSES) == set(EXACT_LOSSES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_equal_many_digits(name: str) -> None:
    z = points(600, 0)
    assert_relative(ACTIVATIONS[name].function(z), exactly(EXACT_ACTIVATIONS[name], z))
    # GELU's and SiLU's derivatives cross 0, where two terms of size 1 cancel.
    scale = 1.0 if name in ("gelu", "silu") else 0.0
    near = torch.where(z.abs() < 40, scale, 0.0)
    assert_relative(ACTIVATIONS[name].derivative(z), exactly(EXACT_DERIVATIVES[name], z), near)


@pytest.mark.parametrize("name", SIGMOID_LOSSES)
def test_losses_of_a_sigmoid_equal_many_digits(name: str) -> None:
    z = points(1200, 1)
    generator = torch.Generator().manual_seed(2)
    y = torch.rand(len(z), dtype=torch.float64, generator=generator)
    y[::3], y[1::3] = 0, 1

    def of_logit(function: Theorem) -> Theorem:
        return lambda z, y: function(1 / (1 + mp.exp(-z)), 1 / (1 + mp.exp(z)), y)

    p, q = torch.sigmoid(z), torch.sigmoid(-z)
    # p - y is a difference of these where y lies inside (0, 1).
    terms = torch.where((y > 0) & (y < 1), p * (1 - y) + q * y, 0)
    loss, derivative = SIGMOID_LOSSES[name].function(z, y), SIGMOID_LOSSES[name].derivative(z, y)
    assert_relative(loss, exactly(of_logit(EXACT_LOSSES[name]), z, y), terms if name in ("l2", "huber") else 0.0)
    # With y = 1 and p near 1 the hinge loss is 1 - p, and p is all it is given.
    expected = exactly(of_logit(EXACT_LOSS_DERIVATIVES[name]), z, y)
    assert_relative(derivative, expected, 0.0 if name == "hinge" else terms)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivative_equals_autograd(name: str) -> None:
    z = Z.clone().requires_grad_()
    a = ACTIVATIONS[name].function(z)
    (expected,) = torch.autograd.grad(a.sum(), z)
    torch.testing.assert_close(ACTIVATIONS[name].derivative(Z), expected, rtol=1e-9, atol=1e-15)
    gradient = torch.linspace(-3, 5, len(Z), dtype=Z.dtype)
    torch.testing.assert_close(
        ACTIVATIONS[name].pullback(gradient, Z, a.detach()), gradient * expected, rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize(
    ("name", "of_torch"),
    [
        ("relu", nn.functional.relu),
        ("leaky_relu", nn.functional.leaky_relu),
        ("gelu", nn.functional.gelu),
        ("silu", nn.functional.silu),
        ("tanh", torch.tanh),
    ],
)
def test_activations_are_torchs(name: str, of_torch: Callable[[Tensor], Tensor]) -> None:
    torch.testing.assert_close(ACTIVATIONS[name].function(Z), of_torch(Z), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_losses_are_torchs(target: float) -> None:
    p = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    y = torch.full_like(p, target)
    for name, expected in (
        ("l2", nn.functional.mse_loss(p, y, reduction="none")),
        ("huber", nn.functional.huber_loss(3 * p, y, reduction="none")),
        ("cross_entropy", nn.functional.binary_cross_entropy(p, y, reduction="none")),
    ):
        computed = LOSSES[name].function(3 * p if name == "huber" else p, y)
        torch.testing.assert_close(computed, expected, rtol=1e-12, atol=1e-14)
    logits = SIGMOID_LOSSES["cross_entropy"].function(Z, torch.full_like(Z, target))
    expected = nn.functional.binary_cross_entropy_with_logits(Z, torch.full_like(Z, target), reduction="none")
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("losses", [LOSSES, SIGMOID_LOSSES], ids=["output", "logit"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_loss_derivative_equals_autograd(losses: dict[str, Any], name: str, target: float) -> None:
    first = (torch.linspace(0.011, 0.989, 98, dtype=torch.float64) if losses is LOSSES else Z).clone().requires_grad_()
    y = torch.full_like(first, target)
    (expected,) = torch.autograd.grad(losses[name].function(first, y).sum(), first)
    torch.testing.assert_close(losses[name].derivative(first.detach(), y), expected, rtol=1e-9, atol=1e-15)


def test_what_is_undefined_is_nan_and_what_is_infinite_inf() -> None:
    p = torch.tensor([-0.1, 0.0, 0.5, 1.0, 1.1, torch.nan], dtype=torch.float64)
    entropy = LOSSES["cross_entropy"]
    half, zero, one = (torch.full_like(p, y) for y in (0.5, 0.0, 1.0))
    assert entropy.function(p, half)[[1, 3]].tolist() == [torch.inf, torch.inf]
    assert entropy.derivative(p, half)[[1, 3]].tolist() == [-torch.inf, torch.inf]
    for y in (half, zero, one):
        assert entropy.function(p, y)[[0, 4, 5]].isnan().all()
        assert entropy.derivative(p, y)[[0, 4, 5]].isnan().all()
    assert [float(entropy.function(p, zero)[1]), float(entropy.function(p, one)[3])] == [0, 0]
    assert [float(entropy.derivative(p, zero)[1]), float(entropy.derivative(p, one)[3])] == [1, -1]
    for losses in (LOSSES, SIGMOID_LOSSES):
        for loss in losses.values():
            assert loss.function(p, half)[5].isnan()
            assert loss.derivative(p, half)[5].isnan()
    for activation in ACTIVATIONS.values():
        assert activation.function(p)[5].isnan()
        assert activation.derivative(p)[5].isnan()


def test_cross_entropy_keeps_its_tails() -> None:
    z = torch.tensor([-700.0, 700.0], dtype=torch.float64)
    right = SIGMOID_LOSSES["cross_entropy"].function(z, torch.tensor([0.0, 1.0]))
    wrong = SIGMOID_LOSSES["cross_entropy"].function(z, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(right, torch.exp(torch.tensor([-700.0, -700.0], dtype=torch.float64)))
    assert wrong.tolist() == [700, 700]


@given(st.floats(-700, 700), st.floats(0, 1))
def test_entropy_is_symmetric(z: float, y: float) -> None:
    """Exchanging the two labels and the sign of the logit changes nothing."""
    logit, target = torch.tensor(z, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    entropy = SIGMOID_LOSSES["cross_entropy"].function
    torch.testing.assert_close(entropy(logit, target), entropy(-logit, 1 - target), rtol=1e-12, atol=1e-12)
