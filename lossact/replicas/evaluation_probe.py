"""One pass in evaluation mode: what a network does there alone, and what its own train() and eval() do to it."""

import copy
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossact.errors import FAILURES, InputError
from lossact.replicas.draws import CountedDraws, Moment, module_paths
from lossact.replicas.held_values import HeldValues, differing, globals_named, is_of_tensor, snapshot
from lossact.replicas.modules import copy_module, eval_mode
from lossact.replicas.named_tensors import Inputs, call_with, map_tensors
from lossact.replicas.objective import Objective
from lossact.replicas.passes import Stage
from lossact.replicas.random_streams import isolate_rng, rng_state, seed_rng


@dataclass(frozen=True)
class EvaluationReport:
    """What a pass of a module in evaluation mode showed.

    Attributes:
        draws: whether it drew random numbers, of any kind.
        drew_uncounted: whether it, train() or eval() drew numbers that no counter gives.
        changed: what the module holds beside buffers, the pass changed and later passes read, by name, or None.
        changed_globals: whether it changed global variables that the network, loss or metric name.
        switched: the weight or buffer that train() or eval() changes, by name, or None.
    """

    draws: bool
    drew_uncounted: bool
    changed: str | None
    changed_globals: bool
    switched: str | None


def probe_evaluation(module: nn.Module, objective: Objective, inputs: Inputs, targets: Tensor) -> EvaluationReport:
    """Run a module and its metric in evaluation mode, and report what that alone shows.

    A pass that fails shows nothing: it may never be needed, and its error comes where it is.

    Args:
        module: its weights are others afterwards, so that switching shows what it does to them.
        objective: the loss and the metric.
        inputs, targets: one replica's batch.
    """
    named = [module, objective.loss, objective.metric]
    globals_before = [globals_named(each) for each in named]
    weights = [_weights(_moved(module))]
    other = _copied(module)
    with isolate_rng():
        states = rng_state()
        with eval_mode(module):
            weights.append(_weights(module))
            before = _held(module)
            drawing = counted_draws(module, Stage.MEASUREMENT)
            with torch.enable_grad(), drawing.active(), suppress(InputError, *FAILURES):
                objective.evaluate(call_with(module, inputs), targets)
            changed = differing(before, _held(module))
        weights.append(_weights(module))
        drew_uncounted = not states.equals(rng_state())
    if changed is not None and other is not None and _answer_alike(module, other, inputs):
        changed = None  # nobody reads it again, as the weights of attention that are kept to be looked at
    return EvaluationReport(
        draws=drew_uncounted or drawing.any,
        drew_uncounted=drew_uncounted,
        changed=changed,
        changed_globals=[globals_named(each) for each in named] != globals_before,
        switched=differing(*weights[:2]) or differing(*weights[1:]),
    )


def _moved(module: nn.Module) -> nn.Module:
    """Move a module's weights a little, each time by the same numbers, and return it."""
    with torch.no_grad(), isolate_rng():
        seed_rng(0)
        for parameter in module.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def _copied(module: nn.Module) -> nn.Module | None:
    """Copy a module; None where it holds what cannot be copied."""
    try:
        return copy_module(module)
    except (*FAILURES, copy.Error):
        return None


def _answer_alike(module: nn.Module, other: nn.Module, inputs: Inputs) -> bool:
    """Return whether two modules of equal weights, which are moved together, give the same in evaluation mode."""
    answers = []
    for each in (module, other):
        _moved(each)
        try:
            with isolate_rng(), eval_mode(each), torch.enable_grad(), counted_draws(each, Stage.MEASUREMENT).active():
                answers.append(contents_of(call_with(each, inputs)))
        except (InputError, *FAILURES):
            return False
    return bool(answers[0] == answers[1])


def _weights(module: nn.Module) -> dict[str, Any]:
    """Return the contents of a module's weights and buffers, which may be many; none where nothing switches them."""
    switches = ((type(part).train, type(part).eval) for part in module.modules())
    if all(own == (nn.Module.train, nn.Module.eval) for own in switches):
        return {}
    return {name: snapshot(each) for name, each in (*module.named_parameters(), *module.named_buffers())}


def _held(module: nn.Module) -> dict[str, Any]:
    """Return what a module holds beside its buffers, by name."""
    held = HeldValues.of(module).attributes
    return {name: "a tensor" if is_of_tensor(content) else content for name, content in held.items()}


def counted_draws(module: nn.Module, stage: Stage) -> CountedDraws:
    """Return what counts the random numbers that a module draws in a pass of a stage.

    Args:
        module: a network.
        stage: of the pass.
    """
    return CountedDraws(Moment(0, stage, 0), torch.tensor(0), module_paths(module), repeatable=False)


def contents_of(outputs: Any) -> Any:
    """Return what a network's outputs hold, to be compared."""
    return snapshot(map_tensors(lambda tensor: tensor.detach(), outputs))
