"""The capacity of a Ray cluster, and whether its head still answers."""

import socket
import time

import ray

from lossact.errors import InputError
from lossact.training.compute_config import ComputeConfig

COUNTED_EVERY = 1.0  # seconds between two counts of the cluster's resources
ANSWERS_WITHIN = 5.0  # seconds to wait for an address to answer
HEAD_BACK_WITHIN = 20.0  # seconds that the head may be unreachable; Ray itself ends this process after 60
NODES_WITHIN = 60.0  # seconds that the cluster may be without any node that can train


class Cluster:
    """The cluster that this process is connected to, with its capacity as of the last count.

    Args:
        address: the cluster's address as the user gave it, or None.
        compute_config: how to compute.

    Attributes:
        slots: how many tasks the cluster can run at once.
        reachable: whether its head answers.

    Raises:
        InputError: no node has the resources of a task.
        ConnectionError: the head does not answer.
    """

    def __init__(self, address: str | None, compute_config: ComputeConfig) -> None:
        self.resource, self.per_task = (
            ("GPU", 1) if compute_config.device == "cuda" else ("CPU", compute_config.threads)
        )
        self.head: str = address if address and _host_and_port(address) else ray.get_runtime_context().gcs_address
        self.reachable = True
        self.counted_at = self.answered_at = self.had_slots_at = time.monotonic()
        self._check_head()
        self.slots = self._count_slots()
        if not self.slots:
            raise self._no_capacity()

    def refresh(self) -> None:
        """Count the slots again, at most once a second.

        Raises:
            InputError: no node has had the resources of a task for a minute.
            ConnectionError: the head has not answered for so long that Ray would soon end this process.
        """
        now = time.monotonic()
        if now - self.counted_at < COUNTED_EVERY:
            return
        self.counted_at = now
        try:
            self._check_head()
        except ConnectionError:
            if now - self.answered_at > HEAD_BACK_WITHIN:
                raise
            return
        self.answered_at = now
        self.slots = self._count_slots()
        if self.slots:
            self.had_slots_at = now
        elif now - self.had_slots_at > NODES_WITHIN:
            raise self._no_capacity()

    def _check_head(self) -> None:
        try:
            check_reachable(self.head)
        except OSError as error:
            self.reachable = False
            raise ConnectionError(f"the head at {self.head} is gone ({error})") from None
        self.reachable = True

    def _count_slots(self) -> int:
        return sum(int(amount // self.per_task) for amount in self._resource_by_node())

    def _resource_by_node(self) -> list[float]:
        """How much of the resource each node has."""
        return [node["Resources"].get(self.resource, 0.0) for node in ray.nodes() if node["Alive"]]

    def _no_capacity(self) -> InputError:
        most = max(self._resource_by_node(), default=0.0)
        return InputError(
            f"a block needs {self.per_task} {self.resource} of one node, and the Ray cluster's nodes have {most:g} at "
            "most; add a node that has them"
        )


def _host_and_port(address: str) -> tuple[str, int] | None:
    """Split an address into host and port; None where it does not have both."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    is_complete = host and port.isdigit() and 0 < int(port) < 1 << 16
    return (host.strip("[]"), int(port)) if is_complete else None


def check_reachable(address: str) -> None:
    """Raise OSError where an address has a host and a port, and nothing listens there.

    Args:
        address: "host:port", or what Ray takes else, which is not looked at.

    Raises:
        OSError: nothing listens there, or the port is out of range.
    """
    port = address.rpartition(":")[2]
    if ":" in address and port.isdigit() and not 0 < int(port) < 1 << 16:
        raise OSError(f"port {port} must be from 1 to 65535")
    host_and_port = _host_and_port(address)
    if host_and_port is not None:
        socket.create_connection(host_and_port, timeout=ANSWERS_WITHIN).close()
