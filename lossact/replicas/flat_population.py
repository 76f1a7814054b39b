"""Replicas of a built-in network: flat parameters (replicas, size), gradients in closed form, steps that compile."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from lossact.errors import InputError
from lossact.replicas.compiling import COMPILER_ERRORS, give_up_compiling
from lossact.replicas.engine import Hyperparameters, ReplicaState, StoppingCriterion, advance, make_step
from lossact.replicas.hyperparameters import Hyperparameter
from lossact.replicas.kernels import advance_in_kernel, is_for_kernel
from lossact.replicas.named_tensors import rows_of
from lossact.replicas.network import StackedNetwork
from lossact.replicas.population import Population
from lossact.replicas.slices import slices_of
from lossact.replicas.update_rules import UpdateRule

MEASURED_TOGETHER = 64  # replicas


class FlatPopulation(Population):
    """Replicas of a built-in network.

    Args:
        network: the stacked network.
        start: (replicas, size) initial parameters.
        rule: how weights move.
        hyperparameters: the rule's, in the order of their names.
        bias_gradient_scale: (replicas,) factor on the gradients of biases.
        template: one network as a module, for what they answer.
    """

    def __init__(
        self,
        network: StackedNetwork,
        start: Tensor,
        *,
        rule: UpdateRule,
        hyperparameters: Sequence[Hyperparameter],
        bias_gradient_scale: Tensor,
        template: torch.nn.Module,
    ) -> None:
        super().__init__(len(start))
        self.network, self.rule, self.template = network, rule, template
        scale = torch.where(network.bias_mask(), bias_gradient_scale.unsqueeze(1), 1.0)
        self.gradient_scale, self.scheduled = scale.to(start.dtype), tuple(hyperparameters)
        self.is_scheduled = any(each.is_scheduled for each in hyperparameters)
        self.hyperparameters = self._hyperparameters_at(0)
        self.state = ReplicaState.start(start, rule)
        self.compiled = self._in_kernel = self._was_asked = False

    @property
    def reached(self) -> Tensor:  # type: ignore[override]
        return self.state.reached

    @property
    def diverged(self) -> Tensor:  # type: ignore[override]
        return self.state.diverged

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(self.network.layers)

    def prepare(
        self, device: torch.device, *, compiled: bool | str, native: bool, mixed: bool, measures_apart: bool
    ) -> None:
        self.state.to(device)
        self.gradient_scale = self.gradient_scale.to(device)
        self.scheduled = tuple(each.to(device) for each in self.scheduled)
        self.hyperparameters = self._hyperparameters_at(0)
        self._was_asked = compiled is True
        self.compiled = bool(compiled) and not measures_apart and device.type != "cpu"
        self._in_kernel = not mixed and (device.type == "cuda" or (native and device.type == "cpu"))

    def _hyperparameters_at(self, update: int | Tensor) -> Hyperparameters:
        return Hyperparameters(tuple(each.at(update).unsqueeze(1) for each in self.scheduled), self.gradient_scale)

    def _hyperparameters_over(self, first: int | Tensor, n_updates: int) -> Hyperparameters:
        """Return (replicas, 1) values, or (n_updates, replicas, 1) where one changes with the update."""
        if not self.is_scheduled:
            return self.hyperparameters
        if n_updates == 1:
            return self._hyperparameters_at(first)
        assert isinstance(first, int)
        values = tuple(each.over(first, n_updates).unsqueeze(2) for each in self.scheduled)
        return Hyperparameters(values, self.gradient_scale)

    def arrange(self, inputs: Tensor) -> Tensor:
        return self.network.arrange_inputs(inputs)

    def advance(
        self,
        inputs: Tensor,
        targets: Tensor,
        n_updates: int,
        *,
        first: int | Tensor,
        criterion: StoppingCriterion | None,
    ) -> tuple[Tensor, Tensor]:
        if self._in_kernel and (n_updates == 1 or isinstance(first, int)):
            h = self._hyperparameters_over(first, n_updates)
            curves = advance_in_kernel(self.network, self.rule, criterion, self.state, inputs, targets, h, n_updates)
            if curves is not None:
                return curves
            self._in_kernel = False
        before = self.state_tensors
        try:
            return self._advance_in_steps(inputs, targets, n_updates, first, criterion)
        except COMPILER_ERRORS as error:
            give_up_compiling(error, was_asked=self._was_asked)
        self.hold(before)  # with a schedule some updates have been taken
        self.compiled = False
        return self._advance_in_steps(inputs, targets, n_updates, first, criterion)

    def _advance_in_steps(
        self, inputs: Tensor, targets: Tensor, n_updates: int, first: int | Tensor, criterion: StoppingCriterion | None
    ) -> tuple[Tensor, Tensor]:
        """Advance by torch's operations, compiled where that is asked for.

        Raises:
            COMPILER_ERRORS: they cannot be compiled; nothing has changed.
        """
        shapes = self.state.parameters.shape, inputs.shape
        step = make_step(self.network, self.rule, criterion, compiled=self.compiled, shapes=shapes)
        run = partial(advance, step)
        if not self.is_scheduled:
            return run(self.state, inputs, targets, self.hyperparameters, n_updates)
        each_update = [
            run(self.state, inputs, targets, self._hyperparameters_at(first + k), 1) for k in range(n_updates)
        ]
        losses, metrics = (torch.cat(parts) for parts in zip(*each_update, strict=True))
        return losses, metrics

    @property
    def can_be_recorded(self) -> bool:
        return True

    def is_one_launch(self, targets: Tensor) -> bool:
        return self._in_kernel and self._is_for_kernel(targets, self.state.parameters.device)

    def is_for_gpu_kernel(self, targets: Tensor) -> bool:
        """Return whether one kernel would train the replicas on a GPU.

        Args:
            targets: of the examples of an update, (sets, examples).
        """
        return self._is_for_kernel(targets, torch.device("cuda"))

    def _is_for_kernel(self, targets: Tensor, device: torch.device) -> bool:
        return is_for_kernel(self.network, self.rule, targets.shape[1], self.state.parameters.dtype, device)

    @property
    def state_tensors(self) -> tuple[Tensor, ...]:
        return tuple(vars(self.state).values())

    def hold(self, tensors: Sequence[Tensor]) -> None:
        self.state = ReplicaState(*tensors)

    def measure(self, inputs: Tensor, targets: Tensor, *, update: int | Tensor) -> tuple[Tensor, Tensor]:
        return self.network.measure(self.state.parameters, inputs, targets)

    def measure_in_training(self, inputs: Tensor, targets: Tensor, *, update: int | Tensor) -> tuple[Tensor, Tensor]:
        parameters = self.state.parameters
        if not self._in_kernel or parameters.device.type == "cpu":
            return self.network.measure(parameters, inputs, targets)
        # As many at a time, whatever a launch holds: how a GPU multiplies matrices follows from their sizes.
        parts = [
            self.network.measure(parameters[rows], *rows_of((inputs, targets), rows))
            for rows in slices_of(self.n_replicas, MEASURED_TOGETHER)
        ]
        losses, metrics = (torch.cat(part) for part in zip(*parts, strict=True))
        return losses, metrics

    def note(self, loss: Tensor, metric: Tensor, criterion: StoppingCriterion) -> None:
        self.state.measure(loss, metric, criterion)

    def gradient_norm(self, n_replicas: int, inputs: Tensor, targets: Tensor, *, update: int | Tensor) -> Tensor:
        sets = n_replicas if len(targets) > 1 else 1
        _, _, gradient = self.network.loss_and_gradient(
            self.state.parameters[:n_replicas], inputs[:sets], targets[:sets]
        )
        by_layer = torch.split(gradient, list(self.network.layers.values()), dim=1)
        return torch.stack([layer.norm(dim=1) for layer in by_layer], dim=1)

    def outputs(self, inputs: Tensor) -> Tensor:
        names = {name: parameter.shape for name, parameter in self.template.named_parameters()}
        sizes = [shape.numel() for shape in names.values()]

        def answer(flat: Tensor, inputs: Tensor) -> Tensor:
            parts = zip(names.items(), torch.split(flat, sizes), strict=True)
            outputs: Tensor = functional_call(self.template, {n: p.view(shape) for (n, shape), p in parts}, (inputs,))
            return outputs

        shared = len(inputs) == 1 and self.n_replicas > 1
        return vmap(answer, (0, None if shared else 0))(self.state.parameters, inputs[0] if shared else inputs)

    def network_of(self, row: int) -> torch.nn.Module:
        torch.nn.utils.vector_to_parameters(self.state.parameters[row].clone(), self.template.parameters())
        return self.template.eval()

    def cpu_copy(self) -> "FlatPopulation":
        kept = copy.copy(self)
        kept.state = replace(self.state, parameters=self.state.parameters.cpu().clone())
        kept.template = copy.deepcopy(self.template)
        return kept

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self.state))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        parameters = self.state.parameters
        if not isinstance(state.get("parameters"), Tensor) or state["parameters"].shape != parameters.shape:
            raise InputError(
                f"the checkpoint does not hold {len(parameters)} replicas of {parameters.shape[1]} parameters; give "
                "the config that it was made with"
            )
        for name, tensor in vars(self.state).items():
            saved = state.get(name)
            if not isinstance(saved, Tensor) or (saved.shape, saved.dtype) != (tensor.shape, tensor.dtype):
                raise InputError(
                    f"the checkpoint's {name} are those of another optimizer or precision; give the config that it was "
                    "made with"
                )
        self.state = ReplicaState(**state)
