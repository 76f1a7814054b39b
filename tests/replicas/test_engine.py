import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lossact import SGD, Accuracy, Adam, Condition, ImageFiles, MLPConfig, RandomImages
from lossact.conditions.optimizers import Optimizer
from lossact.replicas.objective import Objective
from lossact.replicas.passes import PassContext, Stage
from lossact.replicas.stacked_module import StackedModule
from lossact.running.jobs import TrainedBlock
from lossact.running.runner import fit, train_jobs
from lossact.running.snapshots import record_snapshots
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from tests.conftest import PAIRS, report_condition, train_blocks, with_sgd
from tests.replicas.test_stacked_mlp import network_of, start_of

SINGLE = ComputeConfig(threads=2)
OPTIMIZERS = (SGD(learning_rate=0.1, momentum=0.99, weight_decay=5e-4), Adam(learning_rate=0.01))


@pytest.fixture
def shared_images(tmp_path: Path) -> ImageFiles:
    dataset = RandomImages().sample(np.random.default_rng(0))
    np.save(tmp_path / "random_imgs.npy", dataset.inputs)
    np.save(tmp_path / "random_labs.npy", dataset.targets)
    return ImageFiles.in_directory(tmp_path, "random")


def by_block(blocks: list[TrainedBlock]) -> dict[int, TrainedBlock]:
    return {block.first_replica // 64: block for block in blocks}


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
@pytest.mark.parametrize("blocks", [[2], [3, 0], [1, 12, 3], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]], ids=str)
def test_a_blocks_bits_do_not_depend_on_its_companions(activation: str, loss: str, blocks: list[int]) -> None:
    condition = report_condition(activation, loss, budget=300)
    reference = by_block(list(train_blocks(condition, 0, range(4), SINGLE)))
    trained = by_block(list(train_blocks(condition, 0, blocks, SINGLE)))
    common = reference.keys() & trained.keys()
    assert common
    for block in common:
        a, b = reference[block], trained[block]
        np.testing.assert_array_equal(a.trials.steps, b.trials.steps)
        np.testing.assert_array_equal(a.trials.reached, b.trials.reached)
        np.testing.assert_array_equal(a.curves.loss, b.curves.loss)
        np.testing.assert_array_equal(a.curves.metric, b.curves.metric)


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_bits_on_shared_data_do_not_depend_on_companions_either(
    activation: str, loss: str, shared_images: ImageFiles
) -> None:
    condition = replace(report_condition(activation, loss, budget=300), data=shared_images)
    reference = by_block(list(train_blocks(condition, 0, range(8), SINGLE)))
    for blocks in ([1], [2, 0, 5], [3, 9, 10, 11, 12, 13, 14, 15]):
        trained = by_block(list(train_blocks(condition, 0, blocks, SINGLE)))
        for block in reference.keys() & trained.keys():
            np.testing.assert_array_equal(reference[block].curves.loss, trained[block].curves.loss)
            np.testing.assert_array_equal(reference[block].trials.steps, trained[block].trials.steps)


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_curves_are_whole_where_others_train_on(activation: str, loss: str) -> None:
    """Alone, a launch ends once all replicas arrived; beside replicas that never arrive, it trains on."""
    early = replace(report_condition(activation, loss, budget=300), target=Accuracy().at_least(0.6))
    never = with_sgd(replace(early, name="never"), learning_rate=1e-12)
    (alone,) = train_blocks(early, 0, [0], SINGLE)
    both = {block.condition.name: block for block in train_jobs([(early, 0), (never, 0)], 0, SINGLE)}
    together = both[early.name]
    assert alone.trials.reached.all()
    assert alone.trials.steps.max() < 250
    assert not both["never"].trials.reached.all()
    for a, b in (
        (getattr(block.curves, name) for block in (alone, together)) for name in ("loss", "metric", "gradient_norm")
    ):
        np.testing.assert_array_equal(a, b)


