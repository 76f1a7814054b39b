"""The report's experiment (part 2.1): a 16-4-1 MLP that memorises 64 random images, under four pairs."""

from pathlib import Path

import pytest

from lossact import SGD, Condition, ImageFiles, MLPConfig, RandomImages


@pytest.fixture(scope="session")
def images(claims_data: Path | None) -> RandomImages | ImageFiles:
    if claims_data is None:
        return RandomImages(n_images=64, height=4, width=4, label_rate=11 / 64)
    return ImageFiles.in_directory(claims_data, "random", image_shape=(4, 4))


def condition(name: str, activation: str, loss: str, data: RandomImages | ImageFiles) -> Condition:
    return Condition(
        name=name,
        network=MLPConfig(hidden=4, activation=activation),
        loss=loss,
        optimizer=SGD(learning_rate=0.1, momentum=0.99, weight_decay=5e-4),
        data=data,
        budget=1000,
    )


@pytest.fixture(scope="session")
def sigmoid_l2(images: RandomImages | ImageFiles) -> Condition:
    return condition("sigmoid/L2", "sigmoid", "l2", images)


@pytest.fixture(scope="session")
def sigmoid_ce(images: RandomImages | ImageFiles) -> Condition:
    return condition("sigmoid/CE", "sigmoid", "cross_entropy", images)


@pytest.fixture(scope="session")
def relu_l2(images: RandomImages | ImageFiles) -> Condition:
    return condition("ReLU/L2", "relu", "l2", images)


@pytest.fixture(scope="session")
def relu_ce(images: RandomImages | ImageFiles) -> Condition:
    return condition("ReLU/CE", "relu", "cross_entropy", images)


@pytest.fixture(scope="session")
def all_four(
    relu_l2: Condition, sigmoid_ce: Condition, relu_ce: Condition, sigmoid_l2: Condition
) -> tuple[Condition, ...]:
    """In the order in which the report saw them arrive."""
    return (relu_l2, sigmoid_ce, relu_ce, sigmoid_l2)
