"""Trials and curves as rows of numbers, one for each update."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.stats.bands import bands, cumulative_incidence
from lossact.storage import Curves, Trials

MOST_POINTS = 250  # about as many as a chart shows


def curve_rows(trials: Trials, curves: Curves | None, *, metric: str = "accuracy") -> list[dict[str, float]]:
    """Return a row for each update: share that has arrived, quantiles of loss, metric and gradient norms.

    A replica that rests keeps its last values, as early stopping leaves it. Norms are in the rows that have them.
    """
    columns = {
        "reach_rate": cumulative_incidence(trials.steps[trials.reached], trials.budget, replicas=max(1, len(trials)))
    }
    norms: dict[str, NDArray[np.float64]] = {}
    if curves is not None:
        columns |= bands("loss", curves.loss) | bands(metric, curves.metric)
        for layer, of_layer in zip(curves.layers, curves.gradient_norm.transpose(2, 0, 1), strict=True):
            norms |= bands(f"gradient_norm/{layer}", of_layer)
    rows = [
        {"update": float(update)} | {name: float(column[update]) for name, column in columns.items()}
        for update in range(trials.budget + 1)
    ]
    for name, values in norms.items():
        for moment, value in enumerate(values):
            rows[moment * curves.gradient_every][name] = float(value)  # type: ignore[union-attr]
    return rows


def thinned(rows: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Leave about MOST_POINTS of the rows of a long curve, the last, and about MOST_POINTS of those with norms."""
    usual = len(rows[-1])
    with_norms = [k for k, row in enumerate(rows) if len(row) > usual]
    kept = {*_some(range(len(rows))), *_some(with_norms), len(rows) - 1}
    return [rows[k] for k in sorted(kept)]


def _some(indices: Sequence[int]) -> Sequence[int]:
    return indices[:: max(1, -(-len(indices) // MOST_POINTS))]
