"""Modules side by side, each run by itself: slower, but anything a forward pass does stays its own."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from lossact.errors import InputError
from lossact.replicas.draws import Moment, PlainPass, module_paths
from lossact.replicas.modules import eval_mode, trained_names
from lossact.replicas.named_tensors import Inputs, Tensors, row_of, tensors_in, with_tensors
from lossact.replicas.objective import Objective, check_learnable
from lossact.replicas.passes import LearningPass, PassContext, Stage, checked_outputs, run_pass

ALL = slice(None)
PREDICTION = PassContext(Stage.PREDICTION, 0)


class UnstackedModules:
    """R modules side by side; their parameters are rows of tensors by name, as those of stacked ones are.

    Args:
        modules: one a replica, with the weights and buffers that it starts from.
        objective: loss and metric of their outputs.
        replicas: their indices in the experiment.
        seed: the experiment's; what a pass draws comes from it, the replica and the moment.
        unreached: names of parameters that the loss does not depend on, which are not trained.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        objective: Objective,
        replicas: Sequence[int],
        seed: int,
        *,
        unreached: Collection[str] = (),
    ) -> None:
        self.modules, self.objective = list(modules), objective
        self.replicas = torch.tensor(list(replicas))
        self.unreached = frozenset(unreached)
        self.trained = tuple(name for name in trained_names(modules[0]) if name not in self.unreached)
        self.seed, self.paths = seed, [module_paths(module) for module in modules]
        self._share()

    @property
    def template(self) -> nn.Module:
        """One ordinary network, of the shapes that each has."""
        return self.modules[0]

    @property
    def layers(self) -> dict[str, list[str]]:
        """None: one more forward pass would draw random numbers and change what a module holds."""
        return {}

    def _share(self) -> None:
        """Have each module's parameters and buffers be rows of stacked tensors."""
        parameters = [dict(module.named_parameters()) for module in self.modules]
        buffers = [dict(module.named_buffers()) for module in self.modules]
        self.parameters, self.buffers = _rows_of_stacked(parameters), _rows_of_stacked(buffers)

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self.objective = self.objective.on(device)
        self.replicas = self.replicas.to(device)
        for module in self.modules:
            module.to(device)
        self._share()

    def learn(self, inputs: Inputs, targets: Tensor, context: PassContext, *, rows: slice = ALL) -> LearningPass:
        """Run a forward and backward pass of each module in training mode; parameters and buffers stay as they are.

        Args:
            inputs: (sets, batch, ...), sets = replicas or 1 (shared by all); a tensor, or a tuple or dict of them.
            targets: (sets, batch, ...).
            context: when the pass runs.
            rows: the replicas that run it.

        Raises:
            InputError: the loss depends on other parameters than in the first pass.
        """
        before = self._copied_buffers()
        losses, metrics, gradients = [], [], []
        for row in range(len(self.modules))[rows]:
            module = self.modules[row]
            parameters = {name: each for name, each in module.named_parameters() if each.requires_grad}
            with self._drawing(row, context), torch.enable_grad():
                loss, metric = self._run(row, inputs, targets, context)
                check_learnable(loss)
                # May run parts of the module again.
                found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
                gradients.append(self._checked(dict(zip(parameters, found, strict=True))))
            losses.append(loss.detach())
            metrics.append(metric.detach())
        changed = {name: tensor[rows] for name, tensor in self._put_back(before).items()}
        by_name = {
            name: torch.stack(each) for name, each in zip(self.trained, zip(*gradients, strict=True), strict=True)
        }
        return LearningPass(torch.stack(losses), torch.stack(metrics), by_name, changed)

    def _checked(self, gradients: Mapping[str, Tensor | None]) -> list[Tensor]:
        """Return the gradients of trained parameters, in order; None stands where a pass does not reach a parameter."""
        for name, gradient in gradients.items():
            if (gradient is None) != (name in self.unreached):
                raise InputError(
                    f"the loss depends on {name} in some passes and not in others, in which torch's optimizers pass it "
                    "over; lossact's move every parameter in each update: train it by a LightningCondition"
                )
        return [gradient for gradient in gradients.values() if gradient is not None]

    def _copied_buffers(self) -> Tensors:
        return {name: tensor.clone() for name, tensor in self.buffers.items()}

    def _put_back(self, before: Tensors) -> Tensors:
        """Give the buffers the values of before a pass; return those that it changed."""
        self._keep_rows()
        changed = {
            name: tensor.clone() for name, tensor in self.buffers.items() if not torch.equal(tensor, before[name])
        }
        for name in changed:
            self.buffers[name].copy_(before[name])
        return changed

    def _keep_rows(self) -> None:
        """Take parameters and buffers that a module replaced back into the rows that they are kept in."""
        for row, module in enumerate(self.modules):
            named = ((self.parameters, module.named_parameters()), (self.buffers, module.named_buffers()))
            for name, tensor, stacked in ((name, each, rows) for rows, tensors in named for name, each in tensors):
                kept = stacked[name][row]
                if tensor.data_ptr() != kept.data_ptr():
                    kept.copy_(tensor.detach())
                    tensor.data = kept

    def measure(self, inputs: Inputs, targets: Tensor, context: PassContext) -> tuple[Tensor, Tensor]:
        """Return the loss (replicas,) and metric (replicas,) in evaluation mode; buffers stay as they are.

        Args:
            inputs, targets, context: as `learn` takes them.
        """
        before = self._copied_buffers()
        scores = []
        for row, module in enumerate(self.modules):
            with eval_mode(module), self._drawing(row, context), torch.no_grad():
                scores.append(self._run(row, inputs, targets, context))
        self._put_back(before)
        losses, metrics = (torch.stack(column) for column in zip(*scores, strict=True))
        return losses, metrics

    def outputs(self, inputs: Inputs) -> Any:
        """Return what the networks answer in evaluation mode, (replicas, batch, ...); buffers stay as they are."""
        before = self._copied_buffers()
        answers = []
        for row, module in enumerate(self.modules):
            with eval_mode(module), self._drawing(row, PREDICTION), torch.no_grad():
                own_inputs = row_of(inputs, row)
                answers.append(
                    run_pass(
                        module, own_inputs, lambda outputs: outputs, replica=self.replicas[row], context=PREDICTION
                    )
                )
        self._put_back(before)
        return _stack_alike(answers)

    def _run(self, row: int, inputs: Inputs, targets: Tensor, context: PassContext) -> tuple[Tensor, Tensor]:
        own_inputs, own_targets = row_of((inputs, targets), row)
        loss, metric = run_pass(
            self.modules[row],
            own_inputs,
            lambda outputs: self.objective.evaluate(outputs, own_targets),
            replica=self.replicas[row],
            context=context,
        )
        return loss, metric

    def _drawing(self, row: int, context: PassContext) -> AbstractContextManager[None]:
        """Count the random numbers of one replica's pass."""
        moment = Moment(self.seed, context.stage, context.batch_index)
        return PlainPass(moment, int(self.replicas[row]), self.paths[row]).active()


def _rows_of_stacked(by_name: Sequence[Mapping[str, Tensor]]) -> Tensors:
    """Stack tensors by name, and have the given ones be the rows of the stacked ones."""
    stacked = {name: torch.stack([tensors[name].detach() for tensors in by_name]) for name in by_name[0]}
    for row, tensors in enumerate(by_name):
        for name, tensor in tensors.items():
            tensor.data = stacked[name][row]
    return stacked


def _stack_alike(answers: Sequence[Any]) -> Any:
    """Stack the tensors of outputs of one structure."""
    columns = zip(*(tensors_in(checked_outputs(answer)) for answer in answers), strict=True)
    return with_tensors(answers[0], [torch.stack(column) for column in columns])