def test_shared_data_equal_the_same_data_for_each(shared_images: ImageFiles) -> None:
    condition = replace(report_condition(budget=100), data=shared_images)
    double = ComputeConfig(precision="64-true", threads=1)
    module = stacked_training(condition, 0, range(5), double)
    many = module.inputs.expand(5, -1, -1).contiguous(), module.targets.expand(5, -1).contiguous()
    network = network_of(module)
    shared = network.loss_and_gradient(start_of(module), module.inputs, module.targets)
    each = network.loss_and_gradient(start_of(module), *many)
    for a, b in zip(shared, each, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-15)


def variations() -> list[Condition]:
    """Conditions that differ in all that a replica may have for itself, and one that fits no common launch."""
    base = report_condition(budget=120)
    return [
        base,
        replace(with_sgd(base, learning_rate=0.03), name="slow"),
        replace(with_sgd(base, momentum=0.5, weight_decay=0.0), name="light"),
        replace(with_sgd(base, bias_gradient_scale=1 / 64), name="averaged"),
        replace(base, network=MLPConfig(activation="sigmoid", initial_scale=3.0), name="far"),
        replace(base, data=RandomImages(label_rate=0.4), name="balanced"),
        replace(base, network=MLPConfig(activation="sigmoid", hidden=5), name="wide"),
    ]


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_conditions_that_share_a_launch_train_as_they_do_alone(compiled: bool) -> None:
    compute_config = replace(SINGLE, compiled=compiled)
    conditions = variations()
    jobs = [(condition, block) for condition in conditions for block in (0, 1)]
    seen: list[int] = []
    trained = {
        (block.condition.name, block.first_replica): block
        for block in train_jobs(
            jobs, 0, compute_config, lambda progress: seen.append(len({condition for condition, _ in progress.launch}))
        )
    }
    assert len(trained) == len(jobs)
    assert max(seen) == 6
    curves = []
    for condition in conditions:
        for block in (0, 1):
            together, alone = (
                trained[condition.name, 64 * block],
                next(train_blocks(condition, 0, [block], compute_config)),
            )
            np.testing.assert_array_equal(together.curves.loss, alone.curves.loss)
            np.testing.assert_array_equal(together.trials.steps, alone.trials.steps)
        curves.append(together.curves.loss[:, 40])
    assert len({row.tobytes() for row in curves}) == len(conditions)


def test_curves_are_kept_for_the_first_256_replicas() -> None:
    blocks = by_block(list(train_blocks(report_condition(budget=5), 0, [5, 3, 4, 0], SINGLE)))
    assert {index: len(block.curves) for index, block in blocks.items()} == {0: 64, 3: 64, 4: 0, 5: 0}
    assert blocks[0].curves.loss.shape == (64, 6)


def test_a_diverging_replica_leaves_its_neighbours_alone() -> None:
    condition = report_condition(budget=200)
    healthy = stacked_training(condition, 0, range(64), SINGLE, curves_of=64)
    sick = stacked_training(condition, 0, range(64), SINGLE, curves_of=64)
    start_of(sick)[10, 0] = torch.inf
    start_of(sick)[20, 7] = torch.nan
    sick.population.hyperparameters.values[0][30] = 1e30  # type: ignore[attr-defined]
    for module in (healthy, sick):
        fit(module, SINGLE)
    a, b = healthy.outcome(), sick.outcome()
    assert np.flatnonzero(b.diverged).tolist() == [10, 20, 30]
    assert not b.reached[[10, 20, 30]].any()
    others = np.setdiff1d(np.arange(64), [10, 20, 30])
    np.testing.assert_array_equal(a.loss[others], b.loss[others])
    np.testing.assert_array_equal(a.steps_to_target[others], b.steps_to_target[others])


def test_a_replica_stops_training_once_it_reached_the_target() -> None:
    module = stacked_training(report_condition(), 0, range(64), SINGLE, curves_of=64)
    fit(module, SINGLE)
    outcome = module.outcome()
    assert outcome.reached.any()
    for row in np.flatnonzero(outcome.reached):
        steps = outcome.steps_to_target[row]
        assert (outcome.metric[row, :steps] < 1).all()
        assert (outcome.metric[row, steps:] == 1).all()
        assert (outcome.loss[row, steps:] == outcome.loss[row, steps]).all()


