"""What a few replicas would decide is decided only where they are runs of their own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lossact import Experiment, FunctionCondition, evaluate, reaches
from lossact.errors import ClaimError

ONE_RUN = r"the first 8 replicas computed exactly the same, so they are one run that ignores its seed"


def constant(seed: int) -> int:
    torch.manual_seed(42)
    return 20 + int(torch.randint(1, 5, ()))


def met_at_the_start(seed: int) -> int:
    return 0 * int(np.random.default_rng(seed).integers(5))


@pytest.mark.parametrize(
    ("train", "message"), [(constant, ONE_RUN), (met_at_the_start, "all 8 replicas met the target before any update")]
)
def test_what_few_replicas_would_decide_is_checked_first(
    train: Callable[[int], int], message: str, experiment: Experiment
) -> None:
    condition = FunctionCondition(train=train, budget=60)
    with pytest.raises(ClaimError, match=message):  # four would support it
        evaluate(reaches(condition, low=0.2, high=0.5), max_replicas=16, experiment=experiment)
