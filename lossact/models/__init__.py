"""Networks: what they are (torch-free) and what they compute (plain nn.Modules, loaded on first use)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lossact.models.config import CNNConfig, MLPConfig

if TYPE_CHECKING:
    from lossact.models.cnn import CNN
    from lossact.models.mlp import MLP

__all__ = ["CNN", "MLP", "CNNConfig", "MLPConfig", "plain_network"]


def plain_network(config: MLPConfig | CNNConfig, image_shape: tuple[int, ...]) -> "MLP | CNN":
    """Make a built-in network as a plain nn.Module, its weights as torch draws them.

    Args:
        config: which network.
        image_shape: (height, width) of the images; an MLP takes other shapes too.

    Returns:
        the module.
    """
    from lossact.models.cnn import CNN
    from lossact.models.mlp import MLP

    if isinstance(config, MLPConfig):
        return MLP(config, image_shape)
    height, width = image_shape
    return CNN(config, (height, width))


def __getattr__(name: str) -> Any:
    if name in {"CNN", "MLP"}:
        return getattr(import_module(f"lossact.models.{name.lower()}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
