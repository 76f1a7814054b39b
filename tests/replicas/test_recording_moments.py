"""What must not happen while a graph is recorded, or tried."""

import gc
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lossact.replicas import compiled_modules, compiling, recordings
from lossact.replicas.recordings import CudaGraphs
from tests.replicas.test_any_training import DOUBLE
from tests.replicas.test_recorded import CONDITIONS, recorded_as_plain, trained


def test_compiled_code_is_compared_where_nothing_may_wait_for_a_gpu(
    uncompiled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_wait = [True]
    compared: list[bool] = []

    @contextmanager
    def without_waiting(_: torch.device) -> Iterator[None]:
        may_wait[0] = False
        yield
        may_wait[0] = True

    def noted(*_: Any) -> bool:
        compared.append(may_wait[0])
        return True

    def at_once(function: Callable[..., Any], *given: Any) -> Any:
        done = function(*given)
        return SimpleNamespace(result=lambda: done)

    monkeypatch.setattr(compiled_modules, "_codes", OrderedDict())
    monkeypatch.setattr(compiled_modules, "worker_threads", lambda _: SimpleNamespace(submit=at_once))
    monkeypatch.setattr(compiled_modules, "wait", lambda _: None)  # a GPU has no threads
    monkeypatch.setattr(recordings, "without_waiting", without_waiting)
    monkeypatch.setattr(compiling, "is_as_near", noted)
    given = replace(CONDITIONS["validation, now and then"], budget=60, measured_every=5)  # once in each recording
    outcome = recorded_as_plain(given, replace(DOUBLE, compiled=True))
    assert uncompiled
    assert set(compared) == {True}
    np.testing.assert_allclose(outcome.loss, trained(given, lambda _: None)[1].loss, rtol=1e-9)


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_collected_while_a_graph_is_recorded(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeing another graph, which garbage may hold, would end the recording."""
    cuda = SimpleNamespace(
        graph_pool_handle=lambda: None,
        current_stream=lambda: None,
        set_stream=lambda _: None,
        graph=lambda *_, **__: nullcontext(),
        CUDAGraph=lambda: SimpleNamespace(replay=lambda: None),
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(CudaGraphs, "_end", lambda _: None)
    monkeypatch.setattr(CudaGraphs, "may_record", True)
    monkeypatch.setattr(CudaGraphs, "failed", [])
    seen: list[bool] = []

    def run() -> None:
        seen.append(gc.isenabled())
        if fails:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted") if fails else nullcontext():
        CudaGraphs()(run)
    assert seen == [False]
    assert gc.isenabled()
    assert CudaGraphs.may_record is not fails
