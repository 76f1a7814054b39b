"""Conditions, which say what is trained, with their optimizers, measures and targets."""

from lossact.conditions.averages import EMA, SWA
from lossact.conditions.base import BaseCondition
from lossact.conditions.condition import Condition
from lossact.conditions.function import FunctionCondition
from lossact.conditions.lightning import LightningCondition
from lossact.conditions.measures import Accuracy, Loss, Measure, Metric, Target
from lossact.conditions.optimizers import SGD, Adam, AdamW, Partition, TorchOptimizer
from lossact.conditions.reading import read_runs
from lossact.conditions.recorded_runs import RecordedRuns
from lossact.conditions.schedule_functions import schedule, torch_schedule
from lossact.conditions.schedules import (
    Schedule,
    cosine,
    exponential,
    linear,
    one_cycle,
    step_decay,
    warmup_hold_decay,
)
from lossact.conditions.value_measures import Best, OfNetwork

__all__ = [
    "EMA",
    "SGD",
    "SWA",
    "Accuracy",
    "Adam",
    "AdamW",
    "BaseCondition",
    "Best",
    "Condition",
    "FunctionCondition",
    "LightningCondition",
    "Loss",
    "Measure",
    "Metric",
    "OfNetwork",
    "Partition",
    "RecordedRuns",
    "Schedule",
    "Target",
    "TorchOptimizer",
    "cosine",
    "exponential",
    "linear",
    "one_cycle",
    "read_runs",
    "schedule",
    "step_decay",
    "torch_schedule",
    "warmup_hold_decay",
]
