"""Tests whose verdict changed at the end of the run, when Holm's procedure saw the whole family."""

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from lossact.claims.result import ClaimResult, as_dict
from lossact.pytest_plugin.expected import unmet_expectation
from lossact.report.formatting import short_name


def follow_verdicts(
    changed: Sequence[tuple[ClaimResult, pytest.TestReport]], session: pytest.Session, *, strict: bool
) -> list[str]:
    """Have tests pass or fail by the verdict that their claim has now, and pytest's exit status with them.

    Tests that are expected to fail stay as they are.

    Args:
        changed: claims that were INCONCLUSIVE when their tests ended and are SUPPORTED now, each with its report.
        session: of the run that ends.
        strict: whether each claim must be SUPPORTED.

    Returns:
        a line for each test whose outcome changed.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    shown: dict[str, list[Any]] = {} if reporter is None else reporter.stats
    lines = []
    for result, report in changed:
        why = unmet_expectation(result, strict=strict)
        was = report.outcome
        now: Literal["passed", "failed"] = "passed" if why is None else "failed"
        if was == now or hasattr(report, "wasxfail"):
            continue
        if report in shown.get(was, []):
            shown[was].remove(report)
            shown.setdefault(now, []).append(report)
        report.outcome = now
        report.longrepr = why and f"{why} by Holm's procedure over its family"
        report.lossact = as_dict(result)  # type: ignore[attr-defined]
        session.testsfailed += 1 if why else -1
        lines.append(f"{short_name(result)}: SUPPORTED by Holm's procedure over its family, so its test has {now}")
    ended_early = session.shouldfail or session.shouldstop  # as with -x: tests were left out
    if lines and not ended_early and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if session.testsfailed else pytest.ExitCode.OK
    return lines
