"""Whether values rise over an ordered list of settings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.errors import InputError
from lossact.stats.betting import Floats
from lossact.stats.outcomes import Outcome, Outcomes


def trend_scores(values: Sequence[NDArray[np.float64]]) -> Floats:
    """Count in each replica the pairs of settings whose values rise, minus those whose values fall.

    Args:
        values: one (replicas,) array a setting, in the order of the settings.

    Returns:
        (replicas,) integers from -k (k - 1) / 2 to k (k - 1) / 2 for k settings; NaN where a value is NaN.

    Raises:
        InputError: there are fewer than two settings.

    Reference: Kendall, A new measure of rank correlation, Biometrika 1938.
    """
    if len(values) < 2:
        raise InputError(f"{len(values)} settings make no trend; give at least two")
    stacked = np.stack([np.asarray(column, dtype=np.float64) for column in values])
    score = np.zeros(stacked.shape[1])
    for first in range(len(stacked)):
        for second in range(first + 1, len(stacked)):
            with np.errstate(invalid="ignore"):
                score += np.where(stacked[first] == stacked[second], 0.0, np.sign(stacked[second] - stacked[first]))
    return np.where(np.isnan(stacked).any(axis=0), np.nan, score)


def compare_trend(
    values: Sequence[NDArray[np.float64]], *, margin: int = 0, censored: Sequence[NDArray[np.bool_]] | None = None
) -> Outcomes:
    """Decide for each replica whether its trend score exceeds the margin.

    Where values are censored (updates to a target that was not reached, set to one more than the budget), a pair of
    which both are censored ties for support and counts as a rise for refutation. That can only make refutation harder.

    Args:
        values: one (replicas,) array a setting, in the order of the settings.
        margin: the score to exceed.
        censored: one (replicas,) array a setting; None where all values are known.

    Returns:
        (replicas,) Outcome values.
    """
    score = trend_scores(values)
    highest = score.copy()
    if censored is not None:
        for first in range(len(values)):
            for second in range(first + 1, len(values)):
                highest += censored[first] & censored[second]
    cases = [
        (np.isnan(score), Outcome.UNDETERMINED),
        (score > margin, Outcome.WIN),
        ((score == margin) & (highest == score), Outcome.TIE),
        (score == margin, Outcome.CENSORED),
        (highest < margin, Outcome.LOSS),
    ]
    conditions, outcomes = zip(*cases, strict=True)
    decided: Outcomes = np.select(list(conditions), list(outcomes), Outcome.UNDETERMINED).astype(np.int8)
    return decided
