"""Hypotheses about conditions, and how they become verdicts."""

from lossact.claims.effects import exceeds, gap_grows, measured, sampled
from lossact.claims.evaluate import evaluate
from lossact.claims.hypotheses import (
    Hypothesis,
    equivalent,
    faster,
    fastest,
    not_worse,
    ordering,
    reaches,
    slowest,
)
from lossact.claims.map import map_claim
from lossact.claims.theorem import exact
from lossact.claims.verdict import Verdict

__all__ = [
    "Hypothesis",
    "Verdict",
    "equivalent",
    "evaluate",
    "exact",
    "exceeds",
    "faster",
    "fastest",
    "gap_grows",
    "map_claim",
    "measured",
    "not_worse",
    "ordering",
    "reaches",
    "sampled",
    "slowest",
]
