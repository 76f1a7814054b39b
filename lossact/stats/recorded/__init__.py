"""Runs that were recorded already: exact statistics for a fixed number of them."""

from lossact.stats.recorded.all_pairs import PairResult, compare_pairs
from lossact.stats.recorded.describe import Description, describe, interquartile_mean, performance_profile
from lossact.stats.recorded.equivalence import decide_equal
from lossact.stats.recorded.extendable import decide_extendable
from lossact.stats.recorded.fixed import FixedDecision, runs_needed
from lossact.stats.recorded.one_sample import StudentTest, decide_at_most, decide_share, median_interval, student_t
from lossact.stats.recorded.outcome_counts import OutcomeCounts
from lossact.stats.recorded.paired import decide_paired
from lossact.stats.recorded.planning import runs_to_decide
from lossact.stats.recorded.ranks import rank_sum_p
from lossact.stats.recorded.samples import Samples, StepSamples, ValueSamples
from lossact.stats.recorded.several import SeveralDecisions, decide_all
from lossact.stats.recorded.shift import Shift, hodges_lehmann
from lossact.stats.recorded.steps import RecordedSteps, compare_recorded_steps, on_one_grid, scores
from lossact.stats.recorded.unpaired import decide_larger, decide_unpaired, outcomes_of_values, unlike
from lossact.stats.recorded.values import decide_value_pair, difference_interval, median_of_growing, value_differences
from lossact.stats.recorded.within import decide_within

__all__ = [
    "Description",
    "FixedDecision",
    "OutcomeCounts",
    "PairResult",
    "RecordedSteps",
    "Samples",
    "SeveralDecisions",
    "Shift",
    "StepSamples",
    "StudentTest",
    "ValueSamples",
    "compare_pairs",
    "compare_recorded_steps",
    "decide_all",
    "decide_at_most",
    "decide_equal",
    "decide_extendable",
    "decide_larger",
    "decide_paired",
    "decide_share",
    "decide_unpaired",
    "decide_value_pair",
    "decide_within",
    "describe",
    "difference_interval",
    "hodges_lehmann",
    "interquartile_mean",
    "median_interval",
    "median_of_growing",
    "on_one_grid",
    "outcomes_of_values",
    "performance_profile",
    "rank_sum_p",
    "runs_needed",
    "runs_to_decide",
    "scores",
    "student_t",
    "unlike",
    "value_differences",
]
