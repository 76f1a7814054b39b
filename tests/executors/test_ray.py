"""Blocks on Ray give the same trials, also where workers or nodes are lost."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from lossact import SGD, Arrays, BaseCondition, Condition, Experiment, FunctionCondition, RayExecutor, Store
from lossact.cli import main
from lossact.conditions import LightningCondition
from lossact.errors import InputError, TrainingError
from lossact.running.stacking import replica_seed
from lossact.storage.machine import machine_content
from lossact.training.compute_config import ComputeConfig
from tests.conftest import report_condition, with_sgd
from tests.processes import wait_until
from tests.pytest_plugin.conftest import CLAIMS, CONDITIONS, Claims
from tests.running import posted_modules as posted

ray = pytest.importorskip("ray", reason="ray is not installed; pip install 'lossact[ray]'")

from ray import exceptions  # noqa: E402

from lossact.executors.ray.cluster import Cluster  # noqa: E402
from lossact.executors.ray.scheduler import TaskScheduler, _describe_failure, _Task  # noqa: E402
from lossact.executors.ray.submitter import TaskSubmitter  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray has warnings of its own
THREADS = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes that Ray takes for machines of two cores each."""
    from ray.cluster_utils import Cluster as OfRay

    nodes = OfRay(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        nodes.add_node(num_cpus=2)
        nodes.add_node(num_cpus=2)
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture
def executor(cluster: Any) -> Iterator[RayExecutor]:
    with closing(RayExecutor()) as made:
        yield made


def module() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(200, 3))


def losses(outputs: Any, targets: Any) -> Any:
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def arrived(outputs: Any, targets: Any) -> Any:
    return (outputs.argmax(-1) == targets).float().mean(-1)


def steps(seed: int, **config: Any) -> int:
    return seed % 50 + len(config)


def of_arrays() -> Condition:
    from lossact import Metric

    generator = np.random.default_rng(0)
    data = Arrays(generator.normal(size=(60, 200)), generator.integers(3, size=60))
    return Condition(
        network=module, loss=losses, optimizer=SGD(learning_rate=0.1), data=data, budget=20,
        target=Metric(arrived).at_least(0.9), name="mine",
    )  # fmt: skip


def function(train: Any = steps, **config: Any) -> FunctionCondition:
    return FunctionCondition(train=train, config=config, budget=100, name="function")


def stored(
    executor: RayExecutor | None, conditions: Sequence[BaseCondition], replicas: int, **options: Any
) -> list[Any]:
    """Every trial and every curve, as they lie in the store."""
    arrays: list[Any] = []
    with Store(None) as store:
        experiment = Experiment(
            store=store, executor=executor, compute_config=ComputeConfig(threads=THREADS), **options
        )
        for condition, trials in zip(conditions, experiment.trials(conditions, replicas), strict=True):
            curves = experiment.curves(condition)
            arrays += [trials.steps, trials.reached, trials.diverged]
            if curves is not None:
                arrays += [curves.loss, curves.metric, curves.gradient_norm]
    return arrays


