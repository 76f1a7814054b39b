"""Read TensorBoard event files."""

from pathlib import Path
from typing import Any

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
        logged = [(event.step, shortest_double(event.value)) for event in events.Scalars(tag)]
    elif tag in tensors and _is_number(make_ndarray(events.Tensors(tag)[0].tensor_proto)):
        arrays = [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        logged = [(step, _as_written(array)) for step, array in arrays]
    else:
        numbers = [name for name in tensors if _is_number(make_ndarray(events.Tensors(name)[0].tensor_proto))]
        raise InputError(f"{place}: no scalar value={tag!r}; it has {', '.join([*scalars, *numbers]) or 'none'}")
    return LoggedRun(
        place=place,
        folder=folder,
        root=root,
        steps=[step for step, _ in logged],
        values=[value for _, value in logged],
    )


def _is_number(array: Any) -> bool:
    """Return whether an array is a scalar, as TensorFlow 2 and JAX write it."""
    return array.size == 1 and array.dtype.kind in "iuf"


def _as_written(array: Any) -> float:
    return float(array.item()) if array.dtype.itemsize > 4 else shortest_double(array.item())


def shortest_double(single: float) -> float:
    """Return the number that a single-precision value was probably written as.

    Args:
        single: 0.10000000149, say.

    Returns:
        0.1, the shortest decimal that rounds to it.
    """
    import numpy as np

    return float(str(np.float32(single)))
