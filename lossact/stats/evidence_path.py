"""How evidence grows with the replicas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import Floats

MOMENTS = 64


@dataclass(frozen=True, eq=False)
class EvidencePath:
    """The largest e-values so far at no more than 64 moments, the first, the last and the verdict's among them.

    Attributes:
        replicas: (moments,) how many had been looked at, ascending.
        log_support, log_refute: (moments,) natural logarithms.
    """

    replicas: NDArray[np.int64]
    log_support: Floats
    log_refute: Floats

    @classmethod
    def of(
        cls, replicas: NDArray[np.int64], log_support: Floats, log_refute: Floats, decided_at: int | None
    ) -> "EvidencePath":
        """Thin out e-values to at most 64 moments.

        Args:
            replicas: (moments,) how many had been looked at, ascending.
            log_support: (moments,) natural logarithms of e-values for the claim.
            log_refute: (moments,) of those against it.
            decided_at: the moment of the verdict, which stays; None where there is none.

        Returns:
            the path.
        """
        chosen = np.searchsorted(replicas, np.linspace(replicas[0], replicas[-1], MOMENTS - 1).round())
        verdict = [] if decided_at is None else [np.searchsorted(replicas, decided_at)]
        chosen = np.union1d(chosen, verdict).astype(np.int64)
        support, refute = (np.maximum.accumulate(logs)[chosen] for logs in (log_support, log_refute))
        return cls(replicas[chosen], support, refute)

    def to_json(self) -> dict[str, list[float]]:
        """Lists by attribute."""
        return {name: values.tolist() for name, values in vars(self).items()}
