"""Conditions, which say what is trained, with their optimizers, measures and targets."""

from lossact.conditions.base import BaseCondition
from lossact.conditions.condition import Condition
from lossact.conditions.function import FunctionCondition
from lossact.conditions.lightning import LightningCondition
from lossact.conditions.measures import Accuracy, Loss, Measure, Metric, Target
from lossact.conditions.optimizers import SGD, Adam, AdamW, TorchOptimizer

__all__ = [
    "SGD",
    "Accuracy",
    "Adam",
    "AdamW",
    "BaseCondition",
    "Condition",
    "FunctionCondition",
    "LightningCondition",
    "Loss",
    "Measure",
    "Metric",
    "Target",
    "TorchOptimizer",
]
