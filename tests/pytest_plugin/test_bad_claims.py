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
    verdicts = {name: claim["verdict"] for name, claim in claims.verdicts().items()}
    assert verdicts == {"test_true": "supported", "test_bad": None}


TWICE = """
@pytest.mark.claim("a claim")
def test_twice():
    return faster(HARD, than=EASY)

@pytest.mark.claim("another")
def test_twice():
    return faster(EASY, than=HARD)
"""

ELSEWHERE = """
from torch import nn
from lightning.pytorch.demos.boring_classes import DemoModel, RandomDataset
from lossact import Arrays, FunctionCondition, LightningCondition
import numpy as np
from torch.utils.data import DataLoader

def examples():
    return DataLoader(RandomDataset(32, 8))

def own(**changes):
    given = dict(name="own", network=lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0)), loss="l2",
                 optimizer=SGD(learning_rate=0.1), budget=60, data=RandomImages())
    return Condition(**given | changes)
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("faster(EASY, than=own(network=lambda: 3))", "network *lambda* made int; it must return an nn.Module"),
        ("faster(EASY, than=own(loss=lambda p, y: p[:3]))", "loss returned (3,) for 64 examples*one loss an example*"),
        ("faster(EASY, than=own(loss=nn.MSELoss))", "loss=MSELoss is a class; give an instance of it, or a function"),
        ("faster(EASY, than=own(loss=lambda p: p))", "loss=<lambda>(p) cannot be called as loss(outputs, targets)*"),
        ("faster(EASY, than=own(loss=lambda p, y: ((p - y) ** 2).detach()))", "the loss depends on no parameter*"),
        ("faster(EASY, than=own(optimizer=SGD(learning_rate=1e39)))", "learning_rate=1e+39 must be > 0 and <= 1e+38;*"),
        (
            "faster(EASY, than=own(network=lambda: nn.Linear(10**7, 10**7)))",
            "own, replicas 0 to 15: out of memory (*allocate*); make the network, its data or its*",
        ),
        (
            "faster(EASY, than=own(network=MLPConfig(activation='relu', hidden=10**13), loss='l2'))",
            "own, replicas 0 to 63: out of memory (*allocate*); make the network, its data or its*",
        ),
        ("faster(EASY, than=own(data=Arrays(np.zeros((3, 2)), np.zeros(2))))", "data: 3 inputs and 2 targets; one*"),
        (
            "faster(EASY, than=FunctionCondition(train=lambda seed: 0, budget=60, name='ready'))",
            "ready: all 64 replicas met the target before any update*",
        ),
        ("faster(EASY, than=FunctionCondition(train=lambda seed: 'x', budget=60))", "*train returned 'x'; return*"),
        (
            "faster(EASY, than=LightningCondition(module=lambda: 3, metric='x', at_most=0, budget=60))",
            "*module made int; it must return a LightningModule",
        ),
        (
            "faster(LightningCondition(module=DemoModel, data=examples, metric='f1', at_least=0, budget=2), "
            "than=LightningCondition(module=DemoModel, data=examples, metric='f2', at_least=0, budget=2, "
            "name='other'))",
            "*metric='f1' was never logged in 2 updates; the module logged nothing",
        ),
    ],
)
def test_a_bad_custom_condition_is_one_clear_error_and_the_others_run(claims: Claims, body: str, message: str) -> None:
    claims.write(f"{ELSEWHERE}{CLAIMS}\n@pytest.mark.claim('s')\ndef test_bad():\n    return {body}\n")
    run = claims.run("-k", "true or bad")
    run.assert_outcomes(passed=1, failed=1, deselected=1)
    run.stdout.fnmatch_lines([message])
    run.stdout.no_fnmatch_line("*Traceback*")
    verdicts = {name: claim["verdict"] for name, claim in claims.verdicts().items()}
    assert verdicts == {"test_true": "supported", "test_bad": None}


FAILING = """
def looked_up(seed):
    return {}["steps"]

def explained(seed):
    try:
        return looked_up(seed)
    except KeyError as error:
        raise ValueError("the table is broken") from error

