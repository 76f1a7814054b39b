"""Activations, losses and the neuron as pure tensor functions, unreduced."""

from lossact.functional.accuracy import correct, is_correct
from lossact.functional.activations import ACTIVATIONS, Activation
from lossact.functional.losses import LOSSES, SIGMOID_LOSSES, Loss
from lossact.functional.neuron import Descent, Neuron, descend
from lossact.functional.surfaces import QUANTITIES, Grid, Surface, surface

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "QUANTITIES",
    "SIGMOID_LOSSES",
    "Activation",
    "Descent",
    "Grid",
    "Loss",
    "Neuron",
    "Surface",
    "correct",
    "descend",
    "is_correct",
    "surface",
]
