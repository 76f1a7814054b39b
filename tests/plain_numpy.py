"""The report's MLP and its training in float64 numpy, gradients by hand: shares no line with lossact's engine."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def train(
    activation: str, loss: str, images: Array, labels: Array, w1: Array, b1: Array, w2: Array, b2: float, *, budget: int
) -> int | None:
    """Steps to 100% accuracy, None where not reached; images (n, features), w1 (hidden, features), w2 (hidden,)."""
    theta = [w1.copy(), b1.copy(), w2.copy(), np.array(b2)]
    velocity = [np.zeros_like(p) for p in theta]
    n = len(labels)
    for update in range(budget + 1):
        z = images @ theta[0].T + theta[1]
        a = 1 / (1 + np.exp(-z)) if activation == "sigmoid" else np.maximum(z, 0)
        p = 1 / (1 + np.exp(-(a @ theta[2] + theta[3])))
        if ((p > 0.5) == (labels == 1)).all():
            return update
        error = (p - labels) / n
        dz2 = 2 * error * p * (1 - p) if loss == "l2" else error
        slope = a * (1 - a) if activation == "sigmoid" else (z > 0).astype(float)
        dz1 = np.outer(dz2, theta[2]) * slope
        gradient = [dz1.T @ images, dz1.sum(0), a.T @ dz2, dz2.sum()]
        for k in range(4):
            velocity[k] = 0.99 * velocity[k] + gradient[k] + 5e-4 * theta[k]
            theta[k] = theta[k] - 0.1 * velocity[k]
    return None


def random_run(activation: str, loss: str, rng: np.random.Generator, *, budget: int) -> int | None:
    """Simulate one run of the report with fresh data and weights."""
    images = rng.integers(0, 2, (64, 16)).astype(float)
    labels = (rng.random(64) < 11 / 64).astype(float)
    w1 = rng.normal(0, np.sqrt(2 / 20), (4, 16))
    w2 = rng.normal(0, np.sqrt(2 / 5), 4)
    return train(activation, loss, images, labels, w1, np.zeros(4), w2, 0.0, budget=budget)
