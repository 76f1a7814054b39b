"""Whether Triton, which torch.compile needs on a GPU too, can build what is to be tested there."""

import importlib.util
from functools import cache
from subprocess import CalledProcessError

import torch


@cache
def triton_works() -> bool:
    """Return whether there is a GPU, Triton, and the C compiler by which Triton starts what it builds."""
    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        return False
    from triton.runtime import driver

    try:
        return driver.active.get_current_target() is not None
    except (ImportError, OSError, RuntimeError, CalledProcessError):
        return False
