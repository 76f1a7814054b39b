"""Activations and losses as pure tensor functions, unreduced."""

from lossact.functional.accuracy import correct
from lossact.functional.activations import ACTIVATIONS, Activation
from lossact.functional.losses import SIGMOID_LOSSES, SigmoidLoss

__all__ = ["ACTIVATIONS", "SIGMOID_LOSSES", "Activation", "SigmoidLoss", "correct"]
