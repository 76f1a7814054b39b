"""How weights start."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from claims.literature.networks import glorot, he, mlp, uniform_by_fan_in
from lossact import Adam, Condition, Hypothesis, faster, sampled

Make = Callable[..., Condition]

GLOROT = "Glorot and Bengio, Understanding the difficulty of training deep feedforward networks, AISTATS 2010"


@pytest.mark.claim(
    "a deep tanh network learns faster from Glorot's weights than from the old uniform ones",
    source=GLOROT,
    recorded="supported",
)
def test_glorot_beats_uniform_by_fan_in(on_digits: Make) -> Hypothesis:
    new = on_digits("tanh, Glorot", partial(mlp, nn.Tanh, 5, 32, glorot))
    return faster(new, than=on_digits("tanh, old", partial(mlp, nn.Tanh, 5, 32, uniform_by_fan_in)))


@pytest.mark.claim(
    "a deep sigmoid network from the old uniform weights is stuck where a tanh one learns",
    source=GLOROT,
    recorded="supported",
)
def test_deep_sigmoid_is_stuck(on_digits: Make) -> Hypothesis:
    adam = Adam(learning_rate=0.01)
    tanh = on_digits("tanh, old, Adam", partial(mlp, nn.Tanh, 5, 32, uniform_by_fan_in), optimizer=adam)
    sigmoid = on_digits("sigmoid, old, Adam", partial(mlp, nn.Sigmoid, 5, 32, uniform_by_fan_in), optimizer=adam)
    return faster(tanh, than=sigmoid)


@pytest.mark.claim(
    "a deep ReLU network learns faster from He's weights than from Glorot's",
    source="He et al., Delving deep into rectifiers, ICCV 2015",
    recorded="supported",
)
def test_he_beats_glorot_for_relu(on_digits: Make) -> Hypothesis:
    new = on_digits("ReLU, He", partial(mlp, nn.ReLU, 8, 32, he))
    return faster(new, than=on_digits("ReLU, Glorot", partial(mlp, nn.ReLU, 8, 32, glorot)))


def share_of_dead_networks(generator: np.random.Generator) -> float:
    """1 where a ReLU network of 20 layers of 2 units gives one output whatever its input, else 0."""
    with torch.random.fork_rng():
        torch.manual_seed(int(generator.integers(2**63)))
        layers = [part for _ in range(20) for part in (nn.Linear(2, 2), nn.ReLU())]
        for layer in layers[::2]:
            he(layer.weight.data, layer.bias.data)  # type: ignore[arg-type]
        with torch.no_grad():
            outputs = nn.Sequential(*layers)(torch.randn(256, 2))
    return float(outputs.std(0).max() == 0)


@pytest.mark.claim(
    "most deep and narrow ReLU networks are born dead",
    source="Lu et al., Dying ReLU and initialization, Communications in Computational Physics 2020",
    recorded="supported",
)
def test_deep_narrow_relu_is_born_dead() -> Hypothesis:
    return sampled(share_of_dead_networks, 0.5, name="constant output")
