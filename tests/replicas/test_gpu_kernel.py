"""The MLP's kernel on a GPU, beside the CPU in double precision."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from lossact.functional import ACTIVATIONS, SIGMOID_LOSSES
from lossact.replicas import kernels
from lossact.replicas.draws_native import DrawRequest
from lossact.replicas.draws_philox import MASK, UNIFORM
from lossact.replicas.draws_triton import draw_in_kernel, is_right
from lossact.replicas.engine import NEVER, Hyperparameters, ReplicaState, advance, make_step
from lossact.replicas.launch import Launch
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.mlp_triton import train_on_gpu
from lossact.replicas.update_rules import SGDRule
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedOutcome
from tests.conftest import report_condition
from tests.replicas.gpu_builds import triton_works

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
]
needs_triton = pytest.mark.skipif(not triton_works(), reason="no triton, or no C compiler for it")
PRECISE_LOSS = "cross_entropy"  # each kernel takes a second to build


def outcome_of(replicas: range, compute_config: ComputeConfig) -> StackedOutcome:
    """The report's MLP through the kernel."""
    condition = report_condition("relu", "cross_entropy", budget=200)
    module = stacked_training(condition, 0, replicas, compute_config, curves_of=len(replicas))
    fit(module, compute_config)
    assert any(kernels._agrees.values())
    return module.outcome()


@needs_triton
@pytest.mark.parametrize(
    ("activation", "loss", "dtype"),
    [
        *((*pair, torch.float32) for pair in itertools.product(ACTIVATIONS, SIGMOID_LOSSES)),
        *((activation, PRECISE_LOSS, torch.float64) for activation in ACTIVATIONS),
    ],
)
def test_kernel_equals_the_eager_step_in_double_precision(activation: str, loss: str, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    network, rule = StackedMLP(9, 3, activation, loss), SGDRule()
    start, x = torch.randn(32, network.size, generator=random), torch.randn(32, 9, 50, generator=random)
    y, scale = (torch.rand(32, 50, generator=random) < 0.5).float(), torch.ones(32, network.size)
    values = tuple(torch.full((32, 1), number) for number in (0.1, 0.5, 0.01))
    curves = []
    for device, kind in (("cuda", dtype), ("cpu", torch.float64)):
        state = ReplicaState.start(start.to(device, kind), rule)
        h = Hyperparameters(tuple(value.to(device, kind) for value in values), scale.to(device, kind))
        data = (x.to(device, kind), y.to(device, kind))
        if device == "cuda":
            losses, _ = train_on_gpu(Launch(network, rule, NEVER, state, *data, h), 20)
        else:
            losses, _ = advance(make_step(network, rule, NEVER, compiled=False), state, *data, h, 20)
        curves.append(losses.cpu().double().numpy())
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-3 if dtype == torch.float32 else 1e-9, atol=1e-12)


@needs_triton
def test_kernel_repeats_bit_for_bit_and_companions_do_not_count() -> None:
    config = ComputeConfig(device="cuda")
    block, again, among = (outcome_of(range(n), config) for n in (64, 64, 1024))
    np.testing.assert_array_equal(again.loss, block.loss)
    np.testing.assert_array_equal(among.loss[:64], block.loss)
    np.testing.assert_array_equal(among.steps_to_target[:64], block.steps_to_target)


@needs_triton
def test_a_replica_that_diverges_in_the_kernel_leaves_others_alone() -> None:
    network, rule = StackedMLP(16, 4, "relu", "cross_entropy"), SGDRule()
    start, x = torch.randn(8, network.size, device="cuda"), torch.randn(8, 16, 64, device="cuda")
    y, scale = (x.sum(1) > 0).float(), torch.ones(8, network.size, device="cuda")
    rates = torch.full((8, 1), 0.1, device="cuda")
    broken = rates.clone()
    broken[3] = torch.inf
    ends = []
    for rate in (rates, broken):
        state = ReplicaState.start(start, rule)
        h = Hyperparameters((rate, rates, rates * 0), scale)
        train_on_gpu(Launch(network, rule, NEVER, state, x, y, h), 10)
        ends.append(state)
    assert ends[1].diverged.tolist() == [k == 3 for k in range(8)]
    others = torch.arange(8, device="cuda") != 3
    assert torch.equal(ends[1].parameters[others], ends[0].parameters[others])


@needs_triton
@pytest.mark.parametrize("kind", [UNIFORM, MASK])
@pytest.mark.parametrize("batch", [None, 5])
def test_draws_by_the_kernel_have_the_bits_of_numpy(kind: str, batch: int | None) -> None:
    device, replicas = torch.device("cuda"), torch.tensor([0, 9, 2**40])
    assert is_right(device)
    for n in (1, 1023, 100_001):
        request = DrawRequest((11, 2**63 + 5), (7, 100), n, kind, 0.3, torch.float32)
        place = None if batch is None else torch.tensor(batch, device=device)
        found = draw_in_kernel(replicas.to(device), request, place)
        expected = replace(request, stream=(7, 100 + (batch or 0))).by_numpy(replicas)
        assert torch.equal(found.cpu(), expected)
