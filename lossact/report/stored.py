"""Stored trials and curves of the conditions that verdicts rest on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.claims.result import ClaimResult
from lossact.storage import Curves, Store, Trials


@dataclass(frozen=True, eq=False)
class StoredCondition:
    """A condition over the replicas that verdicts rest on.

    Attributes:
        name: the condition's.
        content: as the store's key digests it.
        trials: of these replicas.
        curves: of as many of them as are kept, None where none are.
        claims: ids of the claims that are about it.
    """

    name: str
    content: dict[str, Any]
    trials: Trials
    curves: Curves | None
    claims: tuple[str, ...]

    def first(self, replicas: int) -> "StoredCondition":
        """Return the condition over its first replicas."""
        curves = None if self.curves is None else self.curves.first(replicas)
        return replace(self, trials=self.trials.first(replicas), curves=curves)

    @property
    def metric_name(self) -> str:
        """Return the name of the metric beside the loss: accuracy, or that of the target."""
        target = self.content["condition"].get("target") or {}  # None with measures alone
        function = target.get("measure", {}).get("function")
        return "accuracy" if function is None else str(function["name"]).rpartition(".")[2]

    @property
    def loss_split(self) -> str:
        """Return which examples the curves' loss is about: those of the target, or the training examples."""
        target = self.content["condition"].get("target") or {}
        return str(target.get("measure", {}).get("split", "training"))

    @property
    def measured_updates(self) -> NDArray[np.int64]:
        """Return the updates at which loss and metric were measured; between them the curves hold the last value."""
        every = int(self.content["condition"].get("measured_every") or 1)
        budget = self.trials.budget
        return np.unique(np.append(np.arange(0, budget, every), budget))

    @property
    def has_curves(self) -> bool:
        """Return whether there are curves to be drawn: kept ones, measured between start and end."""
        return bool(len(self.curves or ())) and len(self.measured_updates) > 2

    @property
    def metric_is_loss(self) -> bool:
        """Return whether nothing was measured beside the loss."""
        return self.curves is not None and np.array_equal(self.curves.loss, self.curves.metric, equal_nan=True)

    @property
    def rests(self) -> bool:
        """Return whether a replica stops where it meets the target, and does not train to its budget."""
        return self.has_target and not self.content["condition"].get("measures")

    def values_by_update(self, measure: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the moments (moments,) at which a measure was taken, and its values (replicas, moments) there.

        Args:
            measure: its name, that of its value at the end.
        """
        values, budget = self.trials.values, self.trials.budget
        moments = {
            budget if name == measure else int(name.rpartition("@")[2]): column
            for name, column in values.items()
            if name == measure or (name.startswith(f"{measure}@") and name.rpartition("@")[2].isdecimal())
        }
        updates = sorted(moments)
        columns = [moments[update].astype(np.float64) for update in updates]
        return np.array(updates, dtype=np.int64), np.array(columns).reshape(len(updates), len(self.trials)).T

    @property
    def has_target(self) -> bool:
        """Return whether there was a target to reach, by the condition's content or because a replica reached it."""
        content = self.content["condition"]
        thresholds = ("target",) if "target" in content or "at_least" not in content else ("at_least", "at_most")
        only_measures = content.get("measures") and all(content.get(name) is None for name in thresholds)
        return not only_measures or bool(self.trials.reached.any())


def stored_conditions(results: Sequence[ClaimResult], store: Store) -> dict[str, StoredCondition]:
    """Return each condition once, by key; without those that another process did not store.

    Raises:
        StoreError: what is stored cannot be read.
    """
    names = {key: name for result in results for name, key in result.keys}
    return {key: _read(key, name, results, store) for key, name in names.items() if store.holds(key)}


def _read(key: str, name: str, results: Sequence[ClaimResult], store: Store) -> StoredCondition:
    about = [result for result in results if key in dict(result.keys).values()]
    content = store.content(key)
    replicas = max(result.verdict.replicas for result in about)
    trials = store.trials(key, content["condition"]["budget"], first=replicas)
    curves = store.curves(key, content["block"])
    return StoredCondition(
        name=name,
        content=content,
        trials=trials,
        curves=None if curves is None else curves.first(len(trials)),
        claims=tuple(result.id for result in about),
    )
