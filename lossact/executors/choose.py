"""Executors by the names of the command line's options."""

from lossact.checks import check_choice
from lossact.executors.base import Executor
from lossact.executors.local import LocalExecutor
from lossact.executors.ray import RayExecutor


def make_executor(name: str) -> Executor:
    """Make an executor.

    Args:
        name: "local" or "ray".

    Returns:
        a new executor; close it at the end.

    Raises:
        InputError: the name is not known, or the executor's packages are not installed.
    """
    check_choice("executor", name, ("local", "ray"))
    if name == "local":
        return LocalExecutor()
    return RayExecutor()
