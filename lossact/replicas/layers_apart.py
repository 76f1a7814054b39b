"""Recurrent layers and weight norm, taken apart into operations that `torch.func.vmap` has rules for.

On a GPU torch has one kernel for all of a layer, which vmap does not take or takes one replica after the other.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decompositions
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

Layers = Callable[..., tuple[Tensor, ...]]


def _gru_cell(inputs: Tensor, state: Tensor, of_inputs: Tensor, of_state: Tensor, *biases: Tensor | None) -> Tensor:
    """Return the next state, as torch.nn.GRUCell defines it."""
    of_input_bias, of_state_bias = biases or (None, None)
    reset, update, new = linear(inputs, of_inputs, of_input_bias).chunk(3, -1)
    reset_by, update_by, new_by = linear(state, of_state, of_state_bias).chunk(3, -1)
    candidate = (new + (reset + reset_by).sigmoid() * new_by).tanh()
    return candidate + (update + update_by).sigmoid() * (state - candidate)


def _lstm_cell(
    inputs: Tensor, states: tuple[Tensor, Tensor], of_inputs: Tensor, of_state: Tensor, *biases: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the next state and the next cell state, as torch.nn.LSTMCell defines them."""
    state, cell = states
    of_input_bias, of_state_bias = biases or (None, None)
    gates = linear(inputs, of_inputs, of_input_bias) + linear(state, of_state, of_state_bias)
    enter, forget, new, leave = gates.chunk(4, -1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def _weight_norm(direction: Tensor, length: Tensor, dim: int = 0) -> Tensor:
    """Return the weight of a direction and a length, as torch.nn.utils.parametrizations.weight_norm defines it."""
    return direction * (length / torch.norm_except_dim(direction, 2, dim))


def _layers(of_sequences: Layers, of_packed: Layers) -> Layers:
    def layers(*arguments: Any) -> tuple[Tensor, ...]:
        is_packed = isinstance(arguments[3], (list, tuple))  # data, batch sizes, state, weights
        _, n_layers, dropout, is_training, *_ = arguments[4 if is_packed else 3 :]
        if n_layers > 1 and dropout and is_training:
            raise RuntimeError("dropout between layers that are taken apart is drawn by whoever counts it")
        outputs, *states = of_packed(*arguments) if is_packed else of_sequences(*arguments)
        given = arguments[2 if is_packed else 1]
        given = given if isinstance(given, (list, tuple)) else [given]
        # Up to torch 2.12 the states of an LSTM come with an axis too many.
        return outputs, *(state.reshape(like.shape) for state, like in zip(states, given, strict=True))

    return layers


TAKEN_APART: dict[Any, Callable[..., Any]] = {
    torch.gru: _layers(decompositions.gru_impl, decompositions.gru_impl_data),
    torch.lstm: _layers(decompositions.lstm_impl, decompositions.lstm_data_impl),
    torch.rnn_tanh: _layers(decompositions.rnn_tanh_input, decompositions.rnn_tanh_data),
    torch.rnn_relu: _layers(decompositions.rnn_relu_input, decompositions.rnn_relu_data),
    torch.gru_cell: _gru_cell,
    torch.lstm_cell: _lstm_cell,
    torch._weight_norm: _weight_norm,
}


class LayersApart(TorchFunctionMode):
    """Has these layers computed by the operations that they consist of.

    Where draws are counted, that mode is entered within this one: it gives each recurrent layer its dropout.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        apart = function if kwargs else TAKEN_APART.get(function, function)  # modules name no arguments
        return apart(*args, **(kwargs or {}))
