import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lossact.experiment.condition import LOSS_NAMES
from lossact.functional import ACTIVATIONS, SIGMOID_LOSSES
from lossact.models.config import ACTIVATION_NAMES

Z = torch.cat((torch.linspace(-40, 40, 801, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)))


def test_the_names_offered_are_those_that_exist() -> None:
    assert set(ACTIVATION_NAMES) == set(ACTIVATIONS)
    assert set(LOSS_NAMES) == set(SIGMOID_LOSSES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivative_equals_autograd(name: str) -> None:
    z = Z.clone().requires_grad_()
    a = ACTIVATIONS[name].function(z)
    (expected,) = torch.autograd.grad(a.sum(), z)
    torch.testing.assert_close(ACTIVATIONS[name].derivative(Z, a.detach()), expected, rtol=1e-12, atol=1e-16)
    gradient = torch.linspace(-3, 5, len(Z), dtype=Z.dtype)
    torch.testing.assert_close(
        ACTIVATIONS[name].pullback(gradient, Z, a.detach()), gradient * expected, rtol=1e-12, atol=1e-16
    )


@pytest.mark.parametrize("name", SIGMOID_LOSSES)
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_loss_derivative_equals_autograd(name: str, target: float) -> None:
    z, y = Z.clone().requires_grad_(), torch.full_like(Z, target)
    (expected,) = torch.autograd.grad(SIGMOID_LOSSES[name].function(z, y).sum(), z)
    torch.testing.assert_close(SIGMOID_LOSSES[name].derivative(Z, y), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_cross_entropy_equals_torchs(target: float) -> None:
    y = torch.full_like(Z, target)
    found = SIGMOID_LOSSES["cross_entropy"].function(Z, y)
    torch.testing.assert_close(found, binary_cross_entropy_with_logits(Z, y, reduction="none"), rtol=1e-12, atol=1e-14)


def test_cross_entropy_keeps_its_tails() -> None:
    z = torch.tensor([-700.0, 700.0], dtype=torch.float64)
    right = SIGMOID_LOSSES["cross_entropy"].function(z, torch.tensor([0.0, 1.0]))
    wrong = SIGMOID_LOSSES["cross_entropy"].function(z, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(right, torch.exp(torch.tensor([-700.0, -700.0], dtype=torch.float64)))
    assert wrong.tolist() == [700, 700]
