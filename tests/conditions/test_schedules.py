"""Schedules against torch's schedulers, and those that are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from lossact import (
    SGD,
    AdamW,
    Condition,
    Loss,
    MLPConfig,
    RandomImages,
    Schedule,
    TorchOptimizer,
    cosine,
    exponential,
    linear,
    one_cycle,
    schedule,
    step_decay,
    torch_schedule,
    warmup_hold_decay,
)
from lossact.claims.axis import Axis
from lossact.errors import InputError

BUDGET = 40


def condition(optimizer: Any, budget: int = BUDGET) -> Condition:
    return Condition(
        network=MLPConfig(hidden=4, activation="relu"), loss="l2", optimizer=optimizer, data=RandomImages(),
        budget=budget, target=Loss().at_most(0.01),
    )  # fmt: skip


def rates_of_torch(make: Callable[[torch.optim.Optimizer], Any], start: float) -> list[float]:
    """What a loop in plain torch learns at."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=start, momentum=0.9)
    scheduler = make(optimizer)
    rates = [float(optimizer.param_groups[0]["lr"])]
    for _ in range(BUDGET - 1):
        optimizer.step()
        scheduler.step()
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates


def warmed_up(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    rising = lr_scheduler.LinearLR(optimizer, start_factor=1 / 10, total_iters=9)
    falling = lr_scheduler.CosineAnnealingLR(optimizer, BUDGET - 10, eta_min=0.02)
    return lr_scheduler.SequentialLR(optimizer, [rising, falling], milestones=[10])


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize(
    ("ours", "start", "torchs"),
    [
        (cosine(0.1), 0.1, lambda o: lr_scheduler.CosineAnnealingLR(o, BUDGET)),
        (cosine(0.1, end=0.02, warmup=10), 0.1, warmed_up),
        (step_decay(0.1, every=7, factor=0.3), 0.1, lambda o: lr_scheduler.StepLR(o, 7, 0.3)),
        (exponential(0.1, factor=0.9), 0.1, lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        (linear(0.1, 0.02), 0.1, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=BUDGET - 1)),
        (one_cycle(0.1), 0.004, lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=BUDGET)),
        (
            warmup_hold_decay(0.1, warmup=4, decay=9), 0.1,
            lambda o: lr_scheduler.LambdaLR(o, lambda u: min(1.0, (u + 1) / 4, (BUDGET - u) / 10)),
        ),
        (schedule(lambda update: 0.1 / (1 + update)), 0.1, lambda o: lr_scheduler.LambdaLR(o, lambda u: 1 / (1 + u))),
        (
            torch_schedule(0.1, lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=5)), 0.1,
            lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=5),
        ),
    ],
    ids=["cosine", "warm-up", "step", "exponential", "linear", "one cycle", "wsd", "function", "torch"],
)  # fmt: skip
def test_values_are_those_of_torchs_schedulers(ours: Schedule, start: float, torchs: Any) -> None:
    np.testing.assert_allclose(ours.values(BUDGET), rates_of_torch(torchs, start), rtol=1e-12, atol=1e-15)


def test_numbers_of_a_schedule_are_axes_and_in_the_key() -> None:
    scheduled = condition(SGD(learning_rate=cosine(0.1, warmup=5)))
    moved = Axis("optimizer.learning_rate.peak", (0.1, 0.2)).at(scheduled, 0.2)
    assert isinstance(moved, Condition)
    assert moved.optimizer == SGD(learning_rate=cosine(0.2, warmup=5))
    assert Axis("optimizer.learning_rate.warmup", (5, 7)).at(scheduled, 7) == condition(
        SGD(learning_rate=cosine(0.1, warmup=7))
    )
    alike = condition(SGD(learning_rate=cosine(0.1, warmup=5)))
    other_schedules = [
        condition(SGD(learning_rate=value))
        for value in (0.1, cosine(0.1), linear(0.1, 0.0), schedule(lambda u: 0.1), schedule(lambda u: 0.2))
    ]
    assert alike == scheduled
    assert len({scheduled.json, *(different.json for different in other_schedules)}) == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: condition(SGD(learning_rate=linear(0.1, -0.1))), r"is -0.0025641 at update 20; it .* >= 0"),
        (lambda: condition(SGD(learning_rate=schedule(lambda u: 0.0))), "is 0 at each of the 40 updates"),
        (lambda: condition(SGD(learning_rate=0.1, momentum=linear(0.5, 1.0))), "is 1 at update 39; .* < 1"),
        (lambda: condition(AdamW(learning_rate=schedule(lambda u: float("nan")))), "is nan at update 0"),
        (lambda: condition(AdamW(learning_rate=schedule(lambda u: "fast"))), "returned 'fast' for update 0"),  # type: ignore[arg-type, return-value]
        (lambda: condition(SGD(learning_rate=cosine(0.1, warmup=40))), "warmup=40 must be below the budget of 40"),
        (
            lambda: condition(SGD(learning_rate=warmup_hold_decay(0.1, warmup=30, decay=11))),
            r"warmup \+ decay=41 must be at most the budget of 40",
        ),
        (lambda: cosine(0.1, warmup=-1), "warmup=-1 must be an integer >= 0"),
        (lambda: cosine(float("inf")), "peak=inf must be a finite number"),
        (lambda: step_decay(0.1, every=0), "every=0 must be an integer >= 1"),
        (lambda: schedule(lambda update, budget: 0.1), r"cannot be called as schedule\(update\)"),  # type: ignore[arg-type, misc]
        (lambda: schedule(0.1), "give a function of the update"),  # type: ignore[arg-type]
        (lambda: torch_schedule(0.1, lr_scheduler.ReduceLROnPlateau), "watches a metric"),
        (lambda: torch_schedule(0.1, lr_scheduler.StepLR), "missing 1 required positional argument: 'step_size'"),
        (lambda: torch_schedule(0.1, lambda optimizer: optimizer), "made SGD; return a scheduler"),
        (
            lambda: condition(SGD(learning_rate=torch_schedule(0.1, lambda o: lr_scheduler.OneCycleLR(o, 1.0, 10)))),
            "before update 11: Tried to step",
        ),
        (lambda: condition(TorchOptimizer(torch.optim.NAdam, lr=linear(0.1, -0.1))), "is -0.0025641 at update 20"),
        (lambda: SGD(learning_rate=0.1, bias_gradient_scale=cosine(1.0)), "bias_gradient_scale=.* must be a number"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_bad_schedules_are_refused_before_anything_is_trained(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_schedules_show_how_they_are_written() -> None:
    assert repr(cosine(0.1, warmup=5)) == "cosine(0.1, warmup=5)"
    assert repr(linear(0.1, 0.0)) == "linear(0.1, 0.0)"
    assert repr(warmup_hold_decay(0.1, decay=3)) == "warmup_hold_decay(0.1, decay=3)"
    assert repr(step_decay(0.1, every=3)) == "step_decay(0.1, every=3)"
    assert repr(exponential(0.1, factor=0.9)) == "exponential(0.1, factor=0.9)"
    assert repr(one_cycle(0.1)) == "one_cycle(0.1)"
