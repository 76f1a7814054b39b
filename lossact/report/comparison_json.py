"""A comparison of recorded runs as JSON, for programs."""

import json
import math
from dataclasses import asdict
from typing import Any

from lossact.report.comparison import RunComparison
from lossact.report.comparison_wording import undecidable, warnings


def comparison_json(comparison: RunComparison) -> str:
    """Return everything that the reports show; a bound that so few runs do not give is null."""
    import lossact

    content = {
        "lossact": lossact.__version__,
        "measure": comparison.measure,
        "subject": comparison.subject,
        "at": comparison.question.at,
        "target": comparison.question.target,
        "lower_is_better": comparison.question.lower,
        "alpha": comparison.question.alpha,
        "fixed_number": True,
        "paired": comparison.paired,
        "correction": "holm",
        "undecidable": undecidable(comparison),
        "left_out": [{"name": name, "reason": reason} for name, reason in comparison.left_out],
        "notes": [*comparison.notes, *warnings(comparison)],
        "conditions": [
            {
                "name": row.name,
                "runs": row.n,
                "reached": row.n_reached,
                "values": row.values.tolist(),
                **({} if row.description is None else asdict(row.description)),
            }
            for row in comparison.conditions
        ],
        "pairs": [
            {
                "better": pair.better,
                "worse": pair.worse,
                "verdict": "supported" if pair.is_decided else "inconclusive",
                "superiority": {name: getattr(pair.superiority, name) for name in ("value", "low", "high", "level")},
                "advantage": None if pair.advantage is None else asdict(pair.advantage),
                "p_value": pair.p_value,
                "p_is_exact": pair.superiority.is_exact,
                "p_needed": pair.p_needed,
                "smallest_p": pair.smallest_p,
                "can_decide": pair.can_decide,
                "runs_to_decide": pair.runs_to_decide,
                "warning": pair.warning,
            }
            for pair in comparison.pairs
        ],
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    """The same with null for numbers that JSON does not have."""
    if isinstance(content, dict):
        return {name: _finite(each) for name, each in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(each) for each in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
