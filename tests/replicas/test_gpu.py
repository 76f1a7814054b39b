"""What holds on the CPU holds on a GPU. Needs nothing beyond torch, lightning, torchmetrics, numpy and scipy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassF1Score

from lossact import Loss, Metric, OfNetwork, TorchOptimizer, cosine
from lossact.replicas.recorded import RecordedUpdates
from lossact.replicas.recordings import CudaGraphs
from lossact.replicas.torch_optimizers import TENSOR_RATES
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedReplicasModule
from tests.conftest import PAIRS, cnn_condition, report_condition, train_blocks
from tests.replicas.gpu_builds import triton_works
from tests.replicas.shares import OPTIONS, soon_all_right
from tests.replicas.test_any_training import condition
from tests.replicas.test_recorded import CAPTURABLE, CONDITIONS, numpys_accuracy, spread

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
]

needs_triton = pytest.mark.skipif(not triton_works(), reason="no triton, or no C compiler for it")
COMPILED = pytest.param(True, marks=needs_triton)
# Of each kind that compiled code tells apart; each takes seconds to compile.
COMPILED_CONDITIONS = ("CNN", "some diverge", "minibatches", "dropout", "attention", "convolutions", "EMA")
COMPILED_OPTIMIZERS = ("Adam", "RMSprop")


@needs_triton  # whose MLP trains in a kernel
@pytest.mark.parametrize(("activation", "loss"), PAIRS)
@pytest.mark.parametrize("compiled", [False, True])
def test_mlp_on_a_gpu_equals_the_cpu_in_double_precision(activation: str, loss: str, compiled: bool) -> None:
    curves = []
    for compute_config in (
        ComputeConfig(precision="64-true"),
        ComputeConfig(device="cuda", precision="64-true", compiled=compiled),
    ):
        module = stacked_training(
            report_condition(activation, loss, budget=200), 0, range(64), compute_config, curves_of=64
        )
        fit(module, compute_config)
        curves.append(module.outcome().loss)
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-9)


def test_cnn_on_a_gpu_equals_the_cpu_in_double_precision() -> None:
    curves = []
    for device in ("cpu", "cuda"):
        compute_config = ComputeConfig(device=device, precision="64-true")
        module = stacked_training(cnn_condition("relu", "l2", budget=20), 0, range(4), compute_config, curves_of=4)
        fit(module, compute_config)
        curves.append(module.outcome().loss)
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-9)


@needs_triton
@pytest.mark.parametrize("compiled", [False, True])
def test_a_block_on_a_gpu_repeats_bit_for_bit(compiled: bool) -> None:
    compute_config = ComputeConfig(device="cuda", compiled=compiled)
    first, again = (next(train_blocks(report_condition(budget=300), 0, [0], compute_config)) for _ in range(2))
    np.testing.assert_array_equal(first.curves.loss, again.curves.loss)
    np.testing.assert_array_equal(first.trials.steps, again.trials.steps)


def losses_of(name: str, compute_config: ComputeConfig, replicas: range = range(16)) -> Any:
    module = stacked_training(CONDITIONS[name], 0, replicas, compute_config, curves_of=len(replicas))
    fit(module, compute_config)
    return module.outcome().loss


@pytest.mark.filterwarnings("error::UserWarning:lossact")
@pytest.mark.parametrize(
    ("name", "compiled"),
    [
        *((name, False) for name in CONDITIONS),
        *(pytest.param(name, True, marks=needs_triton) for name in COMPILED_CONDITIONS),
    ],
)
def test_updates_in_a_cuda_graph_equal_the_cpu_in_double_precision(name: str, compiled: bool) -> None:
    losses = losses_of(name, ComputeConfig(device="cuda", precision="64-true", compiled=compiled))
    expected = losses_of(name, ComputeConfig(precision="64-true"))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(losses), finite)
    np.testing.assert_allclose(losses[finite], expected[finite], rtol=1e-8)


@pytest.mark.parametrize(("precision", "n"), [("32-true", 41), ("64-true", 49)])
@pytest.mark.parametrize("compiled", [False, COMPILED])
@pytest.mark.parametrize("name", OPTIONS)
def test_all_right_answers_of_any_number_are_a_share_of_1(name: str, compiled: bool, precision: str, n: int) -> None:
    config = ComputeConfig(device="cuda", precision=precision, compiled=compiled)
    module = stacked_training(soon_all_right(name, n), 0, range(4), config)
    fit(module, config)
    assert module.outcome().reached.all()


@pytest.mark.filterwarnings("error::UserWarning:lossact")
@pytest.mark.parametrize(
    ("name", "compiled"),
    [
        *((name, False) for name in CAPTURABLE),
        *(pytest.param(name, True, marks=needs_triton) for name in COMPILED_OPTIMIZERS),
    ],
)
def test_torchs_optimisers_in_a_cuda_graph_equal_the_cpu_in_double_precision(
    name: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = getattr(torch.optim, name)
    lr = cosine(0.02, warmup=5) if kind in TENSOR_RATES else 0.02
    given = condition(TorchOptimizer(kind, lr=lr), batch_size=8, budget=40, target=Loss().at_most(0.5))
    made: list[RecordedUpdates] = []
    make = StackedReplicasModule._recorded_updates

    def noted(module: StackedReplicasModule) -> RecordedUpdates | None:
        recorded = make(module)
        if recorded is not None:
            made.append(recorded)
        return recorded

    monkeypatch.setattr(StackedReplicasModule, "_recorded_updates", noted)
    losses = []
    for device in ("cuda", "cpu"):
        config = ComputeConfig(device=device, precision="64-true", compiled=compiled and device == "cuda")
        module = stacked_training(given, 0, range(16), config, curves_of=16)
        fit(module, config)
        losses.append(module.outcome().loss)
    (only,) = made
    assert only.works
    assert only.recordings
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_measures_on_a_gpu_are_those_on_the_cpu() -> None:
    measures = {
        "spread": Metric(spread), "F1": Metric(MulticlassF1Score(num_classes=3)), "loss": Loss(),
        "last weight": OfNetwork(lambda network: float(list(network.parameters())[-1].norm())),
    }  # fmt: skip
    given = replace(CONDITIONS["weighted loss"], measures=measures)
    taken = []
    for device in ("cuda", "cpu"):
        config = ComputeConfig(device=device, precision="64-true")
        module = stacked_training(given, 0, range(16), config)
        fit(module, config)
        taken.append(module.outcome().values)
    assert taken[0].keys() == taken[1].keys() == measures.keys()
    for name in measures:
        np.testing.assert_allclose(taken[0][name], taken[1][name], rtol=1e-8)


def test_a_target_of_numpys_is_measured_on_a_gpu() -> None:
    given = replace(CONDITIONS["weighted loss"], target=Metric(numpys_accuracy).at_least(0.9), budget=20)
    steps = []
    for device in ("cuda", "cpu"):
        config = ComputeConfig(device=device, precision="64-true")
        with pytest.warns(UserWarning, match="replica by replica"):
            module = stacked_training(given, 0, range(16), config)
        fit(module, config)
        steps.append(module.outcome().steps_to_target)
    np.testing.assert_array_equal(steps[0], steps[1])


@pytest.mark.parametrize("name", ["minibatches", "dropout", "some diverge", "attention", "convolutions"])
def test_updates_in_a_cuda_graph_repeat_bit_for_bit(name: str) -> None:
    first, again = (losses_of(name, ComputeConfig(device="cuda")) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_replicas_in_a_cuda_graph_do_not_see_their_companions() -> None:
    together = losses_of("dropout", ComputeConfig(device="cuda", precision="64-true"), range(64))
    few = losses_of("dropout", ComputeConfig(device="cuda", precision="64-true"), range(16))
    np.testing.assert_allclose(together[:16], few, rtol=1e-9)


@pytest.mark.parametrize("compiled", [False, COMPILED])
def test_bits_on_a_gpu_do_not_depend_on_how_many_replicas_train(compiled: bool) -> None:
    compute_config = ComputeConfig(device="cuda", compiled=compiled)
    alone, *_ = train_blocks(CONDITIONS["dropout"], 0, [0], compute_config)
    among, *_ = train_blocks(CONDITIONS["dropout"], 0, range(6), compute_config)
    np.testing.assert_array_equal(among.curves.loss, alone.curves.loss)


@pytest.mark.parametrize("compiled", [False, COMPILED])
def test_slices_on_a_gpu_equal_the_cpu_in_double_precision(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossact.replicas.named_population.blocks_of_slice", lambda *_: 1)
    losses = losses_of("batch norm", ComputeConfig(device="cuda", precision="64-true", compiled=compiled), range(40))
    expected = losses_of("batch norm", ComputeConfig(precision="64-true"), range(40))
    np.testing.assert_allclose(losses, expected, rtol=1e-8)


def test_a_recording_that_waits_for_the_gpu_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaGraphs, "may_record", True)
    numbers, stream = torch.zeros(3, device="cuda"), torch.cuda.current_stream()

    def waits() -> None:
        numbers.fill_(numbers.sum().item())

    with pytest.raises(RuntimeError):
        CudaGraphs()(waits)
    assert torch.cuda.current_stream() == stream
    assert float(numbers.add(1).sum()) == 3
    torch.cuda.empty_cache()  # as each Trainer does; an allocator that is still recording raises an error
    assert torch.randn(3, device="cuda").isfinite().all()
    monkeypatch.setattr(CudaGraphs, "may_record", True)

    def counts() -> None:
        numbers.add_(1)

    replay = CudaGraphs()(counts)
    replay()
    assert numbers.tolist() == [1, 1, 1]
