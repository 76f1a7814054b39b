import pytest
import torch
from torch import nn

from lossact.models import MLP, MLPConfig
from lossact.training.quiet import quiet
from tests.benchmarks import peers


def make() -> nn.Module:
    return MLP(MLPConfig(activation="sigmoid"), (4, 4))


@pytest.mark.parametrize("loss", ["l2", "cross_entropy"])
def test_what_lossact_is_timed_against_trains(loss: str) -> None:
    x, y = torch.rand(3, 64, 4, 4), torch.rand(3, 64).round()
    with quiet():
        assert peers.trainer_loop(make, loss, 0.1, x, y, 3) > 0
    assert peers.torch_loop(make, loss, 0.1, x, y, 3) > 0
    assert peers.torch_vmap(make, loss, 0.1, x, y, 3, 2) > 0
