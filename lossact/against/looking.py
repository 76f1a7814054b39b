"""The looks at conditions under two states of the code, until nothing is open or the limit is reached."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossact.against.bits import is_telling, same_bits, same_curves
from lossact.against.deciding import MeasureDecider
from lossact.against.matching import Pair
from lossact.against.results import ConditionResult, MeasureResult
from lossact.against.settings import Settings
from lossact.against.side import Side, ask_all
from lossact.against.trial_files import read_trials
from lossact.claims.evaluate import look_sizes
from lossact.errors import ClaimError
from lossact.storage import Curves, Trials

FEWEST_REPLICAS = 16  # of a first look
SIDES = ("revision", "working tree")
Both = tuple[tuple[Trials, Curves | None], tuple[Trials, Curves | None]]


class Looks:
    """Conditions that are still open are looked at together.

    Args:
        sides: before and after.
        pairs: the conditions that both have.
        settings: what is asked.
        folder: where sides write trials to be read here.
        say: called with a line about each look.

    Attributes:
        tests: what alpha is divided by, known before anything is trained: measures of conditions whose key differs.
            One key on both sides is one training, and tests nothing.
        trained_replicas: of both sides so far.
    """

    def __init__(
        self, sides: Sequence[Side], pairs: Sequence[Pair], settings: Settings, folder: Path, say: Callable[[str], None]
    ) -> None:
        self._sides, self._pairs, self._settings, self._folder, self._say = sides, pairs, settings, folder, say
        self.tests = sum(len(pair.measures) for pair in pairs if not pair.same_key)
        self.trained_replicas = 0

    def run(self, begin: float) -> list[ConditionResult]:
        """Return what was found for each pair.

        Args:
            begin: time.monotonic() when the comparison began, for `max_seconds`.
        """
        settings, n = self._settings, len(self._pairs)
        alpha = settings.alpha / max(1, self.tests)
        sizes = [self._sizes(pair) for pair in self._pairs]
        deciders = [
            [MeasureDecider(pair, measure, settings, alpha=alpha, limit=of_pair[-1]) for measure in pair.measures]
            for pair, of_pair in zip(self._pairs, sizes, strict=True)
        ]
        results: dict[int, ConditionResult] = {}
        still_open = list(range(n))
        for look in range(max(map(len, sizes))):
            wanted = {k: sizes[k][look] for k in still_open}
            self._say(f"look {look + 1}: {len(wanted)} of {n} conditions, {max(wanted.values())} replicas")
            for k, both in self._train(wanted, with_curves=look == 0).items():
                results[k], is_final = self._decided(self._pairs[k], deciders[k], both, is_first=look == 0)
                if is_final:
                    still_open.remove(k)
            if not still_open:
                break
            if settings.max_seconds is not None and time.monotonic() - begin > settings.max_seconds:
                results |= {k: _out_of_time(results[k], settings.max_seconds) for k in still_open}
                break
        self._say("")
        return self._with_curves(results)

    def _with_curves(self, results: Mapping[int, ConditionResult]) -> list[ConditionResult]:
        """Return the results in order, with the curves of all replicas that are looked at, as far as they are kept."""
        wanted = {k: len(result.after) for k, result in results.items() if not result.is_identical}
        again = self._train(wanted, with_curves=True) if wanted else {}
        curves = {k: (before, after) for k, ((_, before), (_, after)) in again.items()}
        return [replace(results[k], curves=curves.get(k, results[k].curves)) for k in sorted(results)]

    def _sizes(self, pair: Pair) -> list[int]:
        limit = -(-self._settings.max_replicas // pair.block) * pair.block
        return look_sizes(pair.block, limit, at_least=FEWEST_REPLICAS, launch=pair.launch)

    def _train(self, wanted: Mapping[int, int], *, with_curves: bool) -> dict[int, Both]:
        """Return the first replicas' trials of both sides, trained where they are not stored."""

        def request(side: int) -> dict[str, Any]:
            conditions = [(pair.before, pair.after)[side].index for pair in map(self._pairs.__getitem__, wanted)]
            return {
                "do": "train",
                "wanted": list(zip(conditions, wanted.values(), strict=True)),
                "to": str(self._folder / f"trials-{side}"),
                "curves": with_curves,
            }

        answers = ask_all(self._sides, [request(0), request(1)])
        self.trained_replicas += sum(answer["trained"] for answer in answers)
        files = zip(*(map(Path, answer["files"]) for answer in answers), strict=True)
        return {k: (read_trials(old), read_trials(new)) for k, (old, new) in zip(wanted, files, strict=True)}

    def _decided(
        self, pair: Pair, deciders: Sequence[MeasureDecider], both: Both, *, is_first: bool
    ) -> tuple[ConditionResult, bool]:
        (before, old_curves), (after, new_curves) = both

        def result(measures: Sequence[MeasureResult], *, is_identical: bool = False) -> ConditionResult:
            return ConditionResult(
                name=pair.name,
                claims=pair.claims,
                same_key=pair.same_key,
                is_identical=is_identical,
                changes=pair.changes,
                measures=tuple(measures),
                content=pair.after.content,
                before=before,
                after=after,
                curves=(old_curves, new_curves),
            )

        equal = is_first and same_bits(before, after) and same_curves(old_curves, new_curves)
        if equal and (pair.same_key or is_telling(after)):
            return result([decider.identical(before, after) for decider in deciders], is_identical=True), True
        for side, condition, trials in zip(SIDES, (pair.before, pair.after), (before, after), strict=True):
            if trials.are_one_run and not condition.equal_steps and not trials.diverged.all():
                raise ClaimError(
                    f"{pair.name} ({side}): the first replicas computed exactly the same, so they are one run that "
                    f"ignores its seed; {condition.seed_advice}"
                )
        all_diverged = before.diverged.all() and after.diverged.all()
        if all_diverged and not any(decider.has_values(before, after) for decider in deciders):
            raise ClaimError(
                f"{pair.name}: all {len(after)} replicas diverged on both sides, so that there is nothing to compare; "
                "look for NaN in its data, and at its learning rate"
            )
        decided = [decider.decide(before, after) for decider in deciders]
        return result([each for each, _ in decided]), all(is_final for _, is_final in decided)


def _out_of_time(result: ConditionResult, seconds: float) -> ConditionResult:
    """The same, with why its open measures are."""
    measures = tuple(
        replace(measure, reason=_in_time(measure, seconds)) if measure.verdict == "not yet" else measure
        for measure in result.measures
    )
    return replace(result, measures=measures)


def _in_time(measure: MeasureResult, seconds: float) -> str:
    more = f"; about {measure.replicas_to_go} more would probably settle it" if measure.replicas_to_go else ""
    return f"time ({seconds:g} s) was up after {measure.replicas} replicas{more}"
