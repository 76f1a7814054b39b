"""What modules hold in different values where their conditions share a fit: steps of all replicas must not read it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from lightning.fabric.utilities.data import AttributeDict
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torchmetrics import Metric

from lossact.replicas.held_values import OF_EVERY_MODULE, attribute_snapshot, names_by_id, snapshot
from lossact.training.held_attributes import HYPERPARAMETERS
from lossact.training.stackable import NotStackableError

# The first two are stacked; parts are looked at themselves; what is shown of the Trainer is the same for all.
NOT_COMPARED = {"_parameters", "_buffers", "_modules", "_trainer"}
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
    known = names_by_id(*modules)
    for path, part in list(template.named_modules()):
        parts = [of_module[path] for of_module in by_path]
        if len({type_before_parametrizations(each) for each in parts}) > 1:
            raise _differs(f"the class of its {path} differs" if path else "its class differs")
        names = _differing_names(parts, known)
        for name in names:
            if name in UNGUARDED or isinstance(parts[0], Metric):
                raise _differs(f"its {_joined(path, name)} differs")
        for name in names & HYPERPARAMETERS:
            vars(part)[name] = _hyperparameters([vars(each).get(name) for each in parts], known)
        _hide(part, path, names - HYPERPARAMETERS)


def _differing_names(parts: Sequence[nn.Module], known: Mapping[int, str]) -> set[str]:
    names = {name for part in parts for name in vars(part)} - NOT_COMPARED

    def differ(name: str) -> bool:
        return _differ([attribute_snapshot(name, vars(part).get(name, MISSING), known=known) for part in parts])

    return {name for name in names if differ(name)}


def _differ(contents: Sequence[Any]) -> bool:
    first, *others = contents
    return any(other != first for other in others)


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


def _hyperparameters(values: Sequence[Any], known: Mapping[int, str]) -> Any:
    of_modules = [value or {} for value in values]
    names = {name for each in of_modules for name in each}
    differing = {
        name for name in names if _differ([snapshot(each.get(name, MISSING), known=known) for each in of_modules])
    }
    return _Hyperparameters(of_modules[0], differing) if differing else of_modules[0]


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
