"""Quantiles over replicas, under the names that logs, dashboards and figures share."""

import numpy as np
from numpy.typing import ArrayLike

from lossact.stats.betting import Floats

QUANTILES = {"q10": 0.1, "median": 0.5, "q90": 0.9}


def bands(name: str, values: ArrayLike) -> dict[str, Floats]:
    """Return the 10% quantile, the median and the 90% quantile over replicas.

    Args:
        name: of the values.
        values: (replicas, ...).

    Returns:
        `name/q10`, `name/median` and `name/q90`, each (...); NaN where a replica is NaN.
    """
    with np.errstate(invalid="ignore"):  # halfway between two infinite values there is none
        quantiles = np.quantile(np.asarray(values, dtype=np.float64), list(QUANTILES.values()), axis=0)
    return {f"{name}/{label}": quantile for label, quantile in zip(QUANTILES, quantiles, strict=True)}


def cumulative_incidence(steps: ArrayLike, budget: int, *, replicas: int) -> Floats:
    """Return (budget + 1,): the share of replicas that had met the target after 0 … budget updates.

    It is one minus Kaplan and Meier's curve, for all replicas are observed up to one budget.

    Args:
        steps: (reached,) updates of those that met it.
        budget: updates at most.
        replicas: how many there are, >= 1.

    Returns:
        (budget + 1,) shares, from 0 updates on.
    """
    return np.bincount(np.asarray(steps, dtype=np.int64), minlength=budget + 1).cumsum() / replicas
