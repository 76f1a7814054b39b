"""The outcome of one replica that trained by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReplicaOutcome:
    """How the training of one replica ended.

    Attributes:
        steps: updates that had been applied when the target was met; None where it was not.
        diverged: whether the metric, a measure or a weight stopped being finite before the target was met.
        run_digest: digest of all that was computed, or NO_EVIDENCE; see lossact.running.run_digest.
        values: the measured values by name, float64; NaN where there is none.
        counts_steps: whether updates to a target were counted.
    """

    steps: int | None
    diverged: bool
    run_digest: int
    values: Mapping[str, float] = field(default_factory=dict)
    counts_steps: bool = True
