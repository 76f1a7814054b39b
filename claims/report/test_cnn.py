"""What the report says about its convolutional network (part 2.2)."""

from pathlib import Path

import pytest

from lossact import SGD, CNNConfig, Condition, Hypothesis, ImageFiles, LineImages, reaches


def cnn_condition(name: str, activation: str, loss: str, data: LineImages | ImageFiles) -> Condition:
    return Condition(
        name=name,
        network=CNNConfig(activation=activation, channels=(16, 8), kernel=7),
        loss=loss,
        optimizer=SGD(learning_rate=0.01, momentum=0.99, weight_decay=5e-4),
        data=data,
        budget=1000,
    )


@pytest.fixture(scope="session")
def lines(claims_data: Path | None) -> LineImages | ImageFiles:
    if claims_data is None:
        return LineImages(n_images=64)
    return ImageFiles.in_directory(claims_data, "line", image_shape=LineImages.image_shape)


@pytest.fixture(scope="session")
def cnn(lines: LineImages | ImageFiles) -> Condition:
    return cnn_condition("CNN ReLU/CE", "relu", "cross_entropy", lines)


@pytest.mark.claim("the CNN reaches 100% accuracy within 1000 iterations", source="report 2.2", recorded="supported")
def test_a13_cnn_arrives(cnn: Condition) -> Hypothesis:
    return reaches(cnn, low=0.90, high=0.95)
