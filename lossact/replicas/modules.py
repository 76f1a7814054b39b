"""Users' modules: made by their factory, cast, and what of them trains."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from lossact.errors import InputError
from lossact.models.factory import ModuleFactory
from lossact.replicas.random_streams import isolate_rng, seed_rng


def make_modules(factory: ModuleFactory, seeds: Sequence[int]) -> list[nn.Module]:
    """Make one module a seed, its weights drawn by its own initialisation under that seed.

    Raises:
        InputError: the factory makes something else, or modules of different shapes.
    """
    modules: list[nn.Module] = []
    with isolate_rng():
        for seed in seeds:
            seed_rng(seed)
            module = factory.make()
            _check_made(factory, module)
            modules.append(unwrap_compiled(module))
    shapes = [{name: (tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()} for module in modules]
    if not shapes[0]:
        raise InputError(f"network {factory} has no parameters; there is nothing to train")
    seen: set[int] = set()
    for module in modules:
        names = {id(tensor): name for name, tensor in _tensors(module)}
        shared = next((name for identity, name in names.items() if identity in seen), None)
        if shared is not None:
            raise InputError(
                f"network {factory} gives several replicas the same {shared!r}; have it make new ones each time "
                "(copy.deepcopy of what is loaded once, say)"
            )
        seen |= names.keys()
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


def _check_made(factory: ModuleFactory, module: object) -> None:
    """Raise InputError where what a factory made cannot be trained as replicas, stacked or not."""
    if not isinstance(module, nn.Module):
        raise InputError(f"network {factory} made {type(module).__name__}; it must return an nn.Module")
    for name, part in module.named_modules():
        if any(is_lazy(tensor) for tensor in part._parameters.values()):
            raise InputError(
                f"network {factory}: {name or 'it'} is a {type(part).__name__} whose shape is not known yet; give its "
                "input size, or run the network once on an example inside the factory, before it is returned"
            )
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.sparse:
            raise InputError(
                f"network {factory}: {name or 'it'} is an {type(part).__name__} with sparse gradients, which replicas "
                "do not take; leave out sparse=True"
            )


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def has_tied_tensors(module: nn.Module) -> bool:
    """Return whether a module holds a parameter or buffer under several names."""
    every = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return len({id(tensor) for _, tensor in every}) < len(every)


def freeze(module: nn.Module, names: Iterable[str]) -> None:
    """Have parameters stay as they are: an optimiser leaves alone what the loss does not reach, decay and all."""
    parameters = dict(module.named_parameters())
    for name in names:
        parameters[name].requires_grad_(False)


def augment_inputs(module: nn.Module, augment: Callable[..., Any]) -> None:
    """Have a module's inputs in training mode go through a function first, which takes them as the module does."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not module.training:
            return None
        inputs = augment(*args, **kwargs)
        if inputs is None:
            raise InputError("augment returned None; have it return the inputs that the network is to take")
        if isinstance(inputs, Mapping):
            return (), dict(inputs)
        return (inputs if isinstance(inputs, tuple) else (inputs,)), {}

    module.register_forward_pre_hook(hook, with_kwargs=True)


def cast_module(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast a module's real tensors to `dtype` and its complex ones to complex numbers of that precision, in place."""
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64

    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(complex_dtype)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    module._apply(cast)  # type: ignore[no-untyped-call]  # module.to(dtype) would drop imaginary parts
    return module


def unwrap_compiled(module: nn.Module) -> nn.Module:
    """Return a module without torch.compile around it or around its parts: vmap takes the operations themselves."""
    original = getattr(module, "_orig_mod", None)
    if isinstance(original, nn.Module):
        return unwrap_compiled(original)
    for name, child in module.named_children():
        unwrapped = unwrap_compiled(child)
        if unwrapped is not child:
            setattr(module, name, unwrapped)
    if getattr(module, "_compiled_call_impl", None) is not None:  # by module.compile()
        module._compiled_call_impl = None
    return module


def trained_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters that require a gradient."""
    return tuple(name for name, parameter in module.named_parameters() if parameter.requires_grad)


def layers_of(module: nn.Module) -> dict[str, list[str]]:
    """Name of each part with trained parameters of its own to their names, in order."""
    layers: dict[str, list[str]] = {}
    for name in trained_names(module):
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return layers


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode within; afterwards each part is in the mode that it had.

    The module's own train() and eval() are called, for they may do more.
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        module.train(modes[module])
        for part, training in modes.items():
            if part.training != training:
                part.train(training)


def copy_module(module: nn.Module) -> nn.Module:
    """Copy a module, with None for what a pass left in it and torch does not copy."""
    return copy.deepcopy(module, left_by_passes(module))


def left_by_passes(*modules: nn.Module) -> dict[int, Any]:
    """Return by id what stands in copies for the tensors that passes left in modules: None, because torch
    cannot copy them.

    They are computed anew in each pass, as the weights of torch.nn.utils.weight_norm are.
    """
    held = [value for module in modules for part in module.modules() for value in vars(part).values()]
    tensors = [each for each in pytree.tree_leaves(held) if isinstance(each, Tensor)]
    return {id(each): None for each in tensors if not each.is_leaf or is_functorch_wrapped_tensor(each)}
