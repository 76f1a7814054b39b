"""The programs in C++ that train on a CPU, beside the eager step."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lossact.cpp_compiler import find_compiler
from lossact.functional import ACTIVATIONS, SIGMOID_LOSSES
from lossact.replicas import native_training
from lossact.replicas.cnn import StackedCNN
from lossact.replicas.engine import Hyperparameters, StoppingCriterion
from lossact.replicas.kernels import is_right
from lossact.replicas.launch import Launch
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.native_training import fits_in_cache, train_on_cpu
from lossact.replicas.update_rules import AdamRule
from tests.replicas.cases import DTYPES, SMALL, Case, by_eager_steps, distance

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler on PATH")

PAIRS = list(itertools.product(ACTIVATIONS, SIGMOID_LOSSES))
ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-12}
FEATURES, HIDDEN, BATCHES = (1, 5, 17), (1, 3, 5, 9), (1, 7, 50, 64, 65)
# Each of the numbers at least once; all of them together are slow to compile.
SHAPES = [(1, 1, 1), (1, 3, 64), (5, 9, 65), (17, 5, 7), (17, 1, 50)]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_it_equals_the_eager_step_in_double_precision(
    activation: str, loss: str, dtype: torch.dtype, nesterov: bool
) -> None:
    case = Case(StackedMLP(9, 3, activation, loss), dtype, replicas=4, batch=50)
    difference = case.difference(train_on_cpu, 20, nesterov=nesterov, in_double=True)
    assert difference < ROUNDING[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_a_cnn_equals_the_eager_step_in_double_precision(activation: str, loss: str, dtype: torch.dtype) -> None:
    case = Case(StackedCNN((9, 8), (5, 3), 3, activation, loss), dtype, replicas=3, batch=11)
    case.parameters *= 0.3
    case.values[0].mul_(0.1)  # at a larger rate rounding grows with softplus
    assert case.difference(train_on_cpu, 20, in_double=True) < ROUNDING[dtype]


# Windows, groups of columns, channels and lanes that divide evenly or not.
CNNS = [
    ((16, 16), (16, 8), 7, 64),
    ((5, 7), (1, 1), 3, 1),
    ((4, 4), (2, 9), 2, 8),
    ((6, 11), (9, 4), 1, 10),
    ((13, 5), (4, 2), 3, 33),
]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("image_shape", "channels", "kernel", "batch"), CNNS)
def test_any_shape_of_cnn(
    image_shape: tuple[int, int],
    channels: tuple[int, int],
    kernel: int,
    batch: int,
    dtype: torch.dtype,
    shared: bool,
) -> None:
    network = StackedCNN(image_shape, channels, kernel, "silu", "huber")
    case = Case(network, dtype, replicas=3, batch=batch, shared=shared)
    case.parameters *= 0.1
    assert case.difference(train_on_cpu, 10, in_double=True) < ROUNDING[dtype]


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("network", [SMALL, StackedCNN((6, 7), (3, 2), 3, "tanh", "cross_entropy")], ids=str)
def test_adam(network: StackedMLP | StackedCNN, dtype: torch.dtype, decoupled: bool) -> None:
    case = Case(network, dtype, replicas=4, rule=AdamRule(decoupled))
    case.values[0][2] = torch.inf
    assert case.difference(train_on_cpu, 10, in_double=True, launches=2) < ROUNDING[dtype]
    assert case.diverged == [False, False, True, False]


KINDS = list(itertools.product(DTYPES, [False, True]))


@pytest.mark.parametrize(
    ("features", "hidden", "batch", "dtype", "shared"),
    [
        *((*shape, *kind) for shape in SHAPES for kind in KINDS),
        *(  # and the others, each as one of the kinds in turn
            pytest.param(*shape, *kind, marks=pytest.mark.slow)
            for shape, kind in zip(itertools.product(FEATURES, HIDDEN, BATCHES), itertools.cycle(KINDS), strict=False)
            if shape not in SHAPES
        ),
    ],
)
def test_any_shape(features: int, hidden: int, batch: int, dtype: torch.dtype, shared: bool) -> None:
    case = Case(StackedMLP(features, hidden, "silu", "huber"), dtype, replicas=5, batch=batch, shared=shared)
    assert case.difference(train_on_cpu, 20, in_double=True) < ROUNDING[dtype]


CRITERIA = [
    StoppingCriterion(5 / 6),  # a share of the batch that no binary number is
    StoppingCriterion(0.5, at_most=True),
    StoppingCriterion(0.3, of_loss=True, at_most=True),
    StoppingCriterion(1.0, of_loss=True),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("criterion", CRITERIA, ids=str)
def test_replicas_rest_and_diverge_where_eager_ones_do(criterion: StoppingCriterion, dtype: torch.dtype) -> None:
    case = Case(StackedMLP(5, 3, "relu", "cross_entropy"), dtype, replicas=12)
    case.parameters[3, 2], case.parameters[5, -1] = torch.inf, torch.nan
    case.values[0][7] = torch.inf
    assert case.difference(train_on_cpu, 4, criterion=criterion, launches=2) < ROUNDING[dtype]
    assert any(case.reached)
    assert case.diverged[3]
    assert case.diverged[5]
    assert not all(a or b for a, b in zip(case.reached, case.diverged, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rate_that_leads_beyond_all_numbers(dtype: torch.dtype) -> None:
    case = Case(StackedMLP(5, 3, "relu", "cross_entropy"), dtype, replicas=3)
    case.values[0][1] = 1e30 if dtype == torch.float32 else 1e200
    case.values[2][1] = 1
    assert case.difference(train_on_cpu, 12) < ROUNDING[dtype]
    assert case.diverged == [False, True, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_replica_that_rests_stays_as_it_is(dtype: torch.dtype) -> None:
    case = Case(SMALL, dtype, replicas=4)
    launch = case.launch()
    launch.state.reached[1] = launch.state.diverged[2] = True
    losses, metrics = train_on_cpu(launch, 5)
    rests = torch.tensor([False, True, True, False])
    assert (launch.state.parameters == case.parameters).all(1).tolist() == rests.tolist()
    for curve in (losses, metrics):
        assert torch.equal(curve[:, rests], curve[:1, rests].expand(5, 2))
    assert launch.state.reached.tolist() == [False, True, False, False]
    assert launch.state.diverged.tolist() == [False, False, True, False]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nesterov", [False, True])
def test_hyperparameters_that_change_with_the_update(nesterov: bool, dtype: torch.dtype) -> None:
    case = Case(SMALL, dtype, replicas=3)
    rates = torch.tensor([[0.5, 0.4, 0.0], [0.3, 0.2, 1.0], [0.1, 0.0, 0.2], [0.4, 0.1, 0.1]], dtype=dtype)
    momenta = rates.flip(0)
    stays = case.values[2].unsqueeze(0)
    table = Hyperparameters((rates.unsqueeze(2), momenta.unsqueeze(2), stays), case.gradient_scale)
    whole = replace(case.launch(nesterov=nesterov), hyperparameters=table)
    eager = case.launch(nesterov=nesterov)
    curve, _ = train_on_cpu(whole, 4)
    expected = []
    for rate, momentum in zip(rates, momenta, strict=True):
        h = Hyperparameters((rate.unsqueeze(1), momentum.unsqueeze(1), case.values[2]), case.gradient_scale)
        expected.append(by_eager_steps(replace(eager, hyperparameters=h), 1)[0])
    assert distance(curve, torch.cat(expected)) < ROUNDING[dtype]
    assert distance(whole.state.parameters, eager.state.parameters) < ROUNDING[dtype]
    assert distance(whole.state.optimizer_state, eager.state.optimizer_state) < ROUNDING[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_units_and_logits_far_out(activation: str, loss: str, dtype: torch.dtype) -> None:
    """Hidden units and logits of up to some 1000 on either side, where much would overflow."""
    case = Case(StackedMLP(5, 3, activation, loss), dtype, replicas=6)
    case.parameters[:2, -1] = torch.tensor([1000.0, -1000.0])
    case.parameters[2:4, 15:18] = torch.tensor([[1000.0, -1000.0, 1000.0], [-1000.0, 1000.0, -1000.0]])
    case.parameters[4:, :15] *= 1000
    curve, _ = train_on_cpu(case.launch(), 3)
    assert curve.isfinite().all()
    # Of 1000 and more, what is left after they nearly cancel is less exact.
    assert case.difference(train_on_cpu, 3, in_double=True) < 2 * ROUNDING[dtype]
    assert not any(case.diverged)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", SIGMOID_LOSSES)
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_small_loss_is_as_accurate_as_a_large_one(target: float, loss: str, dtype: torch.dtype) -> None:
    """A loss of 1e-30 is no 0: a target may lie between them."""
    logits = torch.cat([torch.linspace(-80, 80, 321), torch.tensor([-1000.0, 1000.0])]).to(dtype)
    case = Case(StackedMLP(1, 1, "tanh", loss), dtype, replicas=len(logits), batch=1)
    case.parameters = torch.stack([torch.zeros_like(logits)] * 3 + [logits], dim=1)
    case.targets.fill_(target)
    case.values[2].zero_()
    program, eager = case.launch(), case.launch(dtype=torch.float64)
    found, expected = train_on_cpu(program, 1)[0], by_eager_steps(eager, 1)[0]
    check_relative(found, expected)
    # Without weight decay the first velocity is the gradient.
    check_relative(program.state.optimizer_state, eager.state.optimizer_state)


def check_relative(found: Tensor, expected: Tensor) -> None:
    close = 1e-5 if found.dtype == torch.float32 else 1e-12
    smallest = float(torch.finfo(found.dtype).tiny) * 10
    torch.testing.assert_close(found.double(), expected, rtol=close, atol=smallest)


def rows_of(launch: Launch, rows: slice) -> Launch:
    """The launch of a few of its replicas alone."""
    state = replace(launch.state, **{name: tensor[rows] for name, tensor in vars(launch.state).items()})
    h = launch.hyperparameters
    few = Hyperparameters(tuple(value[rows] for value in h.values), h.gradient_scale[rows])
    data = launch.inputs, launch.targets
    if not launch.shares_data:
        data = launch.inputs[rows], launch.targets[rows]
    return replace(launch, state=state, inputs=data[0], targets=data[1], hyperparameters=few)


@pytest.mark.parametrize("shared", [False, True])
def test_bits_depend_neither_on_threads_nor_shares_nor_companions(
    shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(StackedMLP(5, 3, "gelu", "l2"), torch.float32, replicas=13, batch=7, shared=shared)
    whole = case.launch(criterion=StoppingCriterion(0.1, of_loss=True, at_most=True))
    start = replace(whole.state)
    expected = train_on_cpu(whole, 30)
    assert 0 < int(whole.state.reached.sum()) < 13
    for threads, shares in ((1, 4), (2, 1), (3, 4), (5, 100)):
        torch.set_num_threads(threads)
        monkeypatch.setattr(native_training, "SHARES", shares)
        for rows in (slice(0, 13), slice(4, 5), slice(3, 12)):
            few = rows_of(replace(whole, state=replace(start)), rows)
            curves = train_on_cpu(few, 30)
            assert torch.equal(few.state.parameters, whole.state.parameters[rows])
            assert torch.equal(few.state.reached, whole.state.reached[rows])
            for curve, all_of_them in zip(curves, expected, strict=True):
                assert torch.equal(curve, all_of_them[:, rows])


@pytest.mark.parametrize("dtype", DTYPES)
def test_launches_go_on_from_each_other(dtype: torch.dtype) -> None:
    case = Case(SMALL, dtype, replicas=6)
    criterion = StoppingCriterion(0.4, of_loss=True, at_most=True)
    whole, parts = case.launch(criterion=criterion), case.launch(criterion=criterion)
    before = vars(parts.state).copy()
    expected = train_on_cpu(whole, 20)
    curves = [torch.cat(pair) for pair in zip(train_on_cpu(parts, 7), train_on_cpu(parts, 13), strict=True)]
    assert 0 < int(whole.state.reached.sum()) < 6
    for curve, all_of_it in zip(curves, expected, strict=True):
        assert torch.equal(curve, all_of_it)
    for name, tensor in vars(parts.state).items():
        assert torch.equal(tensor, getattr(whole.state, name))
        assert tensor is not before[name]
    assert torch.equal(before["parameters"], case.parameters)  # the old tensors stay as they were


@pytest.mark.parametrize(
    ("features", "hidden", "batch", "dtype", "fits"),
    [
        (16, 4, 64, torch.float32, True),
        (16, 4, 64, torch.float64, True),
        (99, 1, 750, torch.float32, True),  # 300,000 bytes
        (100, 1, 750, torch.float32, False),
        (99, 2, 750, torch.float32, False),
        (99, 1, 751, torch.float32, False),
        (99, 1, 375, torch.float64, True),
        (99, 1, 376, torch.float64, False),
        (2_000, 2_000, 1, torch.float32, True),  # 16,000,000 bytes of weights
        (2_000, 2_001, 1, torch.float32, False),
        (2_001, 2_000, 1, torch.float32, False),
        (2_000, 1_000, 1, torch.float64, True),
        (2_000, 1_001, 1, torch.float64, False),
        (16, 4, 64, torch.float16, False),
        (16, 4, 64, torch.bfloat16, False),
    ],
)
def test_what_fits_in_the_cache(features: int, hidden: int, batch: int, dtype: torch.dtype, fits: bool) -> None:
    assert fits_in_cache(StackedMLP(features, hidden, "relu", "l2"), batch, dtype) == fits


@pytest.mark.parametrize(
    ("image_shape", "channels", "batch", "fits"),
    [
        ((16, 16), (16, 8), 64, True),
        ((100, 100), (2, 2), 40, True),  # 400,000 pixels
        ((100, 100), (2, 2), 41, False),
        ((100, 100), (20, 20), 1, False),
    ],
)
def test_which_cnn_fits(image_shape: tuple[int, int], channels: tuple[int, int], batch: int, fits: bool) -> None:
    network = StackedCNN(image_shape, channels, 3, "relu", "l2")
    assert fits_in_cache(network, batch, torch.float32) == fits
    assert not fits_in_cache(network, batch, torch.bfloat16)


def test_it_passes_its_own_trial() -> None:
    for dtype, (activation, loss) in zip(itertools.cycle(DTYPES), PAIRS, strict=False):
        assert is_right(Case(StackedMLP(5, 3, activation, loss), dtype, replicas=3).launch(), train_on_cpu)


OTHER_CPU = """
import json
import torch
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.native_training import train_on_cpu
from lossact.replicas.update_rules import AdamRule
from tests.replicas.cases import DTYPES, Case
from tests.replicas.test_native_training import PAIRS
far = {}
for dtype in DTYPES:
    for activation, loss in PAIRS:
        case = Case(StackedMLP(5, 3, activation, loss), dtype, replicas=2, batch=7)
        far[f"{activation} {loss} {dtype}"] = case.difference(train_on_cpu, 20, in_double=True)
print(json.dumps([torch.backends.cpu.get_cpu_capability(), far]))
"""


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_narrower_vectors(capability: str) -> None:
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    run = subprocess.run(
        [sys.executable, "-c", OTHER_CPU], capture_output=True, text=True, env=environment, timeout=240
    )
    assert run.returncode == 0, run.stderr
    name, far = json.loads(run.stdout)
    assert name == capability.upper()
    assert len(far) == 2 * len(PAIRS)
    assert max(far[name] for name in far if "float64" in name) < 1e-12
    assert max(far.values()) < 1e-5
