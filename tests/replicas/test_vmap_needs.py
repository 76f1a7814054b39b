"""Layers that torch would compute by an operation without a rule for vmap are computed by others."""

import threading
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.backends import mha
from torch.func import functional_call, stack_module_state, vmap
from torch.overrides import _get_current_function_mode_stack

from lossact.replicas.layers_apart import LayersApart
from lossact.replicas.random_streams import isolate_rng
from lossact.replicas.vmap_needs import as_vmap_needs

CPU = torch.device("cpu")


def settings() -> tuple[bool, bool]:
    """Whether torch may take its fast path for transformers, and its fused attention."""
    return mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]


def modes() -> list[object]:
    return _get_current_function_mode_stack()  # type: ignore[no-untyped-call,no-any-return]


@pytest.mark.parametrize("name", ["transformer layer", "transformer", "attention"])
def test_transformers_are_evaluated_all_at_once(name: str) -> None:
    def make() -> nn.Module:
        if name == "attention":
            return nn.MultiheadAttention(6, 2, batch_first=True)
        layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        return layer if name == "transformer layer" else nn.TransformerEncoder(layer, 2)

    with isolate_rng():
        modules = [make().double().eval() for _ in range(3)]
    inputs = torch.linspace(-1, 1, 4 * 5 * 6, dtype=torch.float64).reshape(4, 5, 6)
    weights, _ = stack_module_state(modules)
    arguments = (inputs,) * (3 if name == "attention" else 1)

    def evaluate(own: dict[str, Tensor]) -> Tensor:
        outputs = functional_call(modules[0], own, arguments)
        first: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
        return first

    with warnings.catch_warnings(), torch.no_grad(), as_vmap_needs(CPU):
        warnings.filterwarnings("error", message="There is a performance drop")
        together = vmap(evaluate)(weights)
    for row, module in enumerate(modules):
        with torch.no_grad():
            alone = module(*arguments)
        torch.testing.assert_close(together[row], alone[0] if isinstance(alone, tuple) else alone)


def test_recurrent_layers_are_taken_apart_on_a_gpu() -> None:
    assert not modes()
    with as_vmap_needs(torch.device("cuda")):
        assert settings() == (False, False)
        assert [type(mode) for mode in modes()] == [LayersApart]
    with as_vmap_needs(CPU):
        assert not modes()


def test_settings_stay_while_another_thread_needs_them() -> None:
    entered, left, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        with as_vmap_needs(CPU):
            entered.set()
            assert left.wait(60)
            seen.append(settings())

    before = settings()
    thread = threading.Thread(target=other)
    with as_vmap_needs(CPU):
        thread.start()
        assert entered.wait(60)
    left.set()
    thread.join(60)
    assert seen == [(False, False)]
    assert settings() == before == (True, True)
