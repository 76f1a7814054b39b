"""Stored trials and curves of the conditions that verdicts rest on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
