"""What a Ray worker does: train a launch and hand back its blocks.

Heavy imports wait until nothing can cut them off.
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
    """What a task is sent, beside large arrays.

    Attributes:
        conditions: each pickled, arrays left out.
        blocks: which condition, and the index of a block of it.
        seed, setting: as `train_launch` takes them.
        machine: what the caller's own machine is, as far as keys of trials hold it.
        path: where the caller finds modules.
    """

    conditions: Sequence[bytes]
    blocks: Sequence[tuple[int, int]]
    seed: int
    compute_config: "ComputeConfig"
    machine: Mapping[str, Any]
    path: Sequence[str]


def run_task(errand: TaskPayload, digests: Sequence[str], *arrays: Any) -> "list[tuple[Trials, Curves]]":
    """Train the blocks of an errand.

    Args:
        errand: what to train.
        digests: of the arrays.
        *arrays: those that its conditions leave out.

    Raises:
        InputError: trials of this machine would not be those of the caller's.
        TrainingError: training raised something else.
    """
    with _whole():
        sys.path += [folder for folder in errand.path if folder not in sys.path]
        from lossact.errors import LossactError, TrainingError
        from lossact.executors.ray.serialization import deserialize
        from lossact.running.jobs import describe
        from lossact.running.runner import train_launch
        from lossact.storage.key import machine_content

        _check_alike(machine_content(), errand.machine)
        found = dict(zip(digests, arrays, strict=True))
        conditions = [deserialize(one, found) for one in errand.conditions]
    launch = [(conditions[which], block) for which, block in errand.blocks]
    try:
        return [(block.trials, block.curves) for block in train_launch(launch, errand.seed, errand.compute_config)]
    except LossactError:
        raise
    except (Exception, SystemExit) as error:  # Ray would take an exit for a worker that was lost
        why = f"{type(error).__name__}: {error}\n{_frames(error)}"
        raise TrainingError(f"{describe(launch)}: {why.strip()}") from None


def _frames(error: BaseException) -> str:
    """Where it was raised, from where lossact was left on."""
    frames = traceback.extract_tb(error.__traceback__)
    own = max(k for k, frame in enumerate(frames) if Path(frame.filename).is_relative_to(Path(__file__).parents[2]))
    return "".join(traceback.format_list(frames[own + 1 :]))


def _check_alike(here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    from lossact.errors import InputError

    for what in here:
        if here[what] != there[what]:
            raise InputError(
                f"a Ray worker's {what} is {here[what]}, that of this process {there[what]}; trials are the same only "
                "on equal machines with equal packages: install the same on both, and start the run on a machine like "
                "the workers"
            )


@contextmanager
def _whole() -> Iterator[None]:
    """An interrupt waits until the end, so that no module stays half imported for the tasks that follow."""
    interrupted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)

    handler = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if interrupted:
        raise KeyboardInterrupt
