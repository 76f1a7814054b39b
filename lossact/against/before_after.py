"""The looks at two states of the code, from a revision to what changed."""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lossact.against.interpreter import find_python
from lossact.against.looking import Looks
from lossact.against.matching import Pair, SideCondition, match
from lossact.against.repository import Repository
from lossact.against.results import ConditionResult
from lossact.against.settings import Settings
from lossact.against.side import Side, ask_all
from lossact.errors import ClaimError, StoreError

MOST_NAMES = 5
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """A revision and the working tree, compared.

    Attributes:
        revision: as it was asked for.
        commit: its full name.
        is_dirty: whether the working tree holds changes that are not committed.
        settings: what was asked.
        tests: measures that were tested, whose number alpha is divided by.
        conditions: that both sides have.
        only_before, only_after: names of conditions that one side has.
        notes: what to know before quoting the result.
        versions: of both sides' packages, before and after.
        trained_replicas: of both sides together, not counting what was stored.
        seconds: time it took.
    """

    revision: str
    commit: str
    is_dirty: bool
    settings: Settings
    tests: int
    conditions: tuple[ConditionResult, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    notes: tuple[str, ...]
    versions: tuple[dict[str, str], dict[str, str]]
    trained_replicas: int
    seconds: float


def compare_with_revision(
    repository: Repository,
    revision: str,
    selection: Sequence[str],
    *,
    settings: Settings,
    program: str,
    store: Path | None,
    python: str = sys.executable,
    links: Sequence[Path] = (),
    device: str = "cpu",
    say: Say = lambda line: None,
) -> BeforeAfter:
    """Train the conditions of claims under a revision's code and under the working tree's, and compare them.

    Args:
        repository: whose working tree it is.
        revision: a commit, branch or tag.
        selection: claims, as on pytest's command line.
        settings: what is asked.
        program: source of what each side runs, as cli.against_worker has it.
        store: folder that keeps trials, None for none.
        python: the revision's interpreter; another one than this has to have lossact.
        links: files and folders of the working tree that the revision is to have too.
        device: where both sides compute.
        say: called with lines of progress.

    Returns:
        the conditions with their verdicts, and what was on one side only.

    Raises:
        InputError: the revision or its claims cannot be read.
        ClaimError: nothing can be compared.
        TrainingError: a side ended.
    """
    begin = time.monotonic()
    python = find_python(python)
    commit = repository.commit(revision)
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lossact-against-trials-")))
        root = stack.enter_context(repository.files_of(commit, links=links))
        label = f"revision {revision}"
        sides: list[Side] = []
        for name, own_root, own_python in (
            (label, root, python),
            ("working tree", repository.root, sys.executable),
        ):
            side = Side(
                name,
                root=own_root,
                working_tree=repository.root,
                inside=repository.inside,
                python=own_python,
                program=program,
                log=temporary / f"output-{len(sides)}",
            )
            sides.append(stack.enter_context(side))
        say("collecting claims on both sides")
        setting = {"seed": settings.seed, "store": str(store or temporary / "store"), "device": device}
        requests = [
            {"do": "collect", "selection": list(selection), "spare": str(temporary / f"store-{k}"), **setting}
            for k in range(len(sides))
        ]
        answers = ask_all(sides, requests)
        unusable = [(side.label, answer["store_error"]) for side, answer in zip(sides, answers, strict=True)]
        unusable = [(side, error) for side, error in unusable if error is not None]
        if len(unusable) == len(sides):
            raise StoreError(unusable[0][1])
        before, after = (
            [SideCondition.of(k, each) for k, each in enumerate(answer["conditions"])] for answer in answers
        )
        pairs, only_before, only_after = match(before, after)
        if not pairs:
            raise ClaimError(_nothing_common(label, before, after))
        settings.check_named([measure for pair in pairs for measure in pair.measures])
        of_sides = [*answers[0]["notes"], *answers[1]["notes"], *map(_spare, unusable)]
        looks = Looks(sides, pairs, settings, temporary, say)
        conditions = looks.run(begin)
        return BeforeAfter(
            revision=revision,
            commit=commit,
            is_dirty=repository.is_dirty(),
            settings=settings,
            tests=looks.tests,
            conditions=tuple(conditions),
            only_before=tuple(condition.name for condition in only_before),
            only_after=tuple(condition.name for condition in only_after),
            notes=tuple(notes_of(repository, commit, pairs, of_sides)),
            versions=(answers[0]["versions"], answers[1]["versions"]),
            trained_replicas=looks.trained_replicas,
            seconds=time.monotonic() - begin,
        )


def _nothing_common(label: str, before: Sequence[SideCondition], after: Sequence[SideCondition]) -> str:
    if not before and not after:
        return "the claims hold no condition that is trained, so there is nothing to compare; name claims that do"
    names = [_listed([condition.name for condition in side]) for side in (before, after)]
    return (
        f"no condition has one name on both sides ({label}: {names[0]}; working tree: {names[1]}); conditions are "
        "paired by name, so give them the names that they had"
    )


def _spare(side_and_error: tuple[str, str]) -> str:
    return "{}: {}; its trials are kept for this run alone".format(*side_and_error)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "") or "none"


def notes_of(repository: Repository, commit: str, pairs: Sequence[Pair], of_sides: Sequence[str]) -> list[str]:
    """Return what a reader of a comparison has to know beside its table.

    Args:
        repository: of the working tree.
        commit: what it is compared with.
        pairs: of conditions.
        of_sides: what the sides noted.

    Returns:
        sentences.
    """
    notes = list(dict.fromkeys(of_sides))
    data = repository.changed_data(commit)
    if data and any(pair.same_key for pair in pairs):
        notes.append(
            f"files that lossact does not read as code differ too: {_listed(data)}; where training opens one, give its "
            "condition version=lossact.file_digest(...), for its trials count as the same otherwise"
        )
    code = repository.changed_code(commit)
    if code and all(pair.same_key for pair in pairs):
        notes.append(
            f"no condition reads what changed in {_listed(code)}; where training starts it as a program of its own, "
            "give its condition version=lossact.file_digest(...), for its trials count as the same otherwise"
        )
    for pair in pairs:
        if pair.before.budget != pair.after.budget:
            notes.append(
                f"{pair.name}: the budget was {pair.before.budget} and is {pair.after.budget}; steps are compared "
                f"within {pair.budget}"
            )
        one_sided = sorted(pair.before.values.keys() ^ pair.after.values.keys())
        if one_sided:
            notes.append(f"{pair.name}: only one side measures {', '.join(one_sided)}")
        if pair.before.has_target != pair.after.has_target:
            notes.append(f"{pair.name}: only one side has a target, so that steps are not compared")
        if not pair.measures:
            notes.append(f"{pair.name}: both sides measure nothing in common, so that only its bits are compared")
    return notes
