"""Activations, losses and the neuron as pure tensor functions, unreduced."""

from typing import Any

from lossact.errors import InputError
from lossact.functional.activations import ACTIVATIONS, Activation
from lossact.functional.correctness import correct, is_correct
from lossact.functional.losses import LOSSES, SIGMOID_LOSSES, Loss
from lossact.functional.mesh import RANGES, Gap, Mesh, mesh, profile
from lossact.functional.neuron import Descent, Neuron, descend
from lossact.functional.surfaces import QUANTITIES, Grid, Surface, surface

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "QUANTITIES",
    "RANGES",
    "SIGMOID_LOSSES",
    "Activation",
    "Descent",
    "Gap",
    "Grid",
    "Loss",
    "Mesh",
    "Neuron",
    "Surface",
    "correct",
    "descend",
    "is_correct",
    "mesh",
    "profile",
    "surface",
]

_RENAMED = {"SigmoidLoss": "Loss", "accuracy": "is_correct"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        raise InputError(f"{__name__}.{name} is called {__name__}.{_RENAMED[name]} since 0.2; use the new name")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
