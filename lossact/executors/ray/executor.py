"""The executor that trains on Ray: on a cluster, or on a private Ray of this machine."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from lossact.errors import InputError, TrainingError
from lossact.executors.base import Executor
from lossact.requirements import check_extra
from lossact.running.jobs import BlockJob, ProgressCallback, TrainedBlock
from lossact.training.compute_config import ComputeConfig

ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # otherwise other machines could reach it and run code in it
DEFAULT_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # otherwise Ray reports how it is used
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # otherwise Ray warns that this will become the default
}


class RayExecutor(Executor):
    """Train each group of blocks as a Ray task.

    A task reserves as many CPU cores as the compute configuration has threads, and a GPU where its device is cuda.
    Blocks are grouped so that every slot of the cluster has a task. At most two tasks a slot are submitted at once, so
    that this process needs little memory however many blocks there are. If a worker or a node is lost, its task is run
    again, up to three times in all; a task that fails by itself is not.

    Workers need the same versions of lossact and its packages as this process. The user's functions and classes travel
    with the task; arrays of 64 KiB or more travel once to each node, where they are read-only.

    Args:
        address: the cluster's address. By default RAY_ADDRESS, else the cluster that this process is connected to, else
            a private Ray: it starts on this machine with the first block and ends with `close`. Other machines cannot
            reach it, unless ray was imported before.

    Raises:
        InputError: ray is not installed.
    """

    def __init__(self, address: str | None = None) -> None:
        check_extra("ray", extra="ray", what="the executor ray")
        self.address = address or os.environ.get("RAY_ADDRESS") or None
        self._folder: str | None = None
        self._connected = False
        self._unreachable: InputError | None = None
        self._sent: dict[str, Any] = {}

    def train(
        self,
        looks: Iterator[Sequence[BlockJob]],
        seed: int,
        compute_config: ComputeConfig,
        progress: ProgressCallback | None,
    ) -> Generator[TrainedBlock, None, None]:
        """Train blocks and yield each when it is done, in any order; see Executor.train.

        Raises:
            InputError: there is no cluster, or no node has the resources of a task.
            TrainingError: a block failed by itself or was lost too often, or Ray does not answer.
        """
        self._connect()
        from lossact.executors.ray.cluster import COUNTED_EVERY, Cluster
        from lossact.executors.ray.scheduler import TaskScheduler
        from lossact.executors.ray.submitter import TaskSubmitter

        with _ray_errors_as_training_errors():
            cluster = Cluster(self.address, compute_config)
            submitter = TaskSubmitter(seed, compute_config, self._sent)
            self._sent = submitter.arrays
            scheduler = TaskScheduler(looks, submitter, progress)
            try:
                while scheduler.keep_busy(cluster.slots):
                    yield from scheduler.finished_blocks(within=COUNTED_EVERY)
                    cluster.refresh()
            finally:
                scheduler.cancel(reachable=cluster.reachable)
        if scheduler.failure is not None:
            raise scheduler.failure

    def close(self) -> None:
        """Disconnect from the cluster, and stop a private Ray."""
        if self._connected:
            import ray

            ray.shutdown()
            self._connected = False
            if signal.getsignal(signal.SIGTERM) is _interrupt:
                _set_sigterm(signal.SIG_DFL)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _connect(self) -> None:
        for name, value in (DEFAULT_ENVIRONMENT | (ON_LOOPBACK if self.address is None else {})).items():
            os.environ.setdefault(name, value)
        import ray

        from lossact.executors.ray.cluster import check_reachable

        if ray.is_initialized():
            return
        if self._unreachable is not None:  # later claims need not wait for the same address again
            raise self._unreachable
        before = signal.getsignal(signal.SIGTERM)
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address is None:
                # It holds sockets, whose paths must be short.
                self._folder = tempfile.mkdtemp(prefix="lossact-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)
                ray.init("local", _temp_dir=self._folder, include_dashboard=False, **quiet)
            else:
                check_reachable(self.address)  # Ray itself would try for a quarter of an hour
                ray.init(self.address, **quiet)
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            self.close()
            where = "on this machine" if self.address is None else f"at {self.address}"
            why = str(error).strip().partition("\n")[0]
            self._unreachable = InputError(
                f"no Ray {where} ({why}); give the address of a cluster that runs in RAY_ADDRESS, or the executor local"
            )
            raise self._unreachable from None
        finally:
            _set_sigterm(before)
        self._connected = True
        if before is signal.SIG_DFL:  # Ray's own handler would fail a claim, and pytest would begin the next
            _set_sigterm(_interrupt)


def _set_sigterm(handler: Any) -> None:
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    """End the run as Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def _ray_errors_as_training_errors() -> Iterator[None]:
    """Turn errors of Ray itself into one-line TrainingErrors."""
    import ray

    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        why = str(error).strip().partition("\n")[0]
        raise TrainingError(f"Ray: {why}; run again when it is back, and what is stored is kept") from None
