"""torch's drawing functions, each as arithmetic on counted draws."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from lossact.replicas.draws_philox import EXPONENTIAL, MASK, NORMAL, UNIFORM

ALPHA = -1.7580993408473766  # the value that SELU saturates to


class Draws(Protocol):
    """Where numbers come from."""

    def draw(
        self,
        kind: str,
        shape: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
        device: Any = None,
        number: float = 0.0,
    ) -> Tensor:
        """Draw numbers of a kind."""

    def of_replica(self, tensor: Tensor) -> Tensor:
        """Return a tensor that can be filled with one replica's numbers, of the same shape."""


Drawing = Callable[..., Any]


def _like(draws: Draws, kind: str, tensor: Tensor, dtype: torch.dtype | None = None, number: float = 0.0) -> Tensor:
    return draws.draw(kind, tensor.shape, dtype=dtype or tensor.dtype, device=tensor.device, number=number)


# Dropout


def _mask(draws: Draws, tensor: Tensor, p: float, *, of_features: bool) -> Tensor:
    """Return what a tensor is multiplied by; with `of_features` whole channels go."""
    shape = (*tensor.shape[:2], *(1 for _ in tensor.shape[2:])) if of_features else tensor.shape
    return draws.draw(MASK, shape, dtype=tensor.dtype, device=tensor.device, number=p)


def _dropout(*, of_features: bool = False, in_place: bool = False) -> Drawing:
    def dropout(draws: Draws, tensor: Tensor, p: float = 0.5, train: bool = True, **named: Any) -> Tensor:
        if not named.get("training", train) or p == 0:
            return tensor
        mask = _mask(draws, tensor, p, of_features=of_features)
        return tensor.mul_(mask) if in_place else tensor * mask

    return dropout


def _alpha_dropout(*, of_features: bool = False, in_place: bool = False) -> Drawing:
    def alpha_dropout(draws: Draws, tensor: Tensor, p: float = 0.5, train: bool = True, **named: Any) -> Tensor:
        if not named.get("training", train) or p == 0:
            return tensor
        if p == 1:
            return tensor.zero_() if in_place else tensor * 0
        kept = _mask(draws, tensor, p, of_features=of_features) * (1 - p)
        scale = 1 / math.sqrt((ALPHA**2 * p + 1) * (1 - p))
        dropped = (1 - kept) * ALPHA * scale - ALPHA * scale * p
        return tensor.mul_(kept * scale).add_(dropped) if in_place else tensor * (kept * scale) + dropped

    return alpha_dropout


def _attention(
    draws: Draws,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if dropout_p == 0:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        key, value = (each.repeat_interleave(query.shape[-3] // each.shape[-3], -3) for each in (key, value))
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -math.inf)
        scores = scores + attn_mask
    weights = scores.softmax(-1)
    output: Tensor = weights * _mask(draws, weights, dropout_p, of_features=False) @ value
    return output


# New tensors


def _new(kind: str) -> Drawing:
    def new(draws: Draws, *size: Any, dtype: torch.dtype | None = None, device: Any = None, **named: Any) -> Tensor:
        numbers = draws.draw(kind, _shape(size, named), dtype=dtype, device=device)
        return numbers.requires_grad_() if named.get("requires_grad") else numbers

    return new


def _new_like(kind: str) -> Drawing:
    def new_like(draws: Draws, tensor: Tensor, *, dtype: torch.dtype | None = None, **named: Any) -> Tensor:
        numbers = _like(draws, kind, tensor, dtype)
        return numbers.requires_grad_() if named.get("requires_grad") else numbers

    return new_like


def _empty(draws: Draws, *size: Any, **named: Any) -> Tensor:
    """Make new memory, which functions fill in place: torch.distributions, say."""
    return draws.of_replica(torch.empty(*size, **named))


def _shape(size: tuple[Any, ...], named: Mapping[str, Any]) -> Sequence[int]:
    given = size or (named["size"],)
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list, torch.Size)) else given


