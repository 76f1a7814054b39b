"""Delayed generalisation: held-out examples are learned long after the training examples."""

from functools import partial
from typing import Any

import pytest
from torch.nn import functional as f

from claims.literature.networks import Sums, all_sums
from lossact import Accuracy, AdamW, Condition, Hypothesis, faster, higher

POWER = "Power et al., Grokking: generalization beyond overfitting on small algorithmic datasets, 2022"


def on_sums(name: str, weight_decay: float, **changes: Any) -> Condition:
    """Make a condition that learns sums modulo 23, with all training sums in each update."""
    given: dict[str, Any] = {
        "loss": partial(f.cross_entropy, reduction="none"), "data": all_sums(), "batch_size": None, "budget": 400,
        "optimizer": AdamW(learning_rate=0.03, weight_decay=weight_decay),
    }  # fmt: skip
    return Condition(name=name, network=Sums, **given | changes)


@pytest.mark.claim(
    "accuracy reaches 90% on held-out sums only after three times the updates that it takes on the training sums",
    source=POWER,
    recorded="supported",
)
def test_generalisation_comes_late() -> Hypothesis:
    return faster(
        on_sums("training sums", 2.0, measured_every=5, target=Accuracy().at_least(0.9)),
        than=on_sums("held-out sums", 2.0, measured_every=5, target=Accuracy(split="validation").at_least(0.9)),
        ratio=3,
    )


@pytest.mark.claim(
    "with weight decay the accuracy on held-out sums ends more than 50 points higher than without",
    source=POWER,
    recorded="supported",
)
def test_weight_decay_makes_it_general() -> Hypothesis:
    given = {"target": None, "measures": {"accuracy": Accuracy(split="validation")}, "measured_every": 400}
    return higher("accuracy", on_sums("decay", 2.0, **given), than=on_sums("no decay", 0.0, **given), by=0.5)
