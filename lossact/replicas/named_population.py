"""Replicas of a user's network: tensors by name, stacked or side by side, and any optimiser."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lossact.errors import InputError
from lossact.replicas.engine import StoppingCriterion
from lossact.replicas.named_tensors import Inputs, Tensors, all_finite, map_tensors, n_sets, per_replica
from lossact.replicas.optimizers import Clipping, StackedOptimizer
from lossact.replicas.passes import LearningPass, Networks, PassContext, Stage
from lossact.replicas.population import Population


class NamedPopulation(Population):
    """Replicas of a user's network.

    Args:
        networks: the networks, stacked or side by side, with the weights that they start from.
        make_optimizer: trained parameters by name -> their optimiser.
        bias_gradient_scale: (replicas,) factor on the gradients of parameters called bias.
        clipping: limits on each replica's gradient.
    """

    def __init__(
        self,
        networks: Networks,
        make_optimizer: Callable[[Tensors], StackedOptimizer],
        *,
        bias_gradient_scale: Tensor,
        clipping: Clipping,
    ) -> None:
        super().__init__(len(networks.replicas))
        self.networks, self.clipping = networks, clipping
        self.bias_gradient_scale = None if bool((bias_gradient_scale == 1).all()) else bias_gradient_scale
        self.make_optimizer = make_optimizer
        self.optimizer = make_optimizer(self.trained)
        self._shown: nn.Module | None = None
        self.reached = torch.zeros(self.n_replicas, dtype=torch.bool)
        self.diverged = torch.zeros(self.n_replicas, dtype=torch.bool)

    @property
    def trained(self) -> Tensors:
        """Parameters that an optimiser moves, by name."""
        return {name: self.networks.parameters[name] for name in self.networks.trained}

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(self.networks.layers)

    def prepare(self, device: torch.device, *, compiled: bool, mixed: bool, measures_apart: bool) -> None:
        if device == self.reached.device:
            return
        state = self.optimizer.state_dict()
        self.networks.to(device)
        self.reached, self.diverged = self.reached.to(device), self.diverged.to(device)
        if self.bias_gradient_scale is not None:
            self.bias_gradient_scale = self.bias_gradient_scale.to(device)
        self.optimizer = self.make_optimizer(self.trained)
        self.optimizer.load_state_dict(state)

    def advance(
        self, inputs: Inputs, targets: Tensor, n_updates: int, *, first: int, criterion: StoppingCriterion | None
    ) -> tuple[Tensor, Tensor]:
        losses, metrics = [], []
        for k in range(n_updates):
            context = PassContext(Stage.TRAINING, first + k)
            with torch.no_grad():
                learned = self.networks.learn(inputs, targets, context)
                finite = self._finite(learned.loss)
                self.diverged = self.diverged | (~finite & ~self.reached)
                if criterion is not None:
                    met = criterion.score(learned.loss, learned.metric) >= criterion.lowest_score
                    self.reached = self.reached | (finite & met)
            self._update(learned, inputs, targets, context)
            losses.append(learned.loss)
            metrics.append(learned.metric)
        return torch.stack(losses), torch.stack(metrics)

    def _update(self, learned: LearningPass, inputs: Inputs, targets: Tensor, context: PassContext) -> None:
        rests = self.reached | self.diverged
        with torch.no_grad():
            self._shape(learned.gradients, slice(None))
        closure = _Closure(self, inputs, targets, context)
        self.optimizer.step(learned.gradients, rests, closure)
        with torch.no_grad():
            for name, changed in learned.buffers.items():
                buffer = self.networks.buffers[name]
                buffer.copy_(torch.where(per_replica(rests, buffer), buffer, changed))

    def _shape(self, gradients: Tensors, rows: slice) -> None:
        """Scale the gradients of biases, then clip."""
        if self.bias_gradient_scale is not None:
            for name, gradient in gradients.items():
                if name.rpartition(".")[2] == "bias":
                    gradient.mul_(per_replica(self.bias_gradient_scale[rows], gradient))
        self.clipping.clip(gradients)

    def _finite(self, loss: Tensor) -> Tensor:
        return loss.isfinite() & all_finite(self.trained, self.n_replicas, loss.device)

    def measure(self, inputs: Inputs, targets: Tensor, *, update: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return self.networks.measure(inputs, targets, PassContext(Stage.MEASUREMENT, update))

    def measure_in_training(self, inputs: Inputs, targets: Tensor, *, update: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            learned = self.networks.learn(inputs, targets, PassContext(Stage.TRAINING, update))
        return learned.loss, learned.metric

    def note(self, loss: Tensor, metric: Tensor, criterion: StoppingCriterion) -> None:
        finite = self._finite(loss)
        self.diverged = self.diverged | (~finite & ~self.reached)
        self.reached = self.reached | (finite & (criterion.score(loss, metric) >= criterion.lowest_score))

    def gradient_norm(self, n_replicas: int, inputs: Inputs, targets: Tensor, *, update: int) -> Tensor:
        if n_sets(targets) > 1:
            inputs, targets = map_tensors(lambda tensor: tensor[:n_replicas], (inputs, targets))
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
        with torch.no_grad():
            return self.networks.outputs(inputs)

    def network_of(self, row: int) -> nn.Module:
        if self._shown is None:
            self._shown = copy.deepcopy(self.networks.template).eval()
        held = {**self.networks.parameters, **self.networks.buffers}
        with torch.no_grad():
            for name, tensor in (*self._shown.named_parameters(), *self._shown.named_buffers()):
                tensor.copy_(held[name][row])
        return self._shown.eval()

    def state_dict(self) -> dict[str, Any]:
        return {
            "parameters": dict(self.networks.parameters),
            "buffers": dict(self.networks.buffers),
            "optimizer": self.optimizer.state_dict(),
            "reached": self.reached,
            "diverged": self.diverged,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for kind in ("parameters", "buffers"):
            own, saved = getattr(self.networks, kind), state.get(kind)
            if not isinstance(saved, dict) or _shapes(saved) != _shapes(own):
                raise InputError(
                    f"the checkpoint does not hold {self.n_replicas} replicas of this network; give the config that it "
                    "was made with"
                )
            for name, tensor in own.items():
                tensor.copy_(saved[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.reached, self.diverged = (state[name].to(self.reached.device) for name in ("reached", "diverged"))


class _Closure:
    """Loss and gradients of one replica at its present parameters, for optimisers that look more than once."""

    def __init__(self, population: NamedPopulation, inputs: Inputs, targets: Tensor, context: PassContext) -> None:
        self.population, self.inputs, self.targets, self.context = population, inputs, targets, context

    def __call__(self, row: int) -> tuple[Tensor, Tensors]:
        inputs, targets, rows = self.inputs, self.targets, slice(row, row + 1)
        if n_sets(targets) > 1:
            inputs, targets = map_tensors(lambda tensor: tensor[rows], (inputs, targets))
        with torch.no_grad():
            learned = self.population.networks.learn(inputs, targets, self.context, rows=rows)
            self.population._shape(learned.gradients, rows)
        return learned.loss[0], {name: gradient[0] for name, gradient in learned.gradients.items()}


def _shapes(tensors: Tensors) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
