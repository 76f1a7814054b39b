"""One pass before many: whether a network can be stacked, and the name of the part that cannot."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from lossact.checks import first_sentence
from lossact.errors import FAILURES, InputError
from lossact.replicas.evaluation_probe import contents_of, counted_draws, probe_evaluation
from lossact.replicas.held_values import HeldValues, differing, globals_named, snapshot
from lossact.replicas.named_tensors import Inputs, call_with, map_tensors, shapes_of
from lossact.replicas.objective import Objective, check_learnable
from lossact.replicas.pairs import check_pairs
from lossact.replicas.passes import PassContext, Stage
from lossact.replicas.random_streams import isolate_rng, rng_state
from lossact.replicas.slices import SMALL
from lossact.replicas.stacked_module import StackedModule
from lossact.replicas.vmap_needs import as_vmap_needs

# What is wrong with the targets of a classifier, by words of torch's.
OF_CLASSES = {
    "to be Long": "; give classes as integers, as classes.astype(int)",
    "expected scalar type Long": "; give classes as integers, as classes.astype(int)",
    "is out of bounds": "; number the classes from 0, and have one output for each",
}
OF_OTHER_TYPES = re.compile("should be the same|same dtype")
ONE_AT_A_TIME = "train it one at a time with Condition(stacked=False)"


@dataclass(frozen=True)
class StackabilityReport:
    """What a pass of a module by itself showed, and one in evaluation mode.

    Attributes:
        draws: whether it drew random numbers, of any kind.
        drew_uncounted: whether it drew numbers that no counter gives: from numpy's generators, say.
        changed: what the module holds beside buffers and a pass changed, by name, or None.
        switched: what its own train() or eval() changes, by name, or None.
        changed_buffers: names of buffers that the pass wrote into or assigned anew, if only with the same values.
        unreached: names of parameters whose gradient is not zero but none.
        changed_globals: whether it changed global variables that the network, loss or metric name.
    """

    draws: bool
    drew_uncounted: bool
    changed: str | None
    changed_buffers: Sequence[str]
    unreached: Sequence[str]
    changed_globals: bool = False
    switched: str | None = None


def probe(module: nn.Module, objective: Objective, inputs: Inputs, targets: Tensor) -> StackabilityReport:
    """Run a module and its loss once, and once more in evaluation mode.

    Args:
        module: a network of its own, for passes may leave traces in it.
        objective: the loss and the metric.
        inputs, targets: one replica's batch.

    Raises:
        InputError: the inputs do not fit, nothing can be learned, or what later updates see is changed in place.
    """
    before, buffers_before = HeldValues.of(module), _states(module)
    objective_before = snapshot([objective.loss, objective.metric])
    named = [module, objective.loss, objective.metric]
    globals_before = [globals_named(each) for each in named]
    data_before, weights_before = snapshot([inputs, targets]), snapshot(list(module.parameters()))
    drawing = counted_draws(module, Stage.TRAINING)
    with isolate_rng(), torch.enable_grad(), drawing.active():
        states = rng_state()
        try:
            outputs = call_with(module, inputs)
        except InputError:
            raise
        except FAILURES as error:
            are_integers = isinstance(inputs, Tensor) and not inputs.is_floating_point()
            hint = (
                "; give floats, as inputs.astype('float32')"
                if are_integers and OF_OTHER_TYPES.search(str(error))
                else ""
            )
            raise InputError(
                f"network does not take inputs of {shapes_of(inputs)}: {first_sentence(error)}{hint}"
            ) from None
        if outputs is None:
            raise InputError("network's forward returned None; have it return the outputs")
        if snapshot([inputs, targets]) != data_before:
            raise InputError(
                "network changes its inputs in place, and later updates would see them; have it make new ones"
            )
        outputs_before = contents_of(outputs)
        loss = _scored("loss", objective.mean_loss, outputs, targets)
        check_pairs("loss", objective.mean_loss, outputs, targets)
        if objective.metric is not None:
            _scored("metric", objective.mean_metric, outputs, targets)
            check_pairs("metric", objective.mean_metric, outputs, targets)
        drew_uncounted = not states.equals(rng_state())
    if snapshot([inputs, targets]) != data_before or contents_of(outputs) != outputs_before:
        raise InputError(
            "loss or metric changes outputs or targets in place, and others would see them; have it make new"
        )
    if snapshot([objective.loss, objective.metric]) != objective_before:
        raise InputError(
            "loss or metric changes what it holds from call to call, and all replicas share it; have it keep nothing"
        )
    if snapshot(list(module.parameters())) != weights_before:
        raise InputError(
            "network changes its weights in its forward pass, which replicas do not keep; take a LightningCondition"
        )
    check_learnable(loss)
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    unreached = [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]
    after = HeldValues.of(module)
    buffers_after = _states(module)
    changed_buffers = [
        name
        for name, value in before.buffers.items()
        if after.buffers.get(name) != value or _written(buffers_before[name], buffers_after[name])
    ]
    changed_globals = [globals_named(each) for each in named] != globals_before
    evaluated = probe_evaluation(module, objective, inputs, targets)
    return StackabilityReport(
        draws=drew_uncounted or drawing.any or evaluated.draws,
        drew_uncounted=drew_uncounted or evaluated.drew_uncounted,
        changed=differing(before.attributes, after.attributes) or evaluated.changed,
        changed_buffers=changed_buffers,
        unreached=unreached,
        changed_globals=changed_globals or evaluated.changed_globals,
        switched=evaluated.switched,
    )


def pass_size(module: nn.Module, objective: Objective, inputs: Inputs, targets: Tensor) -> int:
    """Return how many numbers a forward pass and loss compute; it runs one.

    Args:
        module: a network of its own, for the pass may change what it holds.
        objective: the loss.
        inputs, targets: one replica's batch.

    Returns:
        the sum of the sizes of what each operation gives; that of no small network where they cannot be counted.
    """
    counted = CountedNumbers()
    with isolate_rng(), as_vmap_needs(targets.device), torch.enable_grad(), counted:
        try:
            objective.mean_loss(call_with(module, inputs), targets)
        except FAILURES:  # without counting, the pass has run before
            return SMALL
    return counted.size


class CountedNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers that operations compute.

    Attributes:
        size: how many so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.size = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = operation(*args, **(kwargs or {}))
        is_view = any(each.alias_info for each in operation._schema.returns)
        tensors = [each for each in pytree.tree_leaves(outputs) if isinstance(each, Tensor)]
        if not is_view:  # and no kernel's workspace of bytes
            self.size += sum(each.numel() for each in tensors if each.is_floating_point() or each.is_complex())
        return outputs


def _states(module: nn.Module) -> dict[str, tuple[Tensor, int]]:
    """Return a module's buffers by name, each with the count of writes into it."""
    return {name: (buffer, buffer._version) for name, buffer in module.named_buffers()}


