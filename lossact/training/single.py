"""One network in a LightningModule, with automatic optimisation: every Trainer flag works."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from lossact.errors import InputError
from lossact.replicas.averages import AverageRule, WeightAverage
from lossact.replicas.draws import Moment, PlainPass, module_paths
from lossact.replicas.minibatches import Minibatches
from lossact.replicas.modules import cast_module, eval_mode
from lossact.replicas.named_tensors import Inputs, call_with, map_tensors
from lossact.replicas.objective import Objective, check_learnable
from lossact.replicas.optimizers import NO_CLIPPING, Clipping
from lossact.replicas.passes import Stage
from lossact.training.base import ExampleSets, MeasurementPlan, ReplicasModule, RunDescription
from lossact.training.loaders import Examples, UpdateBatches


class SingleNetworkModule(ReplicasModule):
    """Training of one network until it meets its criterion: what StackedReplicasModule does to many, one at a time.

    Args:
        network: maps (batch, ...) inputs to outputs.
        objective: loss and metric of the outputs.
        make_optimizer: makes the network's optimiser.
        examples: inputs (n, ...) and targets (n, ...) of each purpose.
        plan: what is measured, when, and when training stops.
        batches: makes the order of the examples; None for all of them in every update.
        clipping: limits on the gradient.
        set_scheduled: sets what of the optimiser follows a schedule, before each update.
        average: how the weights are averaged that measures look at; None to look at the weights.
        budget: updates at most, >= 1.
        draws_for: the experiment's seed and the replica that passes draw for; None where they draw nothing.
        description: which replica this is, and of what.

    Attributes:
        steps_to_target: updates that had been applied when the criterion was first met, or None.
        diverged: whether the loss stopped being finite.
        losses, metrics: one value before each update, and one after the last.
    """

    KEPT = ("batches_seen", "update_count", "steps_to_target", "diverged", "losses", "metrics")  # in checkpoints

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        examples: ExampleSets,
        plan: MeasurementPlan,
        *,
        batches: Callable[[], Minibatches] | None = None,
        clipping: Clipping = NO_CLIPPING,
        set_scheduled: Callable[[torch.optim.Optimizer | LightningOptimizer, int], None] | None = None,
        average: AverageRule | None = None,
        budget: int,
        draws_for: tuple[int, int] | None = None,
        description: RunDescription,
    ) -> None:
        super().__init__(examples, description, budget=budget)
        self.network, self.objective, self.make_optimizer = network, objective, make_optimizer
        self.plan, self.criterion, self.batches, self.clipping = plan, plan.criterion, batches, clipping
        self.measured_on = self.validation_examples if plan.on_validation else self.training_examples
        self.measures_apart = batches is not None or plan.on_validation or plan.every > 1 or plan.apart
        self.set_scheduled = set_scheduled
        self.average = None if average is None else WeightAverage(average, self._averaged)
        self.draws_for, self.paths = draws_for, module_paths(network)
        self.newest_pass: PlainPass | None = None
        self.batches_seen = 0
        self.steps_to_target: int | None = None
        self.diverged = False
        self.losses: list[Tensor] = []
        self.metrics: list[Tensor] = []

    @property
    def layers(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the name of the module that owns them."""
        layers: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            layers.setdefault(name.rpartition(".")[0] or name, []).append(parameter)
        return layers

    @property
    def _averaged(self) -> dict[str, Tensor]:
        """What is averaged, with an axis of one replica; views, so that what is written there is the network's."""
        tensors = (*self.network.named_parameters(), *self.network.named_buffers())
        return {name: tensor.detach().unsqueeze(0) for name, tensor in tensors}

    def _measured_weights(self) -> AbstractContextManager[None]:
        return nullcontext() if self.average is None else self.average.in_place_of(self._averaged)

    def forward(self, inputs: Inputs) -> Any:
        return call_with(self.network, inputs)

    def setup(self, stage: str) -> None:
        double = "64" in str(self.trainer.precision)
        cast_module(self, torch.float64 if double else torch.float32)
        self.objective = self.objective.on(self.trainer.strategy.root_device)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.network)

    def _drawing(self, stage: Stage, batch: int) -> AbstractContextManager[None]:
        """Count the random numbers of a pass, and of its backward where parts are computed again."""
        if self.draws_for is None:
            return nullcontext()
        seed, replica = self.draws_for
        self.newest_pass = PlainPass(Moment(seed, stage, batch), replica, self.paths)
        return self.newest_pass.active()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        draws = self.newest_pass is not None and self.newest_pass.draws
        with self.newest_pass.active() if self.newest_pass is not None and draws else nullcontext():
            super().backward(loss, *args, **kwargs)

    def training_step(self, batch: Examples, batch_idx: int) -> Tensor:
        apart = self._measured() if self.measures_apart else None  # before the pass that may change running statistics
        with self._drawing(Stage.TRAINING, self.batches_seen):
            loss, metric = self.objective.evaluate(self(batch[0]), batch[1])
        check_learnable(loss)
        measured = apart or (loss.detach(), metric.detach())
        self.batches_seen += 1
        self.losses.append(measured[0])
        self.metrics.append(measured[1])
        self.diverged = self.diverged or not bool(torch.isfinite(measured[0]))
        met = not self.diverged and bool(self.criterion.score(*measured) >= self.criterion.lowest_score)
        if met and self.steps_to_target is None:
            self.steps_to_target = self.update_count
        if self._done:
            self.trainer.should_stop = True
        shown: dict[str, Tensor | float] = {
            "loss": measured[0],
            self.metric_name: measured[1],
            "reached": float(self.steps_to_target is not None),
        }
        self.log_dict(shown, prog_bar=True, batch_size=len(batch[1]))
        self.log("update", float(self.update_count), batch_size=len(batch[1]))
        return loss

    @property
    def _done(self) -> bool:
        return self.steps_to_target is not None or self.diverged or self.update_count >= self.budget

    def _measured(self) -> tuple[Tensor, Tensor]:
        """Return what the goal is about where it is measured apart: every so many updates, and after the last."""
        last = self.update_count == self.budget
        if self.batches_seen % self.plan.every and self.losses and not last:
            return self.losses[-1], self.metrics[-1]
        inputs, targets = map_tensors(lambda tensor: tensor.to(self.device), self.measured_on)
        drawing = self._drawing(Stage.MEASUREMENT, self.update_count)
        with eval_mode(self.network), torch.no_grad(), self._measured_weights(), drawing:
            return self.objective.evaluate(self(self._cast(inputs)), targets)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        # The closure measures; only then is it known whether an update is due.
        assert optimizer_closure is not None
        loss = optimizer_closure()
        if not self._done:
            self.clipping.clip_one(self.network.parameters())
            if self.set_scheduled is not None:
                self.set_scheduled(optimizer, self.update_count)
            optimizer.step(closure=lambda: loss)
            self.update_count += 1
            if self.average is not None:
                self.average.add(
                    self._averaged, torch.zeros(1, dtype=torch.bool, device=self.device), self.update_count
                )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for layer, parameters in self.layers.items():
            gradients = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
            if gradients:
                self.log(f"gradient_norm/{layer}", torch.stack(gradients).norm())

    # Examples

    def _cast(self, inputs: Inputs) -> Inputs:
        dtype = next(self.network.parameters()).real.dtype
        return map_tensors(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, inputs)

    def as_computed(self, examples: Examples) -> Examples:
        return self._cast(examples[0]), self._cast(examples[1])

    def train_dataloader(self) -> UpdateBatches:
        examples = self.as_computed(self.training_examples)
        budget = self.budget * self.trainer.accumulate_grad_batches
        return UpdateBatches(examples, self.batches, budget=budget, seen=lambda: self.batches_seen)

    # What is only measured

    def predict_step(self, batch: Examples, batch_idx: int) -> Any:
        with self._measured_weights():
            return self(batch[0])

    def sets(self, examples: Examples) -> Iterator[Examples]:
        yield examples

    def measured(self, batch: Examples) -> dict[str, Tensor]:
        with self._measured_weights():
            loss, metric = self.objective.evaluate(self(batch[0]), batch[1])
        return {"loss": loss, self.metric_name: metric}

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["about"] = dict(self.metadata)
        checkpoint["run"] = {name: getattr(self, name) for name in self.KEPT}
        if self.average is not None:
            checkpoint["average"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved, current = checkpoint["state_dict"], self.state_dict()
        if "run" not in checkpoint or {n: p.shape for n, p in saved.items()} != {
            n: p.shape for n, p in current.items()
        }:
            raise InputError("the checkpoint is of another network; give the config that it was made with")
        self.check_origin(checkpoint)
        for name in self.KEPT:
            setattr(self, name, checkpoint["run"][name])
        if self.average is not None:
            self.average.load_state_dict(checkpoint["average"])
