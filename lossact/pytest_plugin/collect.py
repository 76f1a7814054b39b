"""Collect hypotheses from claim files through pytest, with its fixtures, parameters and selections."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

from lossact.checks import shortened
from lossact.claims.hypotheses import Hypothesis
from lossact.errors import ClaimError, LossactError
from lossact.pytest_plugin.ending import reason_of
from lossact.pytest_plugin.names import PLUGIN_NAME, loading_options


def collect_hypotheses(selection: Sequence[str]) -> dict[str, Hypothesis]:
    """Return the hypotheses of the selected claims by node id, without deciding them.

    Args:
        selection: paths, node ids and options such as -k, as on pytest's command line.

    Raises:
        ClaimError: pytest cannot collect them, a claim fails before it returns, or no claim is selected.
    """
    collector = _Collector()
    # lossact is imported before pytest can rewrite its asserts; a project may turn that warning into an error.
    options = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    output, complaints = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(complaints):  # options of a project may be about its output
        status = pytest.main([*loading_options(), *selection, *options], plugins=[collector])
    if collector.errors:
        raise ClaimError("\n".join(collector.errors))
    if not collector.hypotheses and status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        _check_collected(" ".join(selection), complaints.getvalue().strip() or output.getvalue().strip())
    if status == pytest.ExitCode.USAGE_ERROR or not collector.hypotheses:
        raise ClaimError(f"{' '.join(selection)}: no claim there; give a file of claims, or one as FILE::NAME")
    return collector.hypotheses


def _check_collected(selection: str, complaint: str) -> None:
    """Raise ClaimError with what pytest says, unless there is nothing of that name.

    Args:
        selection: what was to be collected.
        complaint: pytest's output.
    """
    _, found, of_options = complaint.partition(": error: ")
    if found:
        raise ClaimError(f"{selection}: pytest does not take its options: {of_options.splitlines()[0]}")
    if complaint and "not found:" not in complaint:
        raise ClaimError(f"{selection}: pytest ended before there was a claim\n{complaint}")


def call_claim(item: Any) -> Hypothesis:
    """Call a claim's function with its fixtures and return its hypothesis.

    Args:
        item: pytest's item, after its setup.

    Raises:
        ClaimError: the function returns no hypothesis.
    """
    hypothesis = item.obj(**{name: item.funcargs[name] for name in item._fixtureinfo.argnames})
    if not isinstance(hypothesis, Hypothesis):
        raise ClaimError(
            f"{item.name} returned {shortened(hypothesis)}; a claim must return a hypothesis: "
            "return lossact.faster(a, than=b), say"
        )
    return hypothesis


class _Collector:
    """A pytest plugin that calls claims and keeps their hypotheses."""

    def __init__(self) -> None:
        self.hypotheses: dict[str, Hypothesis] = {}
        self.errors: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        if hasattr(config.option, "dist"):  # claims of other processes of pytest-xdist would not be seen here
            config.option.dist = "no"

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        plugins = session.config.pluginmanager
        if plugins.has_plugin(PLUGIN_NAME):  # claims are not decided in this run
            plugins.unregister(name=PLUGIN_NAME)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool | None:
        if pyfuncitem.get_closest_marker("claim") is None:
            return None
        try:
            self.hypotheses[pyfuncitem.nodeid] = call_claim(pyfuncitem)
        except LossactError as error:
            self.errors.append(str(error))
        return True

    def pytest_collectreport(self, report: Any) -> None:
        self._keep(report)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._keep(report)

    def _keep(self, report: Any) -> None:
        if report.failed:
            self.errors.append(reason_of(report))
