"""Networks that draw random numbers learn stacked as alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lossact.errors import InputError
from lossact.replicas.draws import CountedDraws, Moment, PlainPass, module_paths
from lossact.replicas.passes import Stage
from lossact.replicas.random_streams import isolate_rng
from tests.replicas.test_draws import START, Noise, drawn_by


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
