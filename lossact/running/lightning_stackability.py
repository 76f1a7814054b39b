"""Whether replicas of a LightningModule can train as one, and if not, why: from what it is, and from one step."""

from collections.abc import Mapping, Sequence
from inspect import getattr_static
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torchmetrics import Metric, MetricCollection

from lossact.conditions.lightning import LightningCondition
from lossact.replicas.draws import CountedDraws, Moment, module_paths
from lossact.replicas.held_values import snapshot
from lossact.replicas.named_tensors import map_tensors
from lossact.replicas.passes import Stage
from lossact.replicas.random_streams import isolate_rng, rng_state
from lossact.training.compute_config import ComputeConfig
from lossact.training.held_attributes import beside_tensors, changed_names
from lossact.training.logged_values import StepLog
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_lightning import PassLog, StackedLightningModule, logging, scalar_loss
from lossact.training.stacked_metrics import MetricCalls, replace_metrics

DEFINED_BY_USERS = {
    "training_step", "validation_step", "configure_optimizers", "train_dataloader", "val_dataloader", "test_step",
    "test_dataloader", "predict_step", "predict_dataloader", "example_input_array",
    "configure_callbacks", "on_validation_epoch_end",
}  # fmt: skip
OF_DATA_MODULES = {
    "prepare_data",
    "setup",
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "predict_dataloader",
}
OPTIONS = {
    "accumulate_grad_batches", "benchmark", "callbacks", "check_val_every_n_epoch", "deterministic",
    "enable_checkpointing", "enable_model_summary", "enable_progress_bar", "gradient_clip_algorithm",
    "gradient_clip_val", "limit_train_batches", "limit_val_batches", "log_every_n_steps", "logger", "max_epochs",
    "num_sanity_val_steps", "val_check_interval",
}  # fmt: skip
PRECISIONS = ("32-true", "64-true")
TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-3}
TOO_SMALL = 1e-6  # differences of values near 0


def check_options(condition: LightningCondition, compute_config: ComputeConfig) -> None:
    """Raise NotStackableError where the Trainer's options are not those of stacked replicas."""
    if compute_config.precision not in PRECISIONS:
        raise NotStackableError(f"its precision is {compute_config.precision}")
    unsupported = sorted(condition.trainer.keys() - OPTIONS)
    if unsupported:
        raise NotStackableError(f"its Trainer has the option {unsupported[0]}")
    if condition.trainer.get("logger"):
        raise NotStackableError("its Trainer has a logger")


def check_module(module: LightningModule) -> None:
    """Raise NotStackableError where a module has what replicas cannot share."""
    if not module.automatic_optimization:
        raise NotStackableError("it optimizes manually")
    defined = sorted(_overridden(module, LightningModule, set(dir(nn.Module)) | DEFINED_BY_USERS))
    if defined:
        raise NotStackableError(f"it defines {defined[0]}")
    for path, part in module.named_modules():
        if isinstance(part, MetricCollection):
            raise NotStackableError(f"it holds a MetricCollection, {path}")
        if isinstance(part, Metric) and list(part.parameters()):
            raise NotStackableError(f"it holds a metric with parameters, {path}")
        if part._backward_hooks or part._backward_pre_hooks:
            raise NotStackableError("it has hooks on gradients")
    if any(tensor._backward_hooks or tensor._post_accumulate_grad_hooks for tensor in module.parameters()):
        raise NotStackableError("it has hooks on gradients")
    if not list(module.parameters()):
        raise NotStackableError("it has no parameters")


def check_data_module(data: LightningDataModule) -> None:
    """Raise NotStackableError where a LightningDataModule does more than make DataLoaders."""
    defined = sorted(_overridden(data, LightningDataModule, OF_DATA_MODULES))
    if defined:
        raise NotStackableError(f"its data module defines {defined[0]}")


def _overridden(value: Any, base: type, allowed: set[str]) -> set[str]:
    """Return the public methods of a base class that an object has anew."""
    names = {name for name in dir(base) if not name.startswith("_")} - allowed
    return {
        name
        for name in names
        if getattr_static(type(value), name) is not getattr_static(base, name)
        or (name in vars(value) and callable(vars(value)[name]))
    }


