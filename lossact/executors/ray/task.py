"""The task of a Ray worker: train some blocks and return their trials.

Heavy imports run where an interrupt cannot stop them halfway.
"""

import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossact.storage.trials import Curves, Trials
    from lossact.training.compute_config import ComputeConfig


@dataclass(frozen=True)
class TaskPayload:
    """What is sent to a task, apart from large arrays.

    Attributes:
        conditions: each pickled without its large arrays.
        blocks: (index of a condition, index of a block of it) each.
        seed, compute_config: as `train_launch` takes them.
        machine: the part of the store's key that describes the driver's process.
        path: the driver's sys.path.
    """

    conditions: Sequence[bytes]
    blocks: Sequence[tuple[int, int]]
    seed: int
    compute_config: "ComputeConfig"
    machine: Mapping[str, Any]
    path: Sequence[str]


def run_task(payload: TaskPayload, digests: Sequence[str], *arrays: Any) -> "list[tuple[Trials, Curves, str]]":
    """Train the blocks of a task.

    Args:
        payload: what to train.
        digests: the digests of the arrays.
        *arrays: the large arrays of the conditions.

    Returns:
        of each block, in the order of the payload: trials, curves, and why its replicas were fitted one at a time.

    Raises:
        InputError: this worker would not compute the same trials as the driver.
        TrainingError: training raised any other error.
    """
    with _delay_interrupts():
        sys.path += [folder for folder in payload.path if folder not in sys.path]
        import torch

        from lossact.errors import LossactError, TrainingError
        from lossact.executors.ray.serialization import deserialize
        from lossact.running.jobs import describe
        from lossact.running.runner import train_launch
        from lossact.storage.machine import machine_content

        config = payload.compute_config
        torch.set_num_threads(config.threads)  # as many as cores are reserved for the task
        here = machine_content(config.device, compiles=config.may_compile)
        _check_same_machine(here, payload.machine)
        by_digest = dict(zip(digests, arrays, strict=True))
        conditions = [deserialize(content, by_digest) for content in payload.conditions]
    launch = [(conditions[index], block) for index, block in payload.blocks]
    try:
        trained = train_launch(launch, payload.seed, payload.compute_config)
        return [(block.trials, block.curves, block.one_at_a_time) for block in trained]
    except LossactError:
        raise
    except (Exception, SystemExit) as error:  # Ray would take an exit for a lost worker
        why = f"{type(error).__name__}: {error}\n{_users_frames(error)}"
        raise TrainingError(f"{describe(launch)}: {why.strip()}") from None


def _users_frames(error: BaseException) -> str:
    """The part of the traceback that lies in the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    last = max(k for k, frame in enumerate(frames) if Path(frame.filename).is_relative_to(Path(__file__).parents[2]))
    return "".join(traceback.format_list(frames[last + 1 :]))


def _check_same_machine(worker: Mapping[str, Any], driver: Mapping[str, Any]) -> None:
    """Raise InputError where a worker's part of the store's key is not the driver's, which need not have a GPU."""
    from lossact.errors import InputError

    for part in driver:
        if worker[part] != driver[part]:
            raise InputError(
                f"a Ray worker's {part} is {worker[part]}, that of this process {driver[part]}; trials are the same "
                "only on equal machines with equal packages: install the same on both, and start the run on a machine "
                "like the workers"
            )


@contextmanager
def _delay_interrupts() -> Iterator[None]:
    """Let an interrupt wait until the end, so that no module stays half imported for later tasks."""
    interrupts: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)

    handler = signal.signal(signal.SIGINT, record)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if interrupts:
        raise KeyboardInterrupt
