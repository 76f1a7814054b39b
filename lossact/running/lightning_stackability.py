"""Whether replicas of a LightningModule can train as one, and if not, why: from what it is, and from one step."""

from collections.abc import Sequence
from inspect import getattr_static
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from lossact.conditions.lightning import LightningCondition
from lossact.replicas.draws import CountedDraws, Moment, module_paths
from lossact.replicas.held_values import OF_EVERY_MODULE, HeldValues, differing, snapshot
from lossact.replicas.named_tensors import map_tensors
from lossact.replicas.passes import Stage
from lossact.replicas.random_streams import isolate_rng, rng_state
from lossact.training.compute_config import ComputeConfig
from lossact.training.logged_values import StepLog
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_lightning import PassLog, StackedLightningModule, logging, scalar_loss
from lossact.training.stacked_metrics import MetricCalls, MetricStandIn, replace_metrics

DEFINED_BY_USERS = {
    "training_step", "validation_step", "configure_optimizers", "train_dataloader", "val_dataloader", "test_step",
    "test_dataloader", "predict_step", "predict_dataloader", "example_input_array",
    "configure_callbacks",
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
OF_EVERY_LIGHTNING_MODULE = set(vars(LightningModule())) | OF_EVERY_MODULE | {"log", "log_dict", "_trainer"}
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


def check_modules(modules: Sequence[LightningModule]) -> None:
    """Raise NotStackableError where modules have what replicas cannot share, or differ in more than their tensors."""
    first = modules[0]
    if not first.automatic_optimization:
        raise NotStackableError("it optimizes manually")
    defined = sorted(_overridden(first, LightningModule, set(dir(nn.Module)) | DEFINED_BY_USERS))
    if defined:
        raise NotStackableError(f"it defines {defined[0]}")
    for path, part in first.named_modules():
        if isinstance(part, MetricCollection):
            raise NotStackableError(f"it holds a MetricCollection, {path}")
        if isinstance(part, Metric) and list(part.parameters()):
            raise NotStackableError(f"it holds a metric with parameters, {path}")
        if part._backward_hooks or part._backward_pre_hooks:
            raise NotStackableError("it has hooks on gradients")
    if any(tensor._backward_hooks or tensor._post_accumulate_grad_hooks for tensor in first.parameters()):
        raise NotStackableError("it has hooks on gradients")
    held = HeldValues.of(first).attributes
    shapes = _shapes(first)
    if not shapes:
        raise NotStackableError("it has no parameters")
    for module in modules[1:]:
        if _shapes(module) != shapes:
            raise NotStackableError("its parameters differ in shape between replicas")
        name = differing(held, HeldValues.of(module).attributes)
        if name is not None:
            raise NotStackableError(f"its {name} differs between replicas")
    if len({id(tensor) for module in modules for tensor in module.parameters()}) < len(modules) * len(
        list(first.parameters())
    ):
        raise NotStackableError("its replicas share parameters")


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


def _shapes(module: nn.Module) -> dict[str, Any]:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {name: (tuple(tensor.shape), tensor.dtype, tensor.requires_grad) for name, tensor in tensors}


class StepProbe:
    """Runs one training_step and one validation_step by itself and stacked, and compares.

    Args:
        module: another module as the first replica's, for the steps may leave traces in it.
        training, validation: a batch of each loader, and whether all replicas share it.
    """

    def __init__(
        self,
        module: LightningModule,
        training: tuple[Any, bool],
        validation: Sequence[tuple[Any, bool]],
    ) -> None:
        self.module, self.training, self.validation = module, training, validation
        self.calls = MetricCalls()

    def __call__(self, stacked: StackedLightningModule) -> None:
        """Probe.

        Raises:
            NotStackableError: a step does what replicas cannot share, or gives other values when stacked.
        """
        with torch.inference_mode(False), torch.enable_grad():
            self._run(stacked)

    def _run(self, stacked: StackedLightningModule) -> None:
        module, trainer = self.module, stacked.trainer
        trainer.precision_plugin.convert_module(module).to(stacked.device)
        module.trainer = trainer
        replace_metrics(module, self.calls)
        modes = [part.training for part in stacked.template.modules()]
        _set_modes(stacked.template, [part.training for part in module.modules()])  # not those of a sanity check
        draws = self._training_draws(stacked, module)
        if type(module).validation_step is not LightningModule.validation_step:
            module.eval()
            stacked.template.eval()
            for index, (batch, shared) in enumerate(self.validation):
                draws = self._validation_draws(stacked, module, _placed(stacked, batch), shared, index) or draws
        _set_modes(stacked.template, modes)
        stacked.draws = draws

    def _training_draws(self, stacked: StackedLightningModule, module: LightningModule) -> bool:
        batch, shared = self.training
        batch = _placed(stacked, batch)
        replica_batch = batch if shared else map_tensors(lambda tensor: tensor[0], batch)
        moment = Moment(stacked.seed, Stage.TRAINING, 0)
        log = StepLog(replica_batch, in_training=True)
        arguments = stacked.step_arguments("training_step", 0)
        buffers = {name: tensor.clone() for name, tensor in module.named_buffers()}
        self.calls.begin()
        returned, draws = _watched("training_step", stacked, module, log, replica_batch, arguments, moment)
        loss = scalar_loss(returned)
        if not loss.requires_grad:
            raise NotStackableError("its loss depends on no parameter")
        trained = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
        gradients = dict(
            zip(trained, torch.autograd.grad(loss, list(trained.values()), allow_unused=True), strict=True)
        )
        stacked.unreached = frozenset(name for name, gradient in gradients.items() if gradient is None)
        with torch.no_grad():
            for name, tensor in module.named_buffers():
                tensor.copy_(buffers[name])
        stacked_gradients, losses, passed = stacked.learn(batch, shared, 0, moment, keep_buffers=False)
        _compare("loss", losses[0], loss.detach())
        self._compare_logs(passed, log)
        for name, gradient in stacked_gradients.items():
            expected = gradients[name]
            assert expected is not None
            _compare(f"gradient of {name}", gradient[0], expected)
        return draws

    def _validation_draws(
        self, stacked: StackedLightningModule, module: LightningModule, batch: Any, shared: bool, index: int
    ) -> bool:
        replica_batch = batch if shared else map_tensors(lambda tensor: tensor[0], batch)
        moment = Moment(stacked.seed, Stage.MEASUREMENT, 0)
        suffix = f"/dataloader_idx_{index}" if len(self.validation) > 1 else ""
        log = StepLog(replica_batch, in_training=False, suffix=suffix)
        arguments = stacked.step_arguments("validation_step", 0)
        if len(self.validation) > 1:
            arguments["dataloader_idx"] = index
        self.calls.begin()
        with torch.no_grad():
            _, draws = _watched("validation_step", stacked, module, log, replica_batch, arguments, moment)
        self._compare_logs(stacked.measure(batch, shared, 0, index, moment), log)
        return draws

    def _compare_logs(self, passed: PassLog, log: StepLog) -> None:
        """Compare what the stacked pass logged, and called metrics with, with what the pass of one module did."""
        for name, value in log.values.items():
            _compare(name, passed.values[name][0], value)
        for stacked, alone in zip(passed.arguments, self.calls.tensors(), strict=True):
            _compare("argument of a metric", stacked[0].double(), alone.double())


def _watched(
    method: str,
    stacked: StackedLightningModule,
    module: LightningModule,
    log: StepLog,
    batch: Any,
    arguments: dict[str, Any],
    moment: Moment,
) -> tuple[Any, bool]:
    """Run a step of one module; what it returned, and whether it drew random numbers by torch's functions."""
    logging(module, log)
    before, batch_before, weights = _held(module), snapshot(batch), snapshot(list(module.parameters()))
    draws = CountedDraws(moment, stacked.replicas[0], module_paths(module), repeatable=False)
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
    changed = _difference(before, _held(module))
    if changed is not None:
        raise NotStackableError(f"its {method} changes self.{changed}")
    return returned, draws.any


def _held(module: nn.Module) -> dict[str, Any]:
    """Return what a module holds beside tensors, by name, to be compared."""
    registered = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    return {
        f"{path}.{name}" if path else name: snapshot(value, registered=registered)
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in OF_EVERY_LIGHTNING_MODULE and not isinstance(part, MetricStandIn)
    }


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Return the first name that is new or has another value."""
    return next((name for name, value in after.items() if name not in before or before[name] != value), None)


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
