from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional

from lossact.replicas.draws import CountedDraws, Moment, PlainPass, module_paths
from lossact.replicas.draws_philox import EXPONENTIAL, MASK, NORMAL, UNIFORM, numpy_draw, philox, signed, tensor_draw
from lossact.replicas.passes import Stage

START = Moment(seed=0, stage=Stage.TRAINING, batch=0)
KEY, STREAM = (11, 2**63 + 5), (7, 2**64 - 3)

# kat_vectors of the Random123 library, philox4x64 with 10 rounds: counter, key, words
KNOWN_ANSWERS = [
    ("0 0 0 0", "0 0", "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    (
        " ".join(["ffffffffffffffff"] * 4),
        " ".join(["ffffffffffffffff"] * 2),
        "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
    ),
    (
        "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
        "452821e638d01377 be5466cf34e90c6c",
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def drawn(function: Callable[[], Tensor], *, replica: int = 0, moment: Moment = START) -> Tensor:
    """What a function draws in a plain pass."""
    with PlainPass(moment, replica, {}).active():
        return function()


def drawn_by(replicas: int, function: Callable[[], Tensor], moment: Moment = START) -> Tensor:
    """What it draws for each of the first replicas, stacked."""

    def of_replica(replica: Tensor) -> Tensor:
        with CountedDraws(moment, replica, {}).active():
            return function()

    return vmap(of_replica)(torch.arange(replicas))


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter: str, key: str, expected: str) -> None:
    first, second = words(key)
    answer = philox([torch.tensor(signed(word)) for word in words(counter)], (first, second))
    assert [int(word) % 2**64 for word in answer] == words(expected)


@pytest.mark.parametrize("kind", [UNIFORM, MASK])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("n", [1, 8, 37])
def test_tensors_and_numpy_draw_equal_bits(kind: str, double: bool, n: int) -> None:
    replicas = [0, 9, 2**40]
    by_numpy = numpy_draw(replicas, KEY, STREAM, n, kind, number=0.3, dtype=np.float64 if double else np.float32)
    dtype = torch.float64 if double else torch.float32
    by_tensors = tensor_draw(torch.tensor(replicas), KEY, STREAM, n, kind, number=0.3, dtype=dtype)
    assert np.array_equal(by_numpy, by_tensors.numpy())


@pytest.mark.parametrize(
    ("kind", "distribution"),
    [(UNIFORM, stats.uniform), (NORMAL, stats.norm), (EXPONENTIAL, stats.expon)],
)
@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("double", [False, True])
def test_numbers_have_their_distribution(kind: str, distribution: Any, on_cpu: bool, double: bool) -> None:
    if on_cpu:
        numbers = numpy_draw(range(40), KEY, STREAM, 1000, kind, dtype=np.float64 if double else np.float32)
    else:
        dtype = torch.float64 if double else torch.float32
        numbers = tensor_draw(torch.arange(40), KEY, STREAM, 1000, kind, dtype=dtype).numpy()
    assert numbers.dtype == (np.float64 if double else np.float32)
    chances = distribution.cdf(numbers.ravel().astype(np.float64))
    assert chi_square_of_cells(chances) < stats.chi2.ppf(0.999, 99)


def chi_square_of_cells(uniform: Any, cells: int = 100) -> float:
    counts = np.bincount((np.asarray(uniform) * cells).astype(int).clip(0, cells - 1), minlength=cells)
    expected = counts.sum() / cells
    return float(((counts - expected) ** 2 / expected).sum())


def chi_square_of_pairs(first: Any, second: Any, cells: int = 10) -> float:
    cell = (np.asarray(first) * cells).astype(int) * cells + (np.asarray(second) * cells).astype(int)
    return chi_square_of_cells((cell + 0.5) / cells**2, cells**2)


def test_replicas_updates_calls_stages_and_modules_draw_independently() -> None:
    n = 20_000
    quantile = stats.chi2.ppf(0.999, 99)

    def draw() -> Tensor:
        return torch.rand(n)

    first = drawn(draw)
    others = {
        "replica": drawn(draw, replica=1),
        "update": drawn(draw, moment=Moment(0, Stage.TRAINING, 1)),
        "stage": drawn(draw, moment=Moment(0, Stage.MEASUREMENT, 0)),
        "seed": drawn(draw, moment=Moment(1, Stage.TRAINING, 0)),
        "call": drawn(lambda: (torch.rand(n), torch.rand(n))[1]),
    }
    layers = nn.Sequential(Noise(n), Noise(n))
    with PlainPass(START, 0, module_paths(layers)).active():
        of_layers = [layer(first) for layer in layers]
    others["module"] = of_layers[1]
    for name, other in others.items():
        assert chi_square_of_cells(other) < quantile, name
        assert chi_square_of_pairs(first, other) < quantile, name
    assert chi_square_of_pairs(*of_layers) < quantile
    assert chi_square_of_pairs(first[:-1], first[1:]) < quantile


class Noise(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.rand(self.n)


def test_dropout_keeps_the_share_that_it_should() -> None:
    kept = int((drawn(lambda: functional.dropout(torch.ones(100_000), 0.3)) > 0).sum())
    assert stats.binomtest(kept, 100_000, 0.7).pvalue > 0.001


# One replica, whatever surrounds it

DRAWN_ANYWHERE: dict[str, Callable[[], Tensor]] = {
    "dropout": lambda: functional.dropout(torch.ones(7, 5), 0.4),
    "dropout2d": lambda: functional.dropout2d(torch.ones(2, 7, 5, 3), 0.4),
    "alpha_dropout": lambda: functional.alpha_dropout(torch.ones(7, 5), 0.4, training=True),
    "rand": lambda: torch.rand(7, 5),
    "randn": lambda: torch.randn((33,)),
    "complex randn": lambda: torch.view_as_real(torch.randn(7, dtype=torch.complex64)),
    "rand_like": lambda: torch.rand_like(torch.ones(7)),
    "randn_like": lambda: torch.randn_like(torch.ones(7, 9)),
    "randint": lambda: torch.randint(3, 9, (50,)),
    "randint_like": lambda: torch.randint_like(torch.ones(50), 9),
    "randperm": lambda: torch.randperm(20),
    "bernoulli": lambda: torch.bernoulli(torch.full((50,), 0.3)),
    "normal": lambda: torch.normal(torch.arange(9.0), 2.0),
    "normal of a size": lambda: torch.normal(1.0, 2.0, (9,)),
    "multinomial": lambda: torch.multinomial(torch.arange(9.0), 4),
    "multinomial again": lambda: torch.multinomial(torch.arange(9.0), 40, replacement=True),
    "gumbel_softmax": lambda: functional.gumbel_softmax(torch.rand(9) * 0),
    "distribution": lambda: torch.distributions.Normal(torch.zeros(3), torch.ones(3)).rsample(torch.Size([5])),
    "half": lambda: torch.randn(9, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("name", DRAWN_ANYWHERE)
def test_a_replica_draws_equal_bits_alone_among_3_and_among_300(name: str) -> None:
    function = DRAWN_ANYWHERE[name]
    alone = [drawn(function, replica=replica) for replica in range(3)]
    for companions in (3, 300):
        stacked = drawn_by(companions, function)
        for replica, numbers in enumerate(alone):
            assert torch.equal(stacked[replica], numbers)
    assert not torch.equal(alone[0], alone[1])
    assert torch.equal(alone[0], drawn(function))


@pytest.mark.parametrize("name", ["dropout", "randn", "gumbel_softmax", "multinomial"])
def test_bits_do_not_depend_on_the_number_of_threads(name: str) -> None:
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            results.append(drawn_by(300, DRAWN_ANYWHERE[name]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


# Values


def test_drawn_integers_permutations_and_choices_are_in_range() -> None:
    integers = drawn(lambda: torch.randint(-2, 5, (1000,)))
    assert sorted(set(integers.tolist())) == [-2, -1, 0, 1, 2, 3, 4]
    assert integers.dtype == torch.int64
    assert drawn(lambda: torch.randperm(30)).sort().values.tolist() == list(range(30))
    assert drawn(lambda: torch.randint(high=3, size=(2, 4))).shape == (2, 4)


@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial_chooses_by_weight(replacement: bool) -> None:
    weights = torch.tensor([0.1, 0.0, 0.4, 0.5], dtype=torch.float64)
    first = drawn(lambda: torch.multinomial(weights.expand(20_000, 4), 1, replacement))
    counts = torch.bincount(first.flatten(), minlength=4)
    assert counts[1] == 0
    expected = 20_000 * weights[[0, 2, 3]].numpy()
    assert stats.chisquare(counts[[0, 2, 3]].numpy(), expected).pvalue > 0.001


def test_multinomial_without_replacement_chooses_each_once() -> None:
    assert drawn(lambda: torch.multinomial(torch.ones(6), 6)).sort().values.tolist() == list(range(6))


@pytest.mark.parametrize(
    ("function", "distribution"),
    [
        (lambda: torch.empty(20_000).uniform_(2.0, 4.0), stats.uniform(2, 2)),
        (lambda: torch.empty(20_000).normal_(1.0, 3.0), stats.norm(1, 3)),
        (lambda: torch.empty(20_000).exponential_(2.0), stats.expon(scale=0.5)),
        (lambda: nn.init.uniform_(torch.empty(20_000), -1.0, 1.0), stats.uniform(-1, 2)),
    ],
)
def test_drawing_in_place_has_the_distribution_that_is_asked_for(
    function: Callable[[], Tensor], distribution: Any
) -> None:
    assert chi_square_of_cells(distribution.cdf(drawn(function).double().numpy())) < stats.chi2.ppf(0.999, 99)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    inputs = drawn(lambda: torch.randn(200_000, dtype=torch.float64), replica=1)
    outputs = drawn(lambda: functional.alpha_dropout(inputs, 0.3, training=True))
    assert abs(float(outputs.mean())) < 4 / 200_000**0.5
    assert abs(float(outputs.var()) - 1) < 0.02


def test_feature_dropout_leaves_out_whole_channels() -> None:
    outputs = drawn(lambda: functional.dropout2d(torch.ones(8, 16, 3, 3), 0.5)).flatten(2)
    assert torch.equal(outputs, outputs[:, :, :1].expand_as(outputs))
    assert set(outputs.flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_attention_without_its_draws_is_that_of_torch(causal: bool, grouped: bool) -> None:
    query = torch.linspace(-1, 1, 2 * 4 * 5 * 3, dtype=torch.float64).reshape(2, 4, 5, 3)
    heads = 2 if grouped else 4
    key, value = query[:, :heads].sin(), query[:, :heads].cos()
    outputs = drawn_by(
        4000,
        lambda: functional.scaled_dot_product_attention(
            query, key, value, dropout_p=0.1, is_causal=causal, enable_gqa=grouped
        ),
    )
    plain = functional.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=grouped)
    assert torch.allclose(outputs.mean(0), plain, atol=0.03)
