"""Activations, losses and the neuron as pure tensor functions, unreduced."""

from lossact.functional.accuracy import correct, is_correct
from lossact.functional.activations import ACTIVATIONS, Activation
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
