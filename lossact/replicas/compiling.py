"""What torch.compile asks for, what it raises, and whether what it made gives the right numbers."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch.utils import _pytree as pytree

from lossact.checks import first_line, ran_out_of_memory
from lossact.replicas.named_tensors import is_recording

COMPARED = 2  # calls of what was compiled
ROUNDING = 100_000  # units in the last place of the largest number that compiled code may err by: ReLUs may flip
MOST = 0.1  # of the largest number, where units are large
COARSE = {"high": 2**-10, "medium": 2**-7}  # units where torch may multiply in tf32, or in bf16
SPREAD = 10  # and so much more than numbers move with the last digits of parameters


class WrongNumbersError(Exception):
    """Compiled code gives other numbers than what it was made of."""


# FailOnRecompileLimitHit is none of torch's own kind.
COMPILER_ERRORS = (TorchDynamoException, FailOnRecompileLimitHit, WrongNumbersError)


class CompiledFunction:
    """A compiled function, whose first two calls are compared with the function itself: compilers have been wrong.

    Args:
        function: of tensors alone, parameters first.
        compiled: the same, compiled.
        written: so many arguments, from the first on, are written into.
    """

    def __init__(self, function: Callable[..., Any], compiled: Callable[..., Any], *, written: int) -> None:
        self._function, self._compiled, self._written = function, compiled, written
        self._to_compare = COMPARED

    @property
    def is_trusted(self) -> bool:
        """Whether it has been compared, or cannot be for now."""
        return self._to_compare <= 0 or is_recording()

    def __call__(self, *arguments: Any) -> Any:
        """Call it.

        Raises:
            WrongNumbersError: it gives other numbers than the function. Its arguments may have been written into.
        """
        return self._compiled(*arguments) if self.is_trusted else self._compare(arguments)

    def _compare(self, arguments: Sequence[Any]) -> Any:
        plain, moved = (self._with_copies(arguments) for _ in range(2))
        moved[0] = pytree.tree_map_only(Tensor, _with_other_last_digits, moved[0])
        found, expected, nearby = self._compiled(*arguments), self._function(*plain), self._function(*moved)
        n = self._written
        written_and_returned = (list(arguments[:n]), found), (plain[:n], expected), (moved[:n], nearby)
        numbers = zip(*map(pytree.tree_leaves, written_and_returned), strict=True)
        if not all(is_as_near(*each) for each in numbers):
            raise WrongNumbersError("compiled, it gives other numbers")
        self._to_compare -= 1
        return found

    def _with_copies(self, arguments: Sequence[Any]) -> list[Any]:
        """Return them with copies of those that are written into; examples, which may be large, are not copied."""
        written = pytree.tree_map_only(Tensor, torch.clone, list(arguments[: self._written]))
        return [*written, *arguments[self._written :]]


def _with_other_last_digits(parameter: Tensor) -> Tensor:
    if not (parameter.is_floating_point() or parameter.is_complex()):
        return parameter
    waves = torch.arange(parameter.numel(), device=parameter.device).cos().reshape(parameter.shape)
    return parameter * (1 + 4 * torch.finfo(parameter.dtype).eps * waves.to(parameter.dtype))


def is_as_near(found: Any, expected: Any, nearby: Any) -> bool:
    """Return whether compiled code is as near to the plain one's numbers as rounding leaves it.

    Where numbers follow from the last digits of others, as an Adam update of a gradient that is zero but for rounding
    does, they may differ by as much.

    Args:
        found: what compiled code gave.
        expected: what plain code gave.
        nearby: what plain code gave for parameters that differ in their last digits.
    """
    if not isinstance(expected, Tensor):
        return bool(found == expected)
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return False
    if not expected.numel():
        return True
    if not (expected.is_floating_point() or expected.is_complex()):
        return torch.equal(found, expected) or not torch.equal(expected, nearby)
    is_known, is_lost = expected.isfinite() & nearby.isfinite(), ~expected.isfinite() & ~nearby.isfinite()
    size = torch.where(is_known, expected, 0).abs().amax()
    spread = torch.where(is_known, nearby - expected, 0).abs().amax()
    allowed = min(MOST, ROUNDING * _unit(expected.dtype)) * size + SPREAD * spread
    is_near = (found - expected).abs() <= allowed
    return not bool((is_known & ~is_near | is_lost & found.isfinite()).any())


def _unit(dtype: torch.dtype) -> float:
    """Return how much 1 and the next number differ, as products of matrices see them."""
    unit = torch.finfo(dtype).eps
    if dtype != torch.float32:
        return unit
    try:
        return max(unit, COARSE.get(torch.get_float32_matmul_precision(), 0.0))
    except RuntimeError:  # said by torch's newer settings
        return COARSE["medium"]


def compile_whole(
    function: Any, name: str, *, options: dict[str, Any] | None = None, written: int = 0
) -> CompiledFunction:
    """Compile a whole function, for the shapes that it is called with.

    Args:
        function: made for this alone. What torch.compile keeps it keeps with a function's code, for eight signatures
            at most, and functions made in one place share theirs; so this one is given a code of its own.
        name: of that code.
        options: of the compiler.
        written: so many arguments, from the first on, are written into.
    """
    function.__code__ = function.__code__.replace(co_name=name)
    compiled = torch.compile(function, dynamic=False, fullgraph=True, options=options)
    return CompiledFunction(function, compiled, written=written)


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