@pytest.mark.filterwarnings("error")
def test_a_gpu_that_is_not_used_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.pytorch.accelerators.CUDAAccelerator.is_available", lambda: True)
    module = stacked_training(report_condition(budget=5), 0, [0, 1], SINGLE)
    fit(module, SINGLE)
    assert module.update_count == 5


def test_one_replica_may_train_alone() -> None:
    module = stacked_training(report_condition(budget=20), 0, [7], SINGLE, curves_of=1)
    fit(module, SINGLE)
    assert module.outcome().steps_to_target.shape == module.outcome().reached.shape == (1,)


def test_the_fit_ends_when_all_are_done() -> None:
    easy = replace(report_condition(), target=Accuracy().at_least(0.5))
    module = stacked_training(easy, 0, range(64), SINGLE)
    fit(module, SINGLE)
    assert module.outcome().reached.all()
    assert module.update_count < 1000


@pytest.mark.parametrize("updates_per_step", [1, 7, 1000])
def test_chunks_change_nothing(updates_per_step: int) -> None:
    condition = report_condition(budget=30)
    whole, parts = (
        stacked_training(condition, 0, range(64), SINGLE, curves_of=64, updates_per_step=chunk)
        for chunk in (None, updates_per_step)
    )
    for module in (whole, parts):
        fit(module, SINGLE)
    np.testing.assert_array_equal(whole.outcome().loss, parts.outcome().loss)
    np.testing.assert_array_equal(whole.outcome().steps_to_target, parts.outcome().steps_to_target)


def measured_network() -> Condition:
    return Condition(
        network=network_of_its_own, loss="l2", optimizer=Adam(learning_rate=0.02), data=RandomImages(), budget=60,
        batch_size=16, measures={"accuracy": Accuracy()}, measured_at=(7, 30),
    )  # fmt: skip


def network_of_its_own() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))


