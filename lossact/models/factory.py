"""Anybody's nn.Module, as a function that makes one."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar

from lossact.errors import InputError

PLAIN = (str, int, float, bool, bytes, type(None))


@dataclass(frozen=True)
class ModuleFactory:
    """Makes networks of one shape, each with initial weights of its own.

    Attributes:
        make: () -> nn.Module that maps (batch, height, width) images to (batch,) logits. Called under the replica's
            own random seed, so that weights are drawn as the module draws them.
    """

    block: ClassVar[int] = 16
    blocks_at_once: ClassVar[int] = 4
    updates_per_step: ClassVar[int] = 25

    make: Callable[[], Any]

    def __post_init__(self) -> None:
        if not callable(self.make):
            raise InputError(
                f"network={self.make!r} must be a function that makes an nn.Module; try lambda: MyNetwork()"
            )
        self.content()

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key: the function's code and the file it lives in.

        Raises:
            InputError: the function holds values whose content cannot be told.
        """
        return {"kind": "module", **_described(self.make)}

    def __str__(self) -> str:
        function = self.make.func if isinstance(self.make, partial) else self.make
        return str(getattr(function, "__qualname__", type(function).__name__))


def _described(function: Callable[..., Any]) -> dict[str, Any]:
    if isinstance(function, partial):
        arguments = [*function.args, *(value for _, value in sorted(function.keywords.items()))]
        return _described(function.func) | {"arguments": [_plain(value) for value in arguments]}
    described: dict[str, Any] = {"name": f"{function.__module__}.{getattr(function, '__qualname__', '')}"}
    code = getattr(function, "__code__", None)
    if code is not None:
        closure = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        defaults = getattr(function, "__defaults__", None) or ()
        described["code"] = _code_digest(code)
        described["values"] = [_plain(value) for value in (*closure, *defaults)]
    try:
        file = inspect.getsourcefile(function)
    except TypeError:
        file = None
    if file is not None and Path(file).is_file():
        described["source"] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return described


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if callable(value):
        return _described(value)
    if isinstance(value, PLAIN):
        return repr(value)
    raise InputError(
        f"network holds {value!r}, whose content cannot be told for the store; "
        "use numbers and strings, or make it inside the function"
    )


def _code_digest(code: CodeType) -> str:
    digest = hashlib.sha256(code.co_code + repr(code.co_names).encode())
    for constant in code.co_consts:
        digest.update((_code_digest(constant) if isinstance(constant, CodeType) else repr(constant)).encode())
    return digest.hexdigest()
