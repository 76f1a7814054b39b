"""What STATISTICS cannot work with, one row each: never a traceback, always the value, the rule and the way out."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import LightningModule
from torch import nn

from lossact import (
    SGD,
    Accuracy,
    Arrays,
    BaseCondition,
    Condition,
    Experiment,
    FunctionCondition,
    Hypothesis,
    LightningCondition,
    Loss,
    at_least,
    at_most,
    equivalent,
    equivalent_in,
    evaluate,
    exceeds,
    faster,
    higher,
    ordering,
    replicate,
    sampled,
)
from lossact.errors import ClaimError, LossactError
from lossact.stats import Comparison, Margins, Outcome, compare_steps, decide
from lossact.storage import Store, Trials
from tests.conftest import report_condition

A = replace(report_condition("relu", "l2", budget=20), name="A")
B = replace(report_condition("sigmoid", "l2", budget=20), name="B")
YES, NO = np.array([True]), np.array([False])
WINS = Margins.of_wins(0.1)


def decided(*lengths: int, value: int = Outcome.WIN) -> object:
    comparisons = [Comparison("A before B", np.full(n, value, np.int8)) for n in lengths]
    return decide(comparisons, alpha=0.025, margins=WINS, limit=8)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        pytest.param(lambda _: decided(), "comparisons hold no replica; at least one is needed", id="empty"),
        pytest.param(lambda _: decided(0), "comparisons hold no replica; at least one is needed", id="no replica"),
        pytest.param(lambda _: decided(2, 3), r"lengths \[2, 3\] of the comparisons differ; cut them", id="lengths"),
        pytest.param(
            lambda _: compare_steps(np.array([1, 2]), np.array([True, True]), np.array([1]), YES, budget=9),
            r"lengths \[1, 2\] of the two conditions' replicas differ; pair them",
            id="unpaired",
        ),
        pytest.param(lambda _: decided(2, value=9), "outcomes must be Outcome values 0 … 4", id="no outcome"),
        pytest.param(
            lambda _: faster(A, than=replace(B, budget=30)), r"budgets \[20, 30\].*must be equal", id="mixed budgets"
        ),
        pytest.param(lambda e: evaluate(faster(A, than=B), alpha=math.nan, experiment=e), "alpha=nan must", id="NaN"),
        pytest.param(lambda e: evaluate(faster(A, than=B), alpha=0, experiment=e), "alpha=0 must be > 0", id="alpha 0"),
        pytest.param(lambda e: evaluate(faster(A, than=B), alpha=0.5, experiment=e), "alpha=0.5 must", id="alpha 1/2"),
        pytest.param(lambda e: evaluate(faster(A, than=B), delta=0, experiment=e), "delta=0 must be > 0", id="delta 0"),
        pytest.param(lambda e: evaluate(equivalent(A, B), delta=0.5, experiment=e), "delta=0.5 must", id="delta 1/2"),
        pytest.param(lambda _: faster(A, than=B, ratio=0), "ratio=0 must be > 0; try 2", id="ratio 0"),
        pytest.param(lambda _: faster(A, than=B, ratio=-2), "ratio=-2 must be > 0; try 2", id="ratio < 0"),
        pytest.param(
            lambda _: compare_steps(np.array([1]), YES, np.array([1]), NO, budget=9, ratio=math.nan),
            "ratio=nan must be > 0",
            id="ratio NaN",
        ),
        pytest.param(lambda _: faster(A, than=A), r"\(A, A\) must differ", id="with itself"),
        pytest.param(lambda _: ordering(A, B, A), r"\(A, B, A\) must differ", id="duplicate"),
        pytest.param(
            lambda e: evaluate(faster(A, than=B), max_replicas=0, experiment=e), "max_replicas=0 must be", id="limit 0"
        ),
        pytest.param(
            lambda e: evaluate(exceeds(lambda a: a.steps[:-1], 0, of=[A]), max_replicas=64, experiment=e),
            r"<lambda> returned shape \(15,\) for 16 replicas",
            id="a number too few",
        ),
    ],
)
def test_bad_input_is_named(ask: Callable[[Experiment], object], message: str, experiment: Experiment) -> None:
    with pytest.raises(LossactError, match=message):
        ask(experiment)


def test_one_replica_is_enough_to_ask(experiment: Experiment) -> None:
    """A limit of one replica is one block, and no more than INCONCLUSIVE need come of it."""
    verdict = evaluate(faster(A, than=B), max_replicas=1, experiment=experiment)
    assert verdict.decision.replicas == A.block


@dataclass(frozen=True)
class Odd(Hypothesis):
    """A custom hypothesis that returns the given comparisons."""

    says: object

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (A,)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return self.says  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (None, "gave None; return a list of lossact.stats.Comparison"),
        ([], r"gave \[\]; return a list"),
        ("hello", "gave 'hello'; return a list"),
        ([1], r"gave \[1\]; return a list"),
        (
            [Comparison("x", np.full(63, 2, np.int8))],
            r"Odd.comparisons gave 'x' outcomes of shape \(63,\) and type int8 for 64 replicas; give each",
        ),
        ([Comparison("x", np.full(1000, 2, np.int8))], r"shape \(1000,\) and type int8 for 64 replicas"),
        ([Comparison("x", np.full((64, 1), 2, np.int8))], r"shape \(64, 1\)"),
        ([Comparison("x", np.ones(64))], r"shape \(64,\) and type float64"),  # type: ignore[arg-type]
        ([Comparison("x", np.full(64, 9, np.int8))], "as compare_numbers makes them"),
    ],
)
def test_a_custom_hypothesis_gives_one_outcome_per_replica(says: object, message: str, experiment: Experiment) -> None:
    with pytest.raises(ClaimError, match=message):
        evaluate(Odd(says), max_replicas=64, experiment=experiment)


class Classifier(LightningModule):
    pass


def network() -> nn.Module:
    return nn.Linear(2, 2)


def of_network(**changes: Any) -> Condition:
    given: dict[str, Any] = {
        "network": network, "loss": nn.functional.cross_entropy, "optimizer": SGD(learning_rate=0.1),
        "data": Arrays(np.eye(2), [0, 1]), "measures": {"accuracy": Accuracy(), "loss": Loss()}, "budget": 4,
    }  # fmt: skip
    return Condition(**given | changes)


C, D = of_network(name="C"), of_network(optimizer=SGD(learning_rate=0.2), name="D")
FOLDER: Any = ".lossact"
NUMBER: Any = 3
ONE: Any = A
LOGGED: dict[str, Any] = {"metric": "loss", "at_most": 0.1, "budget": 5}


def integers(network: nn.Module, targets: Any = None) -> Condition:
    inputs = np.zeros((8, 2) if isinstance(network, nn.Linear) else 8, int)
    classes = np.zeros(8, int) if targets is None else targets
    return of_network(network=partial(copy.deepcopy, network), loss=nn.CrossEntropyLoss(), data=Arrays(inputs, classes))


def in_a_loop() -> list[Condition]:
    made = []
    for factor in (1.0, 2.0):
        made.append(of_network(loss=lambda outputs, targets: factor * (outputs**2).mean(), name=f"by {factor:g}"))  # noqa: B023
    return made


def trials_of_one() -> None:
    with Store(None) as store:
        Experiment(store=store).trials(ONE, 4)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: higher("accuracy", C, than=D, by=5), "by=5 is no accuracy.*for 5 percent say 0.05"),
        (
            lambda: higher("accuracy", C, than=D, by=1),
            "by=1 is a difference that no two accuracies exceed; for 1 point",
        ),
        (lambda: Accuracy().at_least(90), r"at_least=90 must be > 0 and <= 1; try at_least=0.9, for 90 percent"),
        (lambda: Arrays((n for n in range(3)), [0, 1, 0]), r"numbers are needed; it is a generator: give numpy.stack"),
        (lambda: at_least("accuracy", C, 90), "value=90 is no accuracy.*for 90 percent say 0.9"),
        (lambda: at_most("accuracy", C, -1), "value=-1 is no accuracy"),
        (lambda: equivalent_in("accuracy", C, D, within=2), "within=2 is no accuracy.*say 0.02"),
        (lambda: evaluate(sampled(lambda _: 1.0, 0.5)), "draw takes nothing from the generator.*returns 1 for every"),
        (
            lambda: evaluate(sampled(lambda _: np.random.default_rng(0).normal(), 0.5)),
            "draw takes nothing from the generator",
        ),
        (lambda: evaluate(faster(A, than=B), experiment=FOLDER), "experiment='.lossact' must be an Experiment"),
        (lambda: Experiment(store=FOLDER), r"store='.lossact' must be a Store; try store=Store\('.lossact'\)"),
        (lambda: Experiment(compute_config="cpu"), "compute_config='cpu' must be a ComputeConfig; try default_"),  # type: ignore[arg-type]
        (lambda: Experiment(executor="ray"), r"executor='ray' must be an Executor; try executor=LocalExecutor\(\)"),  # type: ignore[arg-type]
        (lambda: Experiment(progress=3), "progress=3 must be a function of a Progress; try progress=print"),  # type: ignore[arg-type]
        (lambda: Experiment(retrain="no"), "retrain='no' must be True or False; leave it out"),  # type: ignore[arg-type]
        (trials_of_one, r"conditions=A must be a sequence of conditions; try \[A\]"),
        (lambda: of_network(name=3), "name=3 must be a string; try name='3'"),
        (lambda: FunctionCondition(train=abs, budget=3, measures=["m"], name=NUMBER), "name=3 must be a string"),
        (lambda: of_network(data=(np.eye(2), [0, 1])), r"data=\(array.*arrays and tensors go into Arrays"),
        (lambda: of_network(target=0.9), r"target=0.9 must be one of Target; try Accuracy\(\).at_least\(0.9\)"),
        (lambda: of_network(data=np.zeros(10**5)), "^.{,300}$"),
        (lambda: replicate(of_network(augment=lambda x: None), replicas=2), "^augment returned None; have it return"),
        (
            lambda: LightningCondition(module=Classifier(), **LOGGED),
            "module is a Classifier that is made already; give the class",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_trained(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(LossactError, match=message):
        ask()


def test_thresholds_that_a_measure_can_have_are_taken() -> None:
    assert higher("loss", C, than=D, by=5).conditions == (C, D)
    assert at_least("loss", C, 90).conditions == (C,)
    assert higher("accuracy", C, than=D, by=0.05).conditions == (C, D)
    assert at_least("accuracy", C, 1).conditions == (C,)
    to_no_effect = evaluate(sampled(lambda generator: float(generator.random() < 2), 0.5), max_replicas=16)
    assert to_no_effect.name == "supported"
