"""What else one could train replicas with, each as its own documentation would have it."""

import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

HAS_JAX = importlib.util.find_spec("jax") is not None
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU's memory is for all


def jax_is_on(device: str) -> bool:
    """Return whether JAX computes there; it is told to multiply in float32, as everything else does here."""
    if not HAS_JAX:
        return False
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    return device == "cpu" or jax.default_backend() == "gpu"


def torch_loss(loss: str, logits: Tensor, labels: Tensor) -> Tensor:
    if loss == "l2":
        return torch.mean((logits.sigmoid() - labels) ** 2)
    return binary_cross_entropy_with_logits(logits, labels)


class PlainTraining(LightningModule):
    """The least that the Trainer asks for, with the accuracy that a target is about."""

    def __init__(self, network: nn.Module, loss: str, rate: float) -> None:
        super().__init__()
        self.network, self.loss, self.rate = network, loss, rate

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.network.parameters(), lr=self.rate, momentum=0.99, weight_decay=5e-4)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        logits = self.network(batch[0])
        if ((logits >= 0) == (batch[1] > 0.5)).float().mean() > 1:
            self.trainer.should_stop = True
        return torch_loss(self.loss, logits, batch[1])


def trainer_loop(make: Callable[[], nn.Module], loss: str, rate: float, x: Tensor, y: Tensor, updates: int) -> float:
    """One network under the Lightning Trainer; seconds a replica-step."""
    module = PlainTraining(make(), loss, rate)
    trainer = Trainer(
        accelerator="cpu", min_epochs=0, max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batches: DataLoader[Any] = DataLoader([(x[0], y[0])] * updates, batch_size=None)  # type: ignore[arg-type]
    begin = time.perf_counter()
    trainer.fit(module, train_dataloaders=batches)
    return (time.perf_counter() - begin) / updates


def torch_loop(make: Callable[[], nn.Module], loss: str, rate: float, x: Tensor, y: Tensor, updates: int) -> float:
    """One network in a bare torch loop; seconds a replica-step."""
    network = make()
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.99, weight_decay=5e-4)
    begin = time.perf_counter()
    for _ in range(updates):
        optimizer.zero_grad()
        torch.autograd.backward(torch_loss(loss, network(x[0]), y[0]))
        optimizer.step()
    return (time.perf_counter() - begin) / updates


def torch_vmap(
    make: Callable[[], nn.Module], loss: str, rate: float, x: Tensor, y: Tensor, n: int, updates: int
) -> float:
    """n networks through torch.func.vmap; seconds a replica-step."""
    networks = [make() for _ in range(n)]
    parameters, buffers = stack_module_state(networks)
    base = networks[0]
    velocity = {name: torch.zeros_like(p) for name, p in parameters.items()}

    def loss_of_network(p: dict[str, Tensor], b: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return torch_loss(loss, functional_call(base, (p, b), (images,)), labels)

    shared = None if len(x) == 1 else 0
    images, labels = (x[0], y[0]) if shared is None else (x, y)
    step = vmap(grad_and_value(loss_of_network), (0, 0, shared, shared))
    begin = time.perf_counter()
    with torch.no_grad():
        for _ in range(updates):
            gradients, _ = step(parameters, buffers, images, labels)
            for name, p in parameters.items():
                velocity[name].mul_(0.99).add_(gradients[name]).add_(p, alpha=5e-4)
                p.sub_(velocity[name], alpha=rate)
    return (time.perf_counter() - begin) / (n * updates)


def jax_mlp(x: Tensor, y: Tensor, n: int, *, last: bool, rate: float = 0.1) -> Callable[[int], float]:
    """n MLPs (sigmoid, L2) by jit(vmap(scan)), replicas as the first or the last dimension of every array."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    shapes = [(4, 16), (4,), (4,), ()]
    axis = -1 if last else 0
    parameters = [jnp.asarray(rng.normal(0, 0.3, (*s, n) if last else (n, *s)), jnp.float32) for s in shapes]
    images, labels = x.flatten(2).numpy(), y.numpy()
    shared = None if len(images) == 1 else axis
    if shared is None:
        images, labels = images[0], labels[0]
    elif last:
        images, labels = np.moveaxis(images, 0, -1), np.moveaxis(labels, 0, -1)
    data = jnp.asarray(images), jnp.asarray(labels)

    def loss(p: Any, images: Any, labels: Any) -> Any:
        hidden = jax.nn.sigmoid(images @ p[0].T + p[1])
        return jnp.mean((jax.nn.sigmoid(hidden @ p[2] + p[3]) - labels) ** 2)

    def train(p: Any, images: Any, labels: Any, updates: int) -> Any:
        def update(state: Any, _: Any) -> Any:
            p, v = state
            value, g = jax.value_and_grad(loss)(p, images, labels)
            v = [0.99 * a + b + 5e-4 * c for a, b, c in zip(v, g, p, strict=True)]
            return ([c - rate * a for c, a in zip(p, v, strict=True)], v), value

        return jax.lax.scan(update, (p, [jnp.zeros_like(a) for a in p]), None, length=updates)

    compiled = jax.jit(
        lambda p, images, labels, updates: jax.vmap(
            lambda p, images, labels: train(p, images, labels, updates), (axis, shared, shared), axis
        )(p, images, labels),
        static_argnums=3,
    )

    def run(updates: int) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(parameters, *data, updates))
        return (time.perf_counter() - begin) / (n * updates)

    return run


def jax_cnn(x: Tensor, y: Tensor, n: int) -> Callable[[int], float]:
    """n CNNs (ReLU, cross-entropy) by jit(vmap(scan))."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    shapes = [(16, 1, 7, 7), (16,), (8, 16, 7, 7), (8,), (128,), ()]
    parameters = [jnp.asarray(rng.normal(0, 0.05, (n, *s)), jnp.float32) for s in shapes]
    data = jnp.asarray(x.numpy()), jnp.asarray(y.numpy())

    def loss(p: Any, images: Any, labels: Any) -> Any:
        a = images[:, None]
        for w, b in ((p[0], p[1]), (p[2], p[3])):
            a = jax.nn.relu(jax.lax.conv(a, w, (1, 1), "VALID") + b[None, :, None, None])
        z = a.reshape(len(images), -1) @ p[4] + p[5]
        return jnp.mean(jnp.maximum(z, 0) - z * labels + jnp.log1p(jnp.exp(-jnp.abs(z))))

    def train(p: Any, images: Any, labels: Any, updates: int) -> Any:
        def update(state: Any, _: Any) -> Any:
            p, v = state
            value, g = jax.value_and_grad(loss)(p, images, labels)
            v = [0.99 * a + b + 5e-4 * c for a, b, c in zip(v, g, p, strict=True)]
            return ([c - 0.01 * a for c, a in zip(p, v, strict=True)], v), value

        return jax.lax.scan(update, (p, [jnp.zeros_like(a) for a in p]), None, length=updates)

    compiled = jax.jit(
        lambda p, x, y, updates: jax.vmap(lambda p, x, y: train(p, x, y, updates))(p, x, y), static_argnums=3
    )

    def run(updates: int) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(parameters, *data, updates))
        return (time.perf_counter() - begin) / (n * updates)

    return run
