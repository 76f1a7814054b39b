"""What a Ray cluster can run, and whether it is still there."""

import socket
import time

import ray

from lossact.errors import InputError
from lossact.training.compute_config import ComputeConfig

COUNTED_EVERY = 1.0  # seconds between two looks at what the cluster has
ANSWERS_WITHIN = 5.0  # seconds until an address that does not answer is given up
HEAD_BACK_WITHIN = 20.0  # seconds that a head may be away; Ray itself ends this process after 60
NODES_WITHIN = 60.0  # seconds that a cluster may be without any node that can train


class Cluster:
    """What the cluster can run, looked at now and then.

    Args:
        address: of the cluster that this process is connected with, as the user gave it, or None.
        setting: how to compute.

    Attributes:
        slots: how many tasks it can run at once.
        reachable: whether its head answers.

    Raises:
        InputError: none of its nodes has what a task asks for.
        ConnectionError: its head does not answer.
    """

    def __init__(self, address: str | None, compute_config: ComputeConfig) -> None:
        self.resource, self.each = ("GPU", 1) if compute_config.device == "cuda" else ("CPU", compute_config.threads)
        self.head: str = address if address and _place(address) else ray.get_runtime_context().gcs_address
        self.reachable = True
        self.looked_at = self.heard_from = self.able_at = time.monotonic()
        self._hear()
        self.slots = self._count()
        if not self.slots:
            raise self._lacks()

    def look(self) -> None:
        """Count anew, a second after the last time or later.

        Raises:
            InputError: for a minute no node has had what a task asks for.
            ConnectionError: its head has not answered for so long that Ray would soon end this process.
        """
        now = time.monotonic()
        if now - self.looked_at < COUNTED_EVERY:
            return
        self.looked_at = now
        try:
            self._hear()
        except ConnectionError:
            if now - self.heard_from > HEAD_BACK_WITHIN:
                raise
            return
        self.heard_from = now
        self.slots = self._count()
        if self.slots:
            self.able_at = now
        elif now - self.able_at > NODES_WITHIN:
            raise self._lacks()

    def _hear(self) -> None:
        try:
            check_reachable(self.head)
        except OSError as error:
            self.reachable = False
            raise ConnectionError(f"the head at {self.head} is gone ({error})") from None
        self.reachable = True

    def _count(self) -> int:
        return sum(int(number // self.each) for number in self._found())

    def _found(self) -> list[float]:
        """How much each node has of what is needed."""
        return [node["Resources"].get(self.resource, 0.0) for node in ray.nodes() if node["Alive"]]

    def _lacks(self) -> InputError:
        most = max(self._found(), default=0.0)
        return InputError(
            f"a block needs {self.each} {self.resource} of one node, and the Ray cluster's nodes have {most:g} at "
            "most; add a node that has them"
        )


def _place(address: str) -> tuple[str, int] | None:
    """Host and port of an address that has both."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    known = host and port.isdigit() and 0 < int(port) < 1 << 16
    return (host.strip("[]"), int(port)) if known else None


def check_reachable(address: str) -> None:
    """Raise OSError where nobody answers at an address that has a host and a port."""
    place = _place(address)
    if place is not None:
        socket.create_connection(place, timeout=ANSWERS_WITHIN).close()
