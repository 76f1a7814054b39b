import pytest

from tests.pytest_plugin.conftest import CLAIMS, Claims


@pytest.mark.parametrize(
    ("marker", "body", "message"),
    [
        ('("s")', "pass", "test_bad returned None; a claim must return a hypothesis*"),
        ('("s")', "return 0.5", "test_bad returned 0.5; a claim must return a hypothesis*"),
        ('("s")', "return faster(EASY, than=EASY)", "conditions (easy, easy) must differ*"),
        ('("s")', "return ordering(EASY)", "conditions (easy) must be at least two*"),
        (
            '("s")',
            'return faster(EASY, than=condition("x", budget=3))',
            "budgets [[]3, 60[]] of (easy, x) must be equal*",
        ),
        ('("s", recorded="true")', "return faster(EASY, than=HARD)", "recorded='true' must be one of supported*"),
        ('("")', "return faster(EASY, than=HARD)", "statement='' must be a sentence*"),
        ("", "return faster(EASY, than=HARD)", "test_bad: @pytest.mark.claim takes a statement*"),
        ('("s", verdict="x")', "return faster(EASY, than=HARD)", "test_bad: @pytest.mark.claim takes a statement*"),
    ],
)
def test_a_bad_claim_is_one_clear_error_and_the_others_run(
    claims: Claims, marker: str, body: str, message: str
) -> None:
    claims.write(CLAIMS + f"\n@pytest.mark.claim{marker}\ndef test_bad():\n    {body}\n")
    run = claims.run("-k", "true or bad")
    run.assert_outcomes(passed=1, failed=1, deselected=1)
    run.stdout.fnmatch_lines([message])
    run.stdout.no_fnmatch_line("*Traceback*")
    assert claims.verdicts().keys() == {"test_true"}


def test_a_crash_is_an_error_and_never_a_verdict(claims: Claims) -> None:
    claims.write('\n@pytest.mark.claim("s")\ndef test_crash():\n    return 1 / 0\n' + CLAIMS)
    run = claims.run()
    run.assert_outcomes(passed=1, failed=2)
    run.stdout.fnmatch_lines(["E   *ZeroDivisionError: division by zero"])
    assert "test_crash" not in claims.verdicts()


def test_a_claim_in_a_test_case_is_refused(claims: Claims) -> None:
    claims.write(
        """
import unittest

class TestOld(unittest.TestCase):
    @pytest.mark.claim("s")
    def test_claim(self):
        return faster(EASY, than=HARD)
"""
    )
    run = claims.run()
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["test_claim is a method of a unittest.TestCase*"])
