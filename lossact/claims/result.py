"""A claim with its verdict, as plain values that travel between processes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lossact.claims.undecided import marker_fields
from lossact.claims.value_samples import ValueSamples
from lossact.claims.verdict import Verdict
from lossact.claims.verdict_summary import Estimate, VerdictSummary
from lossact.experiment import Experiment
from lossact.stats import holm


@dataclass(frozen=True)
class ClaimResult:
    """One claim's outcome.

    Attributes:
        id: pytest's node id.
        statement, source, recorded: from the claim's marker; empty and None where not given.
        family, family_size, family_declared: the family it was decided in.
        family_folder: where that family lies; families of one name may lie in different folders.
        decides: whether the record speaks for this run's setting.
        verdict: its `verdict` may be raised by Holm's procedure.
        sentence: the hypothesis in words.
        p_value: anytime-valid, of the null of support.
        warnings: what a reader should know.
        by_holm: whether Holm's procedure turned an inconclusive verdict into "supported".
        value_samples: the numbers that a claim about values rests on, for pictures; none for other claims.
        keys: each condition's name and its key in the store.
        thresholds: what the interval is held against, ascending.
        evidence_path: of the evidence, as lists by the names of stats.EvidencePath; None where nothing is sampled.
        exact: whether a theorem was checked, which is no part of the family.
    """

    id: str
    statement: str
    source: str
    recorded: str | None
    family: str
    family_size: int
    family_declared: bool
    family_folder: str
    decides: bool
    verdict: VerdictSummary
    sentence: str
    p_value: float
    warnings: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    thresholds: tuple[float, ...] = ()
    evidence_path: dict[str, list[float]] | None = None
    exact: bool = False
    by_holm: bool = False
    value_samples: tuple[ValueSamples, ...] = ()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ClaimResult":
        """Make a result from plain values; the inverse of as_dict.

        Args:
            content: fields by name, also where tuples became lists on the way.

        Returns:
            the result.
        """
        values = {
            "verdict": VerdictSummary.from_dict(content["verdict"]),
            "warnings": tuple(content["warnings"]),
            "keys": tuple(map(tuple, content["keys"])),
            "thresholds": tuple(content["thresholds"]),
            "value_samples": tuple(map(ValueSamples.from_dict, content["value_samples"])),
        }
        return cls(**{**content, **values})

    @classmethod
    def of(cls, verdict: Verdict, experiment: Experiment, **metadata: Any) -> "ClaimResult":
        """Sum up a verdict, with what pytest knows about its claim.

        Args:
            verdict: the verdict.
            experiment: names the keys of the conditions.
            **metadata: the other fields.

        Returns:
            the result.
        """
        return cls(
            verdict=verdict.summary(),
            sentence=repr(verdict.hypothesis),
            p_value=verdict.decision.p_value,
            warnings=verdict.warnings,
            exact=verdict.is_exact,
            thresholds=verdict.thresholds,
            evidence_path=None if verdict.decision.evidence_path is None else verdict.decision.evidence_path.to_json(),
            value_samples=verdict.value_samples,
            keys=tuple((condition.name, experiment.key(condition)) for condition in verdict.hypothesis.conditions),
            **metadata,
        )

    @property
    def name(self) -> str:
        """The verdict in one word."""
        return self.verdict.verdict

    def to_json(self) -> dict[str, Any]:
        """The claim's entry in --claims-json."""
        return marker_fields(self) | self.verdict.to_json()


def settle_families(results: Sequence[ClaimResult], alpha: float) -> list[ClaimResult]:
    """Apply Holm's procedure within each declared family: it may turn "inconclusive" into "supported", nothing else.

    Claims of a family that are not among `results` enter as p = 1. The interval of such a claim is cut, or
    widened, so that it does not contradict the verdict: its low end is at least what support is held against.

    Args:
        results: of all claims that were decided.
        alpha: family-wise error probability.

    Returns:
        the results in the same order, some of them supported by Holm's procedure.
    """
    settled = list(results)
    for folder in {result.family_folder for result in results}:
        members = [
            k
            for k, result in enumerate(results)
            if result.family_folder == folder and result.family_declared and not result.exact
        ]
        if not members:
            continue
        rejected = holm([results[k].p_value for k in members], alpha=alpha, family_size=results[members[0]].family_size)
        for k, supported in zip(members, rejected, strict=True):
            if supported and results[k].name == "inconclusive":
                reason = f"by Holm's procedure; inconclusive by itself: {results[k].verdict.reason}"
                effect = _within_support(results[k].verdict.effect, results[k].thresholds)
                verdict = replace(results[k].verdict, verdict="supported", reason=reason, effect=effect)
                settled[k] = replace(results[k], verdict=verdict, by_holm=True)
    return settled


def _within_support(effect: Estimate, thresholds: Sequence[float]) -> Estimate:
    """An interval that does not contradict SUPPORTED: above the first threshold, of an equivalence within both."""
    if not thresholds:
        return effect
    low = max(effect.low, thresholds[0])
    high = min(effect.high, thresholds[-1]) if len(thresholds) == 3 else max(effect.high, low)
    return replace(effect, low=low, high=high)


def as_dict(result: ClaimResult) -> dict[str, Any]:
    """Return a result as plain values, ready for JSON.

    Args:
        result: of a claim.

    Returns:
        its fields by name.
    """
    return asdict(result)
