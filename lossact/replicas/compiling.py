"""What torch.compile asks for, and what it raises."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

from lossact.checks import first_line, ran_out_of_memory

COMPILER_ERRORS = (TorchDynamoException, FailOnRecompileLimitHit)  # the latter is none of torch's own kind


def compile_whole(function: Any, name: str, *, options: dict[str, Any] | None = None) -> Callable[..., Any]:
    """Compile a whole function, for the shapes that it is called with.

    Args:
        function: made for this alone. What torch.compile keeps it keeps with a function's code, for eight signatures
            at most, and functions made in one place share theirs; so this one is given a code of its own.
        name: of that code.
        options: of the compiler.
    """
    function.__code__ = function.__code__.replace(co_name=name)
    return torch.compile(function, dynamic=False, fullgraph=True, options=options)


def give_up_compiling(error: Exception, *, was_asked: bool) -> None:
    """Warn that a network trains eagerly, as torch.compile does not take it; silently where nobody asked for it.

    Args:
        error: one of COMPILER_ERRORS, or a TraceError.
        was_asked: whether the user asked for it.

    Raises:
        OutOfMemoryError: memory ran out, which says nothing about the network.
    """
    if ran_out_of_memory(error):
        raise torch.OutOfMemoryError(str(error)) from error
    if was_asked:
        message = f"torch.compile does not take the network ({first_line(error)}); it trains eagerly"
        warnings.warn(message, stacklevel=4)
