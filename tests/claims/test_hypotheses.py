from dataclasses import replace

import numpy as np
import pytest

from lossact import Condition, Hypothesis, faster, fastest, ordering, reaches, slowest
from lossact.errors import ClaimError, LossactError
from lossact.experiment import Trials
from lossact.stats import Outcome
from tests.conftest import report_condition

A, B, C = (
    replace(report_condition(activation, loss), name=name)
    for activation, loss, name in (("relu", "l2", "A"), ("sigmoid", "l2", "B"), ("relu", "cross_entropy", "C"))
)


def trials(*steps: int | None) -> Trials:
    reached = np.array([step is not None for step in steps])
    return Trials(np.array([step or 0 for step in steps]), reached, ~reached & False, 1000)


@pytest.mark.parametrize(
    ("hypothesis", "sentence"),
    [
        (faster(A, than=B), "A reaches the target before B"),
        (faster(A, than=B, ratio=2), "A reaches the target in at most 1/2 of the updates of B"),
        (ordering(A, B, C), "A < B < C"),
        (fastest(A, of=[A, B, C]), "A is the fastest of A, B, C"),
        (slowest(A, of=[B, C]), "A is the slowest of A, B, C"),
    ],
)
def test_a_hypothesis_reads_as_a_sentence(hypothesis: Hypothesis, sentence: str) -> None:
    assert repr(hypothesis) == sentence
    assert hypothesis.budget == 1000


def test_each_kind_compares_its_pairs() -> None:
    of_three = [trials(1, None), trials(2, 5), trials(3, None)]

    def names(hypothesis: Hypothesis) -> list[str]:
        return [comparison.name for comparison in hypothesis.comparisons(of_three)]

    assert names(ordering(A, B, C)) == ["A before B", "A before C", "B before C"]
    assert names(fastest(A, of=[B, C])) == ["A before B", "A before C"]
    assert names(slowest(A, of=[B, C])) == ["B before A", "C before A"]
    words = [comparison.outcomes.tolist() for comparison in ordering(A, B, C).comparisons(of_three)]
    win, loss, censored = Outcome.WIN, Outcome.LOSS, Outcome.CENSORED
    assert words == [[win, loss], [win, censored], [win, win]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: faster(A, than=A), r"conditions \(A, A\) must differ"),
        (lambda: faster(A, than=replace(A, name="D")), r"conditions \(A, D\) must differ"),
        (lambda: faster(A, than=replace(B, budget=10)), r"budgets \[10, 1000\] of \(A, B\) must be equal"),
        (lambda: faster(A, than="B"), r"'B' is not a Condition"),  # type: ignore[arg-type]
        (lambda: faster(A, than=B, ratio=0), r"ratio=0 must be > 0; try 2"),
        (lambda: faster(A, than=B, ratio=float("nan")), r"ratio=nan must be > 0"),
        (lambda: ordering(), r"conditions \(\) must be at least two"),
        (lambda: ordering(A), r"conditions \(A\) must be at least two"),
        (lambda: ordering(A, B, A), r"conditions \(A, B, A\) must differ"),
        (lambda: faster(A, than=replace(B, name="A")), r"conditions \(A, A\) must have different names"),
        (lambda: fastest(A, of=B), r"of=B must be a sequence of conditions; try of=\[A, B\]"),  # type: ignore[arg-type]
        (lambda: reaches("A"), r"'A' is not a Condition"),  # type: ignore[arg-type]
        (lambda: reaches(A, low=0.95, high=0.9), r"high=0.9 must be > 0.95 and < 1"),
        (lambda: reaches(A, low=0), r"low=0 must be > 0 and < 1; try 0.9"),
        (lambda: fastest(A, of=[A]), r"conditions \(A\) must be at least two"),
        (lambda: slowest(A, of=[]), r"conditions \(A\) must be at least two"),
    ],
)
def test_bad_hypotheses_are_named(make: object, message: str) -> None:
    with pytest.raises(LossactError, match=message):
        make()  # type: ignore[operator]


def test_evaluate_wants_a_hypothesis() -> None:
    from lossact import evaluate

    with pytest.raises(ClaimError, match="3 is not a hypothesis"):
        evaluate(3)  # type: ignore[arg-type]


def test_conditions_are_what_is_compared() -> None:
    assert isinstance(faster(A, than=B).conditions[0], Condition)
