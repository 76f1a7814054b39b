"""Submission of blocks to Ray as tasks; arrays that several tasks need are sent once."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from lossact.conditions.base import BaseCondition
from lossact.executors.ray.serialization import serialize
from lossact.executors.ray.task import TaskPayload, run_task
from lossact.running.jobs import BlockJob
from lossact.storage.machine import machine_content
from lossact.training.compute_config import ComputeConfig


class TaskSubmitter:
    """Start Ray tasks, and send the arrays that they share once.

    Args:
        seed, compute_config: as `train_launch` takes them.
        known: references of arrays that were sent before, by digest.

    Attributes:
        arrays: references of the arrays that this submitter's tasks use, by digest.
    """

    def __init__(self, seed: int, compute_config: ComputeConfig, known: Mapping[str, Any]) -> None:
        self.seed, self.compute_config, self.known = seed, compute_config, known
        self.arrays: dict[str, Any] = {}
        self._serialized: dict[BaseCondition, tuple[bytes, list[str]]] = {}
        self._machine = machine_content(compute_config.device, compiles=compute_config.may_compile)
        gpus = {"num_gpus": 1} if compute_config.device == "cuda" else {}
        # Ray's own retries do not distinguish a lost node from a block that ends its process.
        self._task = ray.remote(num_cpus=compute_config.threads, max_retries=0, **gpus)(run_task)

    def submit(self, jobs: Sequence[BlockJob]) -> Any:
        """Submit a task that trains some blocks.

        Args:
            jobs: blocks that may train together.

        Returns:
            Ray's reference of its result.

        Raises:
            InputError: a condition holds an object that cannot be pickled.
        """
        conditions = list(dict.fromkeys(condition for condition, _ in jobs))
        serialized = [self._serialize(condition) for condition in conditions]
        digests = sorted({digest for _, needed in serialized for digest in needed})
        payload = TaskPayload(
            conditions=[content for content, _ in serialized],
            blocks=[(conditions.index(condition), block) for condition, block in jobs],
            seed=self.seed,
            compute_config=self.compute_config,
            machine=self._machine,
            path=sys.path,
        )
        return self._task.remote(payload, digests, *(self.arrays[digest] for digest in digests))

    def _serialize(self, condition: BaseCondition) -> tuple[bytes, list[str]]:
        """The pickled condition and the digests of its large arrays, which are sent where they were not before."""
        if condition not in self._serialized:
            content, arrays = serialize(condition)
            for digest, array in arrays.items():
                if digest not in self.arrays:
                    self.arrays[digest] = self.known[digest] if digest in self.known else ray.put(array)
            self._serialized[condition] = content, list(arrays)
        return self._serialized[condition]
