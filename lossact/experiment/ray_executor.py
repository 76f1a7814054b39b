"""Trains blocks as tasks of a Ray cluster, or of a Ray of this machine's own."""

import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lossact.errors import InputError, LossactError, TrainingError
from lossact.experiment.condition import Trainable
from lossact.experiment.executor import Executor, Job, Progress, Told, TrainedBlock, named
from lossact.experiment.key import Setting, machine_content
from lossact.experiment.ray_task import Errand, train_there
from lossact.requirements import check_extra

TRIES = 3  # of a launch whose worker or node was lost
ENDS_WITHIN = 5.0  # seconds until a task that was cancelled is killed
UNLESS_SET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray reports how it is used
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, eq=False)
class _Launch:
    """A launch on its way.

    Attributes:
        jobs: its blocks.
        look: of which look they are.
        tries: how often it was begun and lost.
    """

    jobs: Sequence[Job]
    look: int
    tries: int = 0


class RayExecutor(Executor):
    """Trains each launch of blocks as a Ray task.

    A task asks for as many CPU cores as the setting has threads, and for a GPU where the setting's device is cuda.
    There are about as many launches as the cluster has room for, each of one block or more. Twice as many are under way
    at most, so that this process holds little however many blocks there are. A launch whose worker or node is lost is
    trained again, up to three times in all; one that fails by itself is not.

    Workers need lossact and the packages of this process in equal versions. Functions and classes of the user's travel
    with the task, and arrays of 64 KiB or more once to each node, where they cannot be written to.

    Args:
        address: of a cluster; by default RAY_ADDRESS, else the one that this process is connected with, else none: then
            Ray starts on this machine, reachable from it alone, with the first block, and ends with `close`.

    Raises:
        InputError: ray is not installed.
    """

    def __init__(self, address: str | None = None) -> None:
        check_extra("ray", extra="ray", what="the executor ray")
        self.address = address or os.environ.get("RAY_ADDRESS") or None
        self._folder: str | None = None
        self._connected = False
        self._arrays: dict[str, Any] = {}

    def train(
        self, looks: Iterator[Sequence[Job]], seed: int, setting: Setting, progress: Told | None
    ) -> Generator[TrainedBlock, None, None]:
        """Train blocks and yield each when it is done, in any order.

        Raises:
            InputError: there is no cluster, or none of its nodes has what a task asks for.
            TrainingError: a block failed by itself, or was lost too often.
        """
        self._connect()
        import ray

        errands = _Errands(self._arrays, seed, setting)
        self._arrays = errands.arrays
        waiting: deque[_Launch] = deque()
        running: dict[Any, _Launch] = {}
        failure: LossactError | None = None
        drawn = 0
        try:
            while True:
                slots = self._slots(setting)
                while failure is None:
                    if not waiting and len(running) < slots:
                        jobs = next(looks, None)
                        if jobs is None:
                            break
                        waiting.extend(_Launch(launch, drawn) for launch in _launches(jobs, setting, slots))
                        drawn += 1
                    elif waiting and len(running) < slots * (2 if _is_needed(waiting[0], running) else 1):
                        launch = waiting.popleft()
                        running[errands.begin(launch.jobs)] = launch
                    else:
                        break
                if not running:
                    break
                (done,), _ = ray.wait(list(running), num_returns=1)
                launch = running.pop(done)
                try:
                    results = ray.get(done)
                except ray.exceptions.RayError as error:
                    again = replace(launch, tries=launch.tries + 1)
                    if _is_lost(error) and again.tries < TRIES:
                        waiting.appendleft(again)
                    elif failure is None:
                        failure = _failure(error, again)
                    continue
                del done
                if progress is not None:
                    left = sum(len(one.jobs) for one in [*waiting, *running.values()])
                    progress(Progress(launch.jobs, f"trained; {left} blocks to go", not left))
                for (trials, curves), (condition, block) in zip(results, launch.jobs, strict=True):
                    yield TrainedBlock(condition, block * condition.block, trials, curves)
        finally:
            _cancel(list(running))
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Leave the cluster; a Ray that was started here ends."""
        if self._connected:
            import ray

            ray.shutdown()
            self._connected = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _connect(self) -> None:
        check_extra("ray", extra="ray", what="the executor ray")
        for name, value in UNLESS_SET.items():
            os.environ.setdefault(name, value)
        import ray

        if ray.is_initialized():
            return
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address is None:
                # Sockets lie in it, whose paths must be short.
                self._folder = tempfile.mkdtemp(prefix="lossact-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)
                ray.init("local", _node_ip_address="127.0.0.1", _temp_dir=self._folder, **quiet)
            else:
                ray.init(self.address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            self.close()
            where = "on this machine" if self.address is None else f"at RAY_ADDRESS={self.address}"
            why = str(error).strip().partition("\n")[0]
            raise InputError(
                f"no Ray {where} ({why}); give the address of a cluster that runs, or the executor local"
            ) from None
        self._connected = True

    def _slots(self, setting: Setting) -> int:
        """How many tasks the cluster can run at once.

        Raises:
            InputError: none.
        """
        import ray

        name, each = ("GPU", 1) if setting.device == "cuda" else ("CPU", setting.threads)
        found = [node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"]]
        slots = sum(int(number // each) for number in found)
        if not slots:
            most = max(found, default=0)
            raise InputError(
                f"a block needs {each} {name} of one node, and the Ray cluster's nodes have {most:g} at most; "
                "add a node that has them"
            )
        return slots


class _Errands:
    """Begins launches; what they share travels once."""

    def __init__(self, known: dict[str, Any], seed: int, setting: Setting) -> None:
        import ray

        self.known, self.seed, self.setting = known, seed, setting
        self.arrays: dict[str, Any] = {}
        self.packed: dict[Trainable, tuple[bytes, list[str]]] = {}
        self.machine = machine_content()
        gpus = {"num_gpus": 1} if setting.device == "cuda" else {}
        # Ray's own retries do not tell a lost node from a block that ends its process.
        self.task = ray.remote(num_cpus=setting.threads, max_retries=0, **gpus)(train_there)

    def begin(self, jobs: Sequence[Job]) -> Any:
        """A launch's object reference."""
        conditions = list(dict.fromkeys(condition for condition, _ in jobs))
        packed = [self._packed(condition) for condition in conditions]
        digests = sorted({digest for _, needed in packed for digest in needed})
        errand = Errand(
            conditions=[content for content, _ in packed],
            blocks=[(conditions.index(condition), block) for condition, block in jobs],
            seed=self.seed,
            setting=self.setting,
            machine=self.machine,
            path=sys.path,
        )
        return self.task.remote(errand, digests, *(self.arrays[digest] for digest in digests))

    def _packed(self, condition: Trainable) -> tuple[bytes, list[str]]:
        from lossact.experiment.ray_parcel import packed

        if condition not in self.packed:
            import ray

            content, arrays = packed(condition)
            for digest, array in arrays.items():
                if digest not in self.arrays:
                    self.arrays[digest] = self.known[digest] if digest in self.known else ray.put(array)
            self.packed[condition] = content, list(arrays)
        return self.packed[condition]


