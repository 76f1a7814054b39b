"""Why the report expects sigmoid/L2 to be slow (part 2.1.5): its mechanism, measured during training."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lossact import Condition, Hypothesis, default_compute_config, measured

AT_ONCE, EVERY, FEWEST = 512, 50, 20


def slope_among_wrong(error: NDArray[np.float64], returned: NDArray[np.float64]) -> float:
    """Return the least-squares slope of the returned gradient against the error, over examples off by more than 1/2."""
    wrong = error > 0.5
    if wrong.sum() < FEWEST or np.ptp(error[wrong]) == 0:
        return float("nan")
    return float(np.polyfit(error[wrong], returned[wrong], 1)[0])


def slopes(condition: Condition, seed: int, replicas: int) -> NDArray[np.float64]:
    """Return one slope per replica, over all its examples at every 50th update."""
    import torch

    from lossact import record_snapshots

    fitted: list[float] = []
    for first in range(0, replicas, AT_ONCE):
        chosen = range(first, min(first + AT_ONCE, replicas))
        snapshots, images, labels = record_snapshots(
            condition, seed, chosen, every=EVERY, compute_config=default_compute_config()
        )
        z = torch.stack([snapshot.outputs(images) for snapshot in snapshots], dim=1)
        p, y = torch.sigmoid(z), labels.unsqueeze(1)
        error = (p - y).abs()
        returned = 2 * error * p * (1 - p)
        errors, gradients = (tensor.double().flatten(1).numpy() for tensor in (error, returned))
        fitted += [slope_among_wrong(*pair) for pair in zip(errors, gradients, strict=True)]
    return np.array(fitted)


@pytest.mark.claim(
    "under sigmoid/L2 the examples farthest from their target send back less error",
    source="report 2.1.5",
    recorded="supported",
)
def test_a12_far_examples_send_back_less(sigmoid_l2: Condition) -> Hypothesis:
    """Each replica gives one number: by how much |dL2/dz| of the output falls with an example's error |p - y|.

    With cross-entropy |dCE/dz| is the error itself, so its slope is 1 whatever happens. With L2 it is 2 e^2 (1 - e),
    which falls beyond e = 2/3: whether examples get there while the network learns is what has to be measured. Only
    examples on the wrong side count (e > 1/2), for these the gradient has to move; near their target both losses send
    back little. The slope is fitted within a replica, over its training; replicas with hardly a wrong example cannot
    tell.
    """

    def fall(seed: int, replicas: int) -> NDArray[np.float64]:
        return -slopes(sigmoid_l2, seed, replicas)

    return measured(fall, 0.0, name="the fall of |dL2/dz| with the error")
