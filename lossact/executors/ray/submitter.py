"""Submits launches to Ray as tasks; arrays that several tasks need are sent once."""

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
    """Begins launches; what they share travels once.

    Args:
        seed, setting: as `train_launch` takes them.
        known: references of arrays that travelled before, by digest.

    Attributes:
        arrays: references of those that travelled for this sender.
    """

    def __init__(self, seed: int, compute_config: ComputeConfig, known: Mapping[str, Any]) -> None:
        self.seed, self.compute_config, self.known = seed, compute_config, known
        self.arrays: dict[str, Any] = {}
        self._packed: dict[BaseCondition, tuple[bytes, list[str]]] = {}
        self._machine = machine_content()
        gpus = {"num_gpus": 1} if compute_config.device == "cuda" else {}
        # Ray's own retries do not tell a lost node from a block that ends its process.
        self._task = ray.remote(num_cpus=compute_config.threads, max_retries=0, **gpus)(run_task)

    def begin(self, jobs: Sequence[BlockJob]) -> Any:
        """The object reference of a launch that now waits for its turn.

        Raises:
            InputError: a condition holds what cannot travel.
        """
        conditions = list(dict.fromkeys(condition for condition, _ in jobs))
        serialize = [self._pack(condition) for condition in conditions]
        digests = sorted({digest for _, needed in serialize for digest in needed})
        errand = TaskPayload(
            conditions=[content for content, _ in serialize],
            blocks=[(conditions.index(condition), block) for condition, block in jobs],
            seed=self.seed,
            compute_config=self.compute_config,
            machine=self._machine,
            path=sys.path,
        )
        return self._task.remote(errand, digests, *(self.arrays[digest] for digest in digests))

    def _pack(self, condition: BaseCondition) -> tuple[bytes, list[str]]:
        if condition not in self._packed:
            content, arrays = serialize(condition)
            for digest, array in arrays.items():
                if digest not in self.arrays:
                    self.arrays[digest] = self.known[digest] if digest in self.known else ray.put(array)
            self._packed[condition] = content, list(arrays)
        return self._packed[condition]