@pytest.mark.claim("it cannot be trained, for a reason")
def test_explains():
    return faster(EASY, than=FunctionCondition(train=explained, budget=60))

@pytest.mark.claim("it cannot be trained")
def test_fails():
    return faster(EASY, than=FunctionCondition(train=looked_up, budget=60))
"""


def test_an_error_of_training_is_shown_with_the_users_own_lines(claims: Claims) -> None:
    claims.write(f"{ELSEWHERE}{CLAIMS}\n{FAILING}")
    run = claims.run("-k", "fails")
    run.assert_outcomes(failed=1, deselected=3)
    run.stdout.fnmatch_lines(
        [
            "KeyError: 'steps'",
            "while training looked_up, replicas 0 to *",
            "*test_claims.py:*: in looked_up",
            '    return {}["steps"]',
        ]
    )
    run.stdout.no_fnmatch_line("*lossact/*.py*")
    claims.run("-k", "explains").stdout.fnmatch_lines(["E*KeyError: 'steps'", "E*ValueError: the table is broken"])
    whole = claims.run("-k", "fails", "--full-trace")
    whole.stdout.fnmatch_lines(["*function_call.py:*"])


TWICE_WITHIN = """
class TestTwice:
    @pytest.mark.claim("a claim")
    def test_inner(self):
        return faster(HARD, than=EASY)

    @pytest.mark.claim("another")
    def test_inner(self):
        return faster(EASY, than=HARD)

@pytest.mark.claim("a claim")
def test_again():
    return faster(HARD, than=EASY)

if True:
    @pytest.mark.claim("another")
    def test_again():
        return faster(EASY, than=HARD)

if HARD is None:
    def test_branch():
        pass
else:
    @pytest.mark.claim("the only one that is run")
    def test_branch():
        return faster(EASY, than=HARD)
"""


def test_claims_of_one_name_in_classes_and_branches(claims: Claims) -> None:
    claims.write(CLAIMS + TWICE_WITHIN)
    run = claims.run("-k", "inner or again or branch")
    run.assert_outcomes(passed=1, failed=2, deselected=2)
    for name in ("test_inner", "test_again"):
        run.stdout.fnmatch_lines([f"test_claims.py has more than one {name}, and Python keeps only the last*"])


def test_two_claims_with_the_same_name_are_an_error_and_the_others_run(claims: Claims) -> None:
    claims.write(CLAIMS + TWICE)
    run = claims.run("-k", "true or twice")
    run.assert_outcomes(passed=1, failed=1, deselected=1)
    run.stdout.fnmatch_lines(["test_claims.py has more than one test_twice, and Python keeps only the last*"])


def test_a_hypothesis_of_a_test_without_the_mark_does_not_pass(claims: Claims) -> None:
    claims.write(
        "def test_forgotten():\n    return faster(HARD, than=EASY)\n\ndef test_other():\n    return 1\n" + CLAIMS
    )
    run = claims.run("-k", "forgotten or other or true", "-W", "default::pytest.PytestReturnNotNoneWarning")
    run.assert_outcomes(passed=2, failed=1, deselected=1, warnings=1)
    run.stdout.fnmatch_lines(["test_forgotten returns a hypothesis and is no claim*mark it*"])
    run.stdout.fnmatch_lines(["*test_other returned <class 'int'>*"])
    run = claims.run("-k", "other", "-W", "error::pytest.PytestReturnNotNoneWarning")
    run.stdout.fnmatch_lines(["*test_other returned <class 'int'>*"])
    run.stdout.no_fnmatch_line("*is no claim*")


def test_a_crash_is_an_error_and_never_a_verdict(claims: Claims) -> None:
    claims.write('\n@pytest.mark.claim("s")\ndef test_crash():\n    return 1 / 0\n' + CLAIMS)
    run = claims.run()
    run.assert_outcomes(passed=1, failed=2)
    run.stdout.fnmatch_lines(["E   *ZeroDivisionError: division by zero"])
    assert claims.verdicts()["test_crash"]["verdict"] is None


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
