"""Layers that are taken apart, as on a GPU, are torch's own, which a CPU computes in C++."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_leaves

from lossact.replicas.draws import CountedDraws, Moment, module_paths
from lossact.replicas.layers_apart import LayersApart
from lossact.replicas.random_streams import isolate_rng

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "gru": partial(nn.GRU, 3, 4),
    "lstm": partial(nn.LSTM, 3, 4),
    "rnn": partial(nn.RNN, 3, 4),
    "rnn, relu": partial(nn.RNN, 3, 4, nonlinearity="relu"),
    "gru, two layers both ways": partial(nn.GRU, 3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "lstm, projected both ways": partial(nn.LSTM, 3, 4, num_layers=2, bidirectional=True, proj_size=2),
    "lstm, no biases": partial(nn.LSTM, 3, 4, bias=False),
    "gru, no biases": partial(nn.GRU, 3, 4, bias=False),
}
CELLS: dict[str, Callable[[], nn.Module]] = {
    "gru": partial(nn.GRUCell, 3, 4),
    "lstm": partial(nn.LSTMCell, 3, 4),
    "rnn": partial(nn.RNNCell, 3, 4),
    "gru, no biases": partial(nn.GRUCell, 3, 4, bias=False),
    "lstm, no biases": partial(nn.LSTMCell, 3, 4, bias=False),
}


class Unrolled(nn.Module):
    """A cell over a sequence, as users write it."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, sequence: Tensor) -> Any:
        state = None
        for inputs in sequence:
            state = self.cell(inputs, state)
        return state


def made(make: Callable[[], nn.Module], n: int = 3) -> list[nn.Module]:
    with isolate_rng():
        torch.manual_seed(1)
        return [make().double() for _ in range(n)]


def sum_of(outputs: Any) -> Tensor:
    return torch.stack([(leaf**2).sum() for leaf in tree_leaves(outputs)]).sum()


def apart_and_alone(modules: list[nn.Module], inputs: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of all modules at once, their layers apart, and those of each by torch's autograd, in one order."""
    of_all = [dict(module.named_parameters()) for module in modules]
    weights = {name: torch.stack([of_one[name].detach() for of_one in of_all]) for name in of_all[0]}
    template = modules[0]

    def loss_of(own: dict[str, Tensor]) -> Tensor:
        return sum_of(functional_call(template, own, (inputs,)))

    with LayersApart():
        gradients = vmap(grad(loss_of))(weights)
    apart = [gradients[name][row] for row, of_one in enumerate(of_all) for name in of_one]
    alone: list[Tensor] = []
    for module in modules:
        alone += torch.autograd.grad(sum_of(module(inputs)), list(module.parameters()))
    return apart, alone


def assert_equal(apart: list[Tensor], alone: list[Tensor]) -> None:
    torch.testing.assert_close(apart, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    assert_equal(
        *apart_and_alone(made(LAYERS[name]), torch.linspace(-1, 1, 5 * 2 * 3, dtype=torch.float64).reshape(5, 2, 3))
    )


@pytest.mark.parametrize("name", CELLS)
def test_cells(name: str) -> None:
    modules: list[nn.Module] = [Unrolled(cell) for cell in made(CELLS[name])]
    assert_equal(*apart_and_alone(modules, torch.linspace(-1, 1, 5 * 2 * 3, dtype=torch.float64).reshape(5, 2, 3)))


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.filterwarnings("error:There is a performance drop")
def test_weight_norm(dim: int) -> None:
    modules = made(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 4), dim=dim))
    assert_equal(*apart_and_alone(modules, torch.linspace(-1, 1, 2 * 3, dtype=torch.float64).reshape(2, 3)))


@pytest.mark.parametrize("name", ["gru", "lstm", "rnn"])
def test_packed_sequences(name: str) -> None:
    sequences = torch.linspace(-1, 1, 5 * 2 * 3, dtype=torch.float64).reshape(5, 2, 3)
    packed = nn.utils.rnn.pack_padded_sequence(sequences, torch.tensor([5, 2]))
    (module,) = made(LAYERS[name], 1)
    with LayersApart():
        apart = module(packed)
    for part, expected in zip(tree_leaves(apart), tree_leaves(module(packed)), strict=True):
        torch.testing.assert_close(part, expected)


def test_each_layer_has_the_dropout_that_is_counted() -> None:
    (module,) = made(partial(nn.LSTM, 3, 4, num_layers=3, dropout=0.4), 1)
    inputs = torch.linspace(-1, 1, 5 * 2 * 3, dtype=torch.float64).reshape(5, 2, 3)
    with LayersApart(), pytest.raises(RuntimeError, match="drawn by whoever counts it"):
        module(inputs)
    draws = partial(CountedDraws, Moment(2, 0, 1), torch.tensor(1), module_paths(module))
    with LayersApart(), draws().active():
        apart = module(inputs)
    with draws().active():
        expected = module(inputs)
    for part, whole in zip(tree_leaves(apart), tree_leaves(expected), strict=True):
        torch.testing.assert_close(part, whole)
