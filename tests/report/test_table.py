import pytest

from lossact.claims.result import ClaimResult
from lossact.claims.verdict_summary import ConditionCounts, Estimate, SingleRunAgreement, VerdictSummary
from lossact.report.table import verdict_table


def result(**changes: object) -> ClaimResult:
    verdict = VerdictSummary(
        verdict="refuted", reason="reversed", decided_at=19, budget=1000, replicas=512,
        effect=Estimate("win probability", 0.1436, 0.0951, 0.2633, 1 - 0.05 / 7),
        conditions=(
            ConditionCounts("ReLU/L2", 512, 140, 0, None),
            ConditionCounts("ReLU/CE", 512, 436, 3, 451.5),
        ),
        single_run_agreement=SingleRunAgreement(2, 512, 0.0, 0.02, 0.95, 2 / 512),
    )  # fmt: skip
    content: dict[str, object] = {
        "id": "claims/test_x.py::test_a7", "statement": "s", "source": "report 1.4c", "recorded": "supported",
        "family": "report", "family_size": 7, "family_declared": True, "decides": True, "verdict": verdict,
        "sentence": "ReLU/L2 reaches the target before ReLU/CE", "p_value": 1.0, "warnings": ("the curves cross",),
        "family_folder": "claims", "keys": (),
    }  # fmt: skip
    return ClaimResult(**(content | changes))  # type: ignore[arg-type]


def table(*results: ClaimResult, width: int = 100) -> str:
    lines = verdict_table(results, alpha=0.025, delta=0.1, setting="seed 0", width=width)
    return "\n".join(line.text for line in lines)


def test_a_row_says_all() -> None:
    assert table(result()) == (
        "7 claims, alpha 0.025/7 a side, delta 0.1, budget 1000 updates, seed 0\n"
        "verdict       effect 99.3% interval   replicas  claim\n"
        "REFUTED       0.144  [0.095, 0.263]        512  a7\n"
        "    ReLU/L2 reaches the target before ReLU/CE (report 1.4c)\n"
        "    decided at replica 19; reversed\n"
        "    on record: supported\n"
        "    reached the target: ReLU/L2 27%, ReLU/CE 85%, 3 diverged\n"
        "    a single run of each shows this order in 2 of 512 (0.4%, [0.000, 0.020])\n"
        "    note: the curves cross\n"
    )


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_keep_to_the_width_where_words_allow(width: int) -> None:
    for line in table(result(), width=width).splitlines():
        assert len(line) <= max(width, 54)


def test_a_theorem_has_no_interval() -> None:
    verdict = VerdictSummary(
        verdict="supported", reason="checked exactly at 20 points, none beyond 1e-12", decided_at=None, budget=None,
        replicas=20, effect=Estimate("largest deviation", 2.2e-16, 2.2e-16, 2.2e-16, 1.0),
    )  # fmt: skip
    text = table(result(exact=True, verdict=verdict, warnings=(), recorded=None, sentence="a = b", source=""))
    assert "SUPPORTED     2e-16  exact" in text
    assert "budget" not in text
    assert "reached the target" not in text
    assert "    checked exactly at 20 points, none beyond 1e-12" in text


def test_another_setting_is_said_so() -> None:
    text = " ".join(table(result(decides=False)).split())
    assert "verdicts on record are for another setting and decide nothing here" in text
    assert "on record for the default setting: supported" in text


def test_a_terminal_shows_what_it_would_obey() -> None:
    claim = result(statement="s", sentence="\x1b[2Jcleared \ud800")
    output = "\n".join(line.text for line in verdict_table([claim], alpha=0.025, delta=0.1, setting="", width=80))
    assert "\\x1b[2Jcleared \\ud800" in output
    assert "\x1b" not in output


def test_a_zero_has_no_sign() -> None:
    effect = Estimate("median difference", -0.0, -0.0, 0.0, 0.95, unit="points", measure="loss")
    assert (effect.number, effect.bounds) == ("0", "[0, 0]")
    assert str(effect) == "median difference of loss +0 points [0, 0], 95.0% confidence sequence"
    assert Estimate("median difference", -1e-5, -0.5, 0.5, 0.95, unit="points").number == "0.00"
