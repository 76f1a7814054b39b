"""Whether replicas of a LightningModule can train as one, and if not, why: from what it is, and from one step."""

from collections.abc import Callable, Mapping, Sequence
from inspect import getattr_static
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torchmetrics import Metric, MetricCollection

from lossact.conditions.lightning import LightningCondition
from lossact.replicas.draws import Moment
from lossact.replicas.named_tensors import Tensors
from lossact.replicas.passes import Stage
from lossact.replicas.random_streams import isolate_rng
from lossact.replicas.slices import step_width
from lossact.running.differing_attributes import hide_what_differs
from lossact.running.probed_module import ProbedModule, check_reached, set_modes
from lossact.running.values_read import ValuesRead
from lossact.training.compute_config import ComputeConfig
from lossact.training.held_attributes import changed_names, held_by_template
from lossact.training.lightning_pass import PassLog
from lossact.training.logged_values import StepLog
from lossact.training.shown_trainer import ShownTrainer
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_lightning import StackedLightningModule

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
        iterators = [name for name, value in vars(part).items() if hasattr(value, "__next__")]
        if iterators:
            raise NotStackableError(f"it holds an iterator, {path}{'.' if path else ''}{iterators[0]}")
        if isinstance(part, MetricCollection):
            raise NotStackableError(f"it holds a MetricCollection, {path}")
        if isinstance(part, Metric) and list(part.parameters()):
            raise NotStackableError(f"it holds a metric with parameters, {path}")
        if part._backward_hooks or part._backward_pre_hooks:
            raise NotStackableError("it has hooks on gradients")
    if any(tensor._backward_hooks or tensor._post_accumulate_grad_hooks for tensor in module.parameters()):
        raise NotStackableError("it has hooks on gradients")
    if any(map(is_lazy, module.parameters())):
        raise NotStackableError("it has lazy layers, whose shapes are not known yet")
    if not list(module.parameters()):
        raise NotStackableError("it has no parameters")


def check_data_module(data: LightningDataModule) -> None:
    """Raise NotStackableError where a LightningDataModule does more than make DataLoaders."""
    defined = sorted(_overridden(data, LightningDataModule, OF_DATA_MODULES))
    if defined:
        raise NotStackableError(f"its data module defines {defined[0]}")


def _overridden(value: Any, base: type, allowed: set[str]) -> set[str]:
    """Return the public methods of a base class that an object has anew."""
    classes = [kind for kind in type(value).__mro__ if kind not in base.__mro__]
    names = {name for kind in classes for name in vars(kind)} | vars(value).keys()
    return {
        name
        for name in names & set(dir(base)) - allowed
        if not name.startswith("_")
        and (
            getattr_static(type(value), name) is not getattr_static(base, name)
            or (name in vars(value) and callable(vars(value)[name]))
        )
    }


