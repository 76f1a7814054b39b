"""Networks as users bring them, and what else one could train their replicas with."""

import time
from collections.abc import Callable
from functools import cache
from types import CodeType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import cross_entropy, gelu

from lossact import SGD, Arrays, Condition, Loss
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.quiet import exact_convolutions

BATCH = 128
RATE, MOMENTUM = 0.01, 0.9


class Digits(nn.Sequential):
    """64-128-128-10."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10))


class Small(nn.Sequential):
    """64-32-32-10, whose operations take less time than calling them."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10))


class Dropping(nn.Sequential):
    """Small, with dropout."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(64, 32), nn.Tanh(), nn.Dropout(0.2), nn.Linear(32, 32), nn.Tanh(), nn.Dropout(0.2),
            nn.Linear(32, 10),
        )  # fmt: skip


class Tiny(nn.Module):
    """A transformer block, width 64, 16 tokens."""

    def __init__(self, width: int = 64, heads: int = 4, tokens: int = 16, words: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.embedding, self.position = nn.Embedding(words, width), nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2, self.head = nn.LayerNorm(width), nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, words: Tensor) -> Tensor:
        x = self.embedding(words) + self.position
        batch, tokens, width = x.shape
        query, key, value = (
            part.view(batch, tokens, self.heads, -1).transpose(1, 2)
            for part in self.attention_in(self.norm1(x)).chunk(3, -1)
        )
        weights = torch.softmax(query @ key.transpose(-1, -2) / (width / self.heads) ** 0.5, -1)
        x = x + self.attention_out((weights @ value).transpose(1, 2).reshape(batch, tokens, width))
        x = x + self.outer(gelu(self.inner(self.norm2(x))))
        logits: Tensor = self.head(x[:, -1])
        return logits


class ResNetish(nn.Module):
    """Three residual blocks with group norm over 32x32x3 images."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        shapes = ((width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2))
        self.blocks = nn.ModuleList([self._block(*shape) for shape in shapes])
        self.head = nn.Linear(4 * width, 10)

    @staticmethod
    def _block(inputs: int, outputs: int, stride: int) -> nn.ModuleList:
        shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()
        return nn.ModuleList(
            [
                nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(4, outputs),
                nn.Conv2d(outputs, outputs, 3, 1, 1), nn.GroupNorm(4, outputs), shortcut,
            ]
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            conv1, norm1, conv2, norm2, shortcut = cast(nn.ModuleList, block)
            x = shortcut(x) + norm2(conv2(torch.relu(norm1(conv1(torch.relu(x))))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...], dict[str, tuple[int, ...]]]] = {
    "Small": (Small, (32, 64), {"cpu": (64,), "cuda": (64, 512)}),
    "Dropping": (Dropping, (32, 64), {"cpu": (64,), "cuda": (64, 512)}),
    "Digits": (Digits, (BATCH, 64), {"cpu": (64,), "cuda": (64, 512)}),
    "Tiny": (Tiny, (BATCH, 16), {"cpu": (16,), "cuda": (16, 128)}),
    "ResNetish": (ResNetish, (BATCH, 3, 32, 32), {"cpu": (8,), "cuda": (16, 64)}),
}


def examples_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """One batch, the same for all engines."""
    rng = np.random.default_rng(1)
    _, shape, _ = NETWORKS[name]
    inputs = rng.integers(0, 64, shape) if name == "Tiny" else rng.standard_normal(shape)
    return inputs, rng.integers(0, 64 if name == "Tiny" else 10, shape[0])


def losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="none")


def by_lossact(name: str, replicas: int, device: str, updates: int, *, compiled: bool = False) -> float:
    """Seconds a replica-step, through the Trainer, nobody resting."""
    condition = Condition(
        network=NETWORKS[name][0], loss=losses, optimizer=SGD(learning_rate=RATE, momentum=MOMENTUM),
        data=Arrays(*examples_of(name)), target=Loss().at_most(-1.0), budget=updates,
    )  # fmt: skip
    compute_config = ComputeConfig(device=device, threads=torch.get_num_threads(), compiled=compiled)
    module = stacked_training(condition, 0, range(replicas), compute_config, logs=False)
    begin = _now(device)
    fit(module, compute_config)
    return (_now(device) - begin) / (replicas * updates)


def _tensors(name: str, device: str) -> tuple[Tensor, Tensor]:
    inputs, targets = (torch.from_numpy(array).to(device) for array in examples_of(name))
    return inputs.float() if inputs.is_floating_point() else inputs, targets


def by_vmap(
    name: str, replicas: int, device: str, updates: int, *, compiled: bool = False, graph: bool = False
) -> float:
    """Seconds a replica-step of plain torch.func.vmap."""
    kind, x, y = NETWORKS[name][0], *_tensors(name, device)
    base = kind().to(device)
    stacked, _ = stack_module_state([kind() for _ in range(replicas)])
    parameters = {key: tensor.detach().to(device) for key, tensor in stacked.items()}
    velocities = {key: torch.zeros_like(tensor) for key, tensor in parameters.items()}

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(base, parameters, (x,)), y)

    gradients_of = vmap(grad_and_value(loss), (0, None, None), randomness="different")

    def step() -> None:
        gradients, _ = gradients_of(parameters, x, y)
        for key, velocity in velocities.items():
            velocity.mul_(MOMENTUM).add_(gradients[key])
            parameters[key].sub_(velocity, alpha=RATE)

    step.__code__ = _code_of_its_own(step.__code__, f"step_of_{replicas}_{name}")
    with torch.no_grad():
        run = torch.compile(step, dynamic=False) if compiled else step
        return _seconds(run, device, updates, graph=graph) / replicas


@cache
def _code_of_its_own(code: CodeType, name: str) -> CodeType:
    """Copy code for a network and width: torch.compile gives up, in silence, at the ninth signature of one code."""
    return code.replace(co_name=name)


def one_at_a_time(name: str, device: str, updates: int, *, graph: bool = False) -> float:
    """Seconds a step of one network in a plain loop."""
    network, x, y = NETWORKS[name][0]().to(device), *_tensors(name, device)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(cross_entropy(network(x), y))
        optimizer.step()

    return _seconds(step, device, updates, graph=graph)


def _seconds(step: Callable[[], Any], device: str, updates: int, *, graph: bool) -> float:
    """Seconds a step, after warming up; with `graph`, replayed from a CUDA graph. Convolutions round as lossact's."""
    with exact_convolutions():
        return _measured(step, device, updates, graph=graph)


def _measured(step: Callable[[], Any], device: str, updates: int, *, graph: bool) -> float:
    for _ in range(3):
        step()
    if graph:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step()
        torch.cuda.current_stream().wait_stream(stream)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured, capture_error_mode="thread_local"):
            step()
        step = captured.replay
    begin = _now(device)
    for _ in range(updates):
        step()
    return (_now(device) - begin) / updates


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
