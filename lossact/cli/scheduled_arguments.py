"""Schedules among the keyword arguments of a TorchOptimizer in a config, which jsonargparse hands on as they stand."""

from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from lossact.conditions import TorchOptimizer
from lossact.conditions.schedules import Schedule
from lossact.errors import InputError

CLASS_PATHS = {f"{module}.{TorchOptimizer.__name__}" for module in ("lossact", TorchOptimizer.__module__)}


def with_schedules(config: Any) -> Any:
    """Copy a config, with a schedule for each keyword argument of a TorchOptimizer that is written as one.

    Args:
        config: as jsonargparse parsed it, a part of it, or one value.

    Returns:
        the copy, in which {class_path: lossact.cosine, init_args: {...}} in a TorchOptimizer's dict_kwargs, at any
        depth, is the schedule.

    Raises:
        InputError: such a mapping is no schedule.
    """
    if isinstance(config, list):
        return [with_schedules(value) for value in config]
    if not isinstance(config, (Namespace, dict)):
        return config
    items = {
        name: with_schedules(value)
        for name, value in (vars(config) if isinstance(config, Namespace) else config).items()
    }
    if items.get("class_path") in CLASS_PATHS and items.get("dict_kwargs"):
        arguments = items["dict_kwargs"]
        named = vars(arguments) if isinstance(arguments, Namespace) else arguments
        items["dict_kwargs"] = {name: _argument(name, value) for name, value in named.items()}
    return Namespace(**items) if isinstance(config, Namespace) else items  # type: ignore[no-untyped-call]


def _argument(name: str, value: Any) -> Any:
    """Return the schedule that a mapping with a class_path is, or any other value as it is."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{name}", type=Schedule)
    try:
        return parser.instantiate_classes(parser.parse_object({name: value}))[name]
    except InputError as error:
        reason = str(error)
    except (ArgumentError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
    raise InputError(f"TorchOptimizer: {name} is no schedule: {reason}")
