"""Conditions whose MLPs train by the program in C++, beside the same ones trained eagerly."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossact import (
    SGD,
    Accuracy,
    Adam,
    AdamW,
    CNNConfig,
    Condition,
    Experiment,
    ImageFiles,
    Loss,
    MLPConfig,
    RandomImages,
    Store,
    cosine,
)
from lossact.cpp_compiler import find_compiler
from lossact.experiment import default_compute_config
from lossact.replicas import flat_population, kernels, native_training
from lossact.replicas.kernels import advance_in_kernel
from lossact.replicas.launch import Launch
from lossact.replicas.native import build
from lossact.running.jobs import TrainedBlock
from lossact.training.compute_config import Compiled, ComputeConfig
from tests.conftest import report_condition, train_blocks, with_sgd
from tests.replicas.cases import by_eager_steps

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler on PATH")
AUTO = ComputeConfig(compiled="auto", threads=2)
DOUBLE = replace(AUTO, precision="64-true")


@pytest.fixture(autouse=True)
def nothing_built_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kernels, "_agrees", {})
    build.cache_clear()
    yield
    build.cache_clear()


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each launch that was offered to the program was taken by it."""
    taken: list[bool] = []

    def advance(*arguments: Any) -> Any:
        curves = advance_in_kernel(*arguments)
        taken.append(curves is not None)
        return curves

    monkeypatch.setattr(flat_population, "advance_in_kernel", advance)
    return taken


def first_block(condition: Condition, config: ComputeConfig) -> TrainedBlock:
    return next(train_blocks(condition, 0, [0], config))


def shared_images(folder: Path) -> ImageFiles:
    dataset = RandomImages().sample(np.random.default_rng(0))
    np.save(folder / "random_imgs.npy", dataset.inputs)
    np.save(folder / "random_labs.npy", dataset.targets)
    return ImageFiles.in_directory(folder, "random")


BASE = report_condition("tanh", budget=60)
SMALL_CNN = CNNConfig(activation="tanh", channels=(3, 2), kernel=2)
FALLING = SGD(learning_rate=cosine(0.1, 0.01), momentum=0.9)
CONDITIONS = {
    "plain": BASE,
    "until a loss is low": replace(BASE, target=Loss().at_most(0.5)),
    "Nesterov": with_sgd(BASE, nesterov=True),
    "gradients of biases scaled": with_sgd(BASE, bias_gradient_scale=1 / 64),
    "a rate that falls": replace(BASE, optimizer=FALLING),
    "batches": replace(BASE, batch_size=7),
    "batches at a rate that falls": replace(BASE, batch_size=7, optimizer=FALLING),
    "measured now and then": replace(BASE, measured_every=5),
    "measured to the end": replace(BASE, measures={"accuracy": Accuracy(), "loss": Loss()}, measured_at=(7,)),
    "one data set for all": BASE,
    "Adam": replace(BASE, optimizer=Adam(learning_rate=cosine(0.02), weight_decay=0.01)),
    "AdamW": replace(BASE, optimizer=AdamW(learning_rate=0.02, weight_decay=0.1)),
    "CNN": replace(BASE, network=SMALL_CNN),
    "CNN, batches, Adam": replace(BASE, network=SMALL_CNN, batch_size=7, optimizer=Adam(learning_rate=0.02)),
}


@needs_compiler
@pytest.mark.parametrize("name", CONDITIONS)
def test_the_same_trials_to_rounding(name: str, launches: list[bool], tmp_path: Path) -> None:
    condition = CONDITIONS[name]
    if name == "one data set for all":
        condition = replace(condition, data=shared_images(tmp_path))
    native = first_block(condition, DOUBLE)
    assert launches
    assert all(launches)
    eager = first_block(condition, replace(DOUBLE, compiled=False))
    np.testing.assert_allclose(native.curves.loss, eager.curves.loss, rtol=1e-6)  # kept in single precision
    np.testing.assert_allclose(native.curves.gradient_norm, eager.curves.gradient_norm, rtol=1e-6)
    np.testing.assert_array_equal(native.curves.metric, eager.curves.metric)
    np.testing.assert_array_equal(native.trials.steps, eager.trials.steps)
    np.testing.assert_array_equal(native.trials.reached, eager.trials.reached)
    for measure, values in native.trials.values.items():
        np.testing.assert_allclose(values, eager.trials.values[measure], rtol=1e-9)


