"""The outcome of one replica that trained by itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReplicaOutcome:
    """How the training of one replica ended.

    Attributes:
        steps: updates that had been applied when the target was met; None where it was not.
        diverged: whether the metric stopped being finite before the target was met.
        run_digest: digest of all that was computed, or NO_EVIDENCE; see lossact.running.run_digest.
    """

    steps: int | None
    diverged: bool
    run_digest: int
