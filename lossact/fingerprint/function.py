"""The fingerprint of a user's function: its code, what it holds, and the files that it depends on."""

from collections.abc import Mapping
from typing import Any

from lossact.errors import InputError
from lossact.fingerprint.dependencies import Dependencies
from lossact.fingerprint.reader import Reader


def fingerprint(function: Any, what: str) -> dict[str, Any]:
    """Return what a function's results depend on: its code, the values it holds and uses, and its project's files.

    Code is read as a syntax tree without comments and docstrings. Closure cells, defaults, partials, bound objects
    and global values that are named count by content, arrays and tensors included. Of a file that is reached by
    imports, what runs when it is imported counts; functions that nothing reaches, and assignments that only build
    claims and conditions, do not. Installed packages and the standard library do not count.

    Args:
        function: a function, a method, a class, a functools.partial, or an object that can be called.
        what: what errors call it.

    Returns:
        A value ready for JSON, equal for equal code and values.

    Raises:
        InputError: it holds a value that cannot be read, or a file was edited after this process read it.
    """
    reader = Reader(what)
    try:
        content = {"function": reader.value(function)}
        return content | Dependencies(reader).content()
    except RecursionError:
        raise InputError(f"{what} holds values nested too deeply to be read; make them inside the function") from None


def to_canonical(value: Any, what: str) -> Any:
    """Return a value's content, ready for JSON; equal for equal content.

    Args:
        value: a number, string, container, array, function or object.
        what: what errors call it.

    Returns:
        plain values.

    Raises:
        InputError: it holds what cannot be read, such as an open file.
    """
    reader = Reader(what)
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return reader.mapping(value)
    return reader.value(value)
