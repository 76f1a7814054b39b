"""Which conditions of the two sides are the same one, and what changed in them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_CHANGES = 4  # named
LONGEST_VALUE = 40
DIGEST = re.compile("[0-9a-f]{32}")
FILES = "what runs on import in the files"
PLACE = "only the place of the code, which it asks for (__file__)"
PLACES = {"function", "uses", "holds", "code", "bases", "also", "attributes", "defaults"}


@dataclass(frozen=True)
class ValueInfo:
    """What is known of a measured value.

    Attributes:
        direction: "higher" or "lower", which of its values are better; None where that is unknown.
        is_share: whether it is an accuracy, whose differences are given in points.
        at_end: whether it is taken after the last update.
    """

    direction: str | None
    is_share: bool
    at_end: bool


@dataclass(frozen=True, eq=False)
class SideCondition:
    """A condition as one side has it.

    Attributes:
        index: by which the side knows it.
        name: in tables.
        claims: ids of the claims that are about it.
        key: of the store.
        content: what the key digests.
        block, launch, budget, has_target, equal_steps, seed_advice: as the condition has them.
        values: name to what is known of each measured value.
    """

    index: int
    name: str
    claims: tuple[str, ...]
    key: str
    content: Mapping[str, Any]
    block: int
    launch: int
    budget: int
    has_target: bool
    equal_steps: bool
    seed_advice: str
    values: Mapping[str, ValueInfo]

    @classmethod
    def of(cls, index: int, answer: Mapping[str, Any]) -> "SideCondition":
        """Make the condition that a side describes.

        Args:
            index: its place in the side's answer.
            answer: fields by name, as JSON has them.

        Returns:
            the condition.
        """
        values = {name: ValueInfo(**info) for name, info in answer["values"].items()}
        return cls(index=index, **{**answer, "values": values, "claims": tuple(answer["claims"])})


@dataclass(frozen=True, eq=False)
class Pair:
    """One condition under both states of the code.

    Args:
        name: what tables call the pair.
        before: the condition under the revision.
        after: the condition under the working tree.
    """

    name: str
    before: SideCondition
    after: SideCondition

    @property
    def same_key(self) -> bool:
        """Whether code and values are the same, so that one training stands for both."""
        return self.before.key == self.after.key

    @property
    def block(self) -> int:
        """Replicas of a first look: whole blocks of both sides."""
        return max(self.before.block, self.after.block)

    @property
    def launch(self) -> int:
        """Replicas that train together about as fast as a block alone, on the side that takes more."""
        return max(self.before.launch, self.after.launch)

    @property
    def budget(self) -> int:
        """Updates within which both are compared."""
        return min(self.before.budget, self.after.budget)

    @property
    def claims(self) -> tuple[str, ...]:
        """Claims that are about it, on either side."""
        return tuple(dict.fromkeys([*self.after.claims, *self.before.claims]))

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs, in words."""
        return tuple(changes_between(self.before.content, self.after.content))

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what both sides measure, "steps" first."""
        common = [name for name in self.after.values if name in self.before.values]
        return (*(["steps"] if self.before.has_target and self.after.has_target else []), *common)


def match(
    before: Sequence[SideCondition], after: Sequence[SideCondition]
) -> tuple[list[Pair], list[SideCondition], list[SideCondition]]:
    """Pair conditions by name; where a side has several of one name, by the claim as well.

    Args:
        before: conditions under the revision.
        after: conditions under the working tree.

    Returns:
        the pairs in the order of `after`, and what is on one side only: before, after.
    """
    pairs: list[Pair] = []
    for name in dict.fromkeys(condition.name for condition in after):
        later = [condition for condition in after if condition.name == name]
        earlier = [condition for condition in before if condition.name == name]
        if len(later) == len(earlier) == 1:
            pairs.append(Pair(name, earlier[0], later[0]))
            continue
        for condition in later:
            for counterpart in earlier:
                common = [claim for claim in condition.claims if claim in counterpart.claims]
                rivals = [each for each in (*later, *earlier) if common and common[0] in each.claims]
                if common and len(rivals) == 2:
                    pairs.append(Pair(f"{name} of {common[0].rpartition('::')[2]}", counterpart, condition))
                    break
    paired = {id(side) for pair in pairs for side in (pair.before, pair.after)}
    return (
        pairs,
        [condition for condition in before if id(condition) not in paired],
        [condition for condition in after if id(condition) not in paired],
    )


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between two contents of keys, in words.

    Args:
        before: content under the revision.
        after: content under the working tree.

    Returns:
        sentences such as "optimizer.learning_rate 0.1 → 0.2"; the last counts those left out.
    """
    old, new = _flat(before), _flat(after)
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    words = list(dict.fromkeys(_words(name, old.get(name), new.get(name)) for name in names))
    vague = [word for word in words if word.startswith((FILES, PLACE))]
    if len(vague) < len(words):  # what else differs says it more closely
        words = [word for word in words if word not in vague]
    more = len(words) - MOST_CHANGES
    return words if more <= 0 else [*words[:MOST_CHANGES], f"{more} more"]


def _words(name: str, old: Any, new: Any) -> str:
    if name == "source":
        return "code of lossact"
    parts = name.removeprefix("condition.").split(".")
    if "files" in parts:
        return f"{FILES} of {parts[0]}"
    if parts[-1] == "__file__":
        return PLACE
    if parts[-1] == "class":
        return f"{parts[0]}: {_class(old)} → {_class(new)}"
    if DIGEST.search(str(old)) or DIGEST.search(str(new)):
        return f"{'code' if parts[-1] == 'code' else 'content'} of {_named(parts)}"
    used = parts[len(parts) - 1 - parts[::-1].index("uses") :][1:] if "uses" in parts else parts
    return f"{'.'.join(used)} {_short(old)} → {_short(new)}"


def _named(parts: Sequence[str]) -> str:
    """The innermost function or value that a place in a fingerprint belongs to."""
    names = [part.removeprefix("function ") for part in parts[1:-1] if not part.isdigit() and part not in PLACES]
    return names[-1] if names else parts[0]


def _class(name: Any) -> str:
    return "nothing" if name is None else str(name).rpartition(".")[2]


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(content, Mapping):
        items = [(str(name), each) for name, each in content.items()]
    elif isinstance(content, list) and any(isinstance(each, Mapping | list) for each in content):
        items = [(str(k), each) for k, each in enumerate(content)]
    else:
        return {prefix: content}
    flat: dict[str, Any] = {}
    for name, each in items:
        flat |= _flat(each, f"{prefix}.{name}" if prefix else name)
    return flat
