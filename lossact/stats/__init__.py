"""Evidence: arrays of counts in, frozen results out. Needs numpy and scipy only."""

from lossact.stats.claim_evidence import ClaimEvidence, Effect, PairwiseEvidence
from lossact.stats.decision import Comparison, Decider, Decision, decide, decide_equivalence
from lossact.stats.equivalence import EquivalenceEvidence
from lossact.stats.evidence_path import EvidencePath
from lossact.stats.holm import holm
from lossact.stats.joint import JointEvidence
from lossact.stats.margins import Margins
from lossact.stats.mean_decision import MeanDecider
from lossact.stats.mean_evidence import BoundedMean, NormalMean
from lossact.stats.median_within import MedianWithinEvidence
from lossact.stats.outcomes import (
    Outcome,
    Outcomes,
    censored_as_undetermined,
    compare_gaps,
    compare_numbers,
    compare_steps,
)
from lossact.stats.proportion import Proportion, proportion
from lossact.stats.replay import VerdictName

__all__ = [
    "BoundedMean",
    "ClaimEvidence",
    "Comparison",
    "Decider",
    "Decision",
    "Effect",
    "EquivalenceEvidence",
    "EvidencePath",
    "JointEvidence",
    "Margins",
    "MeanDecider",
    "MedianWithinEvidence",
    "NormalMean",
    "Outcome",
    "Outcomes",
    "PairwiseEvidence",
    "Proportion",
    "VerdictName",
    "censored_as_undetermined",
    "compare_gaps",
    "compare_numbers",
    "compare_steps",
    "decide",
    "decide_equivalence",
    "holm",
    "proportion",
]
