import numpy as np
import pytest

from lossact.report.sparklines import condition_lines, sparkline
from tests.report.test_report import stored


def test_bars_grow_from_low_to_high() -> None:
    assert sparkline(np.arange(8), 0, 7, length=8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0, 1, 1], 0, 1, length=2) == "▁█"
    assert sparkline([np.nan, 1, -5, 9], 0, 2, length=4) == " ▅▁█"
    assert sparkline([3, 3], 0, 0, length=2) == "██"
    assert sparkline([-1, -10], -10, 0, length=2) == "█▁"


def test_a_line_holds_arrivals_and_the_median_loss() -> None:
    lines = condition_lines([stored(steps=(3, 8, 0, 0)), stored("x" * 90)], width=100)
    assert "▁▁" in lines[1]
    assert " 50%   █" in lines[1]
    assert lines[1].endswith("2.5 to 0")
    assert lines[2].startswith("    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  ")
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize(
    ("content", "has_target"),
    [
        ({"target": None, "measures": ["loss"]}, False),
        ({"target": {"at_least": 0.9}, "measures": ["loss"]}, True),
        ({"at_least": None, "at_most": None, "measures": ["loss"]}, False),
        ({"at_least": 0.9, "at_most": None, "measures": ["loss"]}, True),
        ({"at_least": None, "at_most": None, "measures": []}, True),
    ],
)
def test_a_condition_without_a_target_is_not_said_to_have_missed_it(
    content: dict[str, object], has_target: bool
) -> None:
    condition = stored(steps=(0, 0, 0, 0))
    condition.content["condition"] = content
    line = condition_lines([condition], width=100)[1]
    assert ("  0%   █" in line) == has_target
    assert ("no target" in line) != has_target


def test_the_examples_that_a_loss_is_about_are_named() -> None:
    on_training, on_validation = stored(), stored()
    on_training.content["condition"] = {"target": None, "measures": ["loss"]}
    on_validation.content["condition"] = {"target": {"measure": {"split": "validation"}, "at_least": 0.9}}
    assert condition_lines([on_training], width=100)[0].endswith("  median loss on training examples")
    assert condition_lines([on_validation], width=100)[0].endswith("  median loss on validation examples")
    head, *lines = condition_lines([on_training, on_validation], width=100)
    assert head.endswith("  median loss")
    assert [line.rpartition(" ")[2] for line in lines] == ["(training)", "(validation)"]
    assert all(len(line) <= 100 for line in [head, *lines])


def test_a_narrow_terminal_shows_none() -> None:
    assert condition_lines([stored()], width=99) == []
