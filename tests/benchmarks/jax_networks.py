"""Users' networks in JAX: the replicas of tests/benchmarks/networks.py, by jit(vmap(scan))."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tests.benchmarks.networks import MOMENTUM, NETWORKS, RATE, examples_of

Parameters = dict[str, Any]
DROPPED = 0.2


def run_in_jax(name: str, replicas: int) -> Callable[[int], float]:
    """Return what trains for a number of updates, after compiling, and returns seconds a replica-step."""
    import jax
    import jax.numpy as jnp

    parameters = {key: jnp.asarray(tensor) for key, tensor in start_of(name, replicas).items()}
    inputs, targets = (jnp.asarray(array) for array in examples_of(name))
    inputs = inputs.astype(jnp.float32) if inputs.dtype.kind == "f" else inputs
    keys = jax.random.split(jax.random.key(0), replicas)

    def train(parameters: Parameters, key: Any, updates: int) -> Any:
        def update(state: Any, key: Any) -> Any:
            p, v = state
            loss, g = jax.value_and_grad(lambda p: loss_of(name, p, inputs, targets, key))(p)
            v = jax.tree.map(lambda v, g: MOMENTUM * v + g, v, g)
            return (jax.tree.map(lambda p, v: p - RATE * v, p, v), v), loss

        start = parameters, jax.tree.map(jnp.zeros_like, parameters)
        return jax.lax.scan(update, start, jax.random.split(key, updates))

    compiled = jax.jit(
        lambda parameters, keys, updates: jax.vmap(lambda p, key: train(p, key, updates))(parameters, keys),
        static_argnums=2,
    )

    def run(updates: int) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(parameters, keys, updates))
        return (time.perf_counter() - begin) / (replicas * updates)

    return run


def start_of(name: str, replicas: int) -> dict[str, np.ndarray]:
    """Parameters of as many networks of torch's, by name, (replicas, ...) each."""
    networks = [dict(NETWORKS[name][0]().named_parameters()) for _ in range(replicas)]
    return {key: torch.stack([each[key].detach() for each in networks]).numpy() for key in networks[0]}


def loss_of(name: str, p: Parameters, inputs: Any, targets: Any, key: Any) -> Any:
    """Cross-entropy of one network on a batch."""
    import jax

    logits = OUTPUTS[name](p, inputs, key)
    chosen = jax.nn.log_softmax(logits)[np.arange(len(targets)), targets]
    return -chosen.mean()


def _dense(p: Parameters, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def _perceptron(p: Parameters, x: Any, key: Any) -> Any:
    import jax.numpy as jnp

    hidden = jnp.tanh(_dense(p, "2", jnp.tanh(_dense(p, "0", x))))
    return _dense(p, "4", hidden)


def _dropping(p: Parameters, x: Any, key: Any) -> Any:
    import jax
    import jax.numpy as jnp

    for layer, of_layer in zip(("0", "3"), jax.random.split(key), strict=True):
        x = jnp.tanh(_dense(p, layer, x))
        x = jnp.where(jax.random.bernoulli(of_layer, 1 - DROPPED, x.shape), x / (1 - DROPPED), 0)
    return _dense(p, "6", x)


def _transformer(p: Parameters, words: Any, key: Any) -> Any:
    import jax

    def norm(name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / (x.var(-1, keepdims=True) + 1e-5) ** 0.5 * p[f"{name}.weight"] + p[f"{name}.bias"]

    x = p["embedding.weight"][words] + p["position"]
    batch, tokens, width = x.shape
    parts = _dense(p, "attention_in", norm("norm1", x)).reshape(batch, tokens, 3, 4, width // 4)
    query, key, value = (parts[:, :, part].swapaxes(1, 2) for part in range(3))
    weights = jax.nn.softmax(query @ key.swapaxes(-1, -2) / (width // 4) ** 0.5, -1)
    x = x + _dense(p, "attention_out", (weights @ value).swapaxes(1, 2).reshape(batch, tokens, width))
    inner = jax.nn.gelu(_dense(p, "inner", norm("norm2", x)), approximate=False)
    return _dense(p, "head", (x + _dense(p, "outer", inner))[:, -1])


def _residual(p: Parameters, x: Any, key: Any) -> Any:
    import jax

    def convolve(name: str, x: Any, stride: int = 1) -> Any:
        weight = p[f"{name}.weight"]
        padding = weight.shape[-1] // 2
        y = jax.lax.conv_general_dilated(x, weight, (stride, stride), [(padding, padding)] * 2)
        return y + p[f"{name}.bias"][:, None, None]

    def norm(name: str, x: Any) -> Any:
        groups = x.reshape(len(x), 4, -1)
        centred = groups - groups.mean(-1, keepdims=True)
        groups = centred / (groups.var(-1, keepdims=True) + 1e-5) ** 0.5
        return groups.reshape(x.shape) * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]

    relu = jax.nn.relu
    x = convolve("stem", x)
    for block, stride in enumerate((1, 2, 2)):
        at = f"blocks.{block}"
        shortcut = x if stride == 1 else convolve(f"{at}.4", x, stride)
        inner = relu(norm(f"{at}.1", convolve(f"{at}.0", relu(x), stride)))
        x = shortcut + norm(f"{at}.3", convolve(f"{at}.2", inner))
    return _dense(p, "head", x.mean((2, 3)))


OUTPUTS: dict[str, Callable[[Parameters, Any, Any], Any]] = {
    "Small": _perceptron,
    "Dropping": _dropping,
    "Digits": _perceptron,
    "Tiny": _transformer,
    "ResNetish": _residual,
}
