"""Evidence: arrays of counts in, frozen results out. Needs numpy and scipy only."""

from lossact.stats.decision import Comparison, Decision, decide
from lossact.stats.holm import holm
from lossact.stats.outcomes import Outcome, compare_steps
from lossact.stats.proportion import Proportion, proportion
from lossact.stats.replay import Margins

__all__ = [
    "Comparison",
    "Decision",
    "Margins",
    "Outcome",
    "Proportion",
    "compare_steps",
    "decide",
    "holm",
    "proportion",
]
