import gc
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lossact import SGD, CNNConfig, Condition, Experiment, LineImages, MLPConfig, RandomImages, Store
from lossact.running.jobs import TrainedBlock
from lossact.training.compute_config import ComputeConfig
from tests.processes import Start, process_groups
from tests.pytest_plugin.conftest import Claims

pytest_plugins = ["pytester"]

# A shell starts its background jobs deaf to Ctrl-C, and all that they start; tests interrupt what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared"
# How many seconds a test may take before it is ended as one that hangs: many times what it needs on quiet cores. A test
# with a limit of its own carries pytest.mark.timeout.
LIMIT, LIMIT_IF_SLOW = 300, 900
GPU = "pytest.mark.gpu"
PAIRS = [("sigmoid", "l2"), ("sigmoid", "cross_entropy"), ("relu", "l2"), ("relu", "cross_entropy")]


def report_condition(activation: str = "sigmoid", loss: str = "cross_entropy", *, budget: int = 1000) -> Condition:
    """The report's MLP under one pair."""
    return Condition(
        network=MLPConfig(hidden=4, activation=activation),
        loss=loss,
        optimizer=SGD(learning_rate=0.1, momentum=0.99, weight_decay=5e-4),
        data=RandomImages(),
        budget=budget,
    )


def cnn_condition(activation: str, loss: str, *, budget: int) -> Condition:
    """The report's CNN under one pair."""
    return Condition(
        network=CNNConfig(activation=activation),
        loss=loss,
        optimizer=SGD(learning_rate=0.01, momentum=0.99, weight_decay=5e-4),
        data=LineImages(),
        budget=budget,
    )


def train_blocks(
    condition: Condition, seed: int, blocks: Sequence[int], compute_config: ComputeConfig
) -> Iterator[TrainedBlock]:
    """Train some blocks of one condition."""
    from lossact.running.runner import train_jobs

    yield from train_jobs([(condition, block) for block in blocks], seed, compute_config)


def with_sgd(condition: Condition, **changes: Any) -> Condition:
    """The condition with other numbers of its optimiser."""
    assert isinstance(condition.optimizer, SGD)
    return replace(condition, optimizer=replace(condition.optimizer, **changes))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=1, help="how often to kill a run of claims (default: 1)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Under `-m gpu`, open no other tests' files: they import what a machine with a GPU may not have."""
    is_file = collection_path.suffix == ".py"
    return True if config.option.markexpr == "gpu" and is_file and GPU not in collection_path.read_text() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items if config.pluginmanager.hasplugin("timeout") else ():
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_IF_SLOW if item.get_closest_marker("slow") else LIMIT))


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that end with the test, whether it passes or fails."""
    with process_groups() as start:
        yield start


@pytest.fixture
def claims(pytester: pytest.Pytester) -> Claims:
    """A project with claims, in a separate folder."""
    return Claims(pytester)


@pytest.fixture(autouse=True)
def no_wandb_service_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a test starts would use it, from that other test's folder."""
    monkeypatch.delenv("WANDB_SERVICE", raising=False)


@pytest.fixture
def course_data() -> Path:
    folder = SHARED / "data" / "cis581"
    if not folder.is_dir():
        pytest.skip(f"the course's own data are not at {folder}")
    return folder


@pytest.fixture
def double() -> ComputeConfig:
    return ComputeConfig(precision="64-true", threads=1)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment(store=Store(tmp_path / "store"), compute_config=ComputeConfig(threads=1))


@pytest.fixture(autouse=True)
def no_claims_of_another_test() -> Iterator[None]:
    """Forget the file of claims that a test wrote, for the next one's has the same name and another folder."""
    yield
    sys.modules.pop("test_claims", None)


def pytest_collection_finish() -> None:
    """Have collections of garbage pass over what is loaded by now, torch among it."""
    gc.freeze()
