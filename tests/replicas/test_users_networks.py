"""Networks of many kinds, stacked and side by side, against the same network in a plain torch loop."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from tests.replicas.against_alone import check_equal_to_alone, make_condition

RNG = np.random.default_rng(0)
SEQUENCES, VALUES = RNG.standard_normal((6, 5, 4)), RNG.standard_normal((6, 3))
IMAGES, WORDS = RNG.standard_normal((6, 2, 6, 6)), RNG.integers(0, 9, (6, 4))


class LastStep(nn.Module):
    """A recurrent network read at its last step."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.body, self.head = kind(4, 5, batch_first=True, num_layers=2), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x)[0][:, -1])
        return out


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, dropout=0.0, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(20, 3))


class Tied(nn.Module):
    """Predicts each word by the embedding that read it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.output(self.embedding(words))
        return logits


def convolutional() -> nn.Module:
    circular = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")
    return nn.Sequential(circular, nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))


def with_weight_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(20, 3)))


def with_the_old_weight_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(20, 3)))


class Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 5, 4) / 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bst,kst->bk", x, self.weight)


class Filter(nn.Module):
    """Multiplies a spectrum by complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfft(torch.fft.rfft(x) * self.weight, n=4)
        return out


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(20, 6), nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x.flatten(1)).tanh()
        return self.mean(hidden), self.spread(hidden)


class NamedOutputs(TwoOutputs):
    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        mean, spread = super().forward(x)
        return {"logits": mean, "auxiliary": spread.square().mean(1)}


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(36, 3)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        out: Tensor = self.head(torch.cat((x.flatten(1), self.embedding(words).flatten(1)), dim=1))
        return out


def compiled() -> nn.Module:
    return torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(20, 3)))  # type: ignore[return-value]


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets) ** 2


def likelihood(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    mean, spread = outputs
    return (mean - targets) ** 2 * (-spread).exp() + spread


def with_auxiliary_term(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    return ((outputs["logits"] - targets) ** 2).mean() + 0.1 * outputs["auxiliary"].mean()


def next_word(outputs: Tensor, targets: Tensor) -> Tensor:
    return f.cross_entropy(outputs.flatten(0, 1), targets.flatten())


ROWS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor], Any, Any]] = {
    "GRU": (partial(LastStep, nn.GRU), squared, SEQUENCES, VALUES),
    "LSTM": (partial(LastStep, nn.LSTM), squared, SEQUENCES, VALUES),
    "RNN": (partial(LastStep, nn.RNN), squared, SEQUENCES, VALUES),
    "transformer layer": (encoder, squared, SEQUENCES, VALUES),
    "tied embedding, tokens": (Tied, next_word, WORDS, WORDS),
    "circular convolution, group norm": (convolutional, squared, IMAGES, VALUES),
    "batch norm": (with_batch_norm, squared, IMAGES, VALUES),
    "weight norm": (with_weight_norm, squared, SEQUENCES, VALUES),
    "old weight norm": (with_the_old_weight_norm, squared, SEQUENCES, VALUES),
    "einsum": (Einsum, squared, SEQUENCES, VALUES),
    "complex weights": (Filter, squared, SEQUENCES, SEQUENCES[..., ::-1].copy()),
    "tuple of outputs": (TwoOutputs, likelihood, SEQUENCES, VALUES),
    "dict of outputs, auxiliary term": (NamedOutputs, with_auxiliary_term, SEQUENCES, VALUES),
    "tuple of inputs": (TwoInputs, squared, (SEQUENCES, WORDS), VALUES),
    "dict of inputs": (TwoInputs, squared, {"words": WORDS, "x": SEQUENCES}, VALUES),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated", "ignore:There is a performance drop")
@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "side by side"])
@pytest.mark.parametrize("name", ROWS)
def test_replicas_equal_the_network_trained_alone(name: str, stacked: bool) -> None:
    make, loss, inputs, targets = ROWS[name]
    condition = make_condition(make, loss, inputs, targets, stacked=stacked)
    check_equal_to_alone(condition, make, lambda outputs, targets: loss(outputs, targets).mean())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")  # torch's compiler runs into it itself
def test_a_compiled_network_trains_as_the_one_within() -> None:
    def plain() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(20, 3))

    condition = make_condition(compiled, squared, SEQUENCES, VALUES)
    population_keys = {f"{name}" for name, _ in plain().named_parameters()}
    assert population_keys == {"1.weight", "1.bias"}
    check_equal_to_alone(condition, plain, lambda outputs, targets: squared(outputs, targets).mean())
