"""Hypotheses about conditions, and how they become verdicts."""

from lossact.claims.evaluate import evaluate
from lossact.claims.hypotheses import Hypothesis
from lossact.claims.interaction import gap_grows
from lossact.claims.joint import all_of
from lossact.claims.map import map_claim
from lossact.claims.numbers import exceeds, measured, sampled
from lossact.claims.orders import fastest, ordering, slowest
from lossact.claims.pairs import equivalent, faster, not_worse
from lossact.claims.plan import Plan, plan
from lossact.claims.reaches import reaches
from lossact.claims.theorem import exact
from lossact.claims.value_claims import at_least, at_most, equivalent_in, higher, lower
from lossact.claims.value_orders import decreases, highest, increases, lowest
from lossact.claims.verdict import Verdict

__all__ = [
    "Hypothesis",
    "Plan",
    "Verdict",
    "all_of",
    "at_least",
    "at_most",
    "decreases",
    "equivalent",
    "equivalent_in",
    "evaluate",
    "exact",
    "exceeds",
    "faster",
    "fastest",
    "gap_grows",
    "higher",
    "highest",
    "increases",
    "lower",
    "lowest",
    "map_claim",
    "measured",
    "not_worse",
    "ordering",
    "plan",
    "reaches",
    "sampled",
    "slowest",
]
