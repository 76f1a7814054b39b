"""The state of a pytest run that contains claims."""

import atexit
import gc
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pytest

from lossact.claims.evaluate import evaluate
from lossact.claims.family import Family, declared_family
from lossact.claims.hypotheses import Hypothesis
from lossact.claims.plan import plan
from lossact.claims.result import ClaimResult, as_dict, settle_families
from lossact.claims.theorem import Theorem
from lossact.claims.undecided import UndecidedClaim
from lossact.claims.verdict import Verdict
from lossact.errors import ClaimError, LossactError, StoreError
from lossact.executors import Executor
from lossact.executors.choose import make_executor
from lossact.experiment import Experiment, default_compute_config
from lossact.pytest_plugin.collect import call_claim
from lossact.pytest_plugin.expected import unmet_expectation
from lossact.pytest_plugin.marker import ClaimMarker, is_defined_twice, is_exact
from lossact.pytest_plugin.options import Options
from lossact.pytest_plugin.output import collect_warnings, show_curves, show_plans, show_tables, write_out
from lossact.pytest_plugin.settled import follow_verdicts
from lossact.pytest_plugin.users_lines import users_lines
from lossact.report.progress import ProgressLine
from lossact.report.run_info import RunInfo
from lossact.report.stored import StoredCondition, stored_conditions
from lossact.storage import Store

RESULT: pytest.StashKey[ClaimResult] = pytest.StashKey()
PLAN: pytest.StashKey[tuple[str, dict[str, Any]]] = pytest.StashKey()
ERROR: pytest.StashKey[LossactError] = pytest.StashKey()
OUTCOME_KEYS: tuple[pytest.StashKey[Any], ...] = (RESULT, PLAN, ERROR)


