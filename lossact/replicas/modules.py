"""Anybody's nn.Module as many replicas: stacked by torch.func, or side by side where that cannot be."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from lossact.errors import InputError
from lossact.models.factory import ModuleFactory
from lossact.replicas.objective import Objective, check_learnable
from lossact.replicas.probe import ONE_AT_A_TIME, check_stackable, probe
from lossact.replicas.random_streams import (
    RNGState,
    isolate_rng,
    rng_state,
    seed_rng,
    set_rng_state,
)


def make_modules(factory: ModuleFactory, seeds: Sequence[int]) -> list[nn.Module]:
    """One module a seed, its weights drawn by its own initialisation under that seed.

    Raises:
        InputError: the factory makes something else, or modules of different shapes.
    """
    modules: list[nn.Module] = []
    with isolate_rng():
        for seed in seeds:
            seed_rng(seed)
            module = factory.make()
            if not isinstance(module, nn.Module):
                raise InputError(f"network {factory} made {type(module).__name__}; it must return an nn.Module")
            modules.append(module)
    shapes = [{name: (tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()} for module in modules]
    if not shapes[0]:
        raise InputError(f"network {factory} has no parameters; there is nothing to train")
    seen: set[int] = set()
    for module in modules:
        own = {id(one): name for name, one in _tensors(module)}
        shared = next((name for one, name in own.items() if one in seen), None)
        if shared is not None:
            raise InputError(
                f"network {factory} gives several replicas the same {shared!r}; have it make new ones each time "
                "(copy.deepcopy of what is loaded once, say)"
            )
        seen |= own.keys()
    if any(other != shapes[0] for other in shapes):
        raise InputError(
            f"network {factory} makes modules of different shapes, or with other parameters fixed; replicas must share "
            "one"
        )
    hooked = [name for name, p in modules[0].named_parameters() if p._backward_hooks or p._post_accumulate_grad_hooks]
    if hooked:
        raise InputError(
            f"network {factory} has a hook on the gradient of {hooked[0]!r}, which replicas do not call; take a "
            "LightningCondition, or have the loss do what it does"
        )
    if not any(trains for _, trains in shapes[0].values()):
        raise InputError(f"network {factory} has all its parameters fixed; there is nothing to train")
    return modules


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def freeze(module: nn.Module, names: Iterable[str]) -> None:
    """Have parameters stay as they are: an optimiser leaves alone what the loss does not reach, decay and all."""
    parameters = dict(module.named_parameters())
    for name in names:
        parameters[name].requires_grad_(False)


def flat_parameters(module: nn.Module) -> Tensor:
    """(size,) the module's parameters, flattened in their order."""
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def _named_views(module: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Its parameters by name; those that it holds fixed get no gradient."""
    parameters = dict(module.named_parameters())
    parts = torch.split(flat, [p.numel() for p in parameters.values()])
    return {
        name: (part if p.requires_grad else part.detach()).view(p.shape)
        for (name, p), part in zip(parameters.items(), parts, strict=True)
    }


def _bias_mask(module: nn.Module) -> Tensor:
    return torch.cat(
        [
            torch.full((p.numel(),), name.rpartition(".")[2] == "bias", dtype=torch.bool)
            for name, p in module.named_parameters()
        ]
    )


def _fixed_mask(module: nn.Module) -> Tensor | None:
    masks = [torch.full((p.numel(),), not p.requires_grad) for p in module.parameters()]
    fixed = torch.cat(masks)
    return fixed if bool(fixed.any()) else None


def _layers(module: nn.Module) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, parameter in module.named_parameters():
        layer = name.rpartition(".")[0] or name
        sizes[layer] = sizes.get(layer, 0) + parameter.numel()
    return sizes


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode within; afterwards each part is in the mode that it had."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


class StackedModule:
    """R modules of one shape through torch.func: one forward and backward for all, by vmap.

    Args:
        module: any of them; its parameters' values are not used.
        judge: loss and metric of its outputs.
        images, labels: one replica's data, for a trial run.

    Raises:
        InputError: the module cannot be stacked.
    """

    def __init__(self, module: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor) -> None:
        tried = probe(module, objective, inputs, targets)
        check_stackable(tried)
        freeze(module, tried.unreached)
        for part in list(module.modules()):
            if isinstance(part, _BatchNorm) and part.training:  # in evaluation its statistics are read, and stay
                replace_all_batch_norm_modules_(part)
        self.module = module
        self.objective = objective
        try:
            self.loss_and_gradient(flat_parameters(module).unsqueeze(0), inputs.unsqueeze(0), targets.unsqueeze(0))
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            reason = str(error).partition(". ")[0]
            raise InputError(
                f"network, loss or metric cannot be stacked by torch.func ({reason}); {ONE_AT_A_TIME}, or write it in "
                "operations that torch.func.vmap knows"
            ) from None

    def arrange_inputs(self, inputs: Tensor) -> Tensor:
        """As they are."""
        return inputs

    def loss_and_gradient(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (replicas,), metric (replicas,) and gradient (replicas, size)."""

        def one(flat: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            loss, metric = self._evaluate(flat, inputs, targets)
            return loss, (loss, metric)

        gradient, (loss, metric) = self._of_each(grad(one, has_aux=True), parameters, inputs, targets)
        return loss, metric, gradient

    def measure(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (replicas,) and metric (replicas,)."""
        loss, metric = self._of_each(self._evaluate, parameters, inputs, targets)
        return loss, metric

    def _evaluate(self, flat: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        outputs = functional_call(self.module, _named_views(self.module, flat), (inputs,))
        return self.objective.evaluate(outputs, targets)

    def _of_each(self, function: Callable[..., Any], parameters: Tensor, inputs: Tensor, targets: Tensor) -> Any:
        shared = None if len(inputs) == 1 and len(parameters) > 1 else 0
        if shared is None:
            inputs, targets = inputs[0], targets[0]
        return vmap(function, (0, shared, shared))(parameters, inputs, targets)

    @property
    def layers(self) -> dict[str, int]:
        """Name of a part with parameters of its own to their number, in order."""
        return _layers(self.module)

    def outputs(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """What every replica answers: (replicas, batch, ...)."""

        def one(flat: Tensor, inputs: Tensor) -> Tensor:
            answer: Tensor = functional_call(self.module, _named_views(self.module, flat), (inputs,))
            return answer

        shared = len(inputs) == 1 and len(parameters) > 1
        return vmap(one, (0, None if shared else 0))(parameters, inputs[0] if shared else inputs)

    def bias_mask(self) -> Tensor:
        """(size,) with True where a parameter is called bias."""
        return _bias_mask(self.module)

    def fixed_mask(self) -> Tensor | None:
        """(size,) with True where a parameter does not require gradients; None where all do."""
        return _fixed_mask(self.module)


class _Within(nn.Module):
    """Whatever is to be done while a module has other weights."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, what: Callable[[], Any]) -> Any:
        return what()


class UnstackedModules:
    """R modules side by side, each run by itself: slower, but anything a forward pass does stays its own.

    What is only measured is measured in evaluation mode: without dropout, with batch norm's running statistics.

    Args:
        modules: one a replica.
        judge: loss and metric of their outputs.
        seeds: one a replica; what a forward pass draws comes from it.
    """

    def __init__(self, modules: Sequence[nn.Module], objective: Objective, seeds: Sequence[int]) -> None:
        self.modules, self.objective = modules, objective
        self.states: list[RNGState] = []
        with isolate_rng():
            for seed in seeds:
                seed_rng(seed)
                self.states.append(rng_state())

    def arrange_inputs(self, inputs: Tensor) -> Tensor:
        """As they are."""
        return inputs

    def loss_and_gradient(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (replicas,), metric (replicas,) and gradient (replicas, size)."""
        rows = [
            self._one(r, flat, inputs[r % len(inputs)], targets[r % len(targets)]) for r, flat in enumerate(parameters)
        ]
        loss, metric, gradient = (torch.stack(column) for column in zip(*rows, strict=True))
        return loss, metric, gradient

    def _one(self, replica: int, flat: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        module = self.modules[replica]
        with self._own_random_numbers(replica), torch.enable_grad():
            own = flat.detach().requires_grad_()

            def passed() -> tuple[Tensor, Tensor, Tensor]:
                loss, metric = self.objective.evaluate(module(inputs), targets)
                check_learnable(loss)
                (gradient,) = torch.autograd.grad(loss, own)  # may run parts of the module again
                return loss.detach(), metric.detach(), gradient

            views = {f"module.{name}": view for name, view in _named_views(module, own).items()}
            found: tuple[Tensor, Tensor, Tensor] = functional_call(_Within(module), views, (passed,))
            return found

    @contextmanager
    def _own_random_numbers(self, replica: int) -> Iterator[None]:
        with isolate_rng():
            set_rng_state(self.states[replica])
            yield
            self.states[replica] = rng_state()

    def measure(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (replicas,) and metric (replicas,)."""
        rows: list[tuple[Tensor, Tensor]] = []
        for r, (module, flat) in enumerate(zip(self.modules, parameters, strict=True)):
            of_replica = inputs[r % len(inputs)], targets[r % len(targets)]
            with eval_mode(module), self._own_random_numbers(r), torch.no_grad():
                outputs = functional_call(module, _named_views(module, flat), (of_replica[0],))
                rows.append(self.objective.evaluate(outputs, of_replica[1]))
        loss, metric = (torch.stack(column) for column in zip(*rows, strict=True))
        return loss, metric

    @property
    def layers(self) -> dict[str, int]:
        """None: one more forward pass would draw random numbers and change buffers."""
        return {}

    def bias_mask(self) -> Tensor:
        """(size,) with True where a parameter is called bias."""
        return _bias_mask(self.modules[0])

    def fixed_mask(self) -> Tensor | None:
        """(size,) with True where a parameter does not require gradients; None where all do."""
        return _fixed_mask(self.modules[0])
