"""Hooks of pytest: each delegates to the session, which is created for the first claim."""

import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lossact.errors import ClaimError, InputError
from lossact.pytest_plugin import hookspecs
from lossact.pytest_plugin.ending import holds_claims, reason_of, write_error
from lossact.pytest_plugin.names import PLUGIN_NAME
from lossact.pytest_plugin.options import STANDARD_OUTPUT, Options, add_options, check_output_places, read_options
from lossact.threads import keep_threads_from_spinning

if TYPE_CHECKING:
    from lossact.experiment import Experiment
    from lossact.pytest_plugin.session import ClaimSession

OPTIONS: pytest.StashKey[tuple[Options, Options]] = pytest.StashKey()
MARKER = (
    "claim(statement, *, source='', recorded=None, exact=False): a test that returns a lossact hypothesis, to be "
    "decided by training replicas; recorded is the verdict once it is measured, exact is for theorems"
)


INTERRUPTED_WORKER = "received keyboard-interrupt"  # of xdist
CRASHED = "???"  # when a test was whose worker of xdist died
RETURNS_HYPOTHESIS = "returned <class 'lossact.claims."


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Keep torch's threads from spinning while they wait, before a conftest loads torch."""
    keep_threads_from_spinning()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the --claims-* options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks that projects may implement."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and register the hooks of the run."""
    config.addinivalue_line("markers", MARKER)
    config.stash[OPTIONS] = read_options(config)
    config.pluginmanager.register(ClaimHooks(config), PLUGIN_NAME)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, int | None, int | None]:
    """Write what ended the run before a claim could be decided as --claims-json has it."""
    try:
        status = yield
    except pytest.UsageError as error:
        write_error(error.__cause__ or error, config)
        raise
    hooks: ClaimHooks | None = config.pluginmanager.get_plugin(PLUGIN_NAME)
    has_written = hooks is not None and hooks.has_results and status != pytest.ExitCode.INTERNAL_ERROR
    if hooks is not None and hooks.ended_by is not None and not has_written:
        write_error(hooks.ended_by, config)
    elif status == pytest.ExitCode.NO_TESTS_COLLECTED:
        write_error(ClaimError("no claim was selected; give a file of claims, or one as FILE::NAME"), config)
    return status


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, bool | None, bool | None]:
    """Fail a test that returns a hypothesis without the claim marker; it would pass without being decided."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", f".* {RETURNS_HYPOTHESIS}", pytest.PytestReturnNotNoneWarning)
        try:
            return (yield)
        except pytest.PytestReturnNotNoneWarning as warning:
            if RETURNS_HYPOTHESIS not in str(warning):  # raised under the project's own filters
                raise
    pytest.fail(
        f"{pyfuncitem.name} returns a hypothesis and is no claim, so nothing would decide it; "
        'mark it with @pytest.mark.claim("what it states")',
        pytrace=False,
    )


@pytest.fixture(scope="session")
def claims_data(pytestconfig: pytest.Config) -> Path | None:
    """Return the folder of --claims-data, or None."""
    return pytestconfig.stash[OPTIONS][0].data


@pytest.fixture(scope="session")
def claims_experiment(pytestconfig: pytest.Config) -> "Callable[[int], Experiment]":
    """Return a function from a seed to an Experiment like this run's, to choose settings on other replicas.

    It takes this run's store and executor. A seed that is the run's own is an error. Where claims are only collected,
    as for a map, nothing is stored.
    """
    hooks: ClaimHooks | None = pytestconfig.pluginmanager.get_plugin(PLUGIN_NAME)
    if hooks is not None:
        return hooks.session.other_experiment
    from lossact.experiment import Experiment

    return lambda seed: Experiment(seed=seed)


def is_claim(item: pytest.Item) -> bool:
    """Return whether a test is marked as a claim."""
    return item.get_closest_marker("claim") is not None


class ClaimHooks:
    """The hooks that pytest calls during a run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.seen_claims = False
        self.ended_by: BaseException | None = None
        self.lost: dict[str, ClaimError] = {}
        self.of_pytest: pytest.Session | None = None
        self.printing = ExitStack()

    @cached_property
    def session(self) -> "ClaimSession":
        from lossact.requirements import check_requirements

        options, _ = self.config.stash[OPTIONS]
        try:
            check_requirements(["wandb"] if options.wandb != "disabled" else [])
        except InputError as error:
            raise pytest.UsageError(str(error)) from error
        from lossact.pytest_plugin.session import ClaimSession

        self.seen_claims = True
        return ClaimSession(self.config, *self.config.stash[OPTIONS])

    @property
    def has_results(self) -> bool:
        """Whether a claim was decided, or an error ended one."""
        return self.seen_claims and bool(self.session.gathered)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        claims = [item for item in items if is_claim(item)]
        if claims:
            if not hasattr(self.config, "workerinput"):  # a worker of xdist writes nothing
                check_output_places(self.config.stash[OPTIONS][0])
            self.session.collected.count(claims)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if is_claim(item):
            self.session.begin(item)
        unittest = sys.modules.get("unittest")  # unless it is loaded, no class can be a TestCase
        cls = getattr(item, "cls", None)
        if unittest is not None and is_claim(item) and isinstance(cls, type) and issubclass(cls, unittest.TestCase):
            pytest.fail(
                f"{item.name} is a method of a unittest.TestCase, whose results nobody sees; "
                "make the claim a plain test function",
                pytrace=False,
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        if not is_claim(pyfuncitem):
            return None
        self.session.run(pyfuncitem)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if is_claim(item):
            self.session.annotate(item, call, report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if hasattr(self.config, "workerinput") or reporter is None:  # nobody sees what a worker of xdist prints
            return
        if self.config.stash[OPTIONS][0].json == STANDARD_OUTPUT:
            # Standard output is for the verdicts; what claims print goes there too where pytest captures nothing.
            reporter._tw._file = sys.stderr
            if self.config.getoption("capture") == "no":
                self.printing.enter_context(redirect_stdout(sys.stderr))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == CRASHED:
            self._lose(report)
        if not getattr(report, "lossact_claim", False):
            return
        gathered = self.session.gathered
        gathered.any_reached = True
        if self.session.is_worker:  # whose reports are read where they are sent
            return
        planned: tuple[str, dict[str, Any]] | None = getattr(report, "lossact_plan", None)
        if planned is not None:
            gathered.add_plan(report.nodeid, *planned)
        claim: dict[str, Any] | None = getattr(report, "lossact", None)
        if claim is not None and report.when == "call":
            gathered.add_result(claim, report)
        failed: dict[str, Any] | None = getattr(report, "lossact_error", None)
        if failed is not None:
            gathered.add_error(failed, after_verdict=report.when == "teardown")

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        claim: dict[str, Any] | None = getattr(report, "lossact", None)
        if claim is None or report.when != "call" or hasattr(report, "wasxfail"):
            return None
        word = str(claim["verdict"]["verdict"]).upper()
        return report.outcome, word[0], (word, {"green" if report.passed else "red": True})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._lose(report)

    def _lose(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        """Note what ended where no claim could report it: a worker of xdist that died, a file that was not read."""
        error = ClaimError(reason_of(report))
        self.ended_by = self.ended_by or error
        if holds_claims(report, self.config.rootpath):
            self.lost[report.nodeid] = error

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.ended_by = excinfo.value

    @pytest.hookimpl(tryfirst=True)  # a second Ctrl-C may end what other plugins do here
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # Collection errors and -x end with a subclass, and so does a Ctrl-C that a worker of xdist received first.
        of_user = excinfo.type is KeyboardInterrupt or str(excinfo.value).endswith(INTERRUPTED_WORKER)
        if self.seen_claims and of_user:
            self.session.interrupt()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.printing.close()
        if self.seen_claims:
            self.session.finish(session, self.lost)
            self._end(session)
        self.of_pytest = session

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.seen_claims:
            self.session.summarise(terminalreporter)
            if self.of_pytest is not None:
                self._end(self.of_pytest)

    def _end(self, session: pytest.Session) -> None:
        """Have pytest end with status 1 where a file that was asked for could not be written."""
        if not self.session.has_written and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        if self.seen_claims:
            self.session.close()
