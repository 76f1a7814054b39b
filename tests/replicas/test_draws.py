from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lossact.errors import InputError
from lossact.replicas.draws import CountedDraws, Moment, PlainPass, module_paths
from lossact.replicas.draws_philox import EXPONENTIAL, MASK, NORMAL, UNIFORM, numpy_draw, philox, signed, tensor_draw
from lossact.replicas.passes import Stage
from lossact.replicas.random_streams import isolate_rng

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


# Networks, stacked and alone


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        mean, log_variance = self.encoder(inputs).chunk(2, -1)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
        loss: Tensor = ((self.decoder(latent) - inputs) ** 2).sum(-1) + divergence
        return loss / 10


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(6, 18)

    def forward(self, inputs: Tensor) -> Tensor:
        query, key, value = self.projection(inputs).chunk(3, -1)
        return functional.scaled_dot_product_attention(query, key, value, dropout_p=0.3)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.dropout(self.first(inputs).relu(), 0.5, self.training)
        outputs: Tensor = self.second(functional.dropout(hidden, 0.2, self.training))
        return outputs


class Recurrent(nn.Module):
    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.layers = kind(6, 6, 3, dropout=0.3, batch_first=True, **options)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)[0]
        return outputs


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "transformer": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.2, batch_first=True),
    "variational autoencoder": Variational,
    "functional dropout": Functional,
    "attention": Attention,
    "lstm": lambda: Recurrent(nn.LSTM, bidirectional=True),
    "projected lstm": lambda: Recurrent(nn.LSTM, proj_size=4),
    "gru": lambda: Recurrent(nn.GRU),
    "rnn": lambda: Recurrent(nn.RNN, nonlinearity="relu"),
    "dropout modules": lambda: nn.Sequential(
        nn.Linear(6, 6), nn.Dropout(0.3), nn.SELU(), nn.AlphaDropout(0.2), nn.Dropout1d(0.4), nn.Linear(6, 6)
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_stacked_networks_that_draw_learn_as_alone(name: str) -> None:
    with isolate_rng():
        torch.manual_seed(3)
        networks = [NETWORKS[name]().double() for _ in range(3)]
        template = NETWORKS[name]().double()
    inputs = torch.linspace(-1, 1, 4 * 5 * 6, dtype=torch.float64).reshape(4, 5, 6)
    weights, _ = stack_module_state(networks)
    paths = module_paths(template)

    for update in range(4):
        moment = Moment(2, Stage.TRAINING, update)

        def loss_of(own: dict[str, Tensor], replica: Tensor, moment: Moment = moment) -> Tensor:
            with CountedDraws(moment, replica, paths).active():
                outputs: Tensor = functional_call(template, own, (inputs,))
                return (outputs**2).mean()

        gradients, losses = vmap(grad_and_value(loss_of))(weights, torch.arange(3))
        weights = {key: (value - 0.05 * gradients[key]).detach() for key, value in weights.items()}
        for replica, network in enumerate(networks):
            with PlainPass(moment, replica, module_paths(network)).active():
                loss = (network(inputs) ** 2).mean()
            network.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in network.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(0.05 * parameter.grad)
            assert abs(float(losses[replica].detach()) - float(loss.detach())) < 1e-9
            for key, parameter in network.named_parameters():
                assert torch.allclose(weights[key][replica], parameter, rtol=0, atol=1e-9)


def test_packed_sequences_draw_between_layers() -> None:
    layers = nn.LSTM(3, 4, 2, dropout=0.5, batch_first=True)
    packed = nn.utils.rnn.pack_padded_sequence(torch.ones(2, 5, 3), torch.tensor([5, 2]), batch_first=True)
    with PlainPass(START, 0, module_paths(layers)).active():
        outputs, (hidden, cell) = layers(packed)
    plain, (plain_hidden, plain_cell) = layers.eval()(packed)
    assert outputs.data.shape == plain.data.shape
    assert (hidden.shape, cell.shape) == (plain_hidden.shape, plain_cell.shape)
    assert not torch.equal(outputs.data, plain.data)
    assert torch.equal(hidden[0], plain_hidden[0])  # before the first dropout


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_in_a_checkpoint_repeats_its_draws(reentrant: bool) -> None:
    layers = nn.Sequential(nn.Dropout(0.5), nn.Linear(30, 30), nn.Dropout(0.5)).double()
    inputs = torch.ones(4, 30, dtype=torch.float64, requires_grad=True)
    gradients = []
    for recomputed in (False, True):
        with PlainPass(START, 0, module_paths(layers)).active():
            hidden = inputs
            for _ in range(2):
                hidden = checkpoint(layers, hidden, use_reentrant=reentrant) if recomputed else layers(hidden)
            gradients.append(
                torch.autograd.grad(hidden.sum(), inputs)[0] if not reentrant else _backward(hidden, inputs)
            )
    assert torch.equal(*gradients)


def _backward(outputs: Tensor, inputs: Tensor) -> Tensor:
    """The gradient by backward, which alone a reentrant checkpoint takes."""
    inputs.grad = None
    outputs.sum().backward()  # type: ignore[no-untyped-call]
    assert inputs.grad is not None
    return inputs.grad


def test_a_module_called_twice_draws_anew_and_others_do_not_move_its_draws() -> None:
    noise = nn.Sequential(Noise(5), Noise(5))
    with PlainPass(START, 0, module_paths(noise)).active():
        first, second = noise[1](torch.ones(1)), noise[1](torch.ones(1))
    with PlainPass(START, 0, module_paths(noise)).active():
        noise[0](torch.ones(1))
        again = noise[1](torch.ones(1))
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_modules_keep_no_hooks_afterwards() -> None:
    hooks = nn.modules.module._global_forward_hooks
    with pytest.raises(ZeroDivisionError), PlainPass(START, 0, {}).active():
        raise ZeroDivisionError
    assert not hooks


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: torch.rand(3, generator=torch.Generator()), "generator"),
        (lambda: vmap(lambda x: x * torch.rand(()), randomness="different")(torch.ones(3)), r"torch\.func\.vmap"),
    ],
)
def test_draws_that_replicas_would_share_are_refused(function: Callable[[], Tensor], text: str) -> None:
    with pytest.raises(InputError, match=text):
        drawn_by(3, function)


def test_draws_that_no_counter_is_known_for_are_refused_when_stacked() -> None:
    with pytest.raises(RuntimeError, match="vmap"):
        drawn_by(3, lambda: torch.poisson(torch.ones(3)))
