"""With one common budget, survival analysis is the plain distribution: checked against scipy's Kaplan-Meier."""

import numpy as np
import pytest
from scipy.stats import CensoredData, ecdf

from lossact.storage import Trials

BUDGET = 400


@pytest.fixture(params=[0.05, 0.4, 0.7])
def trials(request: pytest.FixtureRequest) -> Trials:
    rng = np.random.default_rng(3)
    times = (BUDGET * np.exp(rng.normal(-1 + 1.6 * request.param, 0.8, 700))).astype(np.int64)
    reached = times <= BUDGET
    return Trials(np.where(reached, times, 0), reached, np.zeros(700, bool), BUDGET)


def survival_of(trials: Trials) -> object:
    return ecdf(CensoredData(trials.steps[trials.reached], right=np.full((~trials.reached).sum(), BUDGET))).sf


def test_kaplan_meier_below_the_budget_is_the_share_still_training(trials: Trials) -> None:
    survival = survival_of(trials)
    at = np.arange(BUDGET)
    still = [(np.where(trials.reached, trials.steps, BUDGET + 1) > t).mean() for t in at]
    np.testing.assert_allclose(survival.evaluate(at), still, rtol=1e-9)  # type: ignore[attr-defined]


def test_the_restricted_mean_is_the_mean_of_restricted_steps(trials: Trials) -> None:
    area = survival_of(trials).evaluate(np.arange(BUDGET)).sum()  # type: ignore[attr-defined]
    assert trials.restricted_steps.mean() == pytest.approx(area, rel=1e-9)


def test_the_median_is_where_kaplan_meier_falls_to_one_half(trials: Trials) -> None:
    shares = survival_of(trials).evaluate(np.arange(BUDGET + 1))  # type: ignore[attr-defined]
    if trials.reached.mean() < 0.5:
        assert trials.median_steps is None
    else:
        assert trials.median_steps == pytest.approx(int(np.argmax(shares <= 0.5)), abs=1)
