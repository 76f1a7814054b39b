"""Passes and updates of users' networks, compiled: a slice of replicas a thread."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from lossact.replicas.engine import StoppingCriterion, flags_after
from lossact.replicas.modules import eval_mode
from lossact.replicas.named_tensors import Inputs, Tensors, all_finite, move, n_sets, per_replica, rows_of, tensors_in
from lossact.replicas.optimizers import Clipping, RuleOptimizer
from lossact.replicas.passes import LearningPass, PassContext, Stage
from lossact.replicas.slices import slices_of
from lossact.replicas.stacked_module import StackedModule
from lossact.replicas.workers import n_workers, worker_threads

KEPT = 16  # kinds of networks whose compiled code is kept
WITHOUT_DRAWS = PassContext(Stage.TRAINING, 0)  # when a pass runs matters to what it draws alone

OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    "cpp_wrapper": True,  # a whole pass is C++ and leaves the interpreter to the other threads
    "cpp.threads": 1,
}

Compiled = Callable[..., Any]
Examples = tuple[Inputs, Tensor]


class CompiledCode:
    """What has been compiled for one kind of network: functions of one slice's tensors.

    Args:
        networks: of the kind; without its tensors, which are arguments, it stands for all of them.
    """

    def __init__(self, networks: StackedModule) -> None:
        self.networks = networks.without_tensors()
        self.functions: dict[Hashable, Compiled] = {}
        self.failure: str | None = None

    def function(self, key: Hashable, make: Callable[[], Compiled], device: torch.device) -> tuple[Compiled, bool]:
        """Return the function of a key on a kind of device, and whether it is new."""
        key = (key, device.type)
        if key in self.functions:
            return self.functions[key], False
        function: Any = make()
        # What torch.compile keeps it keeps with a function's code, and for a handful of signatures only.
        function.__code__ = function.__code__.replace(co_name=f"{function.__name__}_{len(self.functions)}")
        options = OPTIONS if device.type == "cpu" else None
        compiled = torch.compile(function, dynamic=False, fullgraph=True, options=options)
        self.functions[key] = compiled
        return compiled, True


_codes: OrderedDict[Hashable, CompiledCode] = OrderedDict()


def code_of(kind: Hashable, networks: StackedModule) -> CompiledCode:
    """Return the compiled code of a kind of network, the same for all launches of it.

    Args:
        kind: equal for networks that differ in parameters and buffers alone.
        networks: some of that kind.
    """
    if kind not in _codes:
        _codes[kind] = CompiledCode(networks)
        if len(_codes) > KEPT:
            _codes.popitem(last=False)
    _codes.move_to_end(kind)
    return _codes[kind]


class CompiledModule:
    """The passes of a stacked module, compiled.

    Args:
        networks: the module; it draws nothing, and vmap takes its metric.
        code: of its kind.
        width: replicas of a slice; None for all at once, as on a GPU.
    """

    def __init__(self, networks: StackedModule, code: CompiledCode, width: int | None) -> None:
        self.networks, self.code, self.width = networks, code, width

    def learn(self, inputs: Inputs, targets: Tensor) -> LearningPass:
        """Run a forward and backward pass of all replicas, as `StackedModule.learn`."""
        networks = self.networks
        trained, rest = networks.tensors(slice(None))
        gradients = {name: torch.empty_like(tensor) for name, tensor in trained.items()}
        buffers = {name: torch.empty_like(networks.buffers[name]) for name in networks.changing}
        kind = self.code.networks

        def make() -> Compiled:
            def learn(trained: Tensors, rest: Tensors, data: Examples, replicas: Tensor) -> LearningPass:
                return kind.learn_with(trained, rest, *data, replicas, WITHOUT_DRAWS)

            return learn

        def run(function: Compiled, rows: slice) -> tuple[Tensor, Tensor]:
            data = rows_of((inputs, targets), rows)
            learned = function(_rows(trained, rows), _rows(rest, rows), data, networks.replicas[rows])
            for whole, part in ((gradients, learned.gradients), (buffers, learned.buffers)):
                for name, tensor in whole.items():
                    tensor[rows] = part[name]
            return learned.loss, learned.metric

        loss, metric = self._scores(("learn", _shapes((inputs, targets))), make, run)
        return LearningPass(loss, metric, gradients, buffers)

    def measure(self, inputs: Inputs, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and metric (replicas,), as `StackedModule.measure`."""
        networks, kind = self.networks, self.code.networks
        trained, rest = networks.tensors(slice(None))

        def make() -> Compiled:
            def measure(tensors: Tensors, data: Examples, replicas: Tensor) -> tuple[Tensor, Tensor]:
                return kind.measure_with(tensors, *data, replicas, WITHOUT_DRAWS)

            return measure

        def run(function: Compiled, rows: slice) -> tuple[Tensor, Tensor]:
            data = rows_of((inputs, targets), rows)
            scores: tuple[Tensor, Tensor] = function(_rows({**trained, **rest}, rows), data, networks.replicas[rows])
            return scores

        with eval_mode(kind.module):
            return self._scores(("measure", _shapes((inputs, targets))), make, run)

    def _scores(
        self, key: Hashable, make: Callable[[], Compiled], run: Callable[[Compiled, slice], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        losses, metrics = zip(*self.in_slices(key, make, run), strict=True)
        return torch.cat(losses), torch.cat(metrics)

    def in_slices(
        self, key: Hashable, make: Callable[[], Compiled], run: Callable[[Compiled, slice], Any]
    ) -> list[Any]:
        """Run a compiled function on every slice, a slice a thread.

        Args:
            key: of the function.
            make: returns it, not compiled yet.
            run: calls it on the rows of one slice.

        Returns:
            what `run` returned, in the order of the slices.
        """
        n, width = len(self.networks.replicas), self.width
        dtypes = tuple(tensor.dtype for tensor in self.networks.parameters.values())

        def function_for(rows: slice) -> tuple[Compiled, bool]:
            return self.code.function((key, dtypes, rows.stop - rows.start), make, self.networks.replicas.device)

        def call(function: Compiled, rows: slice) -> Any:
            with torch.no_grad():
                return run(function, rows)

        with self.networks.as_vmap_needs():
            if width is None:
                function, _ = function_for(slice(0, n))
                return [call(function, slice(0, n))]
            threads = worker_threads(n_workers())
            runs = []
            for rows in slices_of(n, width):
                function, is_new = function_for(rows)
                runs.append(threads.submit(call, function, rows))
                if is_new:  # one thread compiles, the others wait
                    runs[-1].result()
            return [each.result() for each in runs]


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
    networks, kind = module.networks, module.code.networks
    trained, rest = networks.tensors(slice(None))
    curves = [optimizer.hyperparameters_at(first + k) for k in range(n_updates)]

    def make() -> Compiled:
        return _step(kind, optimizer, clipping, criterion)

    def run(function: Compiled, rows: slice) -> tuple[Tensor, Tensor]:
        tensors = _rows(trained, rows), _rows(rest, rows)
        state = {name: [tensor[rows] for tensor in tensors] for name, tensors in optimizer.state.items()}
        scale = None if bias_gradient_scale is None else bias_gradient_scale[rows]
        reached, diverged = (flag[rows] for flag in flags)
        data, replicas = rows_of((inputs, targets), rows), networks.replicas[rows]
        scores = []
        for values in curves:
            now = [None if value is None else value[rows].clone() for value in values]
            scores.append(function(*tensors, state, reached, diverged, data, replicas, scale, now))
        losses, metrics = zip(*scores, strict=True)
        return torch.stack(losses), torch.stack(metrics)

    zero = tuple(value is None for value in curves[0])
    key = ("step", optimizer.rule, zero, clipping, bias_gradient_scale is None, criterion, _shapes((inputs, targets)))
    losses, metrics = zip(*module.in_slices(key, make, run), strict=True)
    return torch.cat(losses, dim=1), torch.cat(metrics, dim=1)


def _step(
    networks: StackedModule, optimizer: RuleOptimizer, clipping: Clipping, criterion: StoppingCriterion | None
) -> Compiled:
    def step(
        trained: Tensors,
        rest: Tensors,
        state: dict[str, list[Tensor]],
        reached: Tensor,
        diverged: Tensor,
        data: Examples,
        replicas: Tensor,
        scale: Tensor | None,
        values: Sequence[Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        learned = networks.learn_with(trained, rest, *data, replicas, WITHOUT_DRAWS)
        finite = learned.loss.isfinite() & all_finite(trained, len(replicas), replicas.device)
        met, lost = flags_after(criterion, learned.loss, learned.metric, finite, reached, diverged)
        shape_gradients(learned.gradients, scale, clipping)
        rests = met | lost
        for name, changed in learned.buffers.items():
            move(rest[name], changed, rests)
        for name, gradient in learned.gradients.items():
            before = [trained[name], *state[name]]
            after = [tensor.clone() for tensor in before]
            optimizer.update(after[0], tuple(after[1:]), gradient, values)
            for held, moved in zip(before, after, strict=True):
                move(held, moved, rests)
        reached.copy_(met)
        diverged.copy_(lost)
        return learned.loss, learned.metric

    return step


def shape_gradients(gradients: Tensors, bias_scale: Tensor | None, clipping: Clipping) -> None:
    """Scale the gradients of biases by (replicas,) factors, then clip, in place."""
    if bias_scale is not None:
        for name, gradient in gradients.items():
            if name.rpartition(".")[2] == "bias":
                gradient.mul_(per_replica(bias_scale, gradient))
    clipping.clip(gradients)


def _rows(tensors: Tensors, rows: slice) -> Tensors:
    return {name: tensor[rows] for name, tensor in tensors.items()}


def _shapes(data: Inputs) -> Hashable:
    """Return what a compiled function depends on of its data beside the number of replicas."""
    is_shared = n_sets(data) == 1
    return is_shared, tuple((tuple(tensor.shape[1:]), tensor.stride()[1:], tensor.dtype) for tensor in tensors_in(data))
