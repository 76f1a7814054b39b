"""Replicas of a user's network: tensors by name, stacked or side by side, and any optimiser."""

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from lossact.errors import InputError
from lossact.replicas.averages import AverageRule, WeightAverage
from lossact.replicas.compiled_modules import (
    CompiledCode,
    CompiledModule,
    advance_compiled,
    code_of,
    shape_gradients,
)
from lossact.replicas.compiling import COMPILER_ERRORS, give_up_compiling
from lossact.replicas.engine import StoppingCriterion, flags_after
from lossact.replicas.exact_mean import exact_mean
from lossact.replicas.modules import copy_module, left_by_passes
from lossact.replicas.named_tensors import Inputs, Tensors, all_finite, map_tensors, move, rows_of
from lossact.replicas.optimizers import Clipping, RuleOptimizer, StackedOptimizer
from lossact.replicas.passes import LearningPass, Networks, PassContext, Stage
from lossact.replicas.population import Population
from lossact.replicas.pure_passes import TraceError
from lossact.replicas.slices import COMPILED_NUMBERS, EAGER_NUMBERS, SMALL, blocks_of_slice, slice_width
from lossact.replicas.stacked_module import StackedModule
from lossact.replicas.traced import SlicedModule, traces_of
from lossact.replicas.unstacked_modules import UnstackedModules
from lossact.replicas.workers import torch_threads


