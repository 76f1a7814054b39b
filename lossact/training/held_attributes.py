"""What a LightningModule holds beside its tensors, to be compared before and after its own code ran."""

from collections.abc import Collection, Mapping
from typing import Any

from lightning.pytorch import LightningModule
from torch import nn

from lossact.replicas.held_values import OF_EVERY_MODULE, names_by_id, snapshot
from lossact.training.stacked_metrics import MetricStandIn

OF_EVERY_LIGHTNING_MODULE = set(vars(LightningModule())) | OF_EVERY_MODULE | {"log", "log_dict", "_trainer"}
HYPERPARAMETERS = {"_hparams", "_hparams_initial"}


def beside_tensors(module: nn.Module, *, but: Collection[str] = ()) -> dict[str, Any]:
    """Return what a module holds beside tensors, but for some attributes, by name, to be compared."""
    known = names_by_id(module)
    return {
        f"{path}.{name}" if path else name: snapshot(value, known=known)
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in OF_EVERY_LIGHTNING_MODULE and name not in but and not isinstance(part, MetricStandIn)
    }


def held_by_template(template: nn.Module) -> dict[str, Any]:
    """Return what the module that runs the steps of all replicas holds beside tensors and hyperparameters.

    Hyperparameters that differ between conditions cannot be read there, and recurrent layers keep a list of the weights
    that they had last.
    """
    return beside_tensors(template, but={*HYPERPARAMETERS, "_flat_weights"})


def changed_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names that are new or have another value."""
    return [name for name, value in after.items() if name not in before or before[name] != value]
