"""Hypotheses out of claim files, by way of pytest: fixtures, parameters and selections work as they do in a run."""

from collections.abc import Sequence
from typing import Any

import pytest

from lossact.claims.hypotheses import Hypothesis
from lossact.errors import ClaimError, LossactError
from lossact.pytest_plugin.names import PLUGIN_NAME


def collect_hypotheses(selection: Sequence[str]) -> dict[str, Hypothesis]:
    """What the selected claims return, by node id; nothing is decided.

    Args:
        selection: as pytest takes it: paths, node ids, and options such as -k.

    Raises:
        ClaimError: pytest cannot collect it, a claim fails before it returns, or there is none.
    """
    collector = _Collector()
    # lossact is loaded before pytest could rewrite its asserts, which the project may count as an error.
    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = pytest.main([*selection, *options], plugins=[collector])
    if collector.errors:
        raise ClaimError("\n".join(collector.errors))
    if status == pytest.ExitCode.USAGE_ERROR or not collector.found:
        raise ClaimError(f"{' '.join(selection)}: no claim there; give a file of claims, or one as FILE::NAME")
    return collector.found


def call_claim(item: Any) -> Hypothesis:
    """What a claim's function returns, given its fixtures.

    Args:
        item: pytest's, set up.

    Raises:
        ClaimError: it is no hypothesis.
    """
    hypothesis = item.obj(**{name: item.funcargs[name] for name in item._fixtureinfo.argnames})
    if not isinstance(hypothesis, Hypothesis):
        raise ClaimError(
            f"{item.name} returned {hypothesis!r}; a claim must return a hypothesis: "
            "return lossact.faster(a, than=b), say"
        )
    return hypothesis


class _Collector:
    """A pytest plugin that keeps what claims return."""

    def __init__(self) -> None:
        self.found: dict[str, Hypothesis] = {}
        self.errors: list[str] = []

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        plugins = session.config.pluginmanager
        if plugins.has_plugin(PLUGIN_NAME):  # for this run does not
            plugins.unregister(name=PLUGIN_NAME)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool | None:
        if pyfuncitem.get_closest_marker("claim") is None:
            return None
        try:
            self.found[pyfuncitem.nodeid] = call_claim(pyfuncitem)
        except LossactError as error:
            self.errors.append(str(error))
        return True

    def pytest_collectreport(self, report: Any) -> None:
        self._keep(report)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._keep(report)

    def _keep(self, report: Any) -> None:
        if report.failed:
            self.errors.append(f"{report.nodeid}: {str(report.longrepr).strip().splitlines()[-1]}")
