"""The convolutional network as a plain nn.Module."""

import math

from torch import Tensor, nn

from lossact.functional import ACTIVATIONS
from lossact.models.config import CNNConfig


class CNN(nn.Module):
    """Convolution -> activation -> convolution -> activation -> Flatten -> Linear(features, 1).

    Returns the logit; the probability of label 1 is its sigmoid.

    Args:
        config: shape and activation.
        image_shape: (height, width) of its images.
    """

    def __init__(self, config: CNNConfig, image_shape: tuple[int, int]) -> None:
        super().__init__()
        first, second = config.channels
        self.activation = ACTIVATIONS[config.activation].function
        self.first = nn.Conv2d(1, first, config.kernel)
        self.second = nn.Conv2d(first, second, config.kernel)
        self.output = nn.Linear(math.prod(config.feature_shape(image_shape)), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images.

        Args:
            images: (batch, height, width).

        Returns:
            (batch,) logits.
        """
        hidden = self.activation(self.first(images.unsqueeze(1)))
        features = self.activation(self.second(hidden)).flatten(1)
        logits: Tensor = self.output(features).squeeze(1)
        return logits
