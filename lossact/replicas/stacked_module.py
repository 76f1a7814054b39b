"""A user's network as many replicas: parameters and buffers stacked by name, one pass of all by torch.func.vmap."""

import copy
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lossact.replicas.draws import CountedDraws, Moment, module_paths
from lossact.replicas.modules import eval_mode, has_tied_tensors, layers_of, trained_names
from lossact.replicas.named_tensors import Inputs, Tensors, map_tensors, n_sets, row_of, tensors_in, with_tensors
from lossact.replicas.objective import Objective
from lossact.replicas.passes import LearningPass, PassContext, Stage, checked_outputs, run_pass
from lossact.replicas.vmap_needs import as_vmap_needs

ALL = slice(None)
NO_TENSOR = torch.empty(0)  # made here, for one that is made within vmap is vmap's
PREDICTION = PassContext(Stage.PREDICTION, 0)


class StackedModule:
    """R modules of one shape as one: tensors by name, replicas first, and one forward and backward pass for all.

    Args:
        modules: one a replica, each with the weights and buffers that it starts from.
        objective: loss and metric of their outputs.
        replicas: their indices in the experiment.
        changing: names of buffers that a forward pass in training mode changes.
        metric_stacks: whether vmap can compute the metric; else it is computed replica by replica.
        keeps_nothing: whether a pass changes nothing in Python that a later one may see.
        draws_by: the experiment's seed where passes draw random numbers; None where they draw none.
        pass_size: numbers that one replica's forward pass computes, about.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        objective: Objective,
        replicas: Sequence[int],
        *,
        changing: Sequence[str] = (),
        metric_stacks: bool = True,
        keeps_nothing: bool = True,
        draws_by: int | None = None,
        pass_size: int = 0,
    ) -> None:
        self.module, self.objective = modules[0], objective
        self.replicas = torch.tensor(list(replicas))
        self.changing, self.metric_stacks = tuple(changing), metric_stacks
        self.keeps_nothing, self.pass_size = keeps_nothing, pass_size
        self.draws_by, self.paths = draws_by, module_paths(self.module)
        self.ties = has_tied_tensors(self.module)
        self._outputs_like: Any = None  # the latest, where only their tensors go through vmap
        self.trained = trained_names(self.module)
        self.parameters = _stacked([dict(module.named_parameters()) for module in modules])
        self.buffers = _stacked([dict(module.named_buffers()) for module in modules])

    def without_tensors(self) -> "StackedModule":
        """Return networks of the same kind that hold shapes of parameters and buffers alone."""
        kept = copy.copy(self)
        kept.parameters, kept.buffers = (
            {name: tensor.to("meta") for name, tensor in tensors.items()} for tensors in (self.parameters, self.buffers)
        )
        return kept

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self.module.to(device)
        self.objective = self.objective.on(device)
        self.replicas = self.replicas.to(device)
        for tensors in (self.parameters, self.buffers):
            tensors.update({name: tensor.to(device) for name, tensor in tensors.items()})

    def learn(self, inputs: Inputs, targets: Tensor, context: PassContext, *, rows: slice = ALL) -> LearningPass:
        """Run a forward and backward pass in training mode; parameters and buffers stay as they are.

        Args:
            inputs: (sets, batch, ...), sets = replicas or 1 (shared by all); a tensor, or a tuple or dict of them.
            targets: (sets, batch, ...).
            context: when the pass runs.
            rows: the replicas that run it.
        """
        with self.as_vmap_needs():
            return self.learn_with(*self.tensors(rows), inputs, targets, self.replicas[rows], context)

    def learn_with(
        self,
        trained: Tensors,
        rest: Tensors,
        inputs: Inputs,
        targets: Tensor,
        replicas: Tensor,
        context: PassContext,
    ) -> LearningPass:
        """Do what `learn` does for any replicas of such networks.

        Args:
            trained, rest: the tensors that a gradient is taken of, and all others, by name.
            inputs, targets, context: as `learn` takes them.
            replicas: (replicas,) their indices in the experiment.
        """

        def loss_of(trained: Tensors, rest: Tensors, inputs: Inputs, targets: Tensor, replica: Tensor) -> Any:
            tensors = {**rest, **trained}
            loss, metric, outputs = self._run(tensors, inputs, targets, replica, context)
            return loss, (loss, metric, outputs, {name: tensors[name] for name in self.changing})

        rest = _with_copied(rest, self.changing)
        gradients, (loss, metric, outputs, buffers) = _map(
            grad(loss_of, has_aux=True), (trained, rest), (inputs, targets), replicas
        )
        return LearningPass(loss, self._metric(metric, outputs, targets), gradients, buffers)

    def measure(self, inputs: Inputs, targets: Tensor, context: PassContext) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and metric (replicas,) in evaluation mode; buffers stay as they are.

        Args:
            inputs, targets, context: as `learn` takes them.
        """
        trained, rest = self.tensors(ALL)
        with eval_mode(self.module), self.as_vmap_needs():
            return self.measure_with({**trained, **rest}, inputs, targets, self.replicas, context)

    def measure_with(
        self, tensors: Tensors, inputs: Inputs, targets: Tensor, replicas: Tensor, context: PassContext
    ) -> tuple[Tensor, Tensor]:
        """Do what `measure` does for any replicas of such networks, whose module is in evaluation mode.

        Args:
            tensors: by name.
            inputs, targets, context: as `learn` takes them.
            replicas: (replicas,) their indices in the experiment.
        """

        def run(tensors: Tensors, inputs: Inputs, targets: Tensor, replica: Tensor) -> Any:
            return self._run(tensors, inputs, targets, replica, context)

        tensors = _with_copied(tensors, self.buffers)
        loss, metric, outputs = _map(_as_in_a_gradient(run), (tensors,), (inputs, targets), replicas)
        return loss, self._metric(metric, outputs, targets)

    def outputs(self, inputs: Inputs) -> Any:
        """Return what the networks answer in evaluation mode, (replicas, batch, ...)."""

        def run(tensors: Tensors, inputs: Inputs, replica: Tensor) -> list[Tensor]:
            network = partial(self._call, tensors)
            with self._drawing(replica, PREDICTION):
                outputs = run_pass(network, inputs, checked_outputs, replica=replica, context=PREDICTION)
            self._outputs_like = _without_tensors(outputs)
            return tensors_in(outputs)

        trained, rest = self.tensors(ALL)
        with eval_mode(self.module), self.as_vmap_needs():
            tensors = _with_copied({**trained, **rest}, self.buffers)
            answers = _map(_as_in_a_gradient(run), (tensors,), (inputs,), self.replicas)
        return with_tensors(self._outputs_like, answers)

    def _call(self, tensors: Tensors, *args: Any, **kwargs: Any) -> Any:
        # Changed buffers are put into `tensors`.
        return functional_call(self.module, tensors, args, kwargs, tie_weights=self.ties)

    def _run(
        self, tensors: Tensors, inputs: Inputs, targets: Tensor, replica: Tensor, context: PassContext
    ) -> tuple[Tensor, Tensor, Any]:
        """Run one replica's pass: its loss, its metric, and outputs where the metric is computed of them later."""

        def score(outputs: Any) -> tuple[Tensor, Tensor, Any]:
            loss = self.objective.mean_loss(outputs, targets)
            if not self.metric_stacks:
                self._outputs_like = _without_tensors(outputs)
                return loss, loss, tensors_in(outputs)
            return loss, self.objective.mean_metric(outputs, targets) if self.objective.metric else loss, ()

        network = partial(self._call, tensors)
        with self._drawing(replica, context):
            loss, metric, outputs = run_pass(network, inputs, score, replica=replica, context=context)
        return loss, metric, outputs

    def _drawing(self, replica: Tensor, context: PassContext) -> AbstractContextManager[None]:
        """Count the random numbers of one replica's pass; a network that draws none is spared what asking costs."""
        if self.draws_by is None:
            return nullcontext()
        moment = Moment(self.draws_by, context.stage, context.batch_index)
        return CountedDraws(moment, replica, self.paths).active()

    def tensors(self, rows: slice) -> tuple[Tensors, Tensors]:
        """Return the tensors of some replicas that a gradient is taken of, and all others, by name."""
        trained = {name: self.parameters[name][rows] for name in self.trained}
        rest = {**self.parameters, **self.buffers}
        return trained, {name: tensor[rows] for name, tensor in rest.items() if name not in trained}

    def as_vmap_needs(self) -> AbstractContextManager[Any]:
        """Have layers computed by operations that vmap has rules for."""
        return as_vmap_needs(self.replicas.device)

    def _metric(self, metric: Tensor, outputs: Any, targets: Tensor) -> Tensor:
        if self.metric_stacks:
            return metric
        # On the CPU, where numpy and other libraries can read them.
        outputs, targets = map_tensors(lambda tensor: tensor.detach().cpu(), (outputs, targets))
        values = []
        for row in range(len(metric)):
            answer = with_tensors(self._outputs_like, row_of(outputs, row))
            values.append(self.objective.mean_metric(answer, targets[row % len(targets)]))
        return torch.stack(values).to(metric.device)

    @property
    def template(self) -> nn.Module:
        """One ordinary network, of the shapes that each has."""
        return self.module

    @property
    def layers(self) -> dict[str, list[str]]:
        """Layer name to the names of its trained parameters, in order."""
        return layers_of(self.module)


