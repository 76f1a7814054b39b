"""Check arguments of the public API: one line per rule, one sentence per error."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial, wraps
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from lossact.errors import InputError, TrainingError

P = ParamSpec("P")
T = TypeVar("T")

EMPTY: Mapping[str, Any] = MappingProxyType({})
FLOAT32_LIMIT = 1e38  # a number beyond it is infinite in single precision
OF_EXPERIMENTS = ("seed", "store", "compute_config", "retrain", "executor")  # arguments
SHOWN = 3  # arguments that need not be given, in an error
LONGEST_VALUE = 100  # characters of a value in an error
OUT_OF_MEMORY = "allocate memory", "out of memory", "ALLOC_FAILED"  # what torch, CUDA and its libraries say


def check_number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
    hint: float | str,
) -> None:
    """Raise InputError unless `value` is a finite number within the bounds.

    Args:
        name: what the error calls it.
        value: the number.
        above: it must be larger than this.
        at_least: it must not be smaller than this.
        below: it must be smaller than this.
        at_most: it must not be larger than this.
        hint: a value that works, which the error proposes.

    Raises:
        InputError: it is no finite number, or out of bounds.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and _is_finite(value)
    rules: list[tuple[str, bool]] = []  # in words, and whether the value keeps it
    if above > -math.inf:
        rules.append((f"> {above:g}", is_number and value > above))
    if at_least > -math.inf:
        rules.append((f">= {at_least:g}", is_number and value >= at_least))
    if below < math.inf:
        rules.append((f"< {below:g}", is_number and value < below))
    if at_most < FLOAT32_LIMIT or (is_number and value > at_most):  # float32's own limit only where it is broken
        rules.append((f"<= {at_most:g}", is_number and value <= at_most))
    if not is_number or not all(is_kept for _, is_kept in rules):
        rule = " and ".join(words for words, _ in rules) or "a finite number"
        note = ", which is text," if isinstance(value, str) and _is_written_number(value) else ""
        raise InputError(f"{name}={shortened(value)}{note} must be {rule}; try {hint}")


def _is_written_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_digits(what: str, number: Any) -> None:
    """Raise InputError where a measured number was computed in half precision.

    Such a number has two or three digits, too few to judge a difference or a threshold.

    Args:
        what: the error begins with it.
        number: a number, an array or a tensor.
    """
    dtype = str(getattr(number, "dtype", "")).removeprefix("torch.")
    if dtype in {"float16", "bfloat16"}:
        raise InputError(f"{what} in {dtype}, which holds too few digits to compare; compute it in float32")


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # of an integer beyond a float's range
        return False


def check_count(
    name: str, value: int, *, at_least: int = 1, at_most: float = math.inf, hint: int | None = None
) -> None:
    """Raise InputError unless `value` is an integer within the bounds.

    Args:
        name: what the error calls it.
        value: the count.
        at_least: its lowest value.
        at_most: its largest value.
        hint: a count that works, by default the lowest.

    Raises:
        InputError: it is no integer, or out of bounds.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not at_least <= value <= at_most:
        rule = f">= {at_least}" + (f" and <= {at_most}" if at_most < math.inf else "")
        raise InputError(f"{name}={value!r} must be an integer {rule}; try {at_least if hint is None else hint}")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise InputError unless `value` is one of `choices`.

    Args:
        name: what the error calls it.
        value: what was chosen.
        choices: what may be.

    Raises:
        InputError: it is none of them.
    """
    known = sorted(choices)
    if value not in known:
        raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(known)}")


