"""Passes and updates of users' networks, compiled: a slice of replicas a thread."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import wait
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lossact.replicas.compiling import CompiledFunction, compile_whole
from lossact.replicas.engine import StoppingCriterion, flags_after
from lossact.replicas.named_tensors import (
    Inputs,
    Tensors,
    all_finite,
    is_close,
    moved_tensor,
    n_sets,
    per_replica,
    tensors_in,
)
from lossact.replicas.optimizers import Clipping, RuleOptimizer, update_by_rule
from lossact.replicas.passes import LearningPass, PassContext, Stage
from lossact.replicas.pure_passes import (
    Pass,
    TraceError,
    What,
    pass_arguments,
    pass_function,
    results_of,
    trace,
)
from lossact.replicas.slices import slices_of
from lossact.replicas.stacked_module import StackedModule
from lossact.replicas.update_rules import UpdateRule
from lossact.replicas.workers import n_workers, worker_threads

KEPT = 16  # kinds of networks whose compiled code is kept
FUNCTIONS_KEPT = 64  # of each kind
COMPARED = 2  # times a trace is compared with what it was made of

# Before, compiled updates in place were wrong for some networks: weights had moved when gradients read them.
IN_PLACE = torch.__version__ >= "2.13"  # compared as versions

OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    "cpp_wrapper": True,  # a whole pass is C++ and leaves the interpreter to the other threads
    "cpp.threads": 1,
}

Compiled = Callable[..., Any]


class CompiledCode:
    """What has been compiled for one kind of network: functions of one slice's tensors."""

    def __init__(self) -> None:
        self.functions: OrderedDict[Hashable, CompiledFunction] = OrderedDict()
        self._numbers = count()
        self.failure: str | None = None

    def function(
        self, key: Hashable, make: Callable[[], Compiled], device: torch.device, *, moving: int = 0
    ) -> CompiledFunction:
        """Return the function of a key on a kind of device; so many of its arguments are moved."""
        key = (key, device.type)
        if key in self.functions:
            self.functions.move_to_end(key)
            return self.functions[key]
        function = make()
        options = OPTIONS if device.type == "cpu" else None
        name = f"{function.__name__}_{next(self._numbers)}"
        made = compile_whole(function, name, options=options, moving=moving)
        self.functions[key] = made
        if len(self.functions) > FUNCTIONS_KEPT:
            self.functions.popitem(last=False)
        return made


_codes: OrderedDict[Hashable, CompiledCode] = OrderedDict()


def code_of(kind: Hashable) -> CompiledCode:
    """Return the compiled code of a kind of network, the same for all launches of it.

    Args:
        kind: equal for networks that differ in parameters and buffers alone.
    """
    if kind not in _codes:
        _codes[kind] = CompiledCode()
        if len(_codes) > KEPT:
            _codes.popitem(last=False)
    _codes.move_to_end(kind)
    return _codes[kind]


