"""The multilayer perceptron as a plain nn.Module."""

from torch import Tensor, nn

from lossact.functional import ACTIVATIONS
from lossact.models.config import MLPConfig


class MLP(nn.Module):
    """Flatten -> Linear(features, hidden) -> activation -> Linear(hidden, 1).

    Returns the logit; the probability of label 1 is its sigmoid.

    Args:
        config: shape and activation.
        features: numbers in one image.
    """

    def __init__(self, config: MLPConfig, features: int) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation].function
        self.hidden = nn.Linear(features, config.hidden)
        self.output = nn.Linear(config.hidden, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, height, width) images to (batch,) logits."""
        logits: Tensor = self.output(self.activation(self.hidden(images.flatten(1)))).squeeze(1)
        return logits