def replaced_arguments(replacements: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Make a class reject its old keyword arguments, naming the new form.

    Args:
        replacements: old argument to what is written now.

    Returns:
        a class decorator.

    Raises:
        InputError: by the decorated class, where an old argument is given.
    """

    def decorate(cls: type[T]) -> type[T]:
        initialize = cls.__init__

        @wraps(initialize)
        def checked(self: T, *args: Any, **kwargs: Any) -> None:
            for name in kwargs.keys() & replacements.keys():
                raise InputError(f"{cls.__name__}({name}=...) was the form of lossact 0.1; now {replacements[name]}")
            initialize(self, *args, **kwargs)

        cls.__init__ = checked  # type: ignore[assignment]
        return cls

    return decorate


def checked_arguments(cls: type[T], *, written_as: str = "") -> type[T]:
    """Make a class report unknown and missing arguments in one InputError.

    Args:
        cls: a class whose constructor takes keywords.
        written_as: what users call it; "" for the name of the class.

    Returns:
        the class.

    Raises:
        InputError: by the decorated class, where an argument is unknown or missing.
    """
    initialize = cls.__init__
    signature = inspect.signature(initialize)

    @wraps(initialize)
    def checked(self: T, *args: Any, **kwargs: Any) -> None:
        _check_call(written_as or cls.__name__, signature, (self, *args), kwargs)
        initialize(self, *args, **kwargs)

    cls.__init__ = checked  # type: ignore[assignment]
    return cls


def checked_call(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function report unknown and missing arguments in one InputError.

    Args:
        function: called with arguments of its signature.

    Returns:
        the function, with its calls checked.

    Raises:
        InputError: by the decorated function, where an argument is unknown or missing.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        _check_call(function.__name__, signature, args, kwargs)
        return function(*args, **kwargs)

    return checked


def _check_call(kind: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    names = [name for name in signature.parameters if name != "self"]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    for unknown in [name for name in kwargs if name not in names and not takes_any]:
        close = get_close_matches(unknown, names, n=1)
        hint = f"{f'did you mean {close[0]}? It' if close else 'it'} takes {_listed(signature)}"
        if "experiment" in names and unknown in OF_EXPERIMENTS:
            hint = f"an Experiment has, so write experiment=Experiment({unknown}=...)"
        value = kwargs[unknown]
        given = shortened(value) if isinstance(value, (str, Real, type(None))) else "..."
        raise InputError(f"{kind} has no argument {unknown}={given}; {hint}")
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        call = _call(kind, signature, by_position="too many positional" in str(error))
        raise InputError(f"{kind}: {error}; write arguments by name, as in {call}") from None


def _listed(signature: inspect.Signature) -> str:
    given = [parameter for name, parameter in signature.parameters.items() if name != "self"]
    return ", ".join(f"*{each.name}" if each.kind is each.VAR_POSITIONAL else each.name for each in given)


def _call(kind: str, signature: inspect.Signature, *, by_position: bool) -> str:
    """Return a call with the arguments that it needs, and where too many came by position also some that are named."""
    arguments, named = [], []
    for name, parameter in signature.parameters.items():
        is_named = parameter.kind is parameter.KEYWORD_ONLY
        if name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            arguments.append(f"*{name}")
        elif parameter.default is parameter.empty:
            arguments.append(f"{name}=..." if is_named else name)
        elif is_named:
            named.append(f"{name}=...")
    if by_position or not arguments:
        arguments += [*named[:SHOWN], *(["…"] if named[SHOWN:] else [])]
    return f"{kind}({', '.join(arguments)})"


def check_name(name: Any) -> None:
    """Raise InputError unless the name of a condition is a string."""
    if not isinstance(name, str):
        raise InputError(f"name={name!r} must be a string; try name={str(name)!r}")


def name_of(function: Callable[..., Any]) -> str:
    """Return what to call a function by default: its name; of a partial that of what it calls, of an object its class.

    Args:
        function: anything that can be called.
    """
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def shortened(value: Any) -> str:
    """Return the beginning of a value's repr on one line, for an error."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def check_signature(name: str, function: Any, *, like: str, values: int = 0, named: Mapping[str, Any] = EMPTY) -> None:
    """Raise InputError where a function cannot be called with such values, judging by its signature.

    Args:
        name: what errors call it.
        function: what is to be called.
        like: the call in words, such as "loss(outputs, targets)".
        values: how many positional arguments it will get.
        named: what else.

    Raises:
        InputError: it is no function, or its signature does not take such a call.
    """
    if not callable(function):
        raise InputError(f"{name}={function!r} must be a function that is called as {like}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions written in C may have no signature
        return
    try:
        signature.bind(*[None] * values, **named)
    except TypeError as error:
        signature_text = f"{getattr(function, '__name__', type(function).__name__)}{signature}"
        raise InputError(
            f"{name}={signature_text} cannot be called as {like} ({error}); give a function that can"
        ) from None


def ran_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out: Python's does, and the RuntimeErrors of torch's allocators.

    An error of torch's compiler is what it met.
    """
    error = getattr(error, "inner_exception", error)
    words = _allocator_message(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(part in words for part in OUT_OF_MEMORY))
    )


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's message."""
    return str(error).partition("\n")[0].partition(". ")[0]


def _allocator_message(error: BaseException) -> str:
    """Return the first line of an error, without the check that torch's CPU allocator quotes before its message."""
    return str(error).partition("\n")[0].rpartition("err == 0. ")[2]


@contextmanager
def explain_out_of_memory(what: str) -> Iterator[None]:
    """Raise a TrainingError of one line where memory runs out inside.

    Args:
        what: took it, in words.

    Raises:
        TrainingError: memory ran out; other errors pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        words = _allocator_message(error)
        detail = f" ({words})" if words else ""
        raise TrainingError(f"{what}: out of memory{detail}; make the network, its data or its batch smaller") from None
