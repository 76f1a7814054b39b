"""What a ComputeConfig may hold, and the default."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossact import ComputeConfig, default_compute_config
from lossact.errors import InputError
from lossact.experiment import n_threads
from lossact.training.quiet import trainer_environment


@pytest.mark.parametrize("compiled", [True, False, "auto"])
def test_what_compiled_may_be(compiled: Any) -> None:
    assert ComputeConfig(compiled=compiled).compiled is compiled


@pytest.mark.parametrize("compiled", [0, 1, None, "", "yes", "True", 1.0, np.True_])
def test_what_compiled_may_not_be(compiled: Any) -> None:
    """0 and 1 neither: they are equal to False and True, and would be another key."""
    with pytest.raises(InputError, match=r"compiled=.* must be True, False or 'auto'"):
        ComputeConfig(compiled=compiled)


@pytest.mark.parametrize(
    ("compiled", "budgets"), [(True, {1, 19_999, 20_000, 10**6}), ("auto", {20_000, 10**6}), (False, set())]
)
def test_budgets_that_are_compiled(compiled: Any, budgets: set[int]) -> None:
    config = ComputeConfig(compiled=compiled)
    assert {budget for budget in (1, 19_999, 20_000, 10**6) if config.compiles(budget)} == budgets


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there; nobody runs it."""
    file = tmp_path / "g++"
    file.write_text("#!/bin/sh\nexit 1\n")
    file.chmod(0o755)
    monkeypatch.setenv("CXX", str(file))


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("compiled", [True, False, "auto"])
@pytest.mark.parametrize("is_remote", [False, True])
def test_with_a_compiler_the_default_is_what_is_asked_for(compiled: Any, is_remote: bool) -> None:
    config = default_compute_config(compiled=compiled, is_remote=is_remote)
    assert config == ComputeConfig(compiled=compiled, threads=min(2, n_threads()))


@pytest.mark.usefixtures("compiler")
def test_the_default_is_auto() -> None:
    assert default_compute_config() == default_compute_config(compiled="auto")


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_replicas_train_eagerly_and_it_is_said() -> None:
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler on PATH: replicas train eagerly"):
        config = default_compute_config(compiled=True)
    assert config == ComputeConfig(threads=min(2, n_threads()))


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize(
    ("asked", "is_remote", "compiled"),
    [("auto", False, False), (False, False, False), ("auto", True, False), (False, True, False), (True, True, True)],
)
def test_without_a_compiler_nothing_is_said_of_what_was_not_asked_for(
    asked: Any, is_remote: bool, compiled: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert default_compute_config(compiled=asked, is_remote=is_remote).compiled is compiled


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("compiled", [True, False, "auto"])
def test_a_gpu_needs_no_compiler_for_the_cpu(compiled: Any) -> None:
    assert default_compute_config(device="cuda", compiled=compiled, is_remote=True).compiled is compiled


def test_deterministic_convolutions_are_chosen_while_training() -> None:
    assert not torch.backends.cudnn.deterministic
    with trainer_environment(1):
        assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.deterministic


def test_convolutions_on_a_gpu_are_exact_unless_products_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    precision = ["highest"]
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision[0])
    before = torch.backends.cudnn.allow_tf32
    with trainer_environment(1):
        assert not torch.backends.cudnn.allow_tf32
    precision[0] = "high"
    with trainer_environment(1):
        assert torch.backends.cudnn.allow_tf32 == before
    assert torch.backends.cudnn.allow_tf32 == before
