"""Hypotheses about conditions, and how they become verdicts."""

from lossact.claims.evaluate import evaluate
from lossact.claims.hypotheses import Hypothesis, faster, fastest, ordering, reaches, slowest
from lossact.claims.verdict import Verdict

__all__ = ["Hypothesis", "Verdict", "evaluate", "faster", "fastest", "ordering", "reaches", "slowest"]
