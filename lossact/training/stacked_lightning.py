"""A user's LightningModule as many replicas: its own steps run for all of them at once, under one Trainer."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils import _pytree as pytree

from lossact.replicas.draws import CountedDraws, Moment, module_paths
from lossact.replicas.modules import has_tied_tensors
from lossact.replicas.named_tensors import Tensors, without_sharing
from lossact.replicas.optimizers import keep_resting
from lossact.replicas.passes import Stage
from lossact.replicas.recordings import CudaGraphs
from lossact.replicas.slices import slices_of
from lossact.replicas.vmap_needs import as_vmap_needs
from lossact.training.epoch_ends import EpochEnd, is_equal
from lossact.training.lightning_pass import PassLog, Probe, WithOtherTensors, scalar_loss
from lossact.training.logged_values import EpochLog, LoggedStep, StepLog, log_there, step_values
from lossact.training.recorded_steps import RecordedSteps, Result, Step
from lossact.training.shown_trainer import ShownTrainer, optimizer_state_hidden
from lossact.training.stackable import NotStackableError, drawing_nothing, reading_no_tensors
from lossact.training.stacked_metrics import MetricCalls, ReplicaMetrics, replace_metrics
from lossact.training.stacked_optimizers import clip_each_replica, stacked_configuration

AT_TIMES = "its loss depends on {} in some steps and not in others"  # in these an optimizer passes it over
DRAWS = "its {} draws from numpy's or Python's generators"


class StackedLightningModule(LightningModule):
    """R replicas of a LightningModule, as one that a Trainer fits.

    Args:
        template: runs the steps of all replicas.
        tensors: parameters and buffers that they start from, by name, (replicas, ...) each.
        configured: one a replica: configures its optimizer and callbacks. Replicas of a condition have the same.
        replicas: their indices in the experiment.
        seed: the experiment's.
        probe: compares steps of all replicas with those of one; raises NotStackableError where it must not go on.

    Attributes:
        losses: (replicas,) what training_step returned for the latest batch.
        step_values: by name, (replicas,) what it logged for that batch.
        newest: by name, (replicas,) the newest of everything that was logged, as a Trainer's callback_metrics.
        rests: (replicas,) bool; these keep their parameters and buffers, for their fit has ended.
        stepping: whether a step of the template runs for all replicas.
        training_log, validation_log: what was logged in the present epoch.
        draws: whether passes draw random numbers.
        unreached: names of parameters that get no gradient.
        width: replicas whose steps run at once; None for all.
    """

    replicas: Tensor
    rests: Tensor

    def __init__(
        self,
        template: LightningModule,
        tensors: Tensors,
        configured: Sequence[LightningModule],
        replicas: Sequence[int],
        seed: int,
        probe: Probe,
    ) -> None:
        super().__init__()
        self.template, self.seed = template, seed
        self.configured = tuple(configured)  # no list, whose modules would be parts of this one
        self.metric_calls = MetricCalls()
        self._logged_in: dict[str, str] = {}  # path of a metric to the stage
        self.metrics = ReplicaMetrics(replace_metrics(template, self.metric_calls), len(replicas))
        self.epoch_end = EpochEnd(template, self.metrics)
        self.probe, self._is_probed = probe, False
        self.step, self.ties = WithOtherTensors(template), has_tied_tensors(template)
        self.paths = module_paths(template)
        parameters = dict(template.named_parameters())
        self.parameter_names = list(parameters)
        self.buffer_names = [name for name, _ in template.named_buffers()]
        self.stacked = nn.ParameterList(
            nn.Parameter(tensors[name], requires_grad=parameter.requires_grad) for name, parameter in parameters.items()
        )
        for index, name in enumerate(self.buffer_names):
            self.register_buffer(f"buffer_{index}", tensors[name])
        self.register_buffer("replicas", torch.tensor(list(replicas)))
        self.losses = torch.zeros(len(replicas))
        self.step_values: Tensors = {}
        self.newest: Tensors = {}
        self.register_buffer("rests", torch.zeros(len(replicas), dtype=torch.bool))
        self.stepping = False
        self.training_log, self.validation_log = EpochLog(self.metrics), EpochLog(self.metrics)
        self.draws, self.validation_batches = True, 0
        self.unreached: frozenset[str] = frozenset()
        self.width: int | None = None
        self.recorded: RecordedSteps | None = None
        self._gradients: Tensors = {}

    # What the replicas hold

    @property
    def n_replicas(self) -> int:
        """R."""
        return len(self.losses)

    @property
    def parameters_by_name(self) -> Tensors:
        """Parameters of all replicas, (replicas, ...) each."""
        return dict(zip(self.parameter_names, self.stacked, strict=True))

    @property
    def buffers_by_name(self) -> Tensors:
        """Buffers of all replicas, (replicas, ...) each."""
        return {name: getattr(self, f"buffer_{index}") for index, name in enumerate(self.buffer_names)}

    @property
    def trained(self) -> Tensors:
        """Parameters that get a gradient."""
        return {
            name: parameter
            for name, parameter in self.parameters_by_name.items()
            if parameter.requires_grad and name not in self.unreached
        }

    # Steps

    def _probe_once(self) -> None:
        if not self._is_probed:
            self._is_probed = True
            self.probe(self)

    def training_step(self, batch: tuple[Any, bool], batch_idx: int) -> Tensor:
        self._probe_once()
        update = self.trainer.fit_loop.total_batch_idx
        moment = Moment(self.seed, Stage.TRAINING, update)
        probes = batch_idx == 0 or _is_power_of_two(update)
        compare = self.probe.begin_training_step(self, *batch, batch_idx, moment) if probes else None
        with drawing_nothing(DRAWS.format("training_step")):
            learn = partial(self.learn, keep_buffers=True)
            gradients, losses, passed = self._run("training", learn, *batch, batch_idx, moment)
        if compare is not None:
            compare(gradients, losses, passed)
        vanished = self._vanished(gradients)
        if vanished and compare is None:
            self.probe.check_reached(self, *batch, batch_idx, moment)
        self.losses, self._gradients = losses, gradients
        step = self._logged(passed)
        self.step_values = step_values(step, self.metrics)
        self.newest |= self.step_values
        self.training_log.add(step)
        return losses.sum()

    def _vanished(self, gradients: Tensors) -> bool:
        """Return whether a gradient is zero throughout, as it is too where the loss does not depend on a parameter.

        Raises:
            NotStackableError: one is not, of a parameter that the first loss did not depend on.
        """
        first = torch.stack([gradient[0].any() for gradient in gradients.values()]).tolist()  # most often enough
        zero = {name for name, is_there in zip(gradients, first, strict=True) if not is_there}
        vanishing = {name for name in zero if not bool(gradients[name].any())}
        for name in gradients:
            if name in self.unreached - vanishing:
                raise NotStackableError(AT_TIMES.format(name))
        return not vanishing <= self.unreached

    def _logged(self, passed: PassLog) -> LoggedStep:
        """Call the metrics of every replica with what a pass noted, and return what it logged."""
        stage = "training" if self.trainer.training else "validation"
        if any(self._logged_in.setdefault(path, stage) != stage for path in passed.metrics.values()):
            raise NotStackableError("it logs one metric object in training and in validation")
        of_calls = self.metrics.call(
            self.metric_calls,
            passed.arguments,
            logged=passed.metric_values.values(),
            on_step={path for name, path in passed.metrics.items() if passed.options[name].on_step},
        )
        values = passed.values | {name: of_calls[call] for name, call in passed.metric_values.items()}
        return LoggedStep(values, passed.options, passed.metrics)

    def learn(
        self, batch: Any, shared: bool, batch_idx: int, moment: Moment, *, keep_buffers: bool
    ) -> tuple[Tensors, Tensor, PassLog]:
        """Run training_step of every replica with its gradient.

        Returns:
            gradients by name, zero where the loss does not depend on a parameter; losses (replicas,); what was logged.
        """
        arguments = self.step_arguments("training_step", batch_idx)
        passed = PassLog()

        def loss_of(trained: Tensors, rest: Tensors, buffers: Tensors, batch: Any, replica: Tensor) -> Any:
            log = StepLog(batch, in_training=True)
            own = {**rest, **trained, **buffers}
            with self._drawing(moment, replica):
                returned = self.call(self.template.training_step, own, log, batch, arguments)
            if self.epoch_end.has_items:
                raise NotStackableError("its training_step appends to a list")
            passed.take(log)
            loss = scalar_loss(returned)
            changed = {name: own[name].detach() for name in buffers}  # in place, or assigned anew
            return loss, (loss.detach(), log.values, self.metric_calls.tensors(), changed)

        trained = {name: each for name, each in self.parameters_by_name.items() if each.requires_grad}
        rest = {name: tensor for name, tensor in self.parameters_by_name.items() if name not in trained}
        with torch.no_grad():
            gradients, (losses, passed.values, passed.arguments, buffers) = self._map(
                grad(loss_of, has_aux=True), batch, shared, _detached(trained), _detached(rest), self._buffer_copies()
            )
            if keep_buffers:
                put_back = keep_resting(self.buffers_by_name.values(), self.rests)
                for name, buffer in self.buffers_by_name.items():
                    buffer.copy_(buffers[name])
                put_back()
        return gradients, losses, passed

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        share = 1 / self.trainer.accumulate_grad_batches
        gradients = without_sharing(self._gradients)
        for name, parameter in self.trained.items():
            gradient = gradients[name] * share if share != 1 else gradients[name]
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        self._gradients = {}

    def validation_step(self, batch: tuple[Any, bool], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._probe_once()
        moment = Moment(self.seed, Stage.MEASUREMENT, self.validation_batches)
        probes = batch_idx == 0 or _is_power_of_two(self.validation_batches)
        compare = self.probe.begin_validation_step(self, *batch, batch_idx, dataloader_idx, moment) if probes else None
        self.validation_batches += 1
        with drawing_nothing(DRAWS.format("validation_step")):
            measure = partial(self.measure, dataloader_idx=dataloader_idx)
            passed = self._run(f"validation {dataloader_idx}", measure, *batch, batch_idx, moment)
        if compare is not None:
            compare(passed)
        self.epoch_end.keep(passed.appended)
        self.validation_log.add(self._logged(passed))

    def measure(self, batch: Any, shared: bool, batch_idx: int, moment: Moment, *, dataloader_idx: int) -> PassLog:
        """Run validation_step of every replica; return what was logged."""
        several = isinstance(self.trainer.num_val_batches, list) and len(self.trainer.num_val_batches) > 1
        arguments = self.step_arguments("validation_step", batch_idx)
        if several:
            arguments["dataloader_idx"] = dataloader_idx
        passed = PassLog()

        def run(anchor: Tensor, tensors: Tensors, buffers: Tensors, batch: Any, replica: Tensor) -> Any:
            log = StepLog(batch, in_training=False, suffix=f"/dataloader_idx_{dataloader_idx}" if several else "")
            with self._drawing(moment, replica), torch.no_grad():
                self.call(self.template.validation_step, {**tensors, **buffers}, log, batch, arguments)
            passed.take(log)
            return anchor, (log.values, self.metric_calls.tensors(), self.epoch_end.appended())

        # Within a gradient, for there torch takes GRU, LSTM and RNN apart for vmap.
        anchors = torch.zeros(self.n_replicas, device=self.device)
        with torch.no_grad():
            tensors = _detached(self.parameters_by_name)
            _, (passed.values, passed.arguments, passed.appended) = self._map(
                grad(run, has_aux=True), batch, shared, anchors, tensors, self._buffer_copies()
            )
        return passed

    def _run(self, name: str, step: Step[Result], batch: Any, shared: bool, batch_idx: int, moment: Moment) -> Result:
        """Run a step of all replicas, by a recording where there is one."""
        if self.recorded is None:
            return step(batch, shared, batch_idx, moment)
        return self.recorded.run(name, step, batch, shared, batch_idx, moment)

    def call(
        self, method: Callable[..., Any], tensors: Tensors, log: StepLog, batch: Any, arguments: dict[str, Any]
    ) -> Any:
        """Call a step of the template while it has a replica's tensors, and its log is that one.

        Buffers that it assigns anew are among `tensors` afterwards.
        """
        named = {f"module.{name}": tensor for name, tensor in tensors.items()}
        log_there(self.template, log)
        self.metric_calls.begin()
        self.stepping = True
        try:
            with optimizer_state_hidden(self.trainer):
                returned = functional_call(
                    self.step, named, (lambda: method(batch, *arguments.values()),), tie_weights=self.ties
                )
        finally:
            self.stepping = False
        tensors.update({name: named[f"module.{name}"] for name in tensors})
        return returned

    def step_arguments(self, method: str, batch_idx: int) -> dict[str, Any]:
        """Return arguments beside the batch that a step of the template takes."""
        takes_index = is_param_in_hook_signature(getattr(self.template, method), "batch_idx", min_args=2)
        return {"batch_idx": batch_idx} if takes_index else {}

    def _drawing(self, moment: Moment, replica: Tensor) -> AbstractContextManager[None]:
        return CountedDraws(moment, replica, self.paths).active() if self.draws else nullcontext()

    def _buffer_copies(self) -> Tensors:
        return {name: buffer.clone() for name, buffer in self.buffers_by_name.items()}

    def _map(self, function: Callable[..., Any], batch: Any, shared: bool, *tensors: Any) -> Any:
        """Map a function of tensors, a batch and a replica's index over replicas, a slice of them at a time."""
        mapped = vmap(function, (*(0 for _ in tensors), None if shared else 0, 0))
        parts = []
        for rows in slices_of(self.n_replicas, self.width):
            take = partial(_rows, rows)
            of_rows = pytree.tree_map(take, tensors)
            with as_vmap_needs(self.device):
                parts.append(mapped(*of_rows, batch if shared else pytree.tree_map(take, batch), self.replicas[rows]))
        return parts[0] if len(parts) == 1 else pytree.tree_map(lambda *slices: torch.cat(slices), *parts)

    # The Trainer's hooks

    def on_fit_start(self) -> None:
        self.template.trainer = ShownTrainer(self.trainer, "its steps read")  # type: ignore[assignment]
        self.recorded = self._recorded_steps()

    def _recorded_steps(self) -> RecordedSteps | None:
        """Return what records steps on a GPU."""
        if self.device.type != "cuda":
            return None
        buffers = list(self.buffers_by_name.values())
        return RecordedSteps(self.template, buffers, self.metric_calls, self.epoch_end, CudaGraphs())

    def on_train_epoch_start(self) -> None:
        self.training_log.reset()

    def on_train_epoch_end(self) -> None:
        self.newest |= self.training_log.reduced()

    def on_validation_epoch_start(self) -> None:
        self.validation_log.reset()
        self.epoch_end.forget()

    def on_validation_epoch_end(self) -> None:
        if self.epoch_end.defined:
            self.validation_log.add(self._run_epoch_end())
        if not self.trainer.sanity_checking:
            self.newest |= self.validation_log.reduced()

    def _run_epoch_end(self) -> LoggedStep:
        """Run on_validation_epoch_end of every replica, and return what it logged."""
        tensors = {**self.parameters_by_name, **self.buffers_by_name}
        logs = []
        with self.epoch_end.watched(self.trainer), torch.no_grad():
            for row in range(self.n_replicas):
                logs.append(StepLog(torch.empty(1), in_training=False))  # weighs one
                own = {name: tensor[row].clone() for name, tensor in tensors.items()}
                with self.epoch_end.of_replica(row):
                    self.call(lambda _: self.template.on_validation_epoch_end(), own, logs[-1], None, {})
                if any(not is_equal(own[name], tensor[row]) for name, tensor in tensors.items()):
                    raise NotStackableError("its on_validation_epoch_end changes parameters or buffers")
        names = list(logs[0].values)
        if any(list(log.values) != names for log in logs) or self.validation_log.reduced().keys() & set(names):
            raise NotStackableError("its on_validation_epoch_end logs other names, or names that its steps log")
        values = {name: torch.stack([log.values[name] for log in logs]) for name in names}
        return LoggedStep(values, logs[0].options, {})

    def configure_optimizers(self) -> Any:
        for module in dict.fromkeys(self.configured):
            self.trainer.precision_plugin.convert_module(module).to(self.device)
            module.trainer = ShownTrainer(self.trainer, "its configure_optimizers reads")  # type: ignore[assignment]
        configuration = stacked_configuration(self.configured, self.parameters_by_name, lambda: self.stepping)
        self.probe.configure(self)
        return configuration

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        put_back = keep_resting([parameter.detach() for parameter in self.stacked], self.rests)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        put_back()

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        draws, reads = "its scheduler draws random numbers", "its scheduler reads parameters or buffers"
        with drawing_nothing(draws), reading_no_tensors(self.configured, reads):
            super().lr_scheduler_step(scheduler, metric)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if gradient_clip_val and gradient_clip_val > 0:  # else Lightning clips nothing
            clip_each_replica(optimizer, gradient_clip_val, by_value=gradient_clip_algorithm == "value")


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _rows(rows: slice, value: Any) -> Any:
    return value[rows] if isinstance(value, Tensor) else value


def _detached(tensors: Tensors) -> Tensors:
    return {name: tensor.detach() for name, tensor in tensors.items()}
