"""One replica's module by itself, whose steps are watched and compared with those of all replicas."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lossact.errors import FAILURES
from lossact.replicas.draws import CountedDraws, Moment, module_paths
from lossact.replicas.held_values import snapshot
from lossact.replicas.named_tensors import Tensors, map_tensors
from lossact.replicas.probe import CountedNumbers
from lossact.replicas.random_streams import isolate_rng
from lossact.replicas.vmap_needs import as_vmap_needs
from lossact.training.held_attributes import beside_tensors, changed_names
from lossact.training.lightning_pass import PassLog, scalar_loss
from lossact.training.logged_values import StepLog, log_there
from lossact.training.stackable import NotStackableError, drawing_nothing
from lossact.training.stacked_lightning import AT_TIMES, DRAWS, StackedLightningModule
from lossact.training.stacked_metrics import MetricCalls, replace_metrics

TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-3}
TOO_SMALL = 1e-6  # differences of values near 0
OF_THE_LARGEST = 1e-2  # gradient: as large a one may be a sum of terms that cancel, and is rounded like them


class ProbedModule:
    """A module that is probed, as the replica of a row.

    Attributes:
        log: of its latest step.
        appended: tensors that it appended to lists.
        buffers: after the latest training_step, by name.
        draws: whether it drew random numbers by torch's functions.
    """

    log: StepLog
    appended: list[Tensor]
    buffers: Tensors
    draws: bool

    def __init__(self, row: int, module: LightningModule) -> None:
        self.row, self.module, self.calls = row, module, MetricCalls()
        self._scales: dict[str, float] = {}  # the largest of each value so far

    def place(self, stacked: StackedLightningModule) -> None:
        """Have the module where the replicas are."""
        stacked.trainer.precision_plugin.convert_module(self.module).to(stacked.device)
        replace_metrics(self.module, self.calls)

    def stand_as(self, stacked: StackedLightningModule) -> None:
        """Take the weights with their gradients, the buffers and the modes that the replica has now."""
        tensors = {**stacked.parameters_by_name, **stacked.buffers_by_name}
        with torch.no_grad():
            for name, tensor in (*self.module.named_parameters(), *self.module.named_buffers()):
                _write(tensor, tensors[name][self.row])
                gradient = tensors[name].grad
                tensor.grad = None if gradient is None else gradient[self.row].clone()
        set_modes(self.module, [part.training for part in stacked.template.modules()])

    def compare_learned(
        self,
        stacked: StackedLightningModule,
        loss: Tensor,
        of_loss: Mapping[str, Tensor | None],
        gradients: Tensors,
        losses: Tensor,
        passed: PassLog,
    ) -> None:
        """Compare the loss, gradients and log of all replicas with those of the latest training_step."""
        self.compare("loss", losses[self.row], loss)
        self.compare_logs(passed)
        largest = max(_largest(expected) for expected in of_loss.values() if expected is not None)
        check_reached(of_loss, stacked)
        for name, expected in of_loss.items():
            if expected is not None:
                self.compare(
                    f"gradient of {name}", gradients[name][self.row], expected, at_least=OF_THE_LARGEST * largest
                )

    def part_of(self, batch: Any, shared: bool) -> Any:
        """Return its part of a batch."""
        return batch if shared else map_tensors(lambda tensor: tensor[self.row], batch)

    def step(
        self, method: str, stacked: StackedLightningModule, log: StepLog, arguments: dict[str, Any], moment: Moment
    ) -> Any:
        """Run a step, and return what it returned."""
        self.log = log
        self.calls.begin()
        replica = stacked.replicas[self.row]
        returned, self.draws = _watched(method, stacked, self.module, replica, log, arguments, moment)
        lists = {name: getattr(self.module, name) for name in stacked.epoch_end.lists}
        self.appended = [leaf for leaf in pytree.tree_leaves(lists) if isinstance(leaf, Tensor)]
        for name in lists:
            setattr(self.module, name, [])
        return returned

    def learn(
        self, stacked: StackedLightningModule, batch: Any, shared: bool, arguments: dict[str, Any], moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Run training_step, and return its loss and gradients; buffers stay as they were."""
        log = StepLog(self.part_of(batch, shared), in_training=True)
        with self._kept_buffers():
            loss = scalar_loss(self.step("training_step", stacked, log, arguments, moment))
            if not loss.requires_grad:
                raise NotStackableError("its loss depends on no parameter")
            gradients = self._gradients_of(loss)
            self.buffers = {name: tensor.detach().clone() for name, tensor in self.module.named_buffers()}
        return loss.detach(), gradients

    def gradients(
        self, stacked: StackedLightningModule, batch: Any, shared: bool, arguments: dict[str, Any], moment: Moment
    ) -> dict[str, Tensor | None]:
        """Return the gradients of training_step, which is not watched; buffers stay as they were."""
        log_there(self.module, StepLog(self.part_of(batch, shared), in_training=True))
        self.calls.begin()
        draws = CountedDraws(moment, stacked.replicas[self.row], module_paths(self.module), repeatable=False)
        with self._kept_buffers(), isolate_rng(), as_vmap_needs(stacked.device), draws.active():
            loss = scalar_loss(self.module.training_step(self.part_of(batch, shared), *arguments.values()))
            gradients = self._gradients_of(loss)
        for name in stacked.epoch_end.lists:
            setattr(self.module, name, [])
        return gradients

    def _gradients_of(self, loss: Tensor) -> dict[str, Tensor | None]:
        trained = {name: tensor for name, tensor in self.module.named_parameters() if tensor.requires_grad}
        gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        return dict(zip(trained, gradients, strict=True))

    def step_size(
        self, stacked: StackedLightningModule, batch: Any, shared: bool, arguments: dict[str, Any], moment: Moment
    ) -> int:
        """Return how many numbers training_step computes, 0 where they cannot be counted; buffers stay as they were."""
        log = StepLog(self.part_of(batch, shared), in_training=True)
        counted = CountedNumbers()
        with self._kept_buffers():
            try:
                with counted:
                    self.step("training_step", stacked, log, arguments, moment)
            except FAILURES:  # without counting, it may run
                return 0
        return counted.size

    @contextmanager
    def _kept_buffers(self) -> Iterator[None]:
        buffers = {name: tensor.clone() for name, tensor in self.module.named_buffers()}
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in self.module.named_buffers():
                    _write(tensor, buffers[name])

    def compare_logs(self, passed: PassLog) -> None:
        """Compare what the stacked pass logged, appended and called metrics with, with what the latest step did."""
        for name, value in self.log.values.items():
            self.compare(name, passed.values[name][self.row], value)
        for stacked, alone in zip(passed.arguments, self.calls.tensors(), strict=True):
            self.compare("argument of a metric", stacked[self.row], alone)
        for stacked, alone in zip(passed.appended, self.appended, strict=True):
            self.compare("appended tensor", stacked[self.row], alone)

    def compare(self, name: str, stacked: Tensor, alone: Tensor, *, at_least: float = TOO_SMALL) -> None:
        """Raise NotStackableError where a value is another one when stacked.

        Rounding is judged by the largest value of that name so far, for gradients of trained networks are small
        differences of large numbers.

        Args:
            name: of the value.
            stacked, alone: what it is.
            at_least: as large a value, if all of that name are smaller.
        """
        tolerance = TOLERANCES.get(alone.dtype, TOLERANCES[torch.float32])
        wide = torch.complex128 if alone.is_complex() else torch.float64
        stacked, alone = stacked.to(wide), alone.to(wide)
        scale = max(_largest(alone), at_least, self._scales.get(name, TOO_SMALL))
        self._scales[name] = scale
        if not torch.allclose(stacked, alone, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
            raise NotStackableError(f"its {name} is another one when replicas are stacked")


def _write(held: Tensor, values: Tensor) -> None:
    """Write values into a tensor where they are others: what nobody trains may be shared, and writes are counted."""
    if not torch.equal(held, values):
        held.copy_(values)


def _largest(tensor: Tensor) -> float:
    """Return the largest finite size among a tensor's numbers, 0 where there is none."""
    sizes = tensor.abs().nan_to_num(nan=0.0, posinf=0.0) if tensor.numel() else tensor.new_zeros(1).abs()
    return float(sizes.max())


def _watched(
    method: str,
    stacked: StackedLightningModule,
    module: LightningModule,
    replica: Tensor,
    log: StepLog,
    arguments: dict[str, Any],
    moment: Moment,
) -> tuple[Any, bool]:
    """Run a step of one module; what it returned, and whether it drew random numbers by torch's functions."""
    log_there(module, log)
    batch = log.batch
    before, batch_before, weights = beside_tensors(module), snapshot(batch), snapshot(list(module.parameters()))
    buffers, trains = snapshot(list(module.buffers())), [tensor.requires_grad for tensor in module.parameters()]
    draws = CountedDraws(moment, replica, module_paths(module), repeatable=False)
    with isolate_rng(), as_vmap_needs(stacked.device), draws.active(), drawing_nothing(DRAWS.format(method)):
        returned = getattr(module, method)(batch, *arguments.values())
    if snapshot(batch) != batch_before:
        raise NotStackableError(f"its {method} changes its batch in place")
    if snapshot(list(module.parameters())) != weights:
        raise NotStackableError(f"its {method} changes weights")
    if [tensor.requires_grad for tensor in module.parameters()] != trains:
        raise NotStackableError(f"its {method} freezes parameters, or has them trained")
    if method == "validation_step" and snapshot(list(module.buffers())) != buffers:
        raise NotStackableError("its validation_step changes buffers")
    lists = stacked.epoch_end.lists if method == "validation_step" else ()
    changed = [name for name in changed_names(before, beside_tensors(module)) if name not in lists]
    if changed:
        raise NotStackableError(f"its {method} changes self.{changed[0]}")
    return returned, draws.any


def check_reached(gradients: Mapping[str, Tensor | None], stacked: StackedLightningModule) -> None:
    """Raise NotStackableError where a loss depends on other parameters than the first one did.

    Args:
        gradients: by name, None where the loss does not depend on a parameter.
        stacked: knows what the first one depended on.
    """
    for name, gradient in gradients.items():
        if (gradient is None) != (name in stacked.unreached):
            raise NotStackableError(AT_TIMES.format(name))


def set_modes(module: nn.Module, modes: Sequence[bool]) -> None:
    """Set the training mode of each part of a module."""
    for part, training in zip(module.modules(), modes, strict=True):
        part.training = training
