"""Passes of stacked modules as functions of tensors alone, and the lists of operations that they are traced to.

What a pass draws depends on its arguments too: on the replicas' indices and the batch's.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from lossact.checks import ran_out_of_memory
from lossact.errors import FAILURES
from lossact.replicas.modules import eval_mode
from lossact.replicas.named_tensors import Inputs, Tensors, rows_of
from lossact.replicas.passes import PassContext, Stage
from lossact.replicas.stacked_module import StackedModule

What = Literal["learn", "measure"]
Pass = Callable[..., Any]
PassArguments = tuple[Tensors, Tensors, Inputs, Tensor, Tensor, Tensor]


Result = TypeVar("Result")


class TraceError(Exception):
    """A function cannot be traced."""


def pass_arguments(
    networks: StackedModule, inputs: Inputs, targets: Tensor, context: PassContext, rows: slice
) -> PassArguments:
    """Return what a pass of some replicas depends on.

    Returns:
        the tensors that a gradient is taken of, and all others, by name; inputs, targets, the replicas' indices, and
        the batch's index, a () int64 tensor.
    """
    trained, rest = networks.tensors(rows)
    inputs, targets = rows_of((inputs, targets), rows)
    index, replicas = context.batch_index, networks.replicas[rows]
    if not isinstance(index, Tensor):
        index = torch.full((), index, dtype=torch.int64, device=replicas.device)  # without waiting for a GPU
    return trained, rest, inputs, targets, replicas, index


def pass_function(what: What, networks: StackedModule, stage: Stage) -> Pass:
    """Return a pass as a function of `pass_arguments`.

    Args:
        what: "learn" for what `StackedModule.learn` gives, as a tuple; "measure" for what its `measure` gives.
        networks: whose module runs; their tensors are arguments.
        stage: what the pass is for.
    """
    networks = networks.without_tensors()

    def learn(*arguments: Any) -> tuple[Any, ...]:
        trained, rest, inputs, targets, replicas, index = arguments
        with networks.as_vmap_needs():
            return tuple(networks.learn_with(trained, rest, inputs, targets, replicas, PassContext(stage, index)))

    def measure(*arguments: Any) -> tuple[Tensor, Tensor]:
        trained, rest, inputs, targets, replicas, index = arguments
        context = PassContext(stage, index)
        with eval_mode(networks.module), networks.as_vmap_needs():
            return networks.measure_with({**trained, **rest}, inputs, targets, replicas, context)

    return learn if what == "learn" else measure


def trace(function: Pass, arguments: Sequence[Any]) -> Pass:
    """Return the operations that a function runs, to be run again for other tensors of the same shapes.

    Args:
        function: what it computes depends on its arguments alone, and it changes none of them.
        arguments: some that it takes.

    Raises:
        TraceError: it looks at numbers, or does what no trace holds.
    """

    def run() -> Pass:
        return make_fx(function)(*arguments)

    return _or_trace_error(run)


def results_of(traced: Pass, arguments: Sequence[Any]) -> list[Tensor]:
    """Return what a trace gives, which has not been compared yet with what it was made of.

    Raises:
        TraceError: it fails.
    """

    def run() -> list[Tensor]:
        return pytree.tree_leaves(traced(*arguments))

    return _or_trace_error(run)


def _or_trace_error(run: Callable[[], Result]) -> Result:
    try:
        return run()
    except FAILURES as error:
        if isinstance(error, RuntimeError) and ran_out_of_memory(error):
            raise
        raise TraceError(str(error)) from error
