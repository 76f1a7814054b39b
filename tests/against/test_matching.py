from typing import Any

import pytest

from lossact.against.matching import changes_between, match
from tests.against.sides import ACCURACY, side_condition

A, B = "0" * 64, "1" * 64


def test_conditions_are_paired_by_name_and_the_rest_is_listed() -> None:
    before = [side_condition("a"), side_condition("old name", index=1)]
    after = [side_condition("new name"), side_condition("a", index=1, key="b")]
    pairs, only_before, only_after = match(before, after)
    assert [(each.name, each.before.index, each.after.index, each.same_key) for each in pairs] == [("a", 0, 1, False)]
    assert [each.name for each in only_before] == ["old name"]
    assert [each.name for each in only_after] == ["new name"]


def test_conditions_of_one_name_are_told_apart_by_their_claims() -> None:
    before = [side_condition("a", claims=("f::test_x",)), side_condition("a", claims=("f::test_y",), index=1)]
    after = [side_condition("a", claims=("f::test_y",)), side_condition("a", claims=("f::test_z",), index=1)]
    pairs, only_before, only_after = match(before, after)
    assert [(each.name, each.before.index, each.after.index) for each in pairs] == [("a of test_y", 1, 0)]
    assert [len(only_before), len(only_after)] == [1, 1]


def test_measures_are_those_of_both_sides() -> None:
    before = side_condition(values={"accuracy": ACCURACY, "old": ACCURACY})
    after = side_condition(values={"accuracy": ACCURACY, "new": ACCURACY}, key="b", budget=40)
    (pair,), _, _ = match([before], [after])
    assert pair.measures == ("steps", "accuracy")
    assert pair.budget == 40


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"optimizer": {"rate": 0.1}}, {"optimizer": {"rate": 0.2}}, "optimizer.rate 0.1 → 0.2"),
        ({"loss": {"function": {"code": [A]}}}, {"loss": {"function": {"code": [B]}}}, "code of loss"),
        (
            {"network": {"function forward": [{"uses": {"total": {"code": [A]}}}], "files": [A]}},
            {"network": {"function forward": [{"uses": {"total": {"code": [B]}}}], "files": [B]}},
            "code of total",
        ),
        ({"network": {"uses": {"RATE": 0.1}}}, {"network": {"uses": {"RATE": 0.2}}}, "RATE 0.1 → 0.2"),
        (
            {"network": {"also": [{"class": "a.Tanh"}]}},
            {"network": {"also": [{"class": "b.GELU"}]}},
            "network: Tanh → GELU",
        ),
        (
            {"config": 1, "train": {"uses": {"__file__": "a.py"}}},
            {"config": 2, "train": {"uses": {"__file__": "b.py"}}},
            "config 1 → 2",
        ),
        (
            {"train": {"uses": {"__file__": "a.py"}}},
            {"train": {"uses": {"__file__": "b.py"}}},
            "only the place of the code, which it asks for (__file__)",
        ),
        ({"clip_norm": None}, {"clip_norm": 1.0}, "clip_norm nothing → 1.0"),
    ],
)  # fmt: skip
def test_what_changed_is_said_in_words(before: Any, after: Any, words: str) -> None:
    assert changes_between({"condition": before}, {"condition": after}) == [words]
    assert changes_between({"condition": before}, {"condition": before}) == []


def test_changes_of_lossact_itself_and_of_versions_are_named() -> None:
    before = {"source": A, "versions": {"torch": "2.7"}}
    after = {"source": B, "versions": {"torch": "2.8"}}
    assert changes_between(before, after) == ["code of lossact", "versions.torch 2.7 → 2.8"]