def _integers(
    draws: Draws, low: int, high: int | None, shape: Sequence[int], dtype: torch.dtype | None, device: Any
) -> Tensor:
    low, high = (0, low) if high is None else (low, high)
    uniform = draws.draw(UNIFORM, shape, dtype=torch.float64, device=device)
    return ((uniform * (high - low)).floor() + low).to(dtype or torch.int64)


def _randint(
    draws: Draws, *bounds_and_size: Any, dtype: torch.dtype | None = None, device: Any = None, **named: Any
) -> Tensor:
    given = [*bounds_and_size]
    size = given.pop() if given and not isinstance(given[-1], int) else named["size"]
    bounds = [*given, *(named[name] for name in ("low", "high") if name in named)]
    return _integers(draws, bounds[0], bounds[1] if len(bounds) > 1 else None, size, dtype, device)


def _randint_like(draws: Draws, tensor: Tensor, *bounds: int, dtype: torch.dtype | None = None, **named: Any) -> Tensor:
    bounds = (*bounds, *(named[name] for name in ("low", "high") if name in named))
    return _integers(
        draws,
        bounds[0],
        bounds[1] if len(bounds) > 1 else None,
        tensor.shape,
        dtype or tensor.dtype,
        tensor.device,
    )


def _randperm(draws: Draws, n: int, *, dtype: torch.dtype | None = None, device: Any = None, **_: Any) -> Tensor:
    return draws.draw(UNIFORM, (n,), dtype=torch.float64, device=device).argsort().to(dtype or torch.int64)


def _bernoulli(draws: Draws, tensor: Tensor, p: float | None = None, **_: Any) -> Tensor:
    return (_like(draws, UNIFORM, tensor) < (tensor if p is None else p)).to(tensor.dtype)


def _normal(draws: Draws, mean: Any, std: Any = 1.0, size: Sequence[int] | None = None, **named: Any) -> Tensor:
    tensors = [given for given in (mean, std) if isinstance(given, Tensor)]
    shape: Sequence[int] = (mean * std).shape if size is None else size
    dtype = named.get("dtype") or (tensors[0].dtype if tensors else None)
    device = named.get("device") or (tensors[0].device if tensors else None)
    numbers: Tensor = draws.draw(NORMAL, shape, dtype=dtype, device=device) * std + mean
    return numbers


def _multinomial(draws: Draws, weights: Tensor, num_samples: int, replacement: bool = False, **_: Any) -> Tensor:
    if not replacement:  # the smallest of exponential times whose rates are the weights
        times = _like(draws, EXPONENTIAL, weights) / weights
        return times.topk(num_samples, largest=False).indices
    shares = weights.cumsum(-1)
    uniform = draws.draw(UNIFORM, (*weights.shape[:-1], num_samples), dtype=weights.dtype, device=weights.device)
    index: Tensor = (shares.unsqueeze(-2) <= (uniform * shares[..., -1:]).unsqueeze(-1)).sum(-1)
    return index


# In place


def _uniform_(draws: Draws, tensor: Tensor, low: float = 0.0, high: float = 1.0, **named: Any) -> Tensor:
    low, high = named.get("from", low), named.get("to", high)
    return tensor.copy_(_like(draws, UNIFORM, tensor) * (high - low) + low)


