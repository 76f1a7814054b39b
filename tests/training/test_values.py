"""The values of stacked replicas: those of networks trained alone in a plain torch loop, in double precision."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional

from lossact import (
    SGD,
    Accuracy,
    Arrays,
    Best,
    Condition,
    Experiment,
    FunctionCondition,
    Loss,
    Metric,
    MLPConfig,
    OfNetwork,
    RandomImages,
    evaluate,
    higher,
)
from lossact.conditions.value_measures import checked_value_names
from lossact.errors import LossactError
from lossact.functional import SIGMOID_LOSSES
from lossact.replicas.random_streams import DATA, ORDER, TEST, replica_generator
from lossact.running.runner import fit
from lossact.running.stacking import plain_networks, stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.values import Values
from tests.replicas.against_alone import DOUBLE, network_alone

REPLICAS = [0, 3]
BUDGET, MOMENTS, BATCH = 9, (0, 4, 7), 5
GENERATOR = np.random.default_rng(0)
TRAINING = (GENERATOR.normal(size=(13, 4)), GENERATOR.integers(0, 3, 13))
VALIDATION = (GENERATOR.normal(size=(7, 4)), GENERATOR.integers(0, 3, 7))
DATA_SETS = Arrays(*TRAINING, validation=VALIDATION)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def margin(outputs: Tensor, targets: Tensor) -> Tensor:
    """How far the right class is ahead, one number an example."""
    right = outputs.gather(1, targets.unsqueeze(1)).squeeze(1)
    return right - outputs.logsumexp(1)


def spectral_norm(module: nn.Module) -> Tensor:
    assert not module.training
    assert isinstance(module, nn.Sequential)
    module.train()  # a measure may leave the module it is given in any mode
    weight = module[0].weight
    assert isinstance(weight, Tensor)
    norm: Tensor = torch.linalg.matrix_norm(weight, 2)
    return norm


CALIBRATION = torchmetrics.CalibrationError(task="multiclass", num_classes=3, n_bins=4)
MEASURES = {
    "training accuracy": Accuracy(),
    "accuracy": Accuracy(split="validation"),
    "loss": Loss(split="validation"),
    "margin": Metric(margin, split="validation"),
    "ece": Metric(CALIBRATION, split="validation"),
    "norm": OfNetwork(spectral_norm),
    "best loss": Best(Loss(split="validation"), "min"),
    "best accuracy": Best(Accuracy(split="validation")),
}
CONDITION = Condition(
    network=network,
    loss=nn.CrossEntropyLoss(),
    optimizer=SGD(learning_rate=0.3, momentum=0.9, weight_decay=1e-3),
    data=DATA_SETS,
    budget=BUDGET,
    batch_size=BATCH,
    measures=MEASURES,
    measured_at=MOMENTS,
)


EXPLODING = SGD(learning_rate=1e30, weight_decay=1e10)


def values_of(condition: Condition, replicas: Sequence[int] = REPLICAS, config: ComputeConfig = DOUBLE) -> Values:
    module = stacked_training(condition, 0, replicas, config)
    fit(module, config)
    return module.outcome().values


def values_alone(replica: int) -> dict[str, float]:
    """What a plain loop measures of one network."""
    module = network_alone(network, replica)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-3)
    inputs, targets = (torch.from_numpy(array) for array in TRAINING)
    held_out, labels = (torch.from_numpy(array) for array in VALIDATION)
    orders = replica_generator(0, replica, ORDER)
    order, at = orders.permutation(len(inputs)), 0
    values: dict[str, float] = {}
    losses, accuracies = [], []

    def measure(suffix: str) -> None:
        module.eval()
        with torch.no_grad():
            outputs = module(held_out)
            taken = {
                "training accuracy": (module(inputs).argmax(1) == targets).double().mean(),
                "accuracy": (outputs.argmax(1) == labels).double().mean(),
                "loss": functional.cross_entropy(outputs, labels),
                "margin": -functional.cross_entropy(outputs, labels),
                "ece": torchmetrics.functional.calibration_error(
                    outputs, labels, task="multiclass", num_classes=3, n_bins=4
                ),
                "norm": torch.linalg.svdvals(module.get_parameter("0.weight"))[0],
            }
        module.train()
        values.update({name + suffix: float(value) for name, value in taken.items()})
        losses.append(float(taken["loss"]))
        accuracies.append(float(taken["accuracy"]))

    for update in range(BUDGET):
        if update in MOMENTS:
            measure(f"@{update}")
        if at + BATCH > len(order):
            order, at = orders.permutation(len(inputs)), 0
        chosen = order[at : at + BATCH]
        at += BATCH
        optimizer.zero_grad()
        functional.cross_entropy(module(inputs[chosen]), targets[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    measure("")
    return values | {"best loss": min(losses), "best accuracy": max(accuracies)}


@pytest.mark.parametrize("stacked", [True, False])
def test_values_equal_those_of_networks_trained_alone(stacked: bool) -> None:
    values = values_of(replace(CONDITION, stacked=stacked))
    assert tuple(values) == CONDITION.value_names
    for row, replica in enumerate(REPLICAS):
        alone = values_alone(replica)
        assert alone.keys() == values.keys()
        for name, value in alone.items():
            assert values[name][row] == pytest.approx(value, rel=1e-6 if "ece" in name else 1e-9), name


@pytest.mark.parametrize("compiled", [False, True])
def test_values_of_a_built_in_network_equal_a_plain_loop(compiled: bool) -> None:
    condition = Condition(
        network=MLPConfig(activation="relu"),
        loss="cross_entropy",
        optimizer=SGD(learning_rate=0.1, momentum=0.9),
        data=RandomImages(n_images=12),
        budget=6,
        measures={
            "loss": Loss(), "accuracy": Accuracy(), "test loss": Loss(split="test"),
            "norm": OfNetwork(lambda module: sum(parameter.square().sum() for parameter in module.parameters())),
        },
        measured_at=(2,),
    )  # fmt: skip
    replicas = list(range(64)) if compiled else REPLICAS
    values = values_of(condition, replicas, replace(DOUBLE, compiled=compiled))
    loss = SIGMOID_LOSSES["cross_entropy"].function
    for replica in REPLICAS:
        row = replicas.index(replica)
        (module,) = plain_networks([(condition, replica)], 0, (4, 4))
        sets = [condition.data.sample(replica_generator(0, replica, stream)) for stream in (DATA, TEST)]
        (inputs, targets), (fresh, labels) = [(torch.from_numpy(s.inputs), torch.from_numpy(s.targets)) for s in sets]
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        for update in range(7):
            if update in (2, 6):
                suffix = "@2" if update == 2 else ""
                expected = {
                    "loss": loss(module(inputs), targets).mean(),
                    "accuracy": ((module(inputs) > 0) == (targets > 0.5)).double().mean(),
                    "test loss": loss(module(fresh), labels).mean(),
                    "norm": nn.utils.parameters_to_vector(module.parameters()).square().sum(),
                }
                for name, value in expected.items():
                    assert values[name + suffix][row] == pytest.approx(value.item(), rel=1e-9), name
            optimizer.zero_grad()
            loss(module(inputs), targets).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def test_a_measure_draws_by_seed_and_replica_and_disturbs_nothing() -> None:
    def noisy(module: nn.Module) -> Tensor:
        return torch.randn(()) + torch.from_numpy(np.random.standard_normal(1))[0]  # noqa: NPY002

    condition = replace(CONDITION, measures={"noise": OfNetwork(noisy), "loss": Loss()}, measured_at=())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    together, alone = values_of(condition, [0, 3]), values_of(condition, [3])
    assert torch.equal(torch.get_rng_state(), before)
    assert together["noise"][1] == alone["noise"][0] != together["noise"][0]
    without = values_of(replace(condition, measures={"loss": Loss()}))
    np.testing.assert_array_equal(without["loss"], together["loss"])


@pytest.mark.parametrize("diverges", [False, True])
def test_values_keep_their_type_where_all_replicas_diverge(diverges: bool) -> None:
    condition = replace(CONDITION, optimizer=EXPLODING if diverges else SGD(learning_rate=0.3), measured_at=(7,))
    values = values_of(condition, config=ComputeConfig(threads=1))
    assert {column.dtype for column in values.values()} == {np.dtype(np.float32)}
    assert np.isnan(values["loss"]).all() == diverges
    assert np.isnan(values["accuracy@7"]).all() == diverges


def test_a_diverged_replica_has_no_value_and_loses(experiment: Experiment) -> None:
    calm = replace(CONDITION, measures={"loss": Loss()}, measured_at=(0,), name="calm")
    wild = replace(calm, optimizer=EXPLODING, name="wild")
    _, trials = experiment.trials([calm, wild], 16)
    assert trials.diverged.all()
    assert np.isnan(trials.values["loss"]).all()
    assert np.isfinite(trials.values["loss@0"]).all()
    verdict = evaluate(higher("loss", calm, than=wild), experiment=experiment)
    assert (verdict.name, verdict.decision.losses) == ("supported", 0)  # even of a loss, which wild would have higher
    at_start = evaluate(higher("loss@0", calm, than=wild), experiment=experiment, max_replicas=64)
    assert at_start.decision.ties == at_start.decision.replicas  # nobody had diverged before the first update


def test_a_target_is_met_on_the_way_to_the_budget(experiment: Experiment) -> None:
    both = replace(CONDITION, target=Loss().at_most(1.0), budget=30)
    alone = replace(both, measures={}, measured_at=())
    with_values, without = experiment.trials([both, alone], 8)
    np.testing.assert_array_equal(with_values.steps, without.steps)
    assert with_values.reached.any()
    free = experiment.trials([replace(both, target=None)], 8)[0]
    np.testing.assert_array_equal(free.values["loss"], with_values.values["loss"])


def several(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.zeros(3)


def broken(module: nn.Module) -> float:
    raise RuntimeError("no such layer")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measures": {"m": Metric(several)}}, r"measure 'm' returned shape \(3,\); it must return one number, or one"),
        ({"measures": {"m": OfNetwork(lambda module: [])}}, r"measure 'm' returned shape \(0,\); it must return one n"),
        ({"measures": {"m": OfNetwork(lambda module: "a")}}, "measure 'm' returned 'a'; it must return one number"),
        ({"measures": {"m": OfNetwork(broken)}}, "measure 'm' failed with RuntimeError: no such layer"),
        ({"measures": {"m": Loss(split="test")}}, r"measures\['m'\] is on test examples, and its data have none"),
        (
            {"data": Arrays(*TRAINING), "measures": {"m": Accuracy(split="validation")}},
            r"measures\['m'\] is on validation examples, and its data have none; give data that have them",
        ),
    ],
)
def test_a_measure_that_fails_does_so_before_anything_is_trained(
    experiment: Experiment, change: dict[str, Any], message: str
) -> None:
    sound = replace(CONDITION, measures={"m": Loss()}, measured_at=(), name="sound")
    faulty = replace(sound, name="faulty", **change)
    with pytest.raises(LossactError, match=message):
        evaluate(higher("m", sound, than=faulty), experiment=experiment)
    assert (experiment.trained_replicas, experiment.store.count()) == (0, 0)


def test_a_measure_of_nothing_but_nan_is_an_error(experiment: Experiment) -> None:
    a = replace(CONDITION, measures={"m": OfNetwork(lambda module: math.nan)}, measured_at=(), name="a")
    with pytest.raises(LossactError, match=r"m of a is NaN in all \d+ replicas that did not diverge; mend the measure"):
        evaluate(higher("m", a, than=replace(a, budget=BUDGET, batch_size=6, name="b")), experiment=experiment)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(CONDITION, measures=["accuracy"]), r"measures=\['accuracy'\] must be a dict of names"),  # type: ignore[arg-type]
        (lambda: replace(CONDITION, measures={"a@b": Loss()}), "'a@b' cannot be a measure's name"),
        (lambda: replace(CONDITION, measures={"steps": Loss()}), "'steps' cannot be a measure's name"),
        (lambda: replace(CONDITION, measures={"": Loss()}), "'' cannot be a measure's name"),
        (lambda: replace(CONDITION, measures={"a": Best("val_acc")}), r"must be Accuracy, Loss, Metric"),
        (lambda: replace(CONDITION, measures={"a": Loss().at_most(1)}), r"must be Accuracy, Loss, Metric"),  # type: ignore[dict-item]
        (lambda: Best(Best(Loss())), "must be a measure, or the name of a logged value"),
        (lambda: Best(Loss(), "least"), "mode='least' is not known; choose one of max, min"),
        (lambda: replace(CONDITION, measured_at=(9,)), "measured_at=9 must be an integer >= 0 and <= 8"),
        (lambda: replace(CONDITION, measured_at=4), "measured_at=4 must be numbers of updates"),  # type: ignore[arg-type]
        (lambda: replace(CONDITION, measured_at=(4, 4)), "names an update twice"),
        (lambda: replace(CONDITION, measures={}, measured_at=(4,)), "without measures"),
        (lambda: Accuracy(split="test").at_least(0.9), "a target on test examples would choose by them"),
        (lambda: OfNetwork(spectral_norm).at_most(1.0), "is a measure of the network; a target needs"),
        (lambda: Best(Loss()).at_most(1.0), "cannot be a target; take the measure itself"),
        (lambda: checked_value_names("accuracy"), "measures='accuracy' must be names of numbers"),
        (lambda: checked_value_names(["a", "a"]), "names one twice"),
        (lambda: higher("f1", CONDITION, than=replace(CONDITION, budget=9, batch_size=6, name="b")), "'f1' is not a m"),
    ],
)
def test_bad_measures_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(LossactError, match=message):
        make()


def test_a_function_may_name_its_numbers_with_an_at_sign(experiment: Experiment) -> None:
    def train(seed: int, boost: float) -> dict[str, float]:
        return {"precision@5": boost + np.random.default_rng(seed).random()}

    a, b = (
        FunctionCondition(
            train=train, config={"boost": boost}, measures=["precision@5"], budget=7, name=f"boost {boost}"
        )
        for boost in (2.0, 0.0)
    )
    verdict = evaluate(higher("precision@5", a, than=b), experiment=experiment)
    assert (verdict.name, verdict.hypothesis.budget) == ("supported", 7)
    assert "reached the target" not in str(verdict)