def _launches(jobs: Sequence[Job], setting: Setting, slots: int) -> list[list[Job]]:
    from lossact.experiment.runner import launches

    return launches(jobs, setting, at_least=slots)


def _is_needed(launch: _Launch, running: dict[Any, _Launch]) -> bool:
    """Whether it belongs to the look that is waited for, and not to one that may never be taken."""
    return launch.look <= min((one.look for one in running.values()), default=launch.look)


def _is_lost(error: Exception) -> bool:
    """Whether the worker or its node went, which says nothing about the block."""
    from ray import exceptions

    return isinstance(error, (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError))


def _failure(error: Exception, launch: _Launch) -> LossactError:
    """What a launch failed of, with its name."""
    from ray import exceptions

    cause = getattr(error, "cause", None)
    if isinstance(cause, LossactError):
        return cause
    if isinstance(error, exceptions.OutOfMemoryError):
        why = "ran out of memory, and Ray ended it; train fewer blocks on a node at once"
    elif _is_lost(error):
        why = f"its process ended {launch.tries} times without a word, or its node was lost"
    else:
        why = str(error)
    return TrainingError(f"{named(launch.jobs)}: {why}")


def _cancel(running: Sequence[Any]) -> None:
    """End tasks: by an interrupt, and what does not heed it with its process."""
    import ray

    if not running:
        return
    for one in running:
        ray.cancel(one)
    _, left = ray.wait(list(running), num_returns=len(running), timeout=ENDS_WITHIN)
    for one in left:
        ray.cancel(one, force=True)
