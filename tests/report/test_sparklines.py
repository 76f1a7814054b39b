import numpy as np

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


def test_a_narrow_terminal_shows_none() -> None:
    assert condition_lines([stored()], width=99) == []
