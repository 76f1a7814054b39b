"""A user's nn.Module, given by the function that makes it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from lossact.checks import check_signature
from lossact.errors import InputError
from lossact.fingerprint import fingerprint
from lossact.models.config import NetworkConfig


@dataclass(frozen=True)
class ModuleFactory(NetworkConfig):
    """Make networks of one shape, each with different initial weights.

    Args:
        make: () -> nn.Module that maps (batch, height, width) images to (batch,) logits. Called under the replica's
            own random seed, so that weights are drawn as the module draws them. Those with requires_grad=False stay
            as they are.

    Raises:
        InputError: `make` is no function without arguments, or its content cannot be read.
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
        if callable(getattr(self.make, "state_dict", None)) and not isinstance(self.make, type):
            raise InputError(
                f"network is a {type(self.make).__name__} that is made already; give the function that makes one, so "
                "that each replica starts from weights of its own"
            )
        check_signature("network", self.make, like="network()")
        self.content()

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key: the function's code and the file it lives in.

        Raises:
            InputError: the function holds values that cannot be fingerprinted.
        """
        return {"kind": "module", **fingerprint(self.make, "network")}

    def __str__(self) -> str:
        function = self.make.func if isinstance(self.make, partial) else self.make
        return str(getattr(function, "__qualname__", type(function).__name__))
