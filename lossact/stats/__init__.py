"""Evidence: arrays of counts in, frozen results out. Needs numpy and scipy only."""

from lossact.stats.decision import Comparison, Decision, decide
from lossact.stats.equivalence import decide_equivalence
from lossact.stats.evidence_path import EvidencePath
from lossact.stats.holm import holm
from lossact.stats.outcomes import Outcome, censored_as_open, compare_numbers, compare_steps
from lossact.stats.proportion import Proportion, proportion
from lossact.stats.replay import Margins, VerdictName

__all__ = [
    "Comparison",
    "Decision",
    "EvidencePath",
    "Margins",
    "Outcome",
    "Proportion",
    "VerdictName",
    "censored_as_open",
    "compare_numbers",
    "compare_steps",
    "decide",
    "decide_equivalence",
    "holm",
    "proportion",
]