class ClaimSession:
    """Evaluate claims, and gather the results of all processes of the run.

    Args:
        config: pytest's configuration.
        options: options of this run.
        recorded: options that recorded verdicts hold for.
    """

    def __init__(self, config: pytest.Config, options: Options, recorded: Options) -> None:
        self.config, self.options, self.recorded = config, options, recorded
        self.same_setting = options.same_setting(recorded)
        self.families: dict[Path, Family] = {}
        self.misdeclared: str | None = None
        self.defined_twice: set[str] = set()
        self.results: dict[str, ClaimResult] = {}
        self.undecided: dict[str, UndecidedClaim] = {}
        self.reports: dict[str, pytest.TestReport] = {}  # of the calls of claims that were decided
        self.plans: dict[str, tuple[str, dict[str, Any]]] = {}
        self.notes: list[str] = []
        self.has_written = True  # all files that were asked for, as far as they were tried
        self.interrupted = False
        self.was_reached = False  # a claim, be it skipped
        atexit.register(gc.freeze)  # else the last garbage collection, through all of torch, takes a second
        self.is_worker = hasattr(config, "workerinput")

    # Families

    def count(self, claims: Sequence[pytest.Item]) -> None:
        """Determine the family of each folder, before any claim is deselected."""
        collected = Counter({item.path.parent: 0 for item in claims})
        for item in claims:
            collected[item.path.parent] += not is_exact(item)
        self.defined_twice = {item.nodeid for item in claims if is_defined_twice(item)}
        try:
            self._count(collected)
        except ClaimError as error:
            # A worker that stopped here would look like a crash, so its claims report the error instead.
            if not self.is_worker:
                raise pytest.UsageError(str(error)) from error
            self.misdeclared = str(error)

    def _count(self, collected: Counter[Path]) -> None:
        declared = {folder: declared_family(folder) for folder in collected}
        for folder in collected:
            self.families[folder] = declared[folder] or Family(folder.name, folder, 1, declared=False)
        sizes = Counter({family: 0 for family in self.families.values() if family.declared})
        for folder, number in collected.items():
            if self.families[folder].declared:
                sizes[self.families[folder]] += number
        for family, number in sizes.items():
            if number > family.size:
                raise ClaimError(
                    f"{family.directory / 'family.toml'}: size={family.size}, but {number} claims were collected; "
                    f"write size = {number} (each claim's level becomes alpha / {number})"
                )

    # Claims

    @cached_property
    def store(self) -> Store:
        """The store of this process; its warnings become notes."""
        with collect_warnings(self.notes):
            return self.config.hook.pytest_claims_store(config=self.config) or Store(self.options.store)

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment that trains replicas and reads stored trials."""
        return self._experiment_of(self.options.seed)

    def other_experiment(self, seed: int) -> Experiment:
        """Return an experiment like this run's whose replicas are other ones.

        Raises:
            ClaimError: the seed is this run's own.
        """
        if seed == self.options.seed:
            raise ClaimError(
                f"seed={seed} is the one that decides the claims, and what is chosen on its replicas looks better "
                f"there than it is; choose on another one: claims_experiment({seed + 1})"
            )
        return self._experiment_of(seed)

    def _experiment_of(self, seed: int) -> Experiment:
        return Experiment(
            seed=seed,
            store=self.store,
            compute_config=default_compute_config(
                device=self.options.accelerator,
                compiled=not self.options.eager and (self.options.compiled or "auto"),
                is_remote=self.executor.is_remote,
            ),
            retrain=self.options.retrain,
            progress=ProgressLine(self.config) if self.config.pluginmanager.has_plugin("terminalreporter") else None,
            executor=self.executor,
        )

    @cached_property
    def executor(self) -> Executor:
        """The executor of this process, the project's own or that of --claims-executor."""
        of_project: Executor | None = self.config.hook.pytest_claims_executor(config=self.config)
        return of_project or make_executor(self.options.executor)

    def begin(self, item: pytest.Item) -> None:
        """Forget what an attempt before left with a claim, where it is run again."""
        for key in OUTCOME_KEYS:
            if key in item.stash:
                del item.stash[key]

    def run(self, item: pytest.Function) -> None:
        """Call a claim, decide it, and fail it unless its verdict is the expected one."""
        try:
            if self.misdeclared is not None:
                raise ClaimError(self.misdeclared)
            if item.nodeid in self.defined_twice:
                raise ClaimError(
                    f"{item.path.name} has more than one {item.originalname}, and Python keeps only the last; "
                    "give each claim a name of its own"
                )
            marker = ClaimMarker.of(item)
            hypothesis = call_claim(item)
            if isinstance(hypothesis, Theorem) != marker.exact:
                raise ClaimError(
                    f"{item.name} returned {hypothesis!r} under exact={marker.exact}; mark a claim with exact=True "
                    "where, and only where, it returns lossact.exact(...), so that it does not count in its family"
                )
            family = self.families[item.path.parent]
            if self.options.plan:
                self._plan(item, hypothesis, family)
            verdict = evaluate(
                hypothesis,
                alpha=self.options.alpha,
                delta=self.options.delta,
                max_replicas=self.options.max_replicas,
                min_replicas=min(self.options.min_replicas, self.options.max_replicas),
                family_size=family.size,
                max_seconds=self.options.max_seconds,
                experiment=self.experiment,
            )
        except LossactError as error:
            item.stash[ERROR] = error
            if isinstance(error, StoreError):
                item.session.shouldfail = f"no claim can be decided: {error}"
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        result = ClaimResult.of(
            verdict,
            self.experiment,
            id=item.nodeid,
            statement=marker.statement,
            source=marker.source,
            recorded=marker.recorded,
            family=family.name,
            family_size=family.size,
            family_declared=family.declared,
            family_folder=str(family.directory),
            decides=verdict.is_exact or self.same_setting,
        )
        item.stash[RESULT] = result
        d = verdict.decision
        item.user_properties += [
            ("verdict", result.name),
            ("effect", f"{d.value:.6g}"),
            ("interval", f"[{d.low:.6g}, {d.high:.6g}]"),
        ]
        why = unmet_expectation(result, strict=self.options.strict, out_of_time=d.out_of_time)
        if why is not None:
            pytest.fail(f"{why}\n{verdict}\n{_evidence(verdict)}".rstrip(), pytrace=False)

    def _plan(self, item: pytest.Function, hypothesis: Hypothesis, family: Family) -> NoReturn:
        """Say what a claim would cost, and skip it: a plan decides nothing."""
        planned = plan(
            hypothesis,
            alpha=self.options.alpha,
            delta=self.options.delta,
            max_replicas=self.options.max_replicas,
            family_size=family.size,
            experiment=self.experiment,
        )
        item.stash[PLAN] = str(planned), planned.to_json()
        pytest.skip("planned, not decided")

    def annotate(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Attach the verdict or the error to the report, which xdist sends on; lossact's errors have no traceback."""
        report.lossact_claim = True  # type: ignore[attr-defined]
        if call.excinfo is not None and isinstance(call.excinfo.value, LossactError):
            report.longrepr = str(call.excinfo.value)
        elif call.excinfo is not None and report.failed:
            report.longrepr = users_lines(call.excinfo.value, self.config) or report.longrepr
        if report.when == "call" and RESULT in item.stash:
            report.lossact = as_dict(item.stash[RESULT])  # type: ignore[attr-defined]
        if report.when == "call" and PLAN in item.stash:
            report.lossact_plan = item.stash[PLAN]  # type: ignore[attr-defined]
        if report.failed and call.excinfo is not None and not hasattr(report, "lossact"):
            error = item.stash.get(ERROR, None) or call.excinfo.value
            report.lossact_error = self._undecided(item, error).to_dict()  # type: ignore[attr-defined]

    def _undecided(self, item: pytest.Item, error: BaseException) -> UndecidedClaim:
        """Return a claim that ended in an error, with what is known of it."""
        family = self.families.get(item.path.parent)
        known: dict[str, Any] = {} if family is None else {"family": family.name, "family_size": family.size}
        with suppress(ClaimError):
            marker = ClaimMarker.of(item)
            known |= {"statement": marker.statement, "source": marker.source, "recorded": marker.recorded}
        return UndecidedClaim.of(error, id=item.nodeid, **known)

    # The end of the run

    def interrupt(self) -> None:
        """Note how many trials an interrupted run stored; it writes no reports, as claims are missing."""
        self.interrupted = True
        if "store" in self.__dict__ and not self.store.temporary:
            self.notes.append(
                f"interrupted: {self.store.count():,} trials are stored in {self.store.directory}; the same command "
                "goes on from there"
            )

    def add_plan(self, claim: str, text: str, content: dict[str, Any]) -> None:
        """Keep what a claim would cost, from a test report."""
        self.plans[claim] = text, content

    def collect(self, content: dict[str, Any], report: pytest.TestReport) -> None:
        """Keep a result and the test report that it comes from."""
        if not self.is_worker:
            result = ClaimResult.from_dict(content)
            self.results[result.id] = result
            self.reports[result.id] = report
            self.undecided.pop(result.id, None)  # of an attempt before

    def record_error(self, content: dict[str, Any], *, after_verdict: bool) -> None:
        """Keep a claim that ended in an error, from a test report.

        Args:
            content: of the claim.
            after_verdict: whether it was decided before; else a verdict is of an attempt before.
        """
        if not self.is_worker:
            claim = UndecidedClaim(**content)
            self.undecided[claim.id] = claim
            if not after_verdict:
                self.results.pop(claim.id, None)

    def add_lost(self, lost: Mapping[str, ClaimError]) -> None:
        """Keep what ended without a report of its own, by node id."""
        for claim, error in lost.items():
            if claim in self.results:  # decided in a later attempt
                continue
            self.record_error(UndecidedClaim.of(error, id=claim).to_dict(), after_verdict=False)

    @property
    def _has_to_say(self) -> bool:
        """Whether files are written: where nothing was decided, only JSON that the command line asks for."""
        is_asked = self.config.getoption("--claims-json") is not None
        return not self.interrupted and bool(self.results or self.undecided or (is_asked and self.was_reached))

    def finish(self, session: pytest.Session) -> None:
        """Apply Holm's procedure to each family and have tests follow, and write the files if there is no terminal."""
        if self.is_worker or not self._has_to_say:
            return
        results = settle_families(list(self.results.values()), self.options.alpha)
        self.results = {result.id: result for result in results}
        changed = [(result, self.reports[result.id]) for result in results if result.by_holm]
        self.notes += follow_verdicts(changed, session, strict=self.options.strict)
        if not self.config.pluginmanager.has_plugin("terminalreporter"):
            self._write_out()

    def summarise(self, reporter: pytest.TerminalReporter) -> None:
        """Print a table for each family, the conditions' curves, and where files were written."""
        results = list(self.results.values())
        show_plans([f"{claim}: {text}" for claim, (text, _) in self.plans.items()], reporter)
        show_tables(results, self.options, reporter)
        if results:
            show_curves(lambda: self.conditions, reporter)
        if self._has_to_say:
            self._write_out()  # last, as it may take some seconds
        for note in self.notes:
            reporter.write_line(note)

    @cached_property
    def conditions(self) -> dict[str, StoredCondition]:
        """The stored trials and curves of the conditions, read once."""
        with collect_warnings(self.notes):
            return stored_conditions(list(self.results.values()), self.store)

    def _write_out(self) -> None:
        options = self.options
        run = RunInfo(
            seed=options.seed,
            alpha=options.alpha,
            delta=options.delta,
            device=options.accelerator,
            max_replicas=options.max_replicas,
            data=None if options.data is None else str(options.data),
            flags=options.flags(self.recorded),
            undecided=tuple(self.undecided.values()),
            plans=tuple({"id": claim, **content} for claim, (_, content) in self.plans.items()),
        )
        with collect_warnings(self.notes):
            results = list(self.results.values())
            notes, self.has_written = write_out(results, lambda: self.conditions, options, lambda: self.store, run)
            self.notes += notes

    def close(self) -> None:
        """Release the store and the executor."""
        if "executor" in self.__dict__:
            self.executor.close()
        if "store" in self.__dict__:
            self.store.close()


def _evidence(verdict: Verdict) -> str:
    d = verdict.decision
    if verdict.is_exact:
        return ""
    evidence = f"support {_e_value(d.log_support)}, refute {_e_value(d.log_refute)}; either needs {1 / d.alpha:.0f}"
    if d.sample:
        p_support, p_refute = math.exp(-d.log_support), math.exp(-d.log_refute)
        evidence = f"p for support {p_support:.2g}, against {p_refute:.2g}; either needs {d.alpha:.2g}"
    lines = [
        f"evidence: {evidence}",
        f"{d.weakest_comparison}: {d.wins} wins, {d.ties} ties, {d.losses} losses"
        + (f", {d.undecided} that cannot tell" if d.undecided else ""),
    ]
    return "\n".join([*lines, *verdict.warnings])


def _e_value(logarithm: float) -> str:
    return f"e^{logarithm:.1f}" if logarithm > 14 else f"{math.exp(logarithm):.3g}"
