"""Read TensorBoard event files."""

from pathlib import Path

from lossact.conditions.reading.logged_run import LoggedRun
from lossact.errors import InputError
from lossact.requirements import check_extra

EVENT_FILES = "events.out.tfevents.*"


def read_events(folder: Path, root: Path, tag: str) -> LoggedRun:
    """Read one scalar of the run that a folder of event files holds.

    Args:
        folder: holds the event files of one run.
        root: the folder that was asked for.
        tag: the scalar's name.

    Returns:
        the run, with the scalar's values.

    Raises:
        InputError: tensorboard is not installed, or the run has no such scalar.
    """
    check_extra("tensorboard", extra="tensorboard", what="reading event files")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    place = folder.relative_to(root).as_posix()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    if tag not in tags:
        raise InputError(f"{place}: no scalar value={tag!r}; it has {', '.join(tags) or 'none'}")
    logged = events.Scalars(tag)
    return LoggedRun(
        place=place,
        folder=folder,
        root=root,
        steps=[event.step for event in logged],
        values=[shortest_double(event.value) for event in logged],
    )


def shortest_double(single: float) -> float:
    """Return the number that a single-precision value was probably written as.

    Args:
        single: 0.10000000149, say.

    Returns:
        0.1, the shortest decimal that rounds to it.
    """
    import numpy as np

    return float(str(np.float32(single)))