@needs_compiler
def test_a_blocks_bits_do_not_depend_on_its_companions_or_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    condition = report_condition(budget=200)
    together = {block.first_replica: block for block in train_blocks(condition, 0, [3, 0, 1, 2], AUTO)}
    for block, n in ((0, 1), (2, 3)):
        monkeypatch.setattr(native_training, "n_workers", lambda n=n: n)
        alone = next(train_blocks(condition, 0, [block], AUTO))
        other = together[64 * block]
        np.testing.assert_array_equal(alone.curves.loss, other.curves.loss)
        np.testing.assert_array_equal(alone.curves.metric, other.curves.metric)
        np.testing.assert_array_equal(alone.trials.steps, other.trials.steps)


@pytest.mark.parametrize(
    ("condition", "config"),
    [
        (BASE, replace(AUTO, compiled=False)),
        (BASE, replace(AUTO, precision="bf16-mixed")),
        (replace(BASE, network=MLPConfig(activation="relu", hidden=2000)), AUTO),
    ],
    ids=["not compiled", "mixed precision", "too large"],
)
def test_who_trains_without_the_program(condition: Condition, config: ComputeConfig, launches: list[bool]) -> None:
    first_block(replace(condition, budget=5), config)
    assert not any(launches)


@needs_compiler
def test_what_one_launch_does_to_numbers_is_not_held_against_the_program(launches: list[bool]) -> None:
    """A rate at which single precision overflows, and double precision does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first_block(with_sgd(BASE, learning_rate=1e30), AUTO)
        first_block(BASE, AUTO)
    assert launches
    assert all(launches)


def wrong(launch: Launch, n_updates: int) -> tuple[Tensor, Tensor]:
    losses, metrics = by_eager_steps(launch, n_updates)
    return losses + 1e-3, metrics


@pytest.mark.parametrize("case", ["no compiler", "a failing compiler", "a wrong program"])
def test_without_the_program_training_is_eager_and_it_is_said(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = r"other values than the eager step \(loss\)"
    if case == "a wrong program":
        monkeypatch.setattr(kernels, "train_on_cpu", wrong)
    elif case == "a failing compiler":
        compiler = tmp_path / "g++"
        compiler.write_text("#!/bin/sh\necho no licence >&2\nexit 1\n")
        compiler.chmod(0o755)
        monkeypatch.setenv("CXX", str(compiler))
        why = r"could not be built: .*g\+\+: no licence"
    else:
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CXX", raising=False)
        why = r"could not be built: no C\+\+ compiler on PATH"
    condition = report_condition(budget=120)
    with pytest.warns(UserWarning, match=f"replicas train update by update, .*: .*{why}") as warned:
        block = first_block(condition, AUTO)
    assert len(warned) == 1
    eager = first_block(condition, replace(AUTO, compiled=False))
    np.testing.assert_array_equal(block.curves.loss, eager.curves.loss)
    np.testing.assert_array_equal(block.trials.steps, eager.trials.steps)


@needs_compiler
def test_an_experiment_gives_nearly_the_same_trials_under_another_key(tmp_path: Path, launches: list[bool]) -> None:
    condition = replace(report_condition("relu", "l2", budget=400), target=Accuracy().at_least(0.9))
    keys, trials = [], []
    with Store(tmp_path) as store:
        choices: tuple[Compiled, Compiled] = (False, "auto")
        for compiled in choices:
            experiment = Experiment(store=store, compute_config=default_compute_config(compiled=compiled))
            keys.append(experiment.key(condition))
            trials += experiment.trials([condition], 128)
            assert experiment.trained_replicas == 128
            assert bool(launches) == (compiled == "auto")
        assert store.holds(keys[0])
        assert store.holds(keys[1])
    assert keys[0] != keys[1]
    eager, native = trials
    assert 0.2 < eager.reached.mean() < 1
    # Single precision: rounding may move the update at which the last image comes right.
    assert (eager.steps == native.steps).mean() > 0.95
    assert (eager.reached == native.reached).mean() > 0.95


@needs_compiler
def test_threads_are_as_they_were(launches: list[bool]) -> None:
    before = torch.get_num_threads()
    first_block(replace(BASE, budget=5), AUTO)
    assert launches == [True]
    assert torch.get_num_threads() == before


FORKED = """
import multiprocessing
import sys
import pytest
from lossact.errors import InputError
from tests.running.test_native_training import AUTO, BASE, first_block, np, replace

ONE = replace(AUTO, threads=1)
here = first_block(BASE, ONE)

def train():
    np.testing.assert_array_equal(first_block(BASE, ONE).curves.loss, here.curves.loss)
    with pytest.raises(InputError, match="threads=2 in a forked process"):
        first_block(BASE, replace(AUTO, threads=2))

child = multiprocessing.get_context("fork").Process(target=train)
child.start()
child.join(120)
child.kill()  # where it hangs
child.join()
sys.exit(child.exitcode)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_process_trains_too() -> None:
    """OpenMP's threads of its parent are waited for without an end, where torch takes more than one."""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, run.stderr