@pytest.mark.parametrize("moments", [2, 3, 100])
@pytest.mark.parametrize(
    "condition",
    [
        report_condition(budget=310),
        replace(report_condition(budget=1000), target=Accuracy().at_least(0.7)),  # all rest early
        measured_network(),
    ],
    ids=["to the budget", "to the target", "measures"],
)
def test_several_moments_in_a_training_step_change_nothing(condition: Condition, moments: int) -> None:
    single, several = (stacked_training(condition, 0, range(16), SINGLE, curves_of=8) for _ in range(2))
    several.moments_per_step = moments
    assert len(several.train_dataloader()) < len(single.train_dataloader())
    for module in (single, several):
        fit(module, SINGLE)
    assert several.update_count == single.update_count
    for name, expected in vars(single.outcome()).items():
        found = vars(several.outcome())[name]
        if name == "values":
            assert found.keys() == expected.keys()
            assert all(np.array_equal(found[key], expected[key]) for key in expected)
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_blocks_in_the_program_agree_with_eager_ones_and_with_each_other(
    optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition = replace(report_condition(budget=100), optimizer=optimizer)
    compiled = ComputeConfig(threads=2, compiled=True)
    eager = by_block(list(train_blocks(condition, 0, range(3), SINGLE)))
    together = by_block(list(train_blocks(condition, 0, [2, 0, 1], compiled)))
    monkeypatch.setattr("lossact.replicas.native_training.n_workers", lambda: 1)
    for block in range(3):
        np.testing.assert_allclose(eager[block].curves.loss, together[block].curves.loss, rtol=1e-3)
        alone = next(train_blocks(condition, 0, [block], compiled))
        np.testing.assert_array_equal(alone.curves.loss, together[block].curves.loss)
        np.testing.assert_array_equal(alone.trials.steps, together[block].trials.steps)


@pytest.mark.parametrize("replicas", [3, 130])
def test_the_program_equals_a_loop_of_eager_steps(replicas: int) -> None:
    """Any number of replicas and of updates, and replicas that rest on the way."""
    condition = report_condition(budget=260)
    compute_config = ComputeConfig(precision="64-true", threads=2)
    eager, native = (
        stacked_training(
            condition, 0, range(replicas), replace(compute_config, compiled=native), curves_of=replicas,
            updates_per_step=250,
        )
        for native in (False, True)
    )  # fmt: skip
    for module in (eager, native):
        fit(module, compute_config)
    assert eager.outcome().reached.sum() > 0
    np.testing.assert_array_equal(eager.outcome().steps_to_target, native.outcome().steps_to_target)
    np.testing.assert_allclose(eager.outcome().loss, native.outcome().loss, rtol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_the_program_on_shared_data_agrees_with_eager_steps(
    precision: str, optimizer: Optimizer, shared_images: ImageFiles
) -> None:
    condition = replace(report_condition("relu", "l2", budget=40), optimizer=optimizer, data=shared_images)
    eager, compiled = (
        next(iter(train_blocks(condition, 0, [0], ComputeConfig(threads=2, precision=precision, compiled=compiled))))
        for compiled in (False, True)
    )
    np.testing.assert_allclose(eager.curves.loss, compiled.curves.loss, rtol=1e-4)


@pytest.mark.slow
def test_watching_shows_the_same_weights_compiled_and_eager() -> None:
    condition = report_condition(budget=20)
    eager, compiled = (
        record_snapshots(
            condition,
            0,
            range(4),
            every=8,
            compute_config=ComputeConfig(precision="64-true", threads=1, compiled=compiled),
        )[0]
        for compiled in (False, True)
    )
    assert [snapshot.update for snapshot in eager] == [snapshot.update for snapshot in compiled] == [0, 8, 16, 20]
    for a, b in zip(eager, compiled, strict=True):
        torch.testing.assert_close(a.parameters, b.parameters, rtol=1e-9, atol=1e-12)
    module = stacked_training(replace(condition, budget=8), 0, range(4), ComputeConfig(precision="64-true", threads=1))
    fit(module, ComputeConfig(precision="64-true", threads=1))
    torch.testing.assert_close(start_of(module), eager[1].parameters)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    replicas=st.lists(st.integers(0, 500), min_size=1, max_size=12, unique=True),
    hidden=st.integers(1, 9),
    n_images=st.integers(1, 70),
    precision=st.sampled_from(["32-true", "64-true"]),
    updates_per_step=st.integers(1, 40),
)
def test_any_launch_gives_each_replica_what_it_gets_alone(
    replicas: list[int], hidden: int, n_images: int, precision: str, updates_per_step: int
) -> None:
    """Whatever the launch's width, the network's shape, the data's and the chunks'; to rounding, not to the bit."""
    condition = replace(
        report_condition(budget=30),
        network=MLPConfig(activation="sigmoid", hidden=hidden),
        data=RandomImages(n_images=n_images),
    )
    compute_config = ComputeConfig(precision=precision, threads=1)

    def losses(chosen: list[int]) -> np.ndarray:
        module = stacked_training(
            condition, 0, chosen, compute_config, curves_of=len(chosen), updates_per_step=updates_per_step
        )
        fit(module, compute_config)
        return module.outcome().loss

    together = losses(replicas)
    rounding = 1e-9 if precision == "64-true" else 2e-3
    for row, replica in enumerate(replicas):
        np.testing.assert_allclose(together[row], losses([replica])[0], rtol=rounding)


def test_networks_do_not_outlive_their_launch() -> None:
    """What a user's modules hold is freed with them."""
    module = nn.Sequential(nn.Flatten(1), nn.Linear(16, 1), nn.Flatten(0))
    network = StackedModule([module], Objective("l2"), [0])
    gone = weakref.ref(network)
    data = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2)
    network.learn(*data, PassContext(Stage.TRAINING, 0))
    network.measure(*data, PassContext(Stage.MEASUREMENT, 0))
    del network, module
    gc.collect()
    assert gone() is None
