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
    from tensorboard.util.tensor_util import make_ndarray

    place = folder.relative_to(root).as_posix()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    scalars, tensors = events.Tags()["scalars"], events.Tags()["tensors"]
    if tag in scalars:
        logged = [(event.step, event.value) for event in events.Scalars(tag)]
    elif tag in tensors:  # as TensorFlow 2 and JAX write scalars
        arrays = [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        if any(array.size != 1 or array.dtype.kind not in "iuf" for _, array in arrays):
            raise InputError(f"{place}: value={tag!r} is no scalar; it has {', '.join(scalars) or 'none'}")
        logged = [(step, array.item()) for step, array in arrays]
    else:
        raise InputError(f"{place}: no scalar value={tag!r}; it has {', '.join([*scalars, *tensors]) or 'none'}")
    return LoggedRun(
        place=place,
        folder=folder,
        root=root,
        steps=[step for step, _ in logged],
        values=[shortest_double(value) for _, value in logged],
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