def _written(before: tuple[Tensor, int], after: tuple[Tensor, int]) -> bool:
    return before[0] is not after[0] or before[1] != after[1]


def _scored(what: str, function: Any, outputs: Any, targets: Tensor) -> Any:
    try:
        return function(outputs, targets)
    except InputError:
        raise
    except FAILURES as error:
        hint = next((way_out for words, way_out in OF_CLASSES.items() if words in str(error)), "")
        if "multi-target not supported" in str(error) and targets.shape[1:] == (1,):
            hint = "; give classes of shape (n,), as classes[:, 0]"
        raise InputError(
            f"{what} does not take outputs of {shapes_of(outputs)} and targets of {shapes_of(targets)}: "
            f"{first_sentence(error)}{hint}"
        ) from None


def check_stackable(report: StackabilityReport) -> None:
    """Raise InputError where a pass draws what replicas would share, or changes what it holds beside buffers."""
    if report.drew_uncounted:
        raise InputError(
            "network, loss or metric draws from numpy's or Python's generators, or by a function of torch's that has "
            "no counter, which stacked replicas would share; draw by torch.rand, torch.randn or dropout, or "
            f"{ONE_AT_A_TIME}"
        )
    if report.switched is not None:
        raise InputError(
            f"network's train() or eval() changes its {report.switched!r}, which stacked replicas do not keep; "
            f"{ONE_AT_A_TIME}"
        )
    if report.changed is not None:
        raise InputError(
            f"network changes its {report.changed!r} in its forward pass, which stacked replicas do not keep; "
            f"make it a buffer (register_buffer), or {ONE_AT_A_TIME}"
        )


def check_alike(modules: Sequence[nn.Module]) -> None:
    """Raise InputError where modules that are to be stacked differ in more than parameters and buffers."""
    first = HeldValues.of(modules[0]).attributes
    for module in modules[1:]:
        name = differing(first, HeldValues.of(module).attributes)
        if name is not None:
            raise InputError(
                f"each network draws its own {name!r}, which stacked replicas share; make it a buffer "
                f"(register_buffer), or {ONE_AT_A_TIME}"
            )


def metric_stacks(networks: StackedModule, inputs: Inputs, targets: Tensor) -> bool:
    """Return whether torch.func.vmap can compute networks' metric; it runs one pass of the first of them.

    Args:
        networks: stacked networks.
        inputs, targets: one replica's batch.

    Raises:
        InputError: network or loss cannot be stacked; the message names the part.
    """
    batch, answers = map_tensors(lambda tensor: tensor.unsqueeze(0), (inputs, targets))
    context = PassContext(Stage.TRAINING, 0)
    measures = networks.objective.metric is not None
    with torch.no_grad():
        networks.metric_stacks = not measures
        with _naming_part(networks.module) as path:
            try:
                networks.learn(batch, answers, context, rows=slice(0, 1))
                networks.measure(batch, answers, context)
            except FAILURES as error:
                raise InputError(
                    f"{path.part} cannot be stacked by torch.func.vmap ({first_sentence(error)}); {ONE_AT_A_TIME}, or "
                    "write it in operations that torch.func.vmap knows"
                ) from None
        networks.metric_stacks = True
        if not measures:
            return True
        try:
            networks.learn(batch, answers, context, rows=slice(0, 1))
        except FAILURES:
            return False
    return True


class _Path:
    """Which part of a network is running."""

    def __init__(self, module: nn.Module) -> None:
        self.names = {id(part): name for name, part in module.named_modules()}
        self.running: list[str] = []
        self.ended = False

    @property
    def part(self) -> str:
        """Name what ran when an error came."""
        if self.ended:
            return "loss"
        name = self.running[-1] if self.running else ""
        return f"network's part {name!r}" if name else "network"


@contextmanager
def _naming_part(module: nn.Module) -> Iterator[_Path]:
    """Follow which part of a module runs, for the message of an error."""
    path = _Path(module)

    def enter(part: nn.Module, _: Any) -> None:
        path.ended = False
        path.running.append(path.names.get(id(part), ""))

    def leave(part: nn.Module, *_: Any) -> None:
        path.running.pop()
        path.ended = not path.running

    handles = [register_module_forward_pre_hook(enter), nn.modules.module.register_module_forward_hook(leave)]
    try:
        yield path
    finally:
        for handle in handles:
            handle.remove()
