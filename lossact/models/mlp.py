"""The multilayer perceptron as a plain nn.Module."""

import math

from torch import Tensor, nn

from lossact.functional import ACTIVATIONS
from lossact.models.config import MLPConfig


class MLP(nn.Module):
    """Flatten -> Linear(features, hidden) -> activation -> Linear(hidden, 1).

    Returns the logit; the probability of label 1 is its sigmoid.

    Args:
        config: shape and activation.
        image_shape: of one input: (height, width) of an image.
    """

    def __init__(self, config: MLPConfig, image_shape: tuple[int, ...]) -> None:
        super().__init__()
        features = math.prod(image_shape)
        self.activation = ACTIVATIONS[config.activation].function
        self.hidden = nn.Linear(features, config.hidden)
        self.output = nn.Linear(config.hidden, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images.

        Args:
            images: (batch, ...).

        Returns:
            (batch,) logits.
        """
        logits: Tensor = self.output(self.activation(self.hidden(images.flatten(1)))).squeeze(1)
        return logits
