"""Small networks on scikit-learn's handwritten digits: 8x8 images of ten classes, no download."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from torch.nn import functional as f

from lossact import SGD, Accuracy, Arrays, Condition

CROSS_ENTROPY = partial(f.cross_entropy, reduction="none")


@pytest.fixture(scope="session")
def shuffled_digits() -> tuple[Any, Any]:
    """All 1,797 digits in an order that depends on nothing: images with pixels in [0, 1], and classes."""
    datasets = pytest.importorskip(
        "sklearn.datasets", reason="digits come with scikit-learn: pip install lossact[test]"
    )
    images, classes = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return images[order] / 16, classes[order].astype(np.int64)


@pytest.fixture(scope="session")
def digits(shuffled_digits: tuple[Any, Any]) -> Arrays:
    """1,200 digits to learn from and 597 to be judged by."""
    images, classes = shuffled_digits
    return Arrays(images[:1200], classes[:1200], validation=(images[1200:], classes[1200:]))


@pytest.fixture(scope="session")
def digits_to_test(shuffled_digits: tuple[Any, Any]) -> Arrays:
    """1,200 digits to learn from, 297 to stop by and 300 to be judged by."""
    images, classes = shuffled_digits
    return Arrays(
        images[:1200], classes[:1200],
        validation=(images[1200:1497], classes[1200:1497]), test=(images[1497:], classes[1497:]),
    )  # fmt: skip


@pytest.fixture(scope="session")
def on_digits(digits: Arrays) -> Callable[..., Condition]:
    """Makes a condition: minibatches of 32, until 90% of the validation digits are recognised."""

    def make(name: str, network: Any, **changes: Any) -> Condition:
        given: dict[str, Any] = {
            "loss": CROSS_ENTROPY, "optimizer": SGD(learning_rate=0.1), "data": digits, "batch_size": 32,
            "budget": 400, "target": Accuracy(split="validation").at_least(0.9), "measured_every": 10,
        }  # fmt: skip
        return Condition(name=name, network=network, **given | changes)

    return make