class StepProbe:
    """Runs one training_step and one validation_step of some modules by themselves and stacked, and compares.

    Args:
        modules: row of a replica to another module like its own, for the steps may leave traces in it.
        training, validation: a batch of each loader, and whether all replicas share it.
    """

    def __init__(
        self,
        modules: Mapping[int, LightningModule],
        training: tuple[Any, bool],
        validation: Sequence[tuple[Any, bool]],
    ) -> None:
        self.training, self.validation = training, validation
        self.modules = [_Probed(row, module) for row, module in modules.items()]

    def __call__(self, stacked: StackedLightningModule) -> None:
        """Probe.

        Raises:
            NotStackableError: a step does what replicas cannot share, or gives other values when stacked.
        """
        with torch.inference_mode(False), torch.enable_grad():
            self._run(stacked)

    def _run(self, stacked: StackedLightningModule) -> None:
        for probed in self.modules:
            probed.place(stacked)
        module = self.modules[0].module
        modes = [part.training for part in stacked.template.modules()]
        _set_modes(stacked.template, [part.training for part in module.modules()])  # not those of a sanity check
        draws = self._training_draws(stacked)
        if type(module).validation_step is not LightningModule.validation_step:
            stacked.template.eval()
            for index, (batch, shared) in enumerate(self.validation):
                draws = self._validation_draws(stacked, _placed(stacked, batch), shared, index) or draws
        _set_modes(stacked.template, modes)
        stacked.draws = draws

    def _training_draws(self, stacked: StackedLightningModule) -> bool:
        batch, shared = self.training
        batch = _placed(stacked, batch)
        moment = Moment(stacked.seed, Stage.TRAINING, 0)
        arguments = stacked.step_arguments("training_step", 0)
        gradients: list[dict[str, Tensor | None]] = []
        losses: list[Tensor] = []
        for probed in self.modules:
            loss, of_loss = probed.learn(stacked, batch, shared, arguments, moment)
            losses.append(loss)
            gradients.append(of_loss)
        stacked.unreached = frozenset(name for name, gradient in gradients[0].items() if gradient is None)
        stacked_gradients, stacked_losses, passed = stacked.learn(batch, shared, 0, moment, keep_buffers=False)
        for probed, loss, of_loss in zip(self.modules, losses, gradients, strict=True):
            _compare("loss", stacked_losses[probed.row], loss)
            probed.compare_logs(passed)
            for name, gradient in stacked_gradients.items():
                expected = of_loss[name]
                assert expected is not None
                _compare(f"gradient of {name}", gradient[probed.row], expected)
        return any(probed.draws for probed in self.modules)

    def _validation_draws(self, stacked: StackedLightningModule, batch: Any, shared: bool, index: int) -> bool:
        moment = Moment(stacked.seed, Stage.MEASUREMENT, 0)
        several = len(self.validation) > 1
        arguments = stacked.step_arguments("validation_step", 0) | ({"dataloader_idx": index} if several else {})
        for probed in self.modules:
            probed.module.eval()
            log = StepLog(
                probed.part_of(batch, shared), in_training=False, suffix=f"/dataloader_idx_{index}" if several else ""
            )
            with torch.no_grad():
                probed.step("validation_step", stacked, log, arguments, moment)
        passed = stacked.measure(batch, shared, 0, index, moment)
        for probed in self.modules:
            probed.compare_logs(passed)
        return any(probed.draws for probed in self.modules)


class _Probed:
    """A module that is probed, as the replica of a row.

    Attributes:
        log: of its latest step.
        appended: tensors that it appended to lists.
        draws: whether it drew random numbers by torch's functions.
    """

    log: StepLog
    appended: list[Tensor]
    draws: bool

    def __init__(self, row: int, module: LightningModule) -> None:
        self.row, self.module, self.calls = row, module, MetricCalls()

    def place(self, stacked: StackedLightningModule) -> None:
        """Have the module where the replicas are."""
        stacked.trainer.precision_plugin.convert_module(self.module).to(stacked.device)
        self.module.trainer = stacked.trainer
        replace_metrics(self.module, self.calls)

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
        buffers = {name: tensor.clone() for name, tensor in self.module.named_buffers()}
        loss = scalar_loss(self.step("training_step", stacked, log, arguments, moment))
        if not loss.requires_grad:
            raise NotStackableError("its loss depends on no parameter")
        trained = {name: tensor for name, tensor in self.module.named_parameters() if tensor.requires_grad}
        gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        with torch.no_grad():
            for name, tensor in self.module.named_buffers():
                tensor.copy_(buffers[name])
        return loss.detach(), dict(zip(trained, gradients, strict=True))

    def compare_logs(self, passed: PassLog) -> None:
        """Compare what the stacked pass logged, appended and called metrics with, with what the latest step did."""
        for name, value in self.log.values.items():
            _compare(name, passed.values[name][self.row], value)
        for stacked, alone in zip(passed.arguments, self.calls.tensors(), strict=True):
            _compare("argument of a metric", stacked[self.row].double(), alone.double())
        for stacked, alone in zip(passed.appended, self.appended, strict=True):
            _compare("appended tensor", stacked[self.row].double(), alone.double())


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
    logging(module, log)
    batch = log.batch
    before, batch_before, weights = beside_tensors(module), snapshot(batch), snapshot(list(module.parameters()))
    draws = CountedDraws(moment, replica, module_paths(module), repeatable=False)
    with isolate_rng(), draws.active(), stacked.attention():
        states = rng_state()
        returned = getattr(module, method)(batch, *arguments.values())
        uncounted = not states.equals(rng_state())
    if uncounted:
        raise NotStackableError(f"its {method} draws from numpy's or Python's generators")
    if snapshot(batch) != batch_before:
        raise NotStackableError(f"its {method} changes its batch in place")
    if snapshot(list(module.parameters())) != weights:
        raise NotStackableError(f"its {method} changes weights")
    lists = stacked.epoch_end.lists if method == "validation_step" else ()
    changed = [name for name in changed_names(before, beside_tensors(module)) if name not in lists]
    if changed:
        raise NotStackableError(f"its {method} changes self.{changed[0]}")
    return returned, draws.any


def _compare(name: str, stacked: Tensor, alone: Tensor) -> None:
    """Raise NotStackableError where a value is another one when stacked."""
    tolerance = TOLERANCES.get(alone.dtype, TOLERANCES[torch.float32])
    scale = float(alone.abs().max()) if alone.numel() else 0.0
    if not torch.allclose(stacked, alone, rtol=tolerance, atol=tolerance * max(scale, TOO_SMALL), equal_nan=True):
        raise NotStackableError(f"its {name} is another one when replicas are stacked")


def _placed(stacked: StackedLightningModule, batch: Any) -> Any:
    """Return a batch on the Trainer's device and in its precision."""
    trainer = stacked.trainer
    return trainer.precision_plugin.convert_input(trainer.strategy.batch_to_device(batch, stacked.device))


def _set_modes(module: nn.Module, modes: Sequence[bool]) -> None:
    for part, training in zip(module.modules(), modes, strict=True):
        part.training = training
