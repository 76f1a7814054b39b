"""What torch.compile asks for, what it raises, and whether what it made gives the right numbers."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch.utils import _pytree as pytree

from lossact.checks import first_sentence, ran_out_of_memory
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
    """A compiled function, whose first calls are compared with the function itself: compilers have been wrong.

    Nothing is compared in a recording, where Python may not wait for numbers.

    Args:
        function: of tensors alone, each (replicas, ...) in what it returns and moves; parameters come first.
        compiled: the same, compiled.
        moving: so many arguments, from the first on, are moved: in place where the last result is None, else that holds
            them as they are afterwards.
    """

    def __init__(self, function: Callable[..., Any], compiled: Callable[..., Any], *, moving: int) -> None:
        self._function, self._compiled, self._moving = function, compiled, moving
        self._to_compare = COMPARED

    @property
    def is_trusted(self) -> bool:
        """Whether it has been compared, or cannot be for now."""
        return self._to_compare <= 0 or is_recording()

    def __call__(self, *arguments: Any) -> Any:
        """Call it.

        Raises:
            WrongNumbersError: it gives other numbers than the function. Its arguments may have been moved.
        """
        return self._compiled(*arguments) if self.is_trusted else self._compare(arguments)

    def _compare(self, arguments: Sequence[Any]) -> Any:
        before, plain, nearby = (self._with_copies(arguments) for _ in range(3))
        nearby[0] = pytree.tree_map_only(Tensor, _with_other_last_digits, nearby[0])
        nearby_before = self._with_copies(nearby)
        found = self._compiled(*arguments)
        runs = (found, arguments), (self._function(*plain), plain), (self._function(*nearby), nearby)
        scores, moved = zip(*(self._split(*run) for run in runs), strict=True)
        starts = (self._leaves(each) for each in (before, before, nearby_before))
        changes = (map(_change, *each) for each in zip(moved, starts, strict=True))
        if not (
            all(is_as_near(*each) for each in zip(*scores, strict=True))
            and all(is_as_near(*each) for each in zip(*changes, moved[1], strict=True))
        ):
            raise WrongNumbersError("compiled, it gives other numbers")
        self._to_compare -= 1
        return found

    def _with_copies(self, arguments: Sequence[Any]) -> list[Any]:
        """Return them with copies of those that move; examples, which may be large, are not copied."""
        moving = pytree.tree_map_only(Tensor, torch.clone, list(arguments[: self._moving]))
        return [*moving, *arguments[self._moving :]]

    def _split(self, results: Any, arguments: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Return what a call computed, and what it moved."""
        if not self._moving:
            return pytree.tree_leaves(results), []
        *scores, moved = results
        return pytree.tree_leaves(scores), self._leaves(arguments if moved is None else moved)

    def _leaves(self, arguments: Sequence[Any]) -> list[Any]:
        return pytree.tree_leaves(list(arguments[: self._moving]))


def _has_digits(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _with_other_last_digits(parameter: Tensor) -> Tensor:
    if not _has_digits(parameter):
        return parameter
    waves = torch.arange(parameter.numel(), device=parameter.device).cos().reshape(parameter.shape)
    return parameter * (1 + 4 * torch.finfo(parameter.dtype).eps * waves.to(parameter.dtype))


def _change(after: Tensor, before: Tensor) -> Tensor:
    return after - before if _has_digits(after) else after


def is_as_near(found: Tensor, expected: Tensor, nearby: Tensor, after: Tensor | None = None) -> bool:
    """Return whether compiled code is as near to the plain one's numbers as rounding leaves it, in each replica.

    Where numbers follow from the last digits of others, as an Adam update of a gradient that is zero but for rounding
    does, they may differ by as much.

    Args:
        found: (replicas, ...) what compiled code gave, or how it changed something.
        expected: what plain code gave.
        nearby: what plain code gave for parameters that differ in their last digits.
        after: what was changed, afterwards; its last digits are those of changes too.
    """
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return False
    if not expected.numel():
        return True
    if not _has_digits(expected):
        return bool(((found == expected) | (expected != nearby)).all())
    is_known, is_lost = expected.isfinite() & nearby.isfinite(), ~expected.isfinite() & ~nearby.isfinite()
    spread = _largest(torch.where(is_known, nearby - expected, 0))
    allowed = min(MOST, ROUNDING * _unit(expected.dtype)) * _largest(torch.where(is_known, expected, 0))
    allowed = allowed + SPREAD * torch.maximum(spread, spread.median())
    if after is not None:
        allowed = allowed + 2 * torch.finfo(after.dtype).eps * _largest(torch.where(is_known, after, 0))
    is_near = (found - expected).abs() <= allowed.reshape(-1, *[1] * (expected.ndim - 1))
    return not bool((is_known & ~is_near | is_lost & found.isfinite()).any())


def _largest(tensor: Tensor) -> Tensor:
    """Return the largest absolute value of each replica, (replicas,)."""
    return tensor.abs().reshape(len(tensor), -1).amax(1)


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
    function: Any, name: str, *, options: dict[str, Any] | None = None, moving: int = 0
) -> CompiledFunction:
    """Compile a whole function, for the shapes that it is called with.

    Args:
        function: made for this alone. What torch.compile keeps it keeps with a function's code, for eight signatures
            at most, and functions made in one place share theirs; so this one is given a code of its own.
        name: of that code.
        options: of the compiler.
        moving: so many arguments, from the first on, are moved, as `CompiledFunction` has it.
    """
    function.__code__ = function.__code__.replace(co_name=name)
    compiled = torch.compile(function, dynamic=False, fullgraph=True, options=options)
    return CompiledFunction(function, compiled, moving=moving)


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
        message = f"torch.compile does not take the network ({first_sentence(error)}); it trains eagerly"
        warnings.warn(message, stacklevel=4)