class StepProbe:
    """Runs steps of some modules by themselves and stacked, and compares.

    It does so before anything is trained, at the first batch of each epoch, and after 1, 2, 4, 8, … batches, for what a
    step does may depend on the epoch or on the batch.

    Args:
        modules: row of a replica to another module like its own, for the steps may leave traces in it.
        training, validation: a batch of each loader, and whether all replicas share it.
        values_read: by the code of their condition.
    """

    def __init__(
        self,
        modules: Mapping[int, LightningModule],
        training: tuple[Any, bool],
        validation: Sequence[tuple[Any, bool]],
        values_read: ValuesRead,
    ) -> None:
        self.training, self.validation, self.values_read = training, validation, values_read
        self.modules = [ProbedModule(row, module) for row, module in modules.items()]
        self.held: dict[str, Any] = {}  # by the module that runs the steps of all, beside its tensors

    def configure(self, stacked: StackedLightningModule) -> None:
        """Have the modules that stand for replicas do what their own fits do before the first step.

        Raises:
            NotStackableError: they come to differ between conditions in what cannot be hidden.
        """
        for probed in self.modules:
            probed.place(stacked)
        different = list(dict.fromkeys(stacked.configured))
        template = [] if stacked.template in different else [stacked.template]
        for module in (*(probed.module for probed in self.modules), *template):
            module.trainer = ShownTrainer(stacked.trainer, "its configure_optimizers reads")  # type: ignore[assignment]
            with isolate_rng():
                module.configure_optimizers()
            module.trainer = ShownTrainer(stacked.trainer, "its steps read")  # type: ignore[assignment]
        if len(different) > 1:
            hide_what_differs(stacked.template, different)

    def __call__(self, stacked: StackedLightningModule) -> None:
        """Probe.

        Raises:
            NotStackableError: a step does what replicas cannot share, or gives other values when stacked.
        """
        with torch.inference_mode(False), torch.enable_grad():
            self._run(stacked)

    def _run(self, stacked: StackedLightningModule) -> None:
        module = self.modules[0].module
        modes = [part.training for part in stacked.template.modules()]
        set_modes(stacked.template, [part.training for part in module.modules()])  # not those of a sanity check
        draws = self._training_draws(stacked)
        if type(module).validation_step is not LightningModule.validation_step:
            stacked.template.eval()
            for index, (batch, shared) in enumerate(self.validation):
                draws = self._validation_draws(stacked, _placed(stacked, batch), shared, index) or draws
        set_modes(stacked.template, modes)
        stacked.draws = draws

    def begin_training_step(
        self, stacked: StackedLightningModule, batch: Any, shared: bool, batch_idx: int, moment: Moment
    ) -> Callable[[Tensors, Tensor, PassLog], None]:
        """Run a training_step of the modules as the replicas stand now, and return what compares all replicas' with it.

        Raises:
            NotStackableError: it does what replicas cannot share; also when what is returned is called.
        """
        self.check_unchanged(stacked, always=False)
        arguments = stacked.step_arguments("training_step", batch_idx)
        begun = []
        for probed in self._modules_in_training(stacked):
            with torch.inference_mode(False), torch.enable_grad():
                begun.append((probed, *probed.learn(stacked, batch, shared, arguments, moment)))

        def compare(gradients: Tensors, losses: Tensor, passed: PassLog) -> None:
            for probed, loss, of_loss in begun:
                probed.compare_learned(stacked, loss, of_loss, gradients, losses, passed)
                for name, buffer in stacked.buffers_by_name.items():
                    probed.compare(f"buffer {name}", buffer[probed.row], probed.buffers[name])

        return compare

    def check_reached(
        self, stacked: StackedLightningModule, batch: Any, shared: bool, batch_idx: int, moment: Moment
    ) -> None:
        """Raise NotStackableError where the loss of this batch depends on other parameters than the first."""
        arguments = stacked.step_arguments("training_step", batch_idx)
        for probed in self._modules_in_training(stacked)[:1]:
            with torch.inference_mode(False), torch.enable_grad():
                gradients = probed.gradients(stacked, batch, shared, arguments, moment)
            check_reached(gradients, stacked)

    def begin_validation_step(
        self,
        stacked: StackedLightningModule,
        batch: Any,
        shared: bool,
        batch_idx: int,
        dataloader_idx: int,
        moment: Moment,
    ) -> Callable[[PassLog], None]:
        """Run a validation_step of the modules as the replicas stand now; return what compares all replicas' with it.

        Raises:
            NotStackableError: it does what replicas cannot share; also when what is returned is called.
        """
        self.check_unchanged(stacked, always=False)
        several = len(self.validation) > 1
        arguments = stacked.step_arguments("validation_step", batch_idx)
        arguments |= {"dataloader_idx": dataloader_idx} if several else {}
        begun = self._modules_in_training(stacked)
        for probed in begun:
            log = StepLog(
                probed.part_of(batch, shared),
                in_training=False,
                suffix=f"/dataloader_idx_{dataloader_idx}" if several else "",
            )
            with torch.no_grad():
                probed.step("validation_step", stacked, log, arguments, moment)

        def compare(passed: PassLog) -> None:
            for probed in begun:
                probed.compare_logs(passed)

        return compare

    def _modules_in_training(self, stacked: StackedLightningModule) -> "list[ProbedModule]":
        """Return those whose replicas do not rest, as these stand now."""
        rests = stacked.rests.tolist()
        modules = [probed for probed in self.modules if not rests[probed.row]]
        for probed in modules:
            probed.stand_as(stacked)
        return modules

    def check_unchanged(self, stacked: StackedLightningModule, *, always: bool = True) -> None:
        """Raise NotStackableError where steps of all replicas have changed what they share.

        Args:
            stacked: runs them.
            always: look at values beside the module as well, which may be large; False does so ever more rarely.
        """
        self.values_read.check_same("its steps change", always=always)
        lists = stacked.epoch_end.lists
        held = {name: of for name, of in held_by_template(stacked.template).items() if name not in lists}
        if self.held:
            changed = changed_names(self.held, held)
            if changed:
                raise NotStackableError(f"its steps change self.{changed[0]}")
        self.held = held

    def _training_draws(self, stacked: StackedLightningModule) -> bool:
        batch, shared = self.training
        batch = _placed(stacked, batch)
        moment = Moment(stacked.seed, Stage.TRAINING, 0)
        arguments = stacked.step_arguments("training_step", 0)
        size = self.modules[0].step_size(stacked, batch, shared, arguments, moment)
        stacked.width = step_width(stacked.n_replicas, size, stacked.device)
        gradients: list[dict[str, Tensor | None]] = []
        losses: list[Tensor] = []
        for probed in self.modules:
            loss, of_loss = probed.learn(stacked, batch, shared, arguments, moment)
            losses.append(loss)
            gradients.append(of_loss)
        stacked.unreached = frozenset(name for name, gradient in gradients[0].items() if gradient is None)
        stacked_gradients, stacked_losses, passed = stacked.learn(batch, shared, 0, moment, keep_buffers=False)
        for probed, loss, of_loss in zip(self.modules, losses, gradients, strict=True):
            probed.compare_learned(stacked, loss, of_loss, stacked_gradients, stacked_losses, passed)
        return any(probed.draws for probed in self.modules)

    def _validation_draws(self, stacked: StackedLightningModule, batch: Any, shared: bool, index: int) -> bool:
        moment = Moment(stacked.seed, Stage.MEASUREMENT, 0)
        compare = self.begin_validation_step(stacked, batch, shared, 0, index, moment)
        compare(stacked.measure(batch, shared, 0, moment, dataloader_idx=index))
        return any(probed.draws for probed in self.modules)


def _placed(stacked: StackedLightningModule, batch: Any) -> Any:
    """Return a batch on the Trainer's device and in its precision."""
    trainer = stacked.trainer
    return trainer.precision_plugin.convert_input(trainer.strategy.batch_to_device(batch, stacked.device))