class CompiledModule:
    """The passes of a stacked module, compiled: what is compiled is their trace.

    Args:
        networks: the module, whose metric vmap takes.
        code: of its kind.
        width: replicas of a slice.
    """

    def __init__(self, networks: StackedModule, code: CompiledCode, width: int) -> None:
        self.networks, self.code, self.width = networks, code, width

    def learn(self, inputs: Inputs, targets: Tensor, context: PassContext) -> LearningPass:
        """Run a forward and backward pass of all replicas, as `StackedModule.learn`.

        Raises:
            TraceError, COMPILER_ERRORS: it cannot be compiled.
        """
        networks = self.networks
        trained, _ = networks.tensors(slice(None))
        gradients = {name: torch.empty_like(tensor) for name, tensor in trained.items()}
        buffers = {name: torch.empty_like(networks.buffers[name]) for name in networks.changing}

        def run(function: Compiled, rows: slice) -> tuple[Tensor, Tensor]:
            learned = LearningPass(*function(*pass_arguments(networks, inputs, targets, context, rows)))
            for whole, part in ((gradients, learned.gradients), (buffers, learned.buffers)):
                for name, tensor in whole.items():
                    tensor[rows] = part[name]
            return learned.loss, learned.metric

        loss, metric = self._scores("learn", inputs, targets, context, run)
        return LearningPass(loss, metric, gradients, buffers)

    def measure(self, inputs: Inputs, targets: Tensor, context: PassContext) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and metric (replicas,), as `StackedModule.measure`.

        Raises:
            TraceError, COMPILER_ERRORS: it cannot be compiled.
        """

        def run(function: Compiled, rows: slice) -> tuple[Tensor, Tensor]:
            scores: tuple[Tensor, Tensor] = function(*pass_arguments(self.networks, inputs, targets, context, rows))
            return scores

        return self._scores("measure", inputs, targets, context, run)

    def _scores(
        self,
        what: What,
        inputs: Inputs,
        targets: Tensor,
        context: PassContext,
        run: Callable[[Compiled, slice], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        def make(rows: slice) -> Compiled:
            traced = self.trace(what, inputs, targets, context, rows)

            def computed(*arguments: Any) -> Any:
                return traced(*arguments)

            return computed

        key = (what, context.stage, _shapes((inputs, targets)))
        losses, metrics = zip(*self.in_slices(key, make, run), strict=True)
        return torch.cat(losses), torch.cat(metrics)

    def trace(self, what: What, inputs: Inputs, targets: Tensor, context: PassContext, rows: slice) -> Pass:
        """Return the trace of some replicas' pass, compared with the pass.

        Raises:
            TraceError: it gives other numbers, or cannot be made.
        """
        function = pass_function(what, self.networks, context.stage)
        trained, *others, index = pass_arguments(self.networks, inputs, targets, context, rows)
        with torch.no_grad():
            traced = trace(function, (trained, *others, index))
            for k in range(COMPARED):
                moved = {name: tensor * (1 + k / 8) for name, tensor in trained.items()}
                arguments = moved, *others, index + k
                found, expected = results_of(traced, arguments), pytree.tree_leaves(function(*arguments))
                if len(found) != len(expected) or not all(map(is_close, found, expected)):
                    raise TraceError("it gives other numbers when it is traced")
        return traced

    def in_slices(
        self,
        key: Hashable,
        make: Callable[[slice], Compiled],
        run: Callable[[Compiled, slice], Any],
        changing: Sequence[Tensor] = (),
    ) -> list[Any]:
        """Run a compiled function on every slice: a slice a thread, or on a GPU one after the other.

        Args:
            key: of the function.
            make: returns it, not compiled yet, for the rows of a slice.
            run: calls it on the rows of one slice.
            changing: tensors that it writes into. They are put back where one slice cannot be compiled, or wrongly.

        Returns:
            what `run` returned, in the order of the slices.
        """
        networks, width = self.networks, self.width
        n, device = len(networks.replicas), networks.replicas.device
        dtypes = tuple(tensor.dtype for tensor in networks.parameters.values())

        def function_for(rows: slice) -> CompiledFunction:
            kind = (key, networks.draws_by, dtypes, rows.stop - rows.start)
            return self.code.function(kind, lambda: make(rows), device, moving=4 if changing else 0)

        def call(function: Compiled, rows: slice) -> Any:
            with torch.no_grad():
                return run(function, rows)

        functions = [(rows, function_for(rows)) for rows in slices_of(n, width)]
        before = [] if all(function.is_trusted for _, function in functions) else [each.clone() for each in changing]
        try:
            return self._run(functions, call)
        except BaseException:
            for tensor, kept in zip(changing, before, strict=False):
                tensor.copy_(kept)
            raise

    def _run(
        self, functions: Sequence[tuple[slice, CompiledFunction]], call: Callable[[Compiled, slice], Any]
    ) -> list[Any]:
        """Call each function on its rows, and have none run any more where one fails."""
        if self.networks.replicas.device.type != "cpu":
            return [call(function, rows) for rows, function in functions]
        threads, runs = worker_threads(n_workers()), []
        try:
            for rows, function in functions:
                is_trusted = function.is_trusted
                runs.append(threads.submit(call, function, rows))
                if not is_trusted:  # one thread compiles and compares, the others wait
                    runs[-1].result()
            return [each.result() for each in runs]
        finally:
            wait(runs)


def advance_compiled(
    module: CompiledModule,
    optimizer: RuleOptimizer,
    clipping: Clipping,
    bias_gradient_scale: Tensor | None,
    criterion: StoppingCriterion | None,
    flags: tuple[Tensor, Tensor],
    inputs: Inputs,
    targets: Tensor,
    *,
    first: int | Tensor,
    n_updates: int,
) -> tuple[Tensor, Tensor]:
    """Take updates on the same batch, pass and update compiled as one.

    Args:
        module: the networks; their parameters and buffers are moved in place.
        optimizer: of all their parameters; its state is moved in place.
        clipping: limits on each replica's gradient.
        bias_gradient_scale: (replicas,) factor on the gradients of biases, or None for 1.
        criterion: when a replica rests; None where that is measured apart.
        flags: reached and diverged, (replicas,) bool each, set in place.
        inputs, targets: (sets, batch, ...), sets = replicas or 1.
        first: updates that were applied before; a () int64 tensor where updates are recorded.
        n_updates: how many, >= 1.

    Returns:
        loss and metric before each update, (n_updates, replicas).
    """
    networks, began = module.networks, PassContext(Stage.TRAINING, first)
    each_update = zip(*(optimizer.hyperparameters_at(first + k) for k in range(n_updates)), strict=True)
    hyperparameters = [None if values[0] is None else torch.stack(values) for values in each_update]

    def make(rows: slice) -> Compiled:
        return _step(module.trace("learn", inputs, targets, began, rows), optimizer.rule, clipping, criterion)

    def run(function: Compiled, rows: slice) -> tuple[Tensor, Tensor]:
        trained, rest, *of_pass, index = pass_arguments(networks, inputs, targets, began, rows)
        moving = {
            name: [parameter, *(tensor[rows] for tensor in optimizer.state[name])]
            for name, parameter in trained.items()
        }
        buffers = {name: rest.pop(name) for name in networks.changing}
        scale = None if bias_gradient_scale is None else bias_gradient_scale[rows]
        start = now = moving, buffers, *(flag[rows] for flag in flags)
        indices = (index + torch.arange(n_updates, device=index.device)).unbind()
        tables = [None if values is None else values[:, rows].contiguous().unbind() for values in hyperparameters]
        scores = []
        for k, at in enumerate(indices):
            values = [None if table is None else table[k] for table in tables]
            *score, then = function(*now, rest, (*of_pass, at), scale, values)
            scores.append(score)
            now = then or now
        if now is not start:
            torch._foreach_copy_(pytree.tree_leaves(start), pytree.tree_leaves(now))
        losses, metrics = zip(*scores, strict=True)
        return torch.stack(losses), torch.stack(metrics)

    zero = tuple(values is None for values in hyperparameters)
    key = ("step", optimizer.rule, zero, clipping, bias_gradient_scale is None, criterion, _shapes((inputs, targets)))
    trained, rest = networks.tensors(slice(None))
    changing = [*trained.values(), *(rest[name] for name in networks.changing), *optimizer.state_tensors, *flags]
    losses, metrics = zip(*module.in_slices(key, make, run, changing), strict=True)
    return torch.cat(losses, dim=1), torch.cat(metrics, dim=1)


def _step(learn: Pass, rule: UpdateRule, clipping: Clipping, criterion: StoppingCriterion | None) -> Compiled:
    def step(
        moving: dict[str, list[Tensor]],  # parameters, each with its optimiser's state
        buffers: Tensors,
        reached: Tensor,
        diverged: Tensor,
        rest: Tensors,
        of_pass: tuple[Any, ...],
        scale: Tensor | None,
        values: Sequence[Tensor | None],
    ) -> tuple[Tensor, Tensor, Any]:
        trained = {name: tensors[0] for name, tensors in moving.items()}
        _, _, replicas, _ = of_pass
        learned = LearningPass(*learn(trained, {**rest, **buffers}, *of_pass))
        finite = learned.loss.isfinite() & all_finite(trained, len(replicas), replicas.device)
        met, lost = flags_after(criterion, learned.loss, learned.metric, finite, reached, diverged)
        gradients = shape_gradients(learned.gradients, scale, clipping)
        rests = met | lost
        moved = {}
        for name, before in moving.items():
            after = [tensor.clone() for tensor in before]
            update_by_rule(rule, after[0], tuple(after[1:]), gradients[name], values)
            moved[name] = [moved_tensor(*each, rests) for each in zip(before, after, strict=True)]
        changed = {name: moved_tensor(before, learned.buffers[name], rests) for name, before in buffers.items()}
        then = moved, changed, met, lost
        if not IN_PLACE:
            return learned.loss, learned.metric, then
        now = moving, buffers, reached, diverged
        for held, value in zip(*map(pytree.tree_leaves, (now, then)), strict=True):
            held.copy_(value)
        return learned.loss, learned.metric, None

    return step


def shape_gradients(gradients: Tensors, bias_scale: Tensor | None, clipping: Clipping) -> Tensors:
    """Return gradients whose biases are scaled by (replicas,) factors, then clipped."""
    if bias_scale is not None:
        gradients = {
            name: gradient * per_replica(bias_scale, gradient) if name.rpartition(".")[2] == "bias" else gradient
            for name, gradient in gradients.items()
        }
    return clipping.clip(gradients)


def _shapes(data: Inputs) -> Hashable:
    """Return what a compiled function depends on of its data beside the number of replicas."""
    is_shared = n_sets(data) == 1
    return is_shared, tuple((tuple(tensor.shape[1:]), tensor.stride()[1:], tensor.dtype) for tensor in tensors_in(data))
