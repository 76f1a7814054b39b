"""A pytest run that contains claims: how each is decided, and what is written at its end."""

import atexit
import gc
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, NoReturn

import pytest

from lossact.claims.evaluate import evaluate
from lossact.claims.family import Family
from lossact.claims.hypotheses import Hypothesis
from lossact.claims.plan import plan
from lossact.claims.result import ClaimResult, as_dict
from lossact.claims.theorem import Theorem
from lossact.claims.undecided import UndecidedClaim
from lossact.claims.verdict import Verdict
from lossact.errors import ClaimError, LossactError, StoreError
from lossact.executors import Executor
from lossact.executors.choose import make_executor
from lossact.experiment import Experiment, default_compute_config
from lossact.pytest_plugin.collect import call_claim
from lossact.pytest_plugin.collected_claims import CollectedClaims
from lossact.pytest_plugin.expected import unmet_expectation
from lossact.pytest_plugin.gathered_claims import GatheredClaims
from lossact.pytest_plugin.marker import ClaimMarker
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
    """Evaluate claims, and write what came of them.

    Args:
        config: pytest's configuration.
        options: options of this run.
        recorded: options that recorded verdicts hold for.
    """

    def __init__(self, config: pytest.Config, options: Options, recorded: Options) -> None:
        self.config, self.options, self.recorded = config, options, recorded
        self.same_setting = options.same_setting(recorded)
        self.is_worker = hasattr(config, "workerinput")
        self.collected = CollectedClaims(is_worker=self.is_worker)
        self.gathered = GatheredClaims()  # stays empty in a worker of xdist, whose reports are sent on
        self.notes: list[str] = []
        self.has_written = True  # all files that were asked for, as far as they were tried
        self.interrupted = False
        atexit.register(gc.freeze)  # else the last garbage collection, through all of torch, takes a second

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
            self.collected.check(item)
            marker = ClaimMarker.of(item)
            hypothesis = call_claim(item)
            if isinstance(hypothesis, Theorem) != marker.exact:
                raise ClaimError(
                    f"{item.name} returned {hypothesis!r} under exact={marker.exact}; mark a claim with exact=True "
                    "where, and only where, it returns lossact.exact(...), so that it does not count in its family"
                )
            family = self.collected.family_of(item)
            assert family is not None
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
        family = self.collected.family_of(item)
        known: dict[str, Any] = {} if family is None else {"family": family.name, "family_size": family.size}
        with suppress(ClaimError):
            marker = ClaimMarker.of(item)
            known |= {"statement": marker.statement, "source": marker.source, "recorded": marker.recorded}
        return UndecidedClaim.of(error, id=item.nodeid, **known)

    def interrupt(self) -> None:
        """Note how many trials an interrupted run stored; it writes no reports, as claims are missing."""
        self.interrupted = True
        if "store" in self.__dict__ and not self.store.temporary:
            self.notes.append(
                f"interrupted: {self.store.count():,} trials are stored in {self.store.directory}; the same command "
                "goes on from there"
            )

    @property
    def _has_to_say(self) -> bool:
        """Whether files are written: where nothing was decided, only JSON that the command line asks for."""
        is_asked = self.config.getoption("--claims-json") is not None
        return not self.interrupted and (bool(self.gathered) or (is_asked and self.gathered.any_reached))

    def finish(self, session: pytest.Session, lost: Mapping[str, ClaimError]) -> None:
        """Apply Holm's procedure to each family and have tests follow, and write the files if there is no terminal.

        Args:
            session: pytest's own.
            lost: claims that ended without a report, by node id.
        """
        if self.is_worker:
            return
        self.gathered.add_lost(lost)
        if not self._has_to_say:
            return
        changed = self.gathered.settle(self.options.alpha)
        self.notes += follow_verdicts(changed, session, strict=self.options.strict)
        if not self.config.pluginmanager.has_plugin("terminalreporter"):
            self._write_out()

    def summarise(self, reporter: pytest.TerminalReporter) -> None:
        """Print a table for each family, the conditions' curves, and where files were written."""
        results = list(self.gathered.results.values())
        show_plans([f"{claim}: {text}" for claim, (text, _) in self.gathered.plans.items()], reporter)
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
            return stored_conditions(list(self.gathered.results.values()), self.store)

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
            undecided=tuple(self.gathered.undecided.values()),
            plans=tuple({"id": claim, **content} for claim, (_, content) in self.gathered.plans.items()),
        )
        with collect_warnings(self.notes):
            results = list(self.gathered.results.values())
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
