"""The executor whose workers are Ray's: of a cluster, or of a Ray of this machine's own."""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lossact.errors import InputError, TrainingError
from lossact.executors.base import Executor
from lossact.requirements import check_extra
from lossact.running.jobs import BlockJob, ProgressCallback, TrainedBlock
from lossact.training.compute_config import ComputeConfig

ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # else other machines could reach it, and have it run code
UNLESS_SET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray reports how it is used
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns that this will be so
}


class RayExecutor(Executor):
    """Trains each launch of blocks as a Ray task.

    A task asks for as many CPU cores as the setting has threads, and for a GPU where the setting's device is cuda.
    There are as many launches as the cluster has room for, where there are as many blocks. Twice as many are under way
    at most, so that this process holds little however many blocks there are. A launch whose worker or node is lost is
    trained again, up to three times in all; one that fails by itself is not.

    Workers need lossact and the packages of this process in equal versions. Functions and classes of the user's travel
    with the task, and arrays of 64 KiB or more once to each node, where they cannot be written to.

    Args:
        address: of a cluster; by default RAY_ADDRESS, else the one that this process is connected with, else none: then
            Ray starts on this machine with the first block, reachable from it alone where nobody imported ray before,
            and ends with `close`.

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
        """Train blocks and yield each when it is done, in any order.

        Raises:
            InputError: there is no cluster, or none of its nodes has what a task asks for.
            TrainingError: a block failed by itself, or was lost too often, or Ray is gone.
        """
        self._connect()
        from lossact.executors.ray.cluster import COUNTED_EVERY, Cluster
        from lossact.executors.ray.scheduler import TaskScheduler
        from lossact.executors.ray.submitter import TaskSubmitter

        with _failures_told():
            cluster = Cluster(self.address, compute_config)
            sender = TaskSubmitter(seed, compute_config, self._sent)
            self._sent = sender.arrays
            traffic = TaskScheduler(looks, sender, progress)
            try:
                while traffic.keep_busy(cluster.slots):
                    yield from traffic.arrivals(within=COUNTED_EVERY)
                    cluster.look()
            finally:
                traffic.cancel(reachable=cluster.reachable)
        if traffic.failure is not None:
            raise traffic.failure

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
        for name, value in (UNLESS_SET | (ON_LOOPBACK if self.address is None else {})).items():
            os.environ.setdefault(name, value)
        import ray

        from lossact.executors.ray.cluster import check_reachable

        if ray.is_initialized():
            return
        if self._unreachable is not None:  # for the claims that follow
            raise self._unreachable
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address is None:
                # Sockets lie in it, whose paths must be short.
                self._folder = tempfile.mkdtemp(prefix="lossact-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)
                ray.init("local", _temp_dir=self._folder, include_dashboard=False, **quiet)
            else:
                check_reachable(self.address)  # Ray would try for a quarter of an hour
                ray.init(self.address, **quiet)
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            self.close()
            where = "on this machine" if self.address is None else f"at {self.address}"
            why = str(error).strip().partition("\n")[0]
            self._unreachable = InputError(
                f"no Ray {where} ({why}); give the address of a cluster that runs in RAY_ADDRESS, or the executor local"
            )
            raise self._unreachable from None
        self._connected = True


@contextmanager
def _failures_told() -> Iterator[None]:
    """What Ray itself fails of, in words."""
    import ray

    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        why = str(error).strip().partition("\n")[0]
        raise TrainingError(f"Ray: {why}; run again when it is back, and what is stored is kept") from None
