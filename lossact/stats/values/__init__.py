"""Evidence about values reached: differences in a measure's own unit, shares above a threshold, and trends."""

from lossact.stats.values.comparing import (
    at_most_worse,
    compare_values,
    differences,
    is_single,
    rounding_of,
    without_rounding,
)
from lossact.stats.values.median import MedianSequence, median_sequence, rank_boundary
from lossact.stats.values.trend import compare_trend, trend_scores

__all__ = [
    "MedianSequence",
    "at_most_worse",
    "compare_trend",
    "compare_values",
    "differences",
    "is_single",
    "median_sequence",
    "rank_boundary",
    "rounding_of",
    "trend_scores",
    "without_rounding",
]
