"""Measures of gradients and activations beside plain autograd of networks trained alone, in double precision."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from lossact import SGD, Arrays, Best, Condition, Experiment, MLPConfig, OfNetwork, RandomImages, at_least, evaluate
from lossact.errors import LossactError
from lossact.running.runner import fit
from lossact.running.stacking import plain_networks, stacked_training
from lossact.training.values import Values
from tests.replicas.against_alone import DOUBLE, network_alone

REPLICAS = [0, 3]
GENERATOR = np.random.default_rng(3)
TRAINING = (GENERATOR.normal(size=(13, 4)), GENERATOR.integers(0, 3, 13))
VALIDATION = (GENERATOR.normal(size=(7, 4)), GENERATOR.integers(0, 3, 7))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3))


def gradient_norm(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    loss = cross_entropy(network(inputs), targets)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return float(torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])))


def norm_left_behind(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """The same by a backward pass that leaves its gradients where they are, and a network that is changed."""
    cross_entropy(network(inputs), targets).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
    network.register_forward_hook(lambda module, inputs, outputs: 2 * outputs)
    return float(torch.linalg.vector_norm(torch.cat(gradients)))


def dead_units(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Share of ReLU units that no example wakes."""
    assert isinstance(network, nn.Sequential)
    seen: list[Tensor] = []
    network[1].register_forward_hook(lambda module, inputs, outputs: seen.append(outputs))
    network(inputs)
    return (seen[0] == 0).all(0).double().mean()


CONDITION = Condition(
    network=network,
    loss=nn.CrossEntropyLoss(),
    optimizer=SGD(learning_rate=0.5),
    data=Arrays(*TRAINING, validation=VALIDATION),
    budget=6,
    measures={
        "gradient": OfNetwork(gradient_norm, split="training"),
        "left": OfNetwork(norm_left_behind, split="training"),
        "again": OfNetwork(norm_left_behind, split="training"),
        "dead": OfNetwork(dead_units, split="validation"),
        "least gradient": Best(OfNetwork(gradient_norm, split="training"), "min"),
    },
    measured_at=(0, 4),
)


def values_of(condition: Condition) -> Values:
    module = stacked_training(condition, 0, REPLICAS, DOUBLE)
    fit(module, DOUBLE)
    return module.outcome().values


@pytest.mark.parametrize("stacked", [True, False])
def test_gradients_and_dead_units_are_those_of_networks_trained_alone(stacked: bool) -> None:
    values = values_of(replace(CONDITION, stacked=stacked))
    assert tuple(values) == CONDITION.value_names
    inputs, targets = (torch.from_numpy(array) for array in TRAINING)
    for row, replica in enumerate(REPLICAS):
        module = network_alone(network, replica)
        assert isinstance(module, nn.Sequential)
        norms = []
        for update in range(7):
            module.zero_grad()
            cross_entropy(module(inputs), targets).backward()  # type: ignore[no-untyped-call]
            if update in (0, 4, 6):
                suffix = "" if update == 6 else f"@{update}"
                squares = [float(p.grad.square().sum()) for p in module.parameters() if p.grad is not None]
                norms.append(math.sqrt(sum(squares)))
                dead = 0
                weight, bias = (tensor.detach().numpy() for tensor in module[0].parameters())
                for unit in range(12):
                    dead += all(weight[unit] @ example + bias[unit] <= 0 for example in VALIDATION[0])
                for name in ("gradient", "left", "again"):
                    assert values[name + suffix][row] == pytest.approx(norms[-1], rel=1e-9)
                assert values["dead" + suffix][row] == pytest.approx(dead / 12, abs=1e-12)
            with torch.no_grad():
                for parameter in module.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(parameter.grad, alpha=0.5)
        assert values["least gradient"][row] == pytest.approx(min(norms), rel=1e-9)
    assert 0 < values["dead"].sum() < len(REPLICAS)


def test_the_gradient_of_a_built_in_network_is_that_of_autograd() -> None:
    def norm(network: nn.Module, images: Tensor, labels: Tensor) -> float:
        loss = binary_cross_entropy_with_logits(network(images), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))

    condition = Condition(
        network=MLPConfig(activation="relu"), loss="cross_entropy", data=RandomImages(n_images=8), budget=3,
        optimizer=SGD(learning_rate=0.3), measures={"norm": OfNetwork(norm, split="test")}, measured_at=(0,),
    )  # fmt: skip
    values = values_of(condition)
    module = stacked_training(condition, 0, REPLICAS, DOUBLE)
    images, labels = module.test_examples
    for row, replica in enumerate(REPLICAS):
        (alone,) = plain_networks([(condition, replica)], 0, (4, 4))
        loss = binary_cross_entropy_with_logits(alone(images[row]), labels[row])
        loss.backward()  # type: ignore[no-untyped-call]
        vector = torch.cat([p.grad.flatten() for p in alone.parameters() if p.grad is not None])
        assert values["norm@0"][row] == pytest.approx(float(vector.norm()), rel=1e-9)


def test_measuring_gradients_disturbs_no_training() -> None:
    without = values_of(replace(CONDITION, measures={"dead": CONDITION.measures["dead"]}))
    np.testing.assert_array_equal(without["dead"], values_of(CONDITION)["dead"])


def test_only_a_measure_with_examples_has_them_in_its_content() -> None:
    assert OfNetwork(norm_of_weights).content().keys() == {"kind", "function"}
    contents = [OfNetwork(gradient_norm, split=split).content() for split in ("training", "validation")]
    assert contents[0] != contents[1]


def norm_of_weights(network: nn.Module) -> float:
    return float(torch.linalg.vector_norm(nn.utils.parameters_to_vector(network.parameters())))


def one_an_example(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(network(inputs), targets, reduction="none")


def needs_a_layer(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    layer = network.get_submodule("head")
    assert isinstance(layer.weight, Tensor)
    return float(torch.linalg.vector_norm(layer.weight))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OfNetwork(one_an_example, split="training"), r"'m' returned shape \(13,\); it must return one number"),
        (lambda: OfNetwork(needs_a_layer, split="training"), "measure 'm' failed with AttributeError: .*head"),
        (lambda: OfNetwork(gradient_norm, split="test"), r"measures\['m'\] is on test examples, and its data have"),
        (lambda: OfNetwork(gradient_norm, split="held out"), "split='held out' is not known; choose one of"),
        (lambda: OfNetwork(gradient_norm), r"cannot be called as measure\(network\)"),
        (
            lambda: OfNetwork(norm_of_weights, split="training"),
            r"cannot be called as measure\(network, inputs, targets\)",
        ),
    ],
)
def test_a_measure_that_cannot_be_taken_is_refused_before_training(
    experiment: Experiment, make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(LossactError, match=message):
        evaluate(at_least("m", replace(CONDITION, measures={"m": make()}, measured_at=()), 0.5), experiment=experiment)
    assert (experiment.trained_replicas, experiment.store.count()) == (0, 0)
