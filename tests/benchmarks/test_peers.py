import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from lossact.models import MLP, MLPConfig
from lossact.training.quiet import quiet
from tests.benchmarks import jax_networks, networks, peers


def make() -> nn.Module:
    return MLP(MLPConfig(activation="sigmoid"), (4, 4))


@pytest.mark.parametrize("loss", ["l2", "cross_entropy"])
def test_what_lossact_is_timed_against_trains(loss: str) -> None:
    x, y = torch.rand(3, 64, 4, 4), torch.rand(3, 64).round()
    with quiet():
        assert peers.trainer_loop(make, loss, 0.1, x, y, 3) > 0
    assert peers.torch_loop(make, loss, 0.1, x, y, 3) > 0
    assert peers.torch_vmap(make, loss, 0.1, x, y, 3, 2) > 0


@pytest.mark.skipif(not peers.HAS_JAX, reason="jax is not installed")
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_users_networks_are_the_same_in_jax(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    monkeypatch.setattr(jax_networks, "DROPPED", 0.0)
    kind = networks.NETWORKS[name][0]
    inputs, targets = networks.examples_of(name)
    inputs = inputs if name == "Tiny" else inputs.astype(np.float32)
    start = {key: rows[0] for key, rows in jax_networks.start_of(name, 1).items()}
    expected = {key: torch.tensor(array, requires_grad=True) for key, array in start.items()}
    outputs = functional_call(kind().eval(), expected, (torch.from_numpy(inputs),))
    loss = networks.losses(outputs, torch.from_numpy(targets)).mean()
    gradients = torch.autograd.grad(loss, list(expected.values()))
    value, by_jax = jax.value_and_grad(lambda p: jax_networks.loss_of(name, p, inputs, targets, jax.random.key(0)))(
        start
    )
    assert value == pytest.approx(loss.item(), rel=1e-4)
    for gradient, key in zip(gradients, expected, strict=True):
        assert np.allclose(by_jax[key], gradient, rtol=1e-2, atol=1e-4), key
