"""Fixtures of the engine's tests."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.replicas.pretended_gpu import pretended_gpu

__all__ = ["pretended_gpu"]


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[Callable[..., Any]]:
    """The functions that torch.compile is given, which run as they stand."""
    taken: list[Callable[..., Any]] = []

    def as_it_stands(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        taken.append(function)
        return function

    monkeypatch.setattr(torch, "compile", as_it_stands)
    return taken
