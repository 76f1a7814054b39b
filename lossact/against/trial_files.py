"""Trials as a side hands them over, in one file of arrays."""

from pathlib import Path

import numpy as np

from lossact.storage import Curves, Trials

VALUE = "value/"


def read_trials(file: Path) -> tuple[Trials, Curves | None]:
    """Return the trials in a file, and the curves where it holds any.

    Args:
        file: as a side wrote it; it is removed.

    Returns:
        the trials, and the curves or None.
    """
    with np.load(file, allow_pickle=False) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    file.unlink()
    values = {name.removeprefix(VALUE): each for name, each in content.items() if name.startswith(VALUE)}
    trials = Trials(
        content["steps"],
        content["reached"],
        content["diverged"],
        int(content["budget"]),
        run_digests=content["run_digests"],
        values=values,
    )
    if "loss" not in content:
        return trials, None
    no_norms = np.zeros((len(content["loss"]), 0, 0), np.float32)
    return trials, Curves(content["loss"], content["metric"], no_norms)