def _map(function: Callable[..., Any], tensors: tuple[Tensors, ...], data: tuple[Inputs, ...], replicas: Tensor) -> Any:
    """Map a function of tensors by name, of data and of a replica's index over replicas."""
    shared = n_sets(data) == 1 and len(replicas) > 1
    if shared:
        data = map_tensors(lambda tensor: tensor[0], data)
    in_dims = (*(0 for _ in tensors), *(None if shared else 0 for _ in data), 0)
    return vmap(function, in_dims)(*tensors, *data, replicas)


def _without_tensors(outputs: Any) -> Any:
    """Return outputs with an empty tensor in place of each: vmap takes the tensors alone."""
    return map_tensors(lambda _: NO_TENSOR, outputs)


def _stacked(by_name: Sequence[Tensors]) -> Tensors:
    return {name: torch.stack([tensors[name].detach() for tensors in by_name]) for name in by_name[0]}


def _with_copied(tensors: Tensors, names: Container[str]) -> Tensors:
    """Copy the tensors that a pass may change in place."""
    return {name: tensor.clone() if name in names else tensor for name, tensor in tensors.items()}


def _as_in_a_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function run as within torch.func.grad, where torch takes GRU, LSTM and RNN apart for vmap."""

    def run(*arguments: Any) -> Any:
        anchor = torch.zeros((), device=arguments[-1].device)
        _, values = grad(lambda anchor, *rest: (anchor, function(*rest)), has_aux=True)(anchor, *arguments)
        return values

    return run
