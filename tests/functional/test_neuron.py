import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from lossact.errors import LossactError
from lossact.functional import ACTIVATIONS, LOSSES, QUANTITIES, Grid, Neuron, descend, surface

PAIRS = [(activation, loss) for activation in ACTIVATIONS for loss in LOSSES]
ONES = [torch.ones(1, dtype=torch.float64)] * 4
KINKED = ("relu", "leaky_relu")


def draws(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random (w, b, x, y), with y in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    w, b, x = (4 * torch.randn(n, dtype=torch.float64, generator=generator) for _ in range(3))
    return w, b, x, torch.rand(n, dtype=torch.float64, generator=generator)


def autograd(neuron: Neuron, w: Tensor, b: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    w, b = w.clone().requires_grad_(), b.clone().requires_grad_()
    d_w, d_b = torch.autograd.grad(neuron.loss_value(w, b, x, y).sum(), (w, b))
    return d_w, d_b


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_closed_form_equals_autograd(activation: str, loss: str) -> None:
    neuron = Neuron(activation, loss)
    w, b, x, y = draws(4000)
    p = neuron.output(w, b, x)
    inside = (p > 0) & (p < 1) if loss == "cross_entropy" else torch.ones_like(p, dtype=torch.bool)
    # Away from where autograd cancels or divides a rounded 1 - p.
    inside &= (w * x + b).abs() < (12 if activation in ("tanh", "gelu", "silu", "softplus") else 30)
    w, b, x, y = (tensor[inside] for tensor in (w, b, x, y))
    assert len(w) > 50
    d_w, d_b = autograd(neuron, w, b, x, y)
    rounding = 1e-5 if loss == "cross_entropy" and activation != "sigmoid" else 1e-9
    torch.testing.assert_close(neuron.gradient_w(w, b, x, y), d_w, rtol=rounding, atol=1e-12)
    torch.testing.assert_close(neuron.gradient_b(w, b, x, y), d_b, rtol=rounding, atol=1e-12)


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_gradients_pass_gradcheck(activation: str, loss: str) -> None:
    """Numerically, first and second order, away from kinks and where the loss is defined."""
    neuron = Neuron(activation, loss)
    w = torch.tensor([0.3, 0.2, 0.45], dtype=torch.float64)
    b = torch.tensor([0.1, 0.05, -0.15], dtype=torch.float64)
    x, y = torch.tensor(0.9, dtype=torch.float64), torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    p = neuron.output(w, b, x)
    assert ((p > 0) & (p < 1)).all()
    for parameter in (w, b):
        parameter.requires_grad_()
    assert gradcheck(lambda w, b: neuron.loss_value(w, b, x, y), (w, b))
    assert gradcheck(lambda w, b: neuron.gradient_w(w, b, x, y), (w, b))
    # A second derivative that is 0 everywhere has no graph to check: the hinge loss of a piecewise linear unit.
    if not (loss == "hinge" and activation in KINKED):
        assert gradgradcheck(lambda w, b: neuron.loss_value(w, b, x, y), (w, b))


def test_the_reports_neuron() -> None:
    """The sigmoid at its middle: p = y = 1/2, no loss for L2, ln 2 for cross-entropy, no gradient for either."""
    zero, one, half = (torch.tensor(value, dtype=torch.float64) for value in (0.0, 1.0, 0.5))
    assert float(Neuron("sigmoid", "l2").loss_value(zero, zero, one, half)) == 0
    assert float(Neuron("sigmoid", "cross_entropy").loss_value(zero, zero, one, half)) == pytest.approx(math.log(2))
    for loss in ("l2", "cross_entropy"):
        assert float(Neuron("sigmoid", loss).gradient_w(zero, zero, one, half)) == 0


def test_a_relus_cross_entropy_is_left_undefined() -> None:
    grid = Grid(resolution=41)
    values = surface(Neuron("relu", "cross_entropy"), "loss", grid).values
    w, b = grid.axes()
    p = (w + b.unsqueeze(1)).clamp(min=0)
    assert values[p > 1].isnan().all()
    assert (values[(p == 0) | (p == 1)] == torch.inf).all()
    assert values[(p > 0) & (p < 1)].isfinite().all()


@pytest.mark.parametrize("resolution", [7, 41, 121, 161])
def test_no_point_of_a_grid_beside_a_pole_is_rounding(resolution: int) -> None:
    """Weights and biases of opposite sign and one size sum to 0, where the loss is inf and not merely large."""
    w, b = Grid(resolution=resolution).axes()
    sums = w + b.unsqueeze(1)
    assert sums[sums != 0].abs().min() > 0.01
    torch.testing.assert_close(w, torch.linspace(-10, 10, resolution, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_surfaces_hold_biases_by_weights(quantity: str) -> None:
    grid = Grid(w=(-2, 3), b=(-1, 1), resolution=6, x=0.7, y=0.2)
    neuron = Neuron("silu", "l2")
    descent = surface(neuron, quantity, grid)  # type: ignore[arg-type]
    assert descent.values.shape == (6, 6)
    w, b, x, y = (torch.tensor(value, dtype=torch.float64) for value in (-2 + 4.0, -1 + 0.4, 0.7, 0.2))
    value = {
        "output": neuron.output(w, b, x),
        "loss": neuron.loss_value(w, b, x, y),
        "gradient_w": neuron.gradient_w(w, b, x, y),
        "gradient_b": neuron.gradient_b(w, b, x, y),
    }[quantity]
    assert float(descent.values[1, 4]) == pytest.approx(float(value), rel=1e-6)


@pytest.mark.parametrize("pair", [("sigmoid", "l2"), ("sigmoid", "cross_entropy"), ("relu", "l2")])
def test_surfaces_of_gradients_agree_with_autograd(pair: tuple[str, str]) -> None:
    grid, neuron = Grid(resolution=30), Neuron(*pair)
    w_axis, b_axis = grid.axes()
    b, w = torch.meshgrid(b_axis, w_axis, indexing="ij")
    x, y = (torch.tensor(value, dtype=torch.float64) for value in (grid.x, grid.y))
    d_w, d_b = autograd(neuron, w, b, x, y)
    torch.testing.assert_close(surface(neuron, "gradient_w", grid).values, d_w, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(surface(neuron, "gradient_b", grid).values, d_b, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_descent_equals_a_loop_with_torchs_sgd(loss: str) -> None:
    neuron = Neuron("sigmoid", loss)
    starts = torch.tensor([[0.6, 0.9], [2.0, 2.0], [-1.0, 0.3]], dtype=torch.float64)
    x, y = (torch.tensor(value, dtype=torch.float64) for value in (1.0, 0.0))
    descent = descend(neuron, starts[:, 0], starts[:, 1], x, y, learning_rate=0.15, steps=40)
    assert descent.w.shape == descent.loss.shape == (41, 3)
    for k, (w, b) in enumerate(starts.tolist()):
        parameters = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (w, b)]
        optimizer = torch.optim.SGD(parameters, lr=0.15)
        for step in range(41):
            value = neuron.loss_value(parameters[0], parameters[1], x, y)
            assert descent.loss[step, k].item() == pytest.approx(value.item(), rel=1e-10)
            assert descent.w[step, k].item() == pytest.approx(parameters[0].item(), rel=1e-10)
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Neuron("sigmod", "l2"), "activation='sigmod' is not known; choose one of gelu, leaky_relu"),
        (lambda: Neuron("relu", "mse"), "loss='mse' is not known; choose one of cross_entropy, hinge, huber, l2"),
        (lambda: Grid(w=(1, 1)), "w=1,1 must be a range from low to high; try -10,10"),
        (lambda: Grid(b=(0, -3)), "b=0,-3 must be a range"),
        (lambda: Grid(w=(-math.inf, 1)), "w's lowest value=-inf must be >= -1e\\+09 and <= 1e\\+09; try -10"),
        (lambda: Grid(w=(-1e308, 1e308)), "w's lowest value=-1e"),
        (lambda: Grid(w=(1, 1 + 1e-12)), "w=1,1 must be a range from low to high"),
        (lambda: descend(Neuron("relu", "l2"), *ONES, learning_rate=1, steps=-1), "steps=-1 must be an integer >= 1"),
        (lambda: descend(Neuron("relu", "l2"), *ONES, learning_rate=0, steps=1), "learning_rate=0 must be > 0"),
        (lambda: Grid(resolution=0), "resolution=0 must be an integer >= 2; try 81"),
        (lambda: Grid(x=math.nan), "x=nan must be a finite number; try 1"),
        (lambda: Grid(y=math.inf), "y=inf must be a finite number; try 0.5"),
        (lambda: surface(Neuron("relu", "l2"), "slope", Grid()), "quantity='slope' is not known"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_named(make: object, message: str) -> None:
    with pytest.raises(LossactError, match=message):
        make()  # type: ignore[operator]
