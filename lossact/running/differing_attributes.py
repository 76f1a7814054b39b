"""What modules hold in different values where their conditions share a fit: steps of all replicas must not read it."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NoReturn

import torch
from lightning.fabric.utilities.data import AttributeDict
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torchmetrics import Metric

from lossact.replicas.held_values import DEEPEST, OF_EVERY_MODULE, snapshot
from lossact.training.stackable import NotStackableError

TENSORS_AND_PARTS = {"_parameters", "_buffers", "_modules"}  # the first two are stacked; parts are looked at themselves
HYPERPARAMETERS = {"_hparams", "_hparams_initial"}
UNGUARDED = (OF_EVERY_MODULE | {"training"} | set(vars(LightningModule()))) - HYPERPARAMETERS
MISSING = object()


def hide_what_differs(template: LightningModule, modules: Sequence[LightningModule]) -> None:
    """Make attributes and hyperparameters that differ between modules unreadable in another one.

    Args:
        template: runs the steps of all replicas; changed in place.
        modules: one a condition.

    Raises:
        NotStackableError: the modules differ in what cannot be hidden, as their classes.
    """
    by_path = [dict(module.named_modules()) for module in modules]
    if any(list(parts) != list(by_path[0]) for parts in by_path):
        raise _differs("its parts differ")
    registered = {id(tensor) for module in modules for tensor in (*module.parameters(), *module.buffers())}
    for path, part in list(template.named_modules()):
        parts = [of_module[path] for of_module in by_path]
        if len({type_before_parametrizations(each) for each in parts}) > 1:
            raise _differs(f"the class of its {path} differs" if path else "its class differs")
        names = _differing_names(parts, registered)
        for name in names:
            if name in UNGUARDED or isinstance(part, Metric):
                raise _differs(f"its {_joined(path, name)} differs")
        for name in names & HYPERPARAMETERS:
            vars(part)[name] = _hyperparameters([vars(each).get(name) for each in parts], registered)
        _hide(part, path, names - HYPERPARAMETERS)


def _differing_names(parts: Sequence[nn.Module], registered: set[int]) -> set[str]:
    names = {name for part in parts for name in vars(part)} - TENSORS_AND_PARTS
    return {name for name in names if _differ([vars(part).get(name, MISSING) for part in parts], registered)}


def _differ(values: Sequence[Any], registered: set[int]) -> bool:
    first, *others = (_content(value, registered) for value in values)
    return any(other != first for other in others)


def _content(value: Any, registered: set[int], depth: int = 0) -> Any:
    """Return a value's content, to be compared; of functions what they hold, of modules their class alone."""
    inner: Any
    if isinstance(value, nn.Module):
        return type(value)
    if depth == DEEPEST or value is MISSING or isinstance(value, (Tensor, type)):
        return snapshot(value, registered=registered)
    if isinstance(value, partial):
        inner = [value.func, value.args, value.keywords]
    elif isinstance(value, MethodType):
        inner = [value.__func__, value.__self__]
    elif isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        inner = [value.__code__, value.__defaults__, value.__kwdefaults__, cells]
    elif isinstance(value, Mapping):  # hooks are held under numbers that count them
        inner = [name for name in value if not isinstance(name, int)], *value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    elif hasattr(value, "__dict__") and not isinstance(value, torch.Generator):
        inner = sorted(vars(value).items())
    else:
        return snapshot(value, registered=registered)
    return [type(value), *(_content(each, registered, depth + 1) for each in inner)]


def _hide(part: nn.Module, path: str, names: set[str]) -> None:
    """Have reading the attributes of a module end in an error."""
    if not names:
        return
    kind = type(part)
    refusals = {name: property(partial(_refuse, _joined(path, name))) for name in names}
    for name in names:
        vars(part).pop(name, None)
    part.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, **refusals})


def _refuse(name: str, *_: Any) -> NoReturn:
    raise _differs(f"its steps read {name}, which differs")


def _differs(what: str) -> NotStackableError:
    return NotStackableError(f"{what} between conditions")


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _hyperparameters(values: Sequence[Any], registered: set[int]) -> "_Hyperparameters":
    of_modules = [value or {} for value in values]
    names = {name for each in of_modules for name in each}
    differing = {name for name in names if _differ([each.get(name, MISSING) for each in of_modules], registered)}
    return _Hyperparameters(of_modules[0], differing)


class _Hyperparameters(AttributeDict):
    """Hyperparameters without those that differ; reading one of these, or all, is an error."""

    def __init__(self, values: Mapping[str, Any], differing: set[str]) -> None:
        super().__init__({name: value for name, value in values.items() if name not in differing})
        object.__setattr__(self, "_differing", differing)

    def __missing__(self, name: str) -> Any:
        if name in vars(self)["_differing"]:
            _refuse(name)
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, default) if name in self else default

    def __contains__(self, name: object) -> bool:
        if name in vars(self)["_differing"]:
            _refuse(str(name))
        return super().__contains__(name)

    def _refuse_all(self, *_: Any) -> NoReturn:
        _refuse(min(vars(self)["_differing"]))

    __iter__ = keys = values = items = copy = __len__ = __eq__ = _refuse_all
    __hash__ = None  # type: ignore[assignment]
