"""What a user is told who gives something else than what is asked for: what was given, and the way out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import lossact
from lossact.errors import LossactError

api: Any = lossact
X = np.random.default_rng(0).standard_normal((40, 4))
CLASSES = (X[:, 0] > 0).astype(int)


class Forgetful(nn.Module):
    """Returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> None:
        self.layer(inputs)


def network() -> nn.Module:
    return nn.Linear(4, 2)


def condition(**changes: Any) -> Any:
    given: dict[str, Any] = {
        "network": network, "loss": nn.CrossEntropyLoss(reduction="none"), "optimizer": api.SGD(learning_rate=0.2),
        "data": api.Arrays(X, CLASSES), "budget": 4, "target": None, "measures": {"loss": api.Loss()}, "name": "a",
    }  # fmt: skip
    return api.Condition(**given | changes)


def measure(seed: int) -> dict[str, float]:
    return {"accuracy": seed / 2**32}


def of_data(inputs: Any, targets: Any, **more: Any) -> Any:
    return api.at_most("loss", condition(data=api.Arrays(inputs, targets, **more)), 1)


A, B = condition(), condition(name="b", budget=4, optimizer=api.SGD(learning_rate=0.1))
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "a list of conditions": (lambda: api.faster(A, than=[B]), "give the conditions one by one, without a list"),
    "what makes a condition": (
        lambda: api.faster(condition, than=B),
        "is not a condition; give what it returns: condition(...)",
    ),
    "the measure second": (lambda: api.higher(A, "loss", than=B), "a measure's name stands before the condition"),
    "a list of hypotheses": (lambda: [api.exact], "a list is not a hypothesis; claim each by itself, or all_of("),
    "a list for all_of": (lambda: api.all_of([api.at_most("loss", A, 1)]), "write all_of(*hypotheses)"),
    "a verdict": (
        lambda: api.evaluate(api.at_most("loss", A, 100), max_replicas=16),
        "is a verdict, not a hypothesis; leave",
    ),
    "equal conditions": (
        lambda: api.faster(B, than=condition(name="c", optimizer=B.optimizer)),
        "are equal in all that is trained: b and c",
    ),
    "classes that are fractions": (lambda: of_data(X, CLASSES.astype(float)), "; give classes as integers, as"),
    "classes from 1": (lambda: of_data(X, CLASSES + 1), "; number the classes from 0, and have one output for each"),
    "nothing returned": (
        lambda: api.at_most("loss", condition(network=Forgetful), 1),
        "forward returned None; have it",
    ),
    "a number in quotes": (lambda: api.SGD(learning_rate="1e-2"), "='1e-2', which is text, must be > 0; try 0.1"),
    "a dict without measures": (
        lambda: api.reaches(api.FunctionCondition(train=measure, budget=3)),
        "a dict; name its numbers by measures=['acc",
    ),
    "paths for arrays": (
        lambda: of_data("x.npy", "y.npy"),
        "numbers are needed; read a file first, by numpy.load, say",
    ),
    "a share for validation": (
        lambda: of_data(X, CLASSES, validation=0.2),
        "must be a pair (inputs, targets), not 0.2",
    ),
    "single numbers drawn": (
        lambda: api.at_most("loss", condition(data=api.GeneratedData(lambda generator: [1, 2])), 1),
        "targets are the single number 2; give one for each example",
    ),
    "a draw without its generator": (lambda: api.sampled(lambda: 1, 0.1), "cannot be called as draw(generator)"),
    "a number of replicas": (
        lambda: api.record_snapshots(A, 0, 4, every=2, compute_config=api.ComputeConfig()),
        "must be indices, such as ra",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_was_given_and_the_way_out_are_named(mistake: str, experiment: lossact.Experiment) -> None:
    make, message = MISTAKES[mistake]
    with pytest.raises(LossactError) as error:
        lossact.evaluate(make(), experiment=experiment)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_asked_for_is_taken_in_any_form(tmp_path: Path) -> None:
    class Folder:
        def __fspath__(self) -> str:
            return str(tmp_path)

    with api.Store(Folder()) as store:
        assert store.directory == tmp_path.resolve()
    snapshots, _, _ = api.record_snapshots(A, 0, np.arange(2), every=4, compute_config=api.ComputeConfig())
    assert len(snapshots[0].networks) == 2
    assert api.SGD(learning_rate=np.float32(0.25)).learning_rate == 0.25
