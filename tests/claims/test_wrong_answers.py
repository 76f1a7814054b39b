"""What would give a verdict that is not of what was meant is refused, or does not reach what is measured."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lossact import (
    SGD,
    Arrays,
    Condition,
    Experiment,
    FunctionCondition,
    Hypothesis,
    Loss,
    Metric,
    OfNetwork,
    all_of,
    at_least,
    at_most,
    evaluate,
    exceeds,
    faster,
    ordering,
    reaches,
    schedule,
    slowest,
)
from lossact.errors import ClaimError, DataError, InputError, LossactError
from lossact.replicas.pairs import check_pairs
from lossact.running.examples import stacked_arrays
from lossact.storage import Trials

X = np.random.default_rng(0).standard_normal((40, 4))
CLASSES = (X[:, 0] > 0).astype(int)


def classifier() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def regressor() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def condition(**changes: Any) -> Condition:
    given: dict[str, Any] = {
        "network": classifier, "loss": nn.CrossEntropyLoss(reduction="none"), "optimizer": SGD(learning_rate=0.2),
        "data": Arrays(X, CLASSES), "budget": 4, "target": None, "measures": {"loss": Loss()}, "name": "a",
    }  # fmt: skip
    return Condition(**given | changes)


def zero_targets(outputs: Tensor, targets: Tensor) -> Tensor:
    return targets.zero_().sum()


def squashed(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.sigmoid_().sum()


def zero_inputs(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return inputs.zero_().sum() + targets.zero_().sum()


@pytest.mark.parametrize(
    "measure", [Metric(zero_targets), Metric(squashed), OfNetwork(zero_inputs, split="training")], ids=str
)
def test_what_a_measure_writes_reaches_no_other_measure_and_no_training(measure: Any, experiment: Experiment) -> None:
    measured_at = (2,)
    alone = experiment.trials([condition(measured_at=measured_at)], 16)
    among = experiment.trials([condition(measures={"m": measure, "loss": Loss()}, measured_at=measured_at)], 16)
    for name in ("loss", "loss@2"):
        np.testing.assert_array_equal(among[0].values[name], alone[0].values[name])


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).mean()


def rightly_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return squared(outputs.squeeze(1), targets)


def mean_output(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean()


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("loss", [squared, functional.mse_loss, nn.SmoothL1Loss()])
def test_a_loss_that_pairs_every_output_with_every_target_is_refused(loss: Any, experiment: Experiment) -> None:
    given = condition(network=regressor, loss=loss, data=Arrays(X, X[:, 0]))
    with pytest.raises(InputError, match=r"loss pairs every output of \(40, 1\) with every target of \(40,\); give"):
        evaluate(at_most("loss", given, 0.5), experiment=experiment, max_replicas=16)


def test_so_is_a_measure(experiment: Experiment) -> None:
    given = condition(network=regressor, loss=rightly_squared, data=Arrays(X, X[:, 0]), measures={"m": Metric(squared)})
    with pytest.raises(InputError, match=r"measure 'm' pairs every output"):
        evaluate(at_most("m", given, 0.5), experiment=experiment, max_replicas=16)


@pytest.mark.parametrize("function", [rightly_squared, mean_output, functional.binary_cross_entropy_with_logits])
def test_functions_that_pair_each_with_its_own_are_taken(function: Callable[..., Tensor]) -> None:
    outputs, targets = torch.linspace(-1, 1, 6), torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    check_pairs("loss", function, outputs.unsqueeze(1), targets)
    check_pairs("loss", squared, outputs, targets)


def random_rate(update: int) -> float:
    return float(np.random.rand())  # noqa: NPY002


def failing_rate(update: int) -> float:
    return 1 / (update - 3)


def pooled(a: Trials) -> NDArray[Any]:
    return np.full(len(a), a.values["loss"].mean())


def sorted_in_place(a: Trials) -> NDArray[Any]:
    losses = a.values["loss"]
    losses.sort()
    return losses


def coarse_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(dim=-1) != targets).float().mean().bfloat16()


def fit_coarsely(seed: int) -> dict[str, Any]:
    return {"accuracy": np.float16(0.9)}


def claimed(**changes: Any) -> Hypothesis:
    return at_most("loss", condition(**changes), 0.5)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (
            lambda: claimed(data=Arrays(X * 1e39, CLASSES)),
            InputError,
            r"inputs hold .*e\+39, beyond the largest number",
        ),
        (
            lambda: claimed(optimizer=SGD(learning_rate=schedule(random_rate))),
            InputError,
            r"schedule\(random_rate\) returns another number when it is called again; make it a function of the",
        ),
        (
            lambda: claimed(optimizer=SGD(learning_rate=schedule(failing_rate)), budget=5),
            InputError,
            r"schedule\(failing_rate\) failed for update 3: ZeroDivisionError",
        ),
        (
            lambda: exceeds(pooled, 0, of=[condition()]),
            ClaimError,
            "pooled gives replicas other numbers when there are",
        ),
        (lambda: exceeds(sorted_in_place, 0, of=[condition()]), ClaimError, "made-up trials.*read-only"),
        (lambda: at_most("loss", condition(), 10**400), LossactError, "must be"),
        (
            lambda: at_most("error", condition(measures={"error": Metric(coarse_error)}), 0.5),
            InputError,
            "measure 'error' returned a number in bfloat16, which holds too few digits to compare",
        ),
        (
            lambda: at_least(
                "accuracy", FunctionCondition(name="f", train=fit_coarsely, measures=["accuracy"], budget=1), 0.9
            ),
            InputError,
            "f: train returned 'accuracy' in float16, which holds too few digits",
        ),
        (lambda: claimed(data=Arrays(torch.eye(4).to_sparse(), np.arange(4))), DataError, r"layout.*as \.to_dense\(\)"),
    ],
)
def test_it_is_refused(
    ask: Callable[[], Hypothesis], error: type[Exception], message: str, experiment: Experiment
) -> None:
    with pytest.raises(error, match=message):
        evaluate(ask(), experiment=experiment, max_replicas=16)


def arrive(seed: int) -> int:
    return int(np.random.default_rng(seed).integers(5, 15))


def measure_alone(seed: int) -> dict[str, Any]:
    return {"accuracy": np.random.default_rng(seed).random()}


def measure_and_count(seed: int) -> dict[str, Any]:
    return measure_alone(seed) | {"steps": None}


def forget(seed: int) -> None:
    np.random.default_rng(seed).random()


ARRIVES = FunctionCondition(name="arrives", train=arrive, budget=60)
MEASURES = FunctionCondition(name="measures", train=measure_alone, measures=["accuracy"], budget=60)
NEVER = FunctionCondition(name="never", train=measure_and_count, measures=["accuracy"], budget=60)


@pytest.mark.parametrize(
    "claim",
    [
        faster(ARRIVES, than=MEASURES), faster(MEASURES, than=ARRIVES), reaches(MEASURES), ordering(ARRIVES, MEASURES),
        slowest(MEASURES, of=[ARRIVES]), all_of(faster(ARRIVES, than=NEVER), faster(ARRIVES, than=MEASURES)),
    ],
)  # fmt: skip
def test_who_counts_no_updates_to_a_target_is_not_late(claim: Hypothesis, experiment: Experiment) -> None:
    with pytest.raises(ClaimError, match="measures has no target to reach: the dict that train returned holds no"):
        evaluate(claim, experiment=experiment)
    with pytest.raises(ClaimError, match="measures has no target to reach"):  # of stored trials, too
        evaluate(claim, experiment=experiment)
    assert evaluate(at_least("accuracy", MEASURES, 0.9), experiment=experiment).name == "refuted"


def test_who_counts_and_never_arrives_is(experiment: Experiment) -> None:
    assert evaluate(faster(ARRIVES, than=NEVER), experiment=experiment).name == "supported"
    assert evaluate(faster(NEVER, than=ARRIVES), experiment=experiment).name == "refuted"


DRAWS, COUNTED = np.random.default_rng(0), {"replicas": 0}


def draw_from_one(seed: int) -> int:
    return int(DRAWS.integers(5, 15))


def drift(seed: int) -> int:
    COUNTED["replicas"] += 1
    return arrive(seed) + COUNTED["replicas"] // 8


@pytest.mark.parametrize("train", [draw_from_one, drift])
def test_what_training_changes_for_later_replicas_is_noted(train: Any, experiment: Experiment) -> None:
    claim = faster(ARRIVES, than=FunctionCondition(name="changes", train=train, budget=60))
    (note,) = (each for each in evaluate(claim, experiment=experiment).warnings if "training changed" in each)
    assert note.startswith("training changed values that the code of changes reads, such as a global variable or a gen")


def test_nothing_is_noted_of_what_depends_on_its_seed_alone(experiment: Experiment) -> None:
    claim = faster(ARRIVES, than=FunctionCondition(name="same", train=arrive, budget=60, version="2"))
    assert not any("training changed" in each for each in evaluate(claim, experiment=experiment).warnings)


def test_a_ratio_may_be_a_fraction(experiment: Experiment) -> None:
    claim = faster(ARRIVES, than=NEVER, ratio=Fraction(3, 2))  # type: ignore[arg-type]
    assert claim == faster(ARRIVES, than=NEVER, ratio=1.5)
    assert "in at most 1/1.5 of the updates of never" in str(evaluate(claim, experiment=experiment))


def test_a_refutation_names_whose_target_nobody_reached(experiment: Experiment) -> None:
    forgets = FunctionCondition(name="forgets", train=forget, budget=60)
    verdict = evaluate(faster(forgets, than=ARRIVES), experiment=experiment)
    assert verdict.name == "refuted"
    assert "forgets reached the target in none of 8 replicas" in verdict.warnings


def test_numbers_of_half_precision_are_data() -> None:
    halves = torch.tensor(X).bfloat16()
    given = Arrays(halves, CLASSES).sample(np.random.default_rng(0))
    np.testing.assert_array_equal(given.inputs, halves.double().numpy())


def test_large_numbers_are_refused_where_the_precision_does_not_hold_them() -> None:
    given = [Arrays(X * 1e39, CLASSES).sample(np.random.default_rng(0))]
    assert stacked_arrays(given, torch.float64)[0].isfinite().all()
    with pytest.raises(InputError, match=r"beyond the largest number of torch.float32, 3\.4e\+38; scale them"):
        stacked_arrays(given, torch.float32)
