"""Trains by the kernel, in Triton's interpreter, and by the eager step; prints how far apart they end, as JSON.

Run as a program with TRITON_INTERPRET=1, which counts only where triton was not imported before. The interpreter takes
some 50 ms for an update of a replica, whatever its sizes.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from lossact.functional import ACTIVATIONS, SIGMOID_LOSSES
from lossact.replicas.engine import Hyperparameters, StoppingCriterion
from lossact.replicas.kernels import is_right
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.mlp_triton import train_on_gpu
from tests.replicas.cases import DTYPES, SMALL, Case, distance


def pairs() -> Iterator[tuple[str, float]]:
    """All activations with all losses, a diagonal of them over 20 updates."""
    for i, activation in enumerate(ACTIVATIONS):
        for j, loss in enumerate(SIGMOID_LOSSES):
            for dtype in DTYPES:
                n_updates = 20 if j == i % len(SIGMOID_LOSSES) else 3
                difference = Case(StackedMLP(5, 3, activation, loss), dtype).difference(train_on_gpu, n_updates)
                yield f"{activation}, {loss}, {dtype}", difference


def others(dtype: torch.dtype) -> Iterator[tuple[str, float]]:
    """Everything else that a launch may hold."""
    yield f"nesterov, {dtype}", Case(SMALL, dtype, replicas=2).difference(train_on_gpu, 5, nesterov=True)
    yield f"shared data, {dtype}", Case(SMALL, dtype, replicas=2, shared=True).difference(train_on_gpu, 5)
    full = Case(StackedMLP(16, 4, "sigmoid", "l2"), dtype, batch=64)
    yield f"powers of two, {dtype}", full.difference(train_on_gpu, 5)

    steep = Case(StackedMLP(5, 3, "softplus", "cross_entropy"), dtype, replicas=2)
    steep.parameters[:, -1] = torch.tensor([200.0, -200.0])  # logits far from 0
    yield f"large logits, {dtype}", steep.difference(train_on_gpu, 3)

    rising = Case(SMALL, dtype, replicas=2)
    accurate = StoppingCriterion(5 / 6)  # a share of the batch that no binary number is
    yield f"accuracy reached, {dtype}", rising.difference(train_on_gpu, 6, criterion=accurate, launches=2)
    assert any(rising.reached), "nobody came to rest"
    low, little = Case(SMALL, dtype, replicas=2), StoppingCriterion(0.6, of_loss=True, at_most=True)
    yield f"loss reached, {dtype}", low.difference(train_on_gpu, 6, criterion=little)
    assert any(low.reached), "nobody came to rest"

    for name, number in (("infinite", torch.inf), ("NaN", torch.nan)):
        broken = Case(SMALL, dtype, replicas=2)
        broken.parameters[0, 2] = number
        yield f"{name} weight, {dtype}", broken.difference(train_on_gpu, 3, launches=2)
        assert broken.diverged == [True, False]
    fast = Case(StackedMLP(5, 3, "relu", "cross_entropy"), dtype)
    fast.values[0].fill_(1e30 if dtype == torch.float32 else 1e200)
    fast.values[2].fill_(1.0)
    yield f"overflow, {dtype}", fast.difference(train_on_gpu, 6)
    assert fast.diverged == [True]


def schedule_difference() -> float:
    """A learning rate that changes with the update, against a launch for each."""
    case = Case(SMALL, torch.float64, replicas=2)
    rates = torch.tensor([[0.5, 0.4], [0.3, 0.2], [0.1, 0.0]], dtype=torch.float64).unsqueeze(2)
    rest = case.values[1:]
    table = Hyperparameters((rates, *(value.unsqueeze(0) for value in rest)), case.gradient_scale)
    whole, part = replace(case.launch(), hyperparameters=table), case.launch()
    at_once, _ = train_on_gpu(whole, 3)
    single = []
    for rate in rates:
        h = Hyperparameters((rate, *rest), case.gradient_scale)
        single.append(train_on_gpu(replace(part, hyperparameters=h), 1)[0])
    return max(distance(at_once, torch.cat(single)), distance(whole.state.parameters, part.state.parameters))


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        found = dict(pairs())
        for each in DTYPES:
            found |= dict(others(each))
        trusted = is_right(Case(SMALL, torch.float32, replicas=3).launch(), train_on_gpu)
        print(json.dumps({"differences": found, "schedule": schedule_difference(), "trusted": trusted}))
