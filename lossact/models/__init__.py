"""Networks: what they are (torch-free) and what they compute (plain nn.Modules, loaded on first use)."""

from typing import TYPE_CHECKING, Any

from lossact.models.config import MLPConfig

if TYPE_CHECKING:
    from lossact.models.mlp import MLP

__all__ = ["MLP", "MLPConfig"]


def __getattr__(name: str) -> Any:
    if name == "MLP":
        from lossact.models.mlp import MLP

        return MLP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
