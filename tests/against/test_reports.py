"""What people and programs read of a comparison, and the exit status."""

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from lossact.against import BeforeAfter, ConditionResult, Settings, exit_code
from lossact.against.deciding import MeasureDecider
from lossact.cli import main
from lossact.errors import InputError
from lossact.report.against_html import against_html
from lossact.report.against_json import against_json
from lossact.report.against_junit import against_junit
from lossact.report.against_markdown import against_markdown
from lossact.report.against_text import against_text
from lossact.report.json_file import error_json
from tests.against.sides import ACCURACY, NORM, pair, trials

RANDOM = np.random.default_rng(0)
STEPS = RANDOM.integers(10, 50, 256)


def condition(name: str, measure: str = "steps", *, shift: int = 0, identical: bool = False) -> ConditionResult:
    before = trials(STEPS, accuracy=STEPS / 60, norm=STEPS / 60)
    after = trials(STEPS + shift, accuracy=(STEPS + shift) / 60, norm=(STEPS + shift) / 60)
    decider = MeasureDecider(
        pair(values={"accuracy": ACCURACY, "norm": NORM}), measure, Settings(), alpha=0.01, limit=256
    )
    result = decider.identical(before, after) if identical else decider.decide(before, after)[0]
    return ConditionResult(
        name=name, claims=("claims/test_a.py::test_one",), same_key=identical, is_identical=identical,
        changes=() if identical else ("code of total",), measures=(result,), content={"condition": {}},
        before=before, after=after,
    )  # fmt: skip


def comparison(*conditions: ConditionResult) -> BeforeAfter:
    return BeforeAfter(
        revision="main", commit="0123456789" * 4, is_dirty=True, settings=Settings(), tests=3, conditions=conditions,
        only_before=("a|b",), only_after=(), notes=("a note",),
        versions=({"torch": "2.7"}, {"torch": "2.8"}), trained_replicas=80, seconds=1.5,
    )  # fmt: skip


SAME = condition("same", identical=True)
EQUIVALENT = condition("equal")
WORSE = condition("late", shift=5)
BETTER = condition("early", shift=-5)
DIFFERENT = condition("grown", "norm", shift=5)
OPEN = replace(EQUIVALENT, measures=(replace(EQUIVALENT.measures[0], verdict="not yet", reason="limit reached"),))


def schema() -> Any:
    from importlib.resources import files

    return json.loads((files("lossact.report") / "schema.json").read_text())


def check_against_schema(text: str, definition: str) -> Any:
    document = json.loads(text)
    whole = schema()
    jsonschema.Draft202012Validator(whole).validate(document)
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": whole["$defs"]}).validate(document)
    return document


@pytest.mark.parametrize(
    ("conditions", "statuses"),
    [
        ((SAME, EQUIVALENT), (0, 0, 0)),
        ((SAME, BETTER), (0, 0, 1)),
        ((WORSE, OPEN), (1, 1, 1)),
        ((OPEN, BETTER), (3, 0, 1)),
        ((OPEN, SAME), (3, 0, 3)),
        ((DIFFERENT,), (3, 0, 1)),
    ],
)
def test_the_exit_status(conditions: tuple[ConditionResult, ...], statuses: tuple[int, int, int]) -> None:
    assert tuple(exit_code(conditions, fail_on=what) for what in ("open", "worse", "different")) == statuses


def test_the_gravest_condition_comes_first_and_everything_is_said() -> None:
    result = comparison(SAME, EQUIVALENT, DIFFERENT, WORSE)
    text = against_text(result, width=120)
    lines = text.splitlines()
    assert lines[:2] == [
        "working tree with uncommitted changes against main (0123456789)",
        "4 conditions: 1 worse, 1 different, 1 equivalent, 1 identical",
    ]
    assert [line.split()[0] for line in lines[4:8]] == ["late", "grown", "equal", "same"]
    assert "+5 [+5, +5] updates" in lines[4]
    for said in ("only main (0123456789) has a|b", "a note", "torch 2.7 before, 2.8 now", "--higher norm",
                 "changed: late, grown, equal: code of total", "alpha 0.025 a side for 3 measures"):  # fmt: skip
        assert said in text
    markdown = against_markdown(result)
    assert "| late | steps | ❌ WORSE |" in markdown
    assert "has a\\|b" in markdown
    page = against_html(result)
    assert page.count("<article>") == 4
    assert "<svg" in page


def test_junit_has_a_test_for_each_row() -> None:
    suite = ElementTree.fromstring(against_junit(comparison(SAME, OPEN, WORSE, BETTER), fail_on="open"))[0]
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["4", "1", "1"]
    cases = {case.get("classname"): [child.tag for child in case] for case in suite}
    assert cases == {"late": ["failure"], "equal": ["skipped"], "early": [], "same": []}
    strict = ElementTree.fromstring(against_junit(comparison(SAME, BETTER), fail_on="different"))[0]
    assert strict.get("failures") == "1"


def test_conditions_with_the_same_changes_are_named_together() -> None:
    several = [replace(EQUIVALENT, name=f"net {k}") for k in range(6)]
    text = against_text(comparison(*several), width=120)
    assert "changed: net 0, net 1, net 2, net 3 and 2 more: code of total" in text


def test_json_is_what_the_schema_says() -> None:
    document = check_against_schema(against_json(comparison(SAME, OPEN, DIFFERENT, WORSE), 1), "against")
    assert [each["verdict"] for each in document["conditions"]] == ["identical", "not yet", "different", "worse"]
    error = check_against_schema(error_json(InputError("no git; install it")), "error")
    assert error == {"error": {"kind": "InputError", "message": "no git", "way_out": "install it"}}


def test_the_schema_refuses_what_is_something_else() -> None:
    document = json.loads(against_json(comparison(WORSE), 1))
    document["conditions"][0]["verdict"] = "broken"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(document)


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
    jsonschema.Draft202012Validator.check_schema(schema())
