"""Compiled code beside what it was made of: wrong numbers are noticed, rounding is not."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from lossact import SGD, Adam, Loss
from lossact.replicas import compiled_modules, compiling
from lossact.replicas.compiling import is_as_near
from tests.replicas.test_compiled_modules import (
    COMPILED,
    EAGER,
    check_equal,
    condition,
    in_place,
    nothing_compiled_before,
    plain,
    population,
    trained,
)

__all__ = ["in_place", "nothing_compiled_before"]  # fixtures


def miscompiling(spoil: Callable[[Any, Any], None], bad_call: int) -> Callable[..., Any]:
    """Stand for a torch.compile whose code is wrong in one call, where `spoil` changes losses or what has moved."""

    def compile_wrongly(function: Any, **_: Any) -> Any:
        calls = itertools.count()

        def compiled(*arguments: Any) -> Any:
            results = function(*arguments)
            if next(calls) == bad_call:
                spoil(results[0], arguments[:4] if compiled_modules.IN_PLACE else results[2])
            return results

        return compiled

    return compile_wrongly


# Each parameter moves with its velocity, then buffers, who has reached the target, and who has diverged.
SPOILED: dict[str, Callable[[Any, Any], None]] = {
    "losses": lambda losses, _: losses.mul_(1 + 1e-9),
    "one replica's weights": lambda _, moved: moved[0]["0.weight"][0][5, 3].mul_(1 + 1e-9),
    "a velocity": lambda _, moved: moved[0]["3.weight"][1][0].neg_(),
    "a weight that is lost": lambda _, moved: moved[0]["3.bias"][0][2].fill_(torch.nan),
    "a count": lambda _, moved: moved[1]["1.num_batches_tracked"].add_(1),
    "one who has reached the target": lambda _, moved: moved[2][3].logical_not_(),
}


@pytest.mark.usefixtures("in_place")
@pytest.mark.parametrize("bad_call", range(compiling.COMPARED))
@pytest.mark.parametrize("what", SPOILED)
def test_compiled_code_that_gives_other_numbers_is_not_used(
    what: str, bad_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", miscompiling(SPOILED[what], bad_call))
    of_its_own = condition(budget=9, target=Loss().at_most(0))
    with pytest.warns(UserWarning, match=r"torch\.compile does not take the network \(compiled, it gives other num"):
        refused = trained(of_its_own, COMPILED)
    assert not population(refused).is_compiled
    check_equal(refused, trained(of_its_own, EAGER))


WRONG_MOVES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "the other way": lambda before, after: 2 * before - after,
    "not at all": lambda before, after: before,
    "by another's gradient": lambda before, after: before + (after - before).flip(-1),
}


@pytest.mark.usefixtures("in_place")
@pytest.mark.parametrize("optimizer", [SGD(learning_rate=0.01), Adam(learning_rate=1e-3)], ids=["SGD", "Adam"])
@pytest.mark.parametrize("how", WRONG_MOVES)
def test_weights_that_move_wrongly_are_noticed_however_small_a_step(
    how: str, optimizer: SGD | Adam, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_wrongly(function: Any, **_: Any) -> Any:
        def compiled(*arguments: Any) -> Any:
            before = {name: tensors[0].clone() for name, tensors in arguments[0].items()}
            results = function(*arguments)
            for name, tensors in (arguments if results[-1] is None else results[-1])[0].items():
                tensors[0].copy_(WRONG_MOVES[how](before[name], tensors[0]))
            return results

        return compiled

    monkeypatch.setattr(torch, "compile", compile_wrongly)
    single = [replace(each, precision="32-true") for each in (COMPILED, EAGER)]
    of_its_own = condition(plain, optimizer=optimizer, budget=9, target=Loss().at_most(0))
    with pytest.warns(UserWarning, match="compiled, it gives other num"):
        refused = trained(of_its_own, single[0])
    np.testing.assert_array_equal(refused.outcome().loss, trained(of_its_own, single[1]).outcome().loss)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_compiled_code_that_rounds_otherwise_is_used(
    precision: Literal["32-true", "64-true"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch norm leaves biases before it a gradient of rounding errors, of which Adam makes updates of full size."""
    generator = torch.Generator().manual_seed(0)

    def compile_with_other_digits(function: Any, **_: Any) -> Any:
        def compiled(parameters: Any, *others: Any) -> Any:
            for parameter in (tensors[0] for tensors in parameters.values()):
                parameter.mul_(1 + torch.finfo(parameter.dtype).eps * torch.randn(parameter.shape, generator=generator))
            return function(parameters, *others)

        return compiled

    monkeypatch.setattr(torch, "compile", compile_with_other_digits)
    configs = (replace(each, precision=precision) for each in (COMPILED, EAGER))
    of_its_own = condition(optimizer=Adam(learning_rate=0.05), budget=2, target=Loss().at_most(0))
    compiled, eager = (trained(of_its_own, config) for config in configs)
    assert population(compiled).is_compiled
    biases = [population(module).networks.parameters["0.bias"] for module in (compiled, eager)]
    assert precision == "64-true" or (biases[0] - biases[1]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("dtype", "error", "is_near"),
    [
        (torch.float32, 1e-3, True), (torch.float32, 3e-2, False), (torch.float32, torch.nan, False),
        (torch.float64, 1e-12, True), (torch.float64, 1e-9, False), (torch.float64, -torch.inf, False),
        (torch.complex128, 1e-9, False), (torch.complex128, 1e-12, True), (torch.float16, 0.2, False),
    ],
)  # fmt: skip
def test_what_compiled_code_may_differ_by(dtype: torch.dtype, error: float, is_near: bool) -> None:
    expected = torch.tensor([[1.0, -0.5, 0.0], [6e4, 1.0, 2.0]], dtype=dtype)  # of a replica, and of a large one
    assert is_as_near(expected + error * torch.tensor([[0, 0, 1], [0, 0, 0]]), expected, expected) == is_near


def test_compiled_code_may_differ_by_as_much_as_last_digits_make() -> None:
    expected, nearby = torch.tensor([[1.0, 0.0, torch.inf]]), torch.tensor([[1.0, 0.05, torch.inf]])
    assert is_as_near(torch.tensor([[1.0, -0.05, torch.nan]]), expected, nearby)
    assert not is_as_near(torch.tensor([[1.0, 0.9, torch.inf]]), expected, nearby)
    assert not is_as_near(torch.tensor([[1.0, 0.0, 7.0]]), expected, nearby)
    flags, others = torch.tensor([True, False, True]), torch.tensor([True, True, True])
    assert not is_as_near(others, flags, flags)
    assert is_as_near(others, flags, others)
    assert not is_as_near(torch.tensor([False, False, False]), flags, others)


def test_compiled_code_is_not_held_to_digits_that_torch_was_told_to_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = torch.tensor([[1.0, 0.0]])
    found = expected + torch.tensor([[0.0, 0.05]])
    for precision, is_near in (("highest", False), ("high", True), ("medium", True)):
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda chosen=precision: chosen)
        assert is_as_near(found, expected, expected) == is_near
