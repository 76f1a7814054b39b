"""The engine's outcomes against an independent implementation with its own data and weights."""

import math

import numpy as np
import pytest

from lossact import Experiment
from tests.conftest import PAIRS, report_condition
from tests.plain_numpy import random_run

N = 256


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_reach_rates_and_medians_agree_within_sampling_error(
    experiment: Experiment, activation: str, loss: str
) -> None:
    rng = np.random.default_rng(20171215)
    runs = [random_run(activation, loss, rng, budget=1000) for _ in range(N)]
    (trials,) = experiment.trials([report_condition(activation, loss)], 512)
    ours = np.where(trials.reached, trials.steps, 1001)
    theirs = np.array([1001 if steps is None else steps for steps in runs])
    # Kolmogorov-Smirnov over the common budget: reach rate, median and all between, at the 0.1% level.
    at = np.arange(1001)
    gap = np.abs((ours[:, None] <= at).mean(0) - (theirs[:, None] <= at).mean(0)).max()
    assert gap < math.sqrt(-math.log(0.001 / 2) / 2 * (1 / len(ours) + 1 / N))
