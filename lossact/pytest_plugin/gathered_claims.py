"""What the claims of a run came to, gathered from the test reports of all its processes."""

from collections.abc import Mapping
from typing import Any

import pytest

from lossact.claims.result import ClaimResult, settle_families
from lossact.claims.undecided import UndecidedClaim
from lossact.errors import ClaimError


class GatheredClaims:
    """Verdicts, plans and errors by the claim's node id; of a claim that is run again the latest counts.

    Attributes:
        results: of claims that were decided.
        undecided: claims that ended in an error. One that was decided before it is among the results too.
        plans: what claims would cost, as text and ready for JSON.
        any_reached: whether a claim was reached, be it skipped.
    """

    def __init__(self) -> None:
        self.results: dict[str, ClaimResult] = {}
        self.undecided: dict[str, UndecidedClaim] = {}
        self.plans: dict[str, tuple[str, dict[str, Any]]] = {}
        self.any_reached = False
        self._reports: dict[str, pytest.TestReport] = {}  # of the calls of claims that were decided

    def __bool__(self) -> bool:
        """Return whether a claim was decided, or ended in an error."""
        return bool(self.results or self.undecided)

    def add_plan(self, claim: str, text: str, content: dict[str, Any]) -> None:
        """Keep what a claim would cost."""
        self.plans[claim] = text, content

    def add_result(self, content: dict[str, Any], report: pytest.TestReport) -> None:
        """Keep a result and the test report that it comes from."""
        result = ClaimResult.from_dict(content)
        self.results[result.id] = result
        self._reports[result.id] = report
        self.undecided.pop(result.id, None)  # of an attempt before

    def add_error(self, content: dict[str, Any], *, after_verdict: bool) -> None:
        """Keep a claim that ended in an error.

        Args:
            content: of the claim.
            after_verdict: whether it was decided before; else a verdict is of an attempt before.
        """
        claim = UndecidedClaim(**content)
        self.undecided[claim.id] = claim
        if not after_verdict:
            self.results.pop(claim.id, None)

    def add_lost(self, lost: Mapping[str, ClaimError]) -> None:
        """Keep what ended without a report of its own, by node id."""
        for claim, error in lost.items():
            if claim not in self.results:  # else it was decided in a later attempt
                self.add_error(UndecidedClaim.of(error, id=claim).to_dict(), after_verdict=False)

    def settle(self, alpha: float) -> list[tuple[ClaimResult, pytest.TestReport]]:
        """Apply Holm's procedure to each family.

        Args:
            alpha: of a family, a side.

        Returns:
            the claims whose verdict it changed, each with its report.
        """
        results = settle_families(list(self.results.values()), alpha)
        self.results = {result.id: result for result in results}
        return [(result, self._reports[result.id]) for result in results if result.by_holm]
