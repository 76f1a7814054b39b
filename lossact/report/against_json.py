"""Two states of the code as JSON, for programs."""

import json
import math
from typing import Any

from lossact.against import BeforeAfter, ConditionResult, MeasureResult
from lossact.claims.verdict_summary import Estimate

VERSION = 1  # of the form; fields are added without raising it


def against_json(result: BeforeAfter, status: int) -> str:
    """Return everything that the reports show; a bound that is not known yet is null.

    Args:
        result: what was found.
        status: the exit status of the command.
    """
    import lossact

    settings = result.settings
    content = {
        "version": VERSION,
        "lossact": lossact.__version__,
        "revision": result.revision,
        "commit": result.commit,
        "uncommitted_changes": result.is_dirty,
        "exit_status": status,
        "seed": settings.seed,
        "alpha": settings.alpha,
        "delta": settings.delta,
        "tests": result.tests,
        "max_replicas": settings.max_replicas,
        "conditions": [_condition(condition) for condition in result.conditions],
        "only_before": list(result.only_before),
        "only_after": list(result.only_after),
        "notes": list(result.notes),
        "versions": dict(zip(("before", "after"), result.versions, strict=True)),
        "trained_replicas": result.trained_replicas,
        "seconds": result.seconds,
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _condition(condition: ConditionResult) -> dict[str, Any]:
    return {
        "name": condition.name,
        "claims": list(condition.claims),
        "verdict": condition.verdict,
        "same_key": condition.same_key,
        "changes": list(condition.changes),
        "replicas": len(condition.after),
        "reached": {"before": int(condition.before.reached.sum()), "after": int(condition.after.reached.sum())},
        "diverged": {"before": int(condition.before.diverged.sum()), "after": int(condition.after.diverged.sum())},
        "measures": [_measure(measure) for measure in condition.measures],
    }


def _measure(measure: MeasureResult) -> dict[str, Any]:
    return {
        "measure": measure.measure,
        "verdict": measure.verdict,
        "reason": measure.reason,
        "replicas": measure.replicas,
        "decided_at": measure.decided_at,
        "replicas_to_go": measure.replicas_to_go,
        "before": measure.before,
        "after": measure.after,
        "difference": _estimate(measure.difference),
        "win_probability": None if measure.win_probability is None else _estimate(measure.win_probability),
        "within": measure.within,
        "direction": measure.direction,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    numbers = {name: getattr(estimate, name) for name in ("value", "low", "high", "level")}
    known = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
    return known | {"unit": estimate.unit}