def _normal_(draws: Draws, tensor: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
    return tensor.copy_(_like(draws, NORMAL, tensor) * std + mean)


def _exponential_(draws: Draws, tensor: Tensor, lambd: float = 1.0, **_: Any) -> Tensor:
    return tensor.copy_(_like(draws, EXPONENTIAL, tensor) / lambd)


def _bernoulli_(draws: Draws, tensor: Tensor, p: Any = 0.5, **_: Any) -> Tensor:
    dtype = tensor.dtype if tensor.is_floating_point() else torch.float32
    return tensor.copy_(_like(draws, UNIFORM, tensor, dtype) < p)


# Dropout between the layers of a recurrent network lies inside torch's own loop over layers


def _recurrent(function: Drawing) -> Drawing:
    """Run a recurrent network, a layer at a time, with counted dropout between the layers."""

    def layers(draws: Draws, *arguments: Any, **named: Any) -> tuple[Tensor, ...]:
        packed = isinstance(
            arguments[3], (list, tuple)
        )  # data, batch sizes, state, weights; else inputs, state, weights
        sequence, *head = arguments[: 2 if packed else 1]
        state, weights, has_biases, n_layers, dropout, train, bidirectional, *last = arguments[len(head) + 1 :]
        if n_layers == 1 or dropout == 0 or not train:
            output: tuple[Tensor, ...] = function(*arguments, **named)
            return output
        states = state if isinstance(state, (tuple, list)) else (state,)
        directions, per_layer = 1 + bidirectional, len(weights) // n_layers
        ends = []
        for layer in range(n_layers):
            layer_states = [each[layer * directions : (layer + 1) * directions] for each in states]
            start = layer_states if isinstance(state, (tuple, list)) else layer_states[0]
            of_layer = weights[layer * per_layer : (layer + 1) * per_layer]
            sequence, *end = function(sequence, *head, start, of_layer, has_biases, 1, 0.0, train, bidirectional, *last)
            ends.append(end)
            if layer < n_layers - 1:
                sequence = sequence * _mask(draws, sequence, dropout, of_features=False)
        return sequence, *(torch.cat(each) for each in zip(*ends, strict=True))

    return layers


DRAWING: dict[Any, Drawing] = {
    torch.dropout: _dropout(),
    torch.dropout_: _dropout(in_place=True),
    torch.feature_dropout: _dropout(of_features=True),
    torch.feature_dropout_: _dropout(of_features=True, in_place=True),
    torch.alpha_dropout: _alpha_dropout(),
    torch.alpha_dropout_: _alpha_dropout(in_place=True),
    torch.feature_alpha_dropout: _alpha_dropout(of_features=True),
    torch.feature_alpha_dropout_: _alpha_dropout(of_features=True, in_place=True),
    functional.scaled_dot_product_attention: _attention,
    torch.empty: _empty,
    torch.rand: _new(UNIFORM),
    torch.randn: _new(NORMAL),
    torch.rand_like: _new_like(UNIFORM),
    torch.randn_like: _new_like(NORMAL),
    torch.randint: _randint,
    torch.randint_like: _randint_like,
    torch.randperm: _randperm,
    torch.bernoulli: _bernoulli,
    torch.Tensor.bernoulli: _bernoulli,
    torch.normal: _normal,
    torch.multinomial: _multinomial,
    torch.Tensor.multinomial: _multinomial,
    torch.Tensor.uniform_: _uniform_,
    torch.Tensor.normal_: _normal_,
    torch.Tensor.exponential_: _exponential_,
    torch.Tensor.bernoulli_: _bernoulli_,
    torch.lstm: _recurrent(torch.lstm),
    torch.gru: _recurrent(torch.gru),
    torch.rnn_tanh: _recurrent(torch.rnn_tanh),
    torch.rnn_relu: _recurrent(torch.rnn_relu),
}


def _without_dispatch(function: Any) -> Any:
    """Return a function of torch's that does not hand itself to the mode; what it calls still does."""

    def no(*_: Any) -> bool:
        return False

    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    copy = FunctionType(
        function.__code__, function.__globals__ | dict.fromkeys(names, no), function.__name__, function.__defaults__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


# Functions that are written in Python and draw by those above; a backward pass draws where a checkpoint recomputes.
COMPOSED: dict[Any, Any] = {
    function: _without_dispatch(function)
    for function in (
        functional.dropout,
        functional.dropout1d,
        functional.dropout2d,
        functional.dropout3d,
        functional.alpha_dropout,
        functional.feature_alpha_dropout,
        functional.gumbel_softmax,
        functional.multi_head_attention_forward,
        torch.autograd.backward,
        torch.autograd.grad,
        torch.Tensor.backward,
    )
}
