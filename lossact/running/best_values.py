"""The best of the values that a fit logs, for the measures that ask for it."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.conditions.lightning import LightningCondition
from lossact.conditions.value_measures import Best


class BestValues:
    """What each Best of a condition has found so far. A value that was noted before changes nothing.

    Args:
        condition: what is trained.
        n_replicas: that are fitted together.
    """

    def __init__(self, condition: LightningCondition, n_replicas: int = 1) -> None:
        self.condition = condition
        self.found: dict[str, NDArray[np.float64]] = {
            best.name: np.full(n_replicas, np.nan) for best in condition.bests
        }

    def note(self, logged: Mapping[str, Any], *, but: Collection[int] = ()) -> None:
        """Take the newest values that were logged.

        Args:
            logged: tensors by name, () or (replicas,); what is not finite is no value.
            but: rows of replicas whose fit has ended.
        """
        for best in self.condition.bests:
            if best.measure not in logged:
                continue
            values = logged[str(best.measure)].detach().cpu().numpy().astype(np.float64).reshape(-1)
            values[~np.isfinite(values)] = np.nan
            better = (np.fmax if best.mode == "max" else np.fmin)(self.found[best.name], values)
            ended = list(but)
            better[ended] = self.found[best.name][ended]
            self.found[best.name] = better

    def values(self, logged: Mapping[str, Any], row: int = 0) -> dict[str, float]:
        """Return what a replica's measures are after its fit, by the names of its condition's values.

        Args:
            logged: the newest of everything that it logged, by name.
            row: the replica.
        """
        return {
            measure.name if isinstance(measure, Best) else measure: float(
                self.found[measure.name][row] if isinstance(measure, Best) else logged[measure]
            )
            for measure in self.condition.measures
        }
