"""Trains by the kernel, in Triton's interpreter, and by the eager step; prints how far apart they end, as JSON.

Run as a program with TRITON_INTERPRET=1, which counts only where triton was not imported before. The interpreter takes
some 50 ms for an update of a replica, whatever its sizes.
"""

import json
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lossact.functional import ACTIVATIONS, SIGMOID_LOSSES
from lossact.replicas import mlp_kernel
from lossact.replicas.engine import (
    NEVER,
    Hyperparameters,
    ReplicaState,
    StoppingCriterion,
    advance,
    make_step,
)
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.mlp_kernel import Launch
from lossact.replicas.update_rules import SGDRule

DTYPES = (torch.float32, torch.float64)
SMALL = StackedMLP(5, 3, "tanh", "cross_entropy")


class Case:
    """Replicas in a random start, on random images."""

    def __init__(
        self, network: StackedMLP, dtype: torch.dtype, *, replicas: int = 1, batch: int = 6, shared: bool = False
    ) -> None:
        random = torch.Generator().manual_seed(1)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

        self.network, sets = network, 1 if shared else replicas
        self.parameters = normal(replicas, network.size)
        self.inputs, self.targets = normal(sets, network.features, batch), (normal(sets, batch) > 0).to(dtype)
        self.values = tuple(
            torch.linspace(low, high, replicas, dtype=dtype).unsqueeze(1)
            for low, high in ((0.5, 0.2), (0.9, 0.5), (0.01, 0.1))
        )
        self.gradient_scale = 1 + 0.1 * normal(replicas, network.size)

    def difference(
        self, n_updates: int, *, nesterov: bool = False, criterion: StoppingCriterion = NEVER, launches: int = 1
    ) -> float:
        """Return the largest difference; inf where flags differ, or what is not finite."""
        rule = SGDRule(nesterov)
        h = Hyperparameters(self.values, self.gradient_scale)
        eager, kernel = (ReplicaState.start(self.parameters, rule) for _ in range(2))
        step = make_step(self.network, rule, criterion, compiled=False)
        largest = 0.0
        for _ in range(launches):
            expected = advance(step, eager, self.inputs, self.targets, h, n_updates)
            launch = Launch(self.network, rule, criterion, kernel, self.inputs, self.targets, h)
            curves = mlp_kernel.train_in_one_kernel(launch, n_updates)
            largest = max(largest, *(distance(a, b) for a, b in zip(curves, expected, strict=True)))
        moves = ~(eager.reached | eager.diverged)
        same = torch.equal(eager.reached, kernel.reached) and torch.equal(eager.diverged, kernel.diverged)
        velocities = distance(kernel.optimizer_state[moves], eager.optimizer_state[moves])
        largest = max(largest, velocities, distance(kernel.parameters, eager.parameters))
        self.reached, self.diverged = kernel.reached.tolist(), kernel.diverged.tolist()
        return largest if same else float("inf")


def distance(values: Tensor, expected: Tensor) -> float:
    """The largest |a - b| / max(1, |b|); inf where one of them is finite, or NaN, and the other is not."""
    if not torch.equal(values.isfinite(), expected.isfinite()) or not torch.equal(values.isnan(), expected.isnan()):
        return float("inf")
    finite = expected.isfinite()
    gap = (values - expected).abs() / expected.abs().clamp(min=1)
    return float(gap[finite].max()) if bool(finite.any()) else 0.0


def pairs() -> Iterator[tuple[str, float]]:
    """All activations with all losses, a diagonal of them over 20 updates."""
    for i, activation in enumerate(ACTIVATIONS):
        for j, loss in enumerate(SIGMOID_LOSSES):
            for dtype in DTYPES:
                n_updates = 20 if j == i % len(SIGMOID_LOSSES) else 3
                difference = Case(StackedMLP(5, 3, activation, loss), dtype).difference(n_updates)
                yield f"{activation}, {loss}, {dtype}", difference


def others(dtype: torch.dtype) -> Iterator[tuple[str, float]]:
    """Everything else that a launch may hold."""
    yield f"nesterov, {dtype}", Case(SMALL, dtype, replicas=2).difference(5, nesterov=True)
    yield f"shared data, {dtype}", Case(SMALL, dtype, replicas=2, shared=True).difference(5)
    yield f"powers of two, {dtype}", Case(StackedMLP(16, 4, "sigmoid", "l2"), dtype, batch=64).difference(5)

    steep = Case(StackedMLP(5, 3, "softplus", "cross_entropy"), dtype, replicas=2)
    steep.parameters[:, -1] = torch.tensor([200.0, -200.0])  # logits far from 0
    yield f"large logits, {dtype}", steep.difference(3)

    rising = Case(SMALL, dtype, replicas=2)
    accurate = StoppingCriterion(5 / 6)  # a share of the batch that no binary number is
    yield f"accuracy reached, {dtype}", rising.difference(6, criterion=accurate, launches=2)
    assert any(rising.reached), "nobody came to rest"
    low = Case(SMALL, dtype, replicas=2)
    yield f"loss reached, {dtype}", low.difference(6, criterion=StoppingCriterion(0.6, of_loss=True, at_most=True))
    assert any(low.reached), "nobody came to rest"

    for name, number in (("infinite", torch.inf), ("NaN", torch.nan)):
        broken = Case(SMALL, dtype, replicas=2)
        broken.parameters[0, 2] = number
        yield f"{name} weight, {dtype}", broken.difference(3, launches=2)
        assert broken.diverged == [True, False]
    fast = Case(StackedMLP(5, 3, "relu", "cross_entropy"), dtype)
    fast.values[0].fill_(1e30 if dtype == torch.float32 else 1e200)
    fast.values[2].fill_(1.0)
    yield f"overflow, {dtype}", fast.difference(6)
    assert fast.diverged == [True]


def schedule_difference() -> float:
    """A learning rate that changes with the update, against a launch for each."""
    case = Case(SMALL, torch.float64, replicas=2)
    rates = torch.tensor([[0.5, 0.4], [0.3, 0.2], [0.1, 0.0]], dtype=torch.float64).unsqueeze(2)
    states = [ReplicaState.start(case.parameters, SGDRule()) for _ in range(2)]

    def launch(state: ReplicaState, h: Hyperparameters) -> Launch:
        return Launch(case.network, SGDRule(), NEVER, state, case.inputs, case.targets, h)

    table = Hyperparameters((rates, *(value.unsqueeze(0) for value in case.values[1:])), case.gradient_scale)
    at_once, _ = mlp_kernel.train_in_one_kernel(launch(states[0], table), 3)
    single = []
    for rate in rates:
        h = Hyperparameters((rate, *case.values[1:]), case.gradient_scale)
        single.append(mlp_kernel.train_in_one_kernel(launch(states[1], h), 1)[0])
    return max(distance(at_once, torch.cat(single)), distance(states[0].parameters, states[1].parameters))


def trusted() -> bool:
    """Whether the kernel passes its own trial before the first launch."""
    case = Case(SMALL, torch.float32, replicas=3)
    state = ReplicaState.start(case.parameters, SGDRule())
    h = Hyperparameters(case.values, case.gradient_scale)
    return mlp_kernel.advance_in_registers(SMALL, SGDRule(), None, state, case.inputs, case.targets, h, 2) is not None


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        found = dict(pairs())
        for each in DTYPES:
            found |= dict(others(each))
        print(json.dumps({"differences": found, "schedule": schedule_difference(), "trusted": trusted()}))
