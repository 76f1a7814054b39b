"""Executors by the names that options use."""

from lossact.checks import check_choice
from lossact.executors.base import Executor
from lossact.executors.local import LocalExecutor
from lossact.executors.ray import RayExecutor


def make_executor(name: str) -> Executor:
    """The executor of that name: "local" or "ray".

    Raises:
        InputError: there is none of that name, or it needs what is not installed.
    """
    check_choice("executor", name, ("local", "ray"))
    if name == "local":
        return LocalExecutor()
    return RayExecutor()