class NamedPopulation(Population):
    """Replicas of a user's network.

    Args:
        networks: the networks, stacked or side by side, with the weights that they start from.
        make_optimizer: trained parameters by name -> their optimiser.
        bias_gradient_scale: (replicas,) factor on the gradients of parameters called bias.
        clipping: limits on each replica's gradient.
        average: how the weights are averaged that measures look at; None to look at the weights.
        accumulate: parts of a batch whose gradients are averaged in an update, each a pass of its own.
        kind: what the networks are, so that those of equal kind share what is compiled; None where nothing may be.
        block: replicas whose bits may depend on each other.
    """

    def __init__(
        self,
        networks: Networks,
        make_optimizer: Callable[[Tensors], StackedOptimizer],
        *,
        bias_gradient_scale: Tensor,
        clipping: Clipping,
        average: AverageRule | None = None,
        accumulate: int = 1,
        kind: Hashable = None,
        block: int = 1,
    ) -> None:
        super().__init__(len(networks.replicas))
        self.networks, self.clipping = networks, clipping
        self.bias_gradient_scale = None if bool((bias_gradient_scale == 1).all()) else bias_gradient_scale
        self.make_optimizer = make_optimizer
        self.optimizer = make_optimizer(self.trained)
        self._shown: nn.Module | None = None
        self.average = None if average is None else WeightAverage(average, self._averaged)
        self.accumulate, self.kind, self.block = accumulate, kind, block
        self._compiled: CompiledModule | None = None
        # A single network may hold constants of its own, which code and traces of its pass keep: they are for no other.
        self._own_code = CompiledCode()
        self._was_asked = False  # to compile
        self._sliced: SlicedModule | None = None
        self.reached = torch.zeros(self.n_replicas, dtype=torch.bool)
        self.diverged = torch.zeros(self.n_replicas, dtype=torch.bool)

    @property
    def trained(self) -> Tensors:
        """Parameters that an optimiser moves, by name."""
        return {name: self.networks.parameters[name] for name in self.networks.trained}

    @property
    def _averaged(self) -> Tensors:
        return {**self.trained, **self.networks.buffers}

    def _measured_weights(self) -> AbstractContextManager[None]:
        """Have the networks hold the weights that measures look at."""
        return nullcontext() if self.average is None else self.average.in_place_of(self._averaged)

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(self.networks.layers)

    def prepare(
        self, device: torch.device, *, compiled: bool | str, native: bool, mixed: bool, measures_apart: bool
    ) -> None:
        self._was_asked = compiled is True
        self._compiled = self._compile(device) if compiled and device.type in ("cpu", "cuda") and not mixed else None
        self._sliced = self._slice(device) if not mixed else None
        if device == self.reached.device:
            return
        state = self.optimizer.state_dict()
        self.networks.to(device)
        if self.average is not None:
            self.average.to(device)
        self.reached, self.diverged = self.reached.to(device), self.diverged.to(device)
        if self.bias_gradient_scale is not None:
            self.bias_gradient_scale = self.bias_gradient_scale.to(device)
        self.optimizer = self.make_optimizer(self.trained)
        self.optimizer.load_state_dict(state)

    @property
    def _pure(self) -> StackedModule | None:
        """The networks, where their passes are functions of tensors alone, or None."""
        networks = self.networks
        if self.kind is None or not isinstance(networks, StackedModule):
            return None
        return networks if networks.metric_stacks and networks.keeps_nothing else None

    def _compile(self, device: torch.device) -> CompiledModule | None:
        """Return the networks' passes, compiled, or None where they cannot be."""
        networks = self._pure
        if networks is None:
            return None
        code = code_of(self.kind) if self.n_replicas > 1 else self._own_code
        on_cpu = device.type == "cpu"
        width = slice_width(self.block, networks.pass_size, COMPILED_NUMBERS) if on_cpu else self._gpu_width
        return None if code.failure else CompiledModule(networks, code, width)

    def _slice(self, device: torch.device) -> SlicedModule | None:
        """Return the networks' passes in slices, traced on a CPU, or None where they cannot be cut."""
        networks = self._pure
        if networks is None:
            return None
        if device.type != "cpu":
            return SlicedModule(networks, {}, self._gpu_width, may_trace=False)
        is_small = networks.pass_size < SMALL
        width = None if is_small else slice_width(self.block, networks.pass_size, EAGER_NUMBERS)
        traces = traces_of(self.kind) if self.n_replicas > 1 else {}
        return SlicedModule(networks, traces, width)

    @property
    def blocks_of_a_pass(self) -> int:
        """How many blocks a pass on a GPU computes together, at most."""
        networks = self._pure
        return 1 if networks is None else blocks_of_slice(self.block, networks.pass_size)

    @property
    def _gpu_width(self) -> int:
        return self.block * self.blocks_of_a_pass

    @property
    def _eager(self) -> Networks | SlicedModule:
        """What runs passes that are not compiled."""
        return self.networks if self._sliced is None else self._sliced

    def _threads(self) -> AbstractContextManager[None]:
        """Have each operation of a small network take one thread."""
        is_small = self._sliced is not None and self._sliced.width is None
        return torch_threads(1) if is_small else nullcontext()

    @property
    def is_compiled(self) -> bool:
        """Whether passes are compiled, as far as is known before the first."""
        return self._compiled is not None

    @property
    def _only_optimizer(self) -> RuleOptimizer | None:
        """Return the optimiser where an update is one pass and lossact's own rule, with nothing after it."""
        one_pass = self.accumulate == 1 and self.average is None
        return self.optimizer if one_pass and isinstance(self.optimizer, RuleOptimizer) else None

    @contextmanager
    def _or_eagerly(self) -> Iterator[None]:
        """Go on without compiled code where torch cannot make what runs within."""
        try:
            yield
        except (*COMPILER_ERRORS, TraceError) as error:
            give_up_compiling(error, was_asked=self._was_asked)
            assert self._compiled is not None
            self._compiled.code.failure = str(error)
            self._compiled = None

    @property
    def can_be_recorded(self) -> bool:
        networks = self.networks
        return isinstance(networks, StackedModule) and networks.metric_stacks and self.optimizer.can_be_recorded

    @property
    def state_tensors(self) -> tuple[Tensor, ...]:
        averages = () if self.average is None else self.average.average.values()
        tensors = self.trained.values(), self.networks.buffers.values(), self.optimizer.state_tensors, averages
        return (self.reached, self.diverged, *chain.from_iterable(tensors))

    def hold(self, tensors: Sequence[Tensor]) -> None:
        self.reached, self.diverged = tensors[:2]  # all others are written into and stay the same tensors

    def advance(
        self,
        inputs: Inputs,
        targets: Tensor,
        n_updates: int,
        *,
        first: int | Tensor,
        criterion: StoppingCriterion | None,
    ) -> tuple[Tensor, Tensor]:
        with self._threads():
            return self._advance(inputs, targets, n_updates, first, criterion)

    def _advance(
        self, inputs: Inputs, targets: Tensor, n_updates: int, first: int | Tensor, criterion: StoppingCriterion | None
    ) -> tuple[Tensor, Tensor]:
        rule = self._only_optimizer
        if self._compiled is not None and rule is not None:
            with self._or_eagerly():
                return advance_compiled(
                    self._compiled, rule, self.clipping, self.bias_gradient_scale, criterion,
                    (self.reached, self.diverged), inputs, targets, first=first, n_updates=n_updates,
                )  # fmt: skip
        losses, metrics = [], []
        for k in range(n_updates):
            context = PassContext(Stage.TRAINING, (first + k) * self.accumulate)
            with torch.no_grad():
                learned = self._learn(inputs, targets, context)
                self._note(learned.loss, learned.metric, criterion)
            self._update(learned, inputs, targets, context, first + k)
            losses.append(learned.loss)
            metrics.append(learned.metric)
        return torch.stack(losses), torch.stack(metrics)

    def _learn(self, inputs: Inputs, targets: Tensor, context: PassContext) -> LearningPass:
        """Learn from a batch; from parts of it one after the other, where gradients are accumulated."""
        if self.accumulate == 1:
            return self._pass(inputs, targets, context)
        size, rests = targets.shape[1] // self.accumulate, self.reached | self.diverged
        parts: list[LearningPass] = []
        for k in range(self.accumulate):
            if parts:
                self._keep_buffers(parts[-1].buffers, rests)
            part_inputs, part_targets = map_tensors(partial(_part, k, size), (inputs, targets))
            part_context = replace(context, batch_index=context.batch_index + k)
            parts.append(self._pass(part_inputs, part_targets, part_context))
        gradients = {name: torch.stack([part.gradients[name] for part in parts]).mean(0) for name in parts[0].gradients}
        loss = torch.stack([part.loss for part in parts]).mean(0)
        metric = exact_mean(torch.stack([part.metric for part in parts]), 0)
        return LearningPass(loss, metric, gradients, parts[-1].buffers)

    def _pass(self, inputs: Inputs, targets: Tensor, context: PassContext) -> LearningPass:
        """Run a forward and backward pass of all replicas, compiled where that is asked for and can be."""
        if self._compiled is not None:
            with self._or_eagerly():
                return self._compiled.learn(inputs, targets, context)
        return self._eager.learn(inputs, targets, context)

    def _keep_buffers(self, buffers: Tensors, rests: Tensor) -> None:
        for name, changed in buffers.items():
            move(self.networks.buffers[name], changed, rests)

    def _update(
        self, learned: LearningPass, inputs: Inputs, targets: Tensor, context: PassContext, update: int | Tensor
    ) -> None:
        rests = self.reached | self.diverged
        with torch.no_grad():
            gradients = self._shape(learned.gradients, slice(None))
        closure = _Closure(self, inputs, targets, context)
        self.optimizer.step(gradients, rests, closure, update)
        with torch.no_grad():
            self._keep_buffers(learned.buffers, rests)
            if self.average is not None:
                self.average.add(self._averaged, rests, update + 1)

    def _shape(self, gradients: Tensors, rows: slice) -> Tensors:
        """Scale the gradients of biases, then clip."""
        scale = self.bias_gradient_scale
        return shape_gradients(gradients, None if scale is None else scale[rows], self.clipping)

    def measure(self, inputs: Inputs, targets: Tensor, *, update: int | Tensor) -> tuple[Tensor, Tensor]:
        context = PassContext(Stage.MEASUREMENT, update)
        with torch.no_grad(), self._threads(), self._measured_weights():
            if self._compiled is not None:
                with self._or_eagerly():
                    return self._compiled.measure(inputs, targets, context)
            return self._eager.measure(inputs, targets, context)

    def measure_in_training(self, inputs: Inputs, targets: Tensor, *, update: int | Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), self._threads():
            # Once in a training: not worth compiling where the update is one function.
            learn = self._pass if self._only_optimizer is None else self._eager.learn
            learned = learn(inputs, targets, PassContext(Stage.TRAINING, update))
        return learned.loss, learned.metric

    def note(self, loss: Tensor, metric: Tensor, criterion: StoppingCriterion) -> None:
        self._note(loss, metric, criterion)

    def _note(self, loss: Tensor, metric: Tensor, criterion: StoppingCriterion | None) -> None:
        finite = loss.isfinite() & all_finite(self.trained, self.n_replicas, loss.device)
        self.reached, self.diverged = flags_after(criterion, loss, metric, finite, self.reached, self.diverged)

    def gradient_norm(self, n_replicas: int, inputs: Inputs, targets: Tensor, *, update: int | Tensor) -> Tensor:
        inputs, targets = rows_of((inputs, targets), slice(0, n_replicas))
        with torch.no_grad():
            gradients = self.networks.learn(
                inputs, targets, PassContext(Stage.TRAINING, update), rows=slice(0, n_replicas)
            ).gradients
        norms = []
        for names in self.networks.layers.values():
            parts = [gradients[name].reshape(n_replicas, -1) for name in names]
            norms.append(torch.linalg.vector_norm(torch.cat(parts, dim=1), dim=1))
        return torch.stack(norms, dim=1)

    def outputs(self, inputs: Inputs) -> Any:
        with torch.no_grad(), self._measured_weights():
            return self.networks.outputs(inputs)

    def network_of(self, row: int) -> nn.Module:
        networks = self.networks
        if isinstance(networks, UnstackedModules):  # each has attributes of its own
            self._shown = copy_module(networks.modules[row])
        elif self._shown is None:
            self._shown = copy_module(networks.template)
        self._shown.train()  # for eval() may change weights
        held = {**self.networks.parameters, **self.networks.buffers, **(self.average.average if self.average else {})}
        with torch.no_grad():
            for name, tensor in (*self._shown.named_parameters(), *self._shown.named_buffers()):
                tensor.copy_(held[name][row])
        return self._shown.eval()

    def cpu_copy(self) -> "NamedPopulation":
        kept = copy.copy(self)
        networks = self.networks
        modules = networks.modules if isinstance(networks, UnstackedModules) else [networks.template]
        # A user's loss may not be copied.
        shared = {id(networks.objective): networks.objective, **left_by_passes(*modules)}
        kept.networks = copy.deepcopy(networks, shared)
        kept.networks.to(torch.device("cpu"))
        for name, average in (self.average.average if self.average else {}).items():
            kept._averaged[name].copy_(average)
        kept.average = kept._compiled = kept._sliced = kept._shown = None
        return kept

    def state_dict(self) -> dict[str, Any]:
        return {
            "parameters": dict(self.networks.parameters),
            "buffers": dict(self.networks.buffers),
            "optimizer": self.optimizer.state_dict(),
            **({} if self.average is None else {"average": self.average.state_dict()}),
            "reached": self.reached,
            "diverged": self.diverged,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for kind in ("parameters", "buffers"):
            tensors, saved = getattr(self.networks, kind), state.get(kind)
            if not isinstance(saved, dict) or _shapes(saved) != _shapes(tensors):
                raise InputError(
                    f"the checkpoint does not hold {self.n_replicas} replicas of this network; give the config that it "
                    "was made with"
                )
            for name, tensor in tensors.items():
                tensor.copy_(saved[name])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None and "average" in state:
            self.average.load_state_dict(state["average"])
        self.reached, self.diverged = (state[name].to(self.reached.device) for name in ("reached", "diverged"))


class _Closure:
    """Loss and gradients of one replica at its present parameters, for optimisers that look more than once."""

    def __init__(self, population: NamedPopulation, inputs: Inputs, targets: Tensor, context: PassContext) -> None:
        self.population, self.inputs, self.targets, self.context = population, inputs, targets, context

    def __call__(self, row: int) -> tuple[Tensor, Tensors]:
        rows = slice(row, row + 1)
        inputs, targets = rows_of((self.inputs, self.targets), rows)
        with torch.no_grad():
            learned = self.population.networks.learn(inputs, targets, self.context, rows=rows)
            gradients = self.population._shape(learned.gradients, rows)
        return learned.loss[0], {name: gradient[0] for name, gradient in gradients.items()}


def _part(k: int, size: int, tensor: Tensor) -> Tensor:
    return tensor[:, k * size : (k + 1) * size]


def _shapes(tensors: Tensors) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
