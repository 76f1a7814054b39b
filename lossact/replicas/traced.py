"""Passes of stacked modules as lists of operations: what `torch.func` finds out in each pass is found out once.

A trace runs the operations that the pass runs, in the same order, so that the bits are the same. In small networks it
spares what takes longer than the operations. Slices of larger networks can be computed side by side once there is a
trace: it does not use the module, which threads cannot share.
"""

import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lossact.replicas.named_tensors import Inputs, python_may_look
from lossact.replicas.passes import LearningPass, PassContext
from lossact.replicas.pure_passes import (
    Pass,
    PassArguments,
    TraceError,
    What,
    pass_arguments,
    pass_function,
    results_of,
    trace,
)
from lossact.replicas.slices import slices_of
from lossact.replicas.stacked_module import StackedModule
from lossact.replicas.workers import n_workers, torch_threads, worker_threads

TRACED_FROM = 60  # calls: a trace of a small network takes as long as some 40 passes and spares a third of each
TRACED_AFTER = 0.5  # seconds in calls: about what a trace of a large network takes
CHECKED = 2
CPU = torch.device("cpu")
KEPT = 16  # kinds of networks whose traces are kept


class TracedPass:
    """A function of tensors that is traced once it has been called often, and compared with its trace twice.

    Args:
        function: what it computes depends on its arguments alone, and it changes none of them.
        may_trace: whether it is ever traced.
    """

    def __init__(self, function: Pass, *, may_trace: bool = True) -> None:
        self.function = function
        self.trace: Pass | None = None
        self.may_trace = may_trace
        self.calls = self.n_checked = 0
        self.seconds = 0.0  # in calls

    @property
    def is_trusted(self) -> bool:
        """Whether the trace is there and was compared with the function."""
        return self.n_checked == CHECKED and self.may_trace

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.is_trusted and self.trace is not None:
            return self.trace(*arguments)
        is_due = self.calls >= TRACED_FROM or self.seconds > TRACED_AFTER
        begin = time.perf_counter()
        result = self.function(*arguments)
        self.seconds += time.perf_counter() - begin
        if self.may_trace and is_due and python_may_look(CPU):
            self.may_trace = self._agrees(arguments, result)
        return result

    def _agrees(self, arguments: Sequence[Any], expected: Any) -> bool:
        """Make the trace where there is none, and compare what it gives."""
        try:
            if self.trace is None:
                self.trace = trace(self.function, arguments)
            leaves = results_of(self.trace, arguments)
        except TraceError:  # what the function itself does wrong has been raised before
            return False
        self.n_checked += 1
        others = pytree.tree_leaves(expected)
        return len(leaves) == len(others) and all(map(_same, leaves, others))


def _same(tensor: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors are equal, bit for bit but in what is not a number."""
    if (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype):
        return False
    is_equal = (tensor == expected) | ((tensor != tensor) & (expected != expected))
    if expected.is_floating_point():
        is_equal &= (tensor.signbit() == expected.signbit()) | (expected != expected)
    return bool(is_equal.all())


_kinds: OrderedDict[Hashable, dict[Hashable, TracedPass]] = OrderedDict()


def traces_of(kind: Hashable) -> dict[Hashable, TracedPass]:
    """Return the traces of a kind of network, the same for all launches of it.

    Args:
        kind: equal for networks that differ in parameters and buffers alone.
    """
    traces = _kinds.setdefault(kind, {})
    _kinds.move_to_end(kind)
    if len(_kinds) > KEPT:
        _kinds.popitem(last=False)
    return traces


class SlicedModule:
    """The passes of a stacked module, cut into slices of replicas, and on a CPU traced.

    Args:
        networks: the module, whose metric vmap takes.
        traces: of its kind; added to.
        width: replicas of a slice; None for all at once, of a small network on a CPU.
        may_trace: whether passes are traced.
    """

    def __init__(
        self,
        networks: StackedModule,
        traces: dict[Hashable, TracedPass],
        width: int | None,
        *,
        may_trace: bool = True,
    ) -> None:
        self.networks, self.traces, self.width, self.may_trace = networks, traces, width, may_trace

    def learn(self, inputs: Inputs, targets: Tensor, context: PassContext) -> LearningPass:
        """Run a forward and backward pass of all replicas, as `StackedModule.learn`."""
        return LearningPass(*self._run("learn", inputs, targets, context))

    def measure(self, inputs: Inputs, targets: Tensor, context: PassContext) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and metric (replicas,), as `StackedModule.measure`."""
        loss, metric = self._run("measure", inputs, targets, context)
        return loss, metric

    def _run(self, what: What, inputs: Inputs, targets: Tensor, context: PassContext) -> Any:
        calls = [
            self._call(what, inputs, targets, context, rows)
            for rows in slices_of(len(self.networks.replicas), self.width)
        ]
        if len(calls) > 1 and all(compute.is_trusted for compute, _ in calls):
            parts = list(worker_threads(n_workers()).map(_without_gradient, calls))
        else:
            with nullcontext() if self.width is None else torch_threads(1):
                parts = [compute(*arguments) for compute, arguments in calls]
        return parts[0] if len(parts) == 1 else pytree.tree_map(lambda *slices: torch.cat(slices), *parts)

    def _call(
        self, what: What, inputs: Inputs, targets: Tensor, context: PassContext, rows: slice
    ) -> tuple[TracedPass, PassArguments]:
        """Return what computes the pass of a slice, and its arguments."""
        networks = self.networks
        arguments = pass_arguments(networks, inputs, targets, context, rows)
        tensors = (each for each in pytree.tree_leaves(arguments) if isinstance(each, Tensor))
        shapes = tuple((each.shape, each.stride(), each.dtype) for each in tensors)
        key = (what, context.stage, networks.draws_by, shapes)
        if key not in self.traces:
            self.traces[key] = TracedPass(pass_function(what, networks, context.stage), may_trace=self.may_trace)
        return self.traces[key], arguments


def _without_gradient(call: tuple[TracedPass, PassArguments]) -> Any:
    compute, arguments = call
    with torch.no_grad():  # the mode is each thread's own
        return compute(*arguments)