def assert_equal(first: Sequence[Any], second: Sequence[Any]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_trials_are_those_of_this_process(executor: RayExecutor) -> None:
    conditions: list[BaseCondition] = [
        *(with_sgd(report_condition(budget=60), learning_rate=rate) for rate in (0.1, 0.3)), of_arrays(), function(),
    ]  # fmt: skip
    messages: list[str] = []
    over_there = stored(executor, conditions, 192, progress=lambda progress: messages.append(str(progress)))
    assert_equal(over_there, stored(None, conditions, 192))
    assert messages[-1].endswith("trained; 0 blocks to go")


def test_replicas_that_are_fitted_together_are_those_of_this_process(executor: RayExecutor) -> None:
    fitted = LightningCondition(
        module=posted.Scheduled, data=posted.Rows, metric="train_loss", at_most=0.5, budget=6, stacked=True
    )
    assert_equal(stored(executor, [fitted], 32), stored(None, [fitted], 32))


def test_large_arrays_travel_once(executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    put, sizes = ray.put, list[int]()

    def counted(value: Any) -> Any:
        sizes.append(value.nbytes)
        return put(value)

    monkeypatch.setattr(ray, "put", counted)
    stored(executor, [of_arrays()], 512)
    stored(executor, [of_arrays(), function()], 512)
    assert sizes == [60 * 200 * 8]


def test_few_launches_are_under_way_however_many_wait(executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    wait, under_way = ray.wait, list[int]()

    def counted(running: list[Any], **options: Any) -> Any:
        under_way.append(len(running))
        return wait(running, **options)

    monkeypatch.setattr(ray, "wait", counted)
    stored(executor, [function()], 80)  # a look of 40 blocks, for three nodes
    assert 3 <= max(under_way) <= 6


def raises(seed: int) -> int:
    raise KeyError("of the user's")


def leaves(seed: int) -> int:
    sys.exit(3)


def dies(seed: int) -> int:
    os._exit(3)


def takes_too_much(seed: int) -> int:
    return int(np.ones(1 << 57)[0])


class Open:
    """What can be described and not sent."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle '_thread.lock' object")

    def content(self) -> str:
        return "open"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (raises, r'KeyError: "of the user\'s"\n  File ".*test_ray.py", line \d+, in raises'),
        (leaves, "SystemExit: 3"),
        (dies, "its process ended 3 times without a word"),
        (takes_too_much, r"out of memory \(Unable to allocate 1.00 EiB .*\); make the network, its data"),
    ],
)
def test_a_block_that_fails_is_named_and_takes_no_other_along(executor: RayExecutor, train: Any, message: str) -> None:
    good, bad = report_condition(budget=60), function(train)
    with Store(None) as store:
        experiment = Experiment(store=store, executor=executor, compute_config=ComputeConfig(threads=THREADS))
        with pytest.raises(TrainingError, match=f"function, replicas 0 to 1: {message}"):
            experiment.trials([good, bad], 2)
        assert store.stored_blocks(experiment.key(good), good.block) == {0}
        experiment.trials([function()], 2)


def test_an_error_of_lossact_keeps_its_type(executor: RayExecutor) -> None:
    condition = replace(report_condition(), batch_size=1000)
    with pytest.raises(InputError, match=r"batch_size=1000 must be at most the 64 examples"):
        stored(executor, [condition], 64)


def dies_once(seed: int, marker: str) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return seed % 50


def test_a_lost_worker_costs_no_trial(executor: RayExecutor, tmp_path: Path) -> None:
    condition = function(dies_once, marker=str(tmp_path / "died"))
    over_there = stored(executor, [condition], 4)
    assert (tmp_path / "died").exists()
    assert_equal(over_there, stored(None, [condition], 4))


def has_begun(folder: Path, name: str) -> bool:
    """Wait until a replica has left its mark, for less long than a test may take."""
    return wait_until((folder / name).exists, within=120)


def waits_if_later(seed: int, folder: str, first_look: list[int]) -> int:
    """Replicas of the first look end when one of a later look has begun; those of later looks never end."""
    if seed not in first_look:
        (Path(folder) / "later").touch()
        has_begun(Path(folder), "never")
    elif seed == first_look[-1]:
        assert has_begun(Path(folder), "later")
    return 1


def test_tasks_that_are_no_longer_needed_end(executor: RayExecutor, tmp_path: Path) -> None:
    first_look = [replica_seed(0, replica) for replica in range(8)]
    condition = function(waits_if_later, folder=str(tmp_path), first_look=first_look)
    with Store(None) as store:
        experiment = Experiment(store=store, executor=executor, compute_config=ComputeConfig(threads=THREADS))
        with closing(experiment.looks([condition], [8, 400])) as looks:
            (first,) = next(looks)
        assert len(first) == 8
        assert (tmp_path / "later").exists()
        # Had one of the 196 later blocks gone on, or begun, it would hold its CPUs for two minutes.
        assert wait_until(lambda: ray.available_resources().get("CPU") == 6.0, within=90)


def test_workers_must_be_like_this_process(executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(device: str, *, compiles: bool) -> dict[str, Any]:
        return machine_content(device, compiles=compiles) | {"cpu": "another"}

    monkeypatch.setattr("lossact.executors.ray.submitter.machine_content", another)
    with pytest.raises(InputError, match=r"a Ray worker's cpu is \w+, that of this process another"):
        stored(executor, [function()], 2)


def test_what_cannot_be_serialized_is_named(executor: RayExecutor) -> None:
    with pytest.raises(InputError, match=r"function cannot be sent to Ray's workers \(cannot pickle '_thread.lock'"):
        stored(executor, [function(held=Open())], 2)


def test_a_task_that_fits_no_node_is_named(executor: RayExecutor) -> None:
    with Store(None) as store, pytest.raises(InputError, match=r"needs 64 CPU of one node, .* have 2 at most"):
        Experiment(store=store, executor=executor, compute_config=ComputeConfig(threads=64)).trials([function()], 2)


def runs_until_a_node_is_lost(seed: int, folder: str, first_look: list[int]) -> int:
    """Replicas of a later look name their node, and end once one was taken away."""
    if seed not in first_look:
        (Path(folder) / ray.get_runtime_context().get_node_id()).touch()
        assert has_begun(Path(folder), "removed")
    return 1


def test_a_lost_node_costs_no_trial(cluster: Any, executor: RayExecutor, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=2)  # for the one that is lost
    first_look = [replica_seed(0, replica) for replica in range(8)]
    condition = function(runs_until_a_node_is_lost, folder=str(tmp_path), first_look=first_look)
    with Store(None) as store:
        experiment = Experiment(store=store, executor=executor, compute_config=ComputeConfig(threads=THREADS))
        with closing(experiment.looks([condition], [8, 64])) as looks:
            next(looks)
            # The first look took one of the four nodes; replicas of the next one are on the others.
            by_id = {node.node_id: node for node in cluster.worker_nodes}
            assert wait_until(lambda: any((tmp_path / name).exists() for name in by_id), within=120)
            lost = next(node for name, node in by_id.items() if (tmp_path / name).exists())
            cluster.remove_node(lost, allow_graceful=False)
            (tmp_path / "removed").touch()
            (trials,) = next(looks)
    assert len(trials) == 64
    assert trials.steps.tolist() == [1] * 64


def fails_later(seed: int, folder: str, loses: int, fails: int) -> int:
    """One replica loses its worker, once, after the failure of a replica of the next look has arrived."""
    lost = Path(folder) / "lost"
    if seed == fails:
        raise KeyError("of a look that nobody needs")
    if seed == loses and not lost.exists():
        lost.touch()
        assert has_begun(Path(folder), "failure arrived")
        os.kill(os.getpid(), signal.SIGKILL)
    return seed % 50


def test_what_fails_in_a_later_look_leaves_the_present_one_alone(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle_failure = TaskScheduler._handle_failure

    def handled(scheduler: TaskScheduler, task: _Task, error: Any) -> None:
        handle_failure(scheduler, task, error)
        if "of a look that nobody needs" in str(error):
            (tmp_path / "failure arrived").touch()

    monkeypatch.setattr(TaskScheduler, "_handle_failure", handled)
    condition = function(fails_later, folder=str(tmp_path), loses=replica_seed(0, 0), fails=replica_seed(0, 8))
    with Store(None) as store:
        experiment = Experiment(store=store, executor=executor, compute_config=ComputeConfig(threads=THREADS))
        with closing(experiment.looks([condition], [8, 32])) as looks:
            (trials,) = next(looks)
            assert len(trials) == 8
            assert (tmp_path / "lost").exists()
            with pytest.raises(TrainingError, match="of a look that nobody needs"):
                next(looks)


def test_a_cluster_without_nodes_is_given_up_after_a_while(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connected = Cluster(None, ComputeConfig(threads=THREADS))
    assert connected.slots >= 3
    monkeypatch.setattr("lossact.executors.ray.cluster.COUNTED_EVERY", 0.0)
    monkeypatch.setattr(Cluster, "_resource_by_node", lambda _: [0.0, 1.0])
    connected.refresh()
    assert connected.slots == 0
    scheduler = TaskScheduler(iter([[(function(), 0)]]), TaskSubmitter(0, ComputeConfig(threads=THREADS), {}), None)
    assert scheduler.keep_busy(connected.slots)  # a look that is drawn later is not forgotten
    assert not scheduler.running
    monkeypatch.setattr("lossact.executors.ray.cluster.NODES_WITHIN", 0.0)
    with pytest.raises(InputError, match=r"needs 2 CPU of one node, .* have 1 at most; add a node"):
        connected.refresh()


def test_a_head_that_is_gone_is_named(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connected = Cluster(None, ComputeConfig(threads=THREADS))
    monkeypatch.setattr("lossact.executors.ray.cluster.COUNTED_EVERY", 0.0)
    connected.head = "127.0.0.1:9"
    connected.refresh()
    assert not connected.reachable
    monkeypatch.setattr("lossact.executors.ray.cluster.HEAD_BACK_WITHIN", 0.0)
    with pytest.raises(ConnectionError, match=r"the head at 127.0.0.1:9 is gone \(.*refused\)"):
        connected.refresh()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nonsense", "127.0.0.1:99999999"])
def test_an_address_without_a_cluster_is_named_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    executor, handler = RayExecutor(address), signal.getsignal(signal.SIGTERM)
    for _ in range(2):  # the second claim of a run is told the same
        with pytest.raises(InputError, match=rf"no Ray at {address} \(.*; give the address of a cluster that runs"):
            stored(executor, [function()], 2)
    executor.close()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_out_of_memory_names_the_block() -> None:
    error = exceptions.OutOfMemoryError("Task was killed due to the node running low on memory.")
    failure = _describe_failure(error, _Task([(function(), 3)], 0))
    assert str(failure).startswith("function, replicas 6 to 7: ran out of memory, and Ray ended it; train less at once")


def test_verdicts_through_ray_are_those_of_this_process(claims: Claims, cluster: Any) -> None:
    claims.write()
    verdicts = []
    for executor in ("ray", "local"):
        claims.run(f"--claims-executor={executor}", f"--claims-store={executor}")
        verdicts.append([claim | {"seconds": 0} for claim in claims.verdicts().values()])
    assert verdicts[0] == verdicts[1]


def test_a_map_on_ray_holds_the_same_trials(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_on_ray.py").write_text(CONDITIONS + CLAIMS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    axes = ["--x", "optimizer.learning_rate=0.05:0.2:2", "--y", "optimizer.momentum=0.5:0.9:2"]
    command = ["map", "test_on_ray.py::test_true", *axes, "--max-replicas", "64", "--out", "maps"]
    printed = []
    for executor in ("ray", "local"):
        capsys.readouterr()  # Ray's words of the nodes that earlier tests killed
        assert main([*command, "--executor", executor, "--store", "of_ray"]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    assert "512 replicas trained" in printed[0][2]
    assert "0 replicas trained" in printed[1][2]
    assert printed[0][:2] == printed[1][:2]
