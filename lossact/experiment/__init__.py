"""Conditions, trials, the store that keeps them and the runner that trains what is missing."""

from lossact.experiment.condition import Condition, Trainable
from lossact.experiment.executor import Executor, LocalExecutor
from lossact.experiment.experiment import Experiment, default_setting
from lossact.experiment.foreign import FunctionCondition, LightningCondition
from lossact.experiment.on_ray import RayExecutor
from lossact.experiment.optimizers import SGD, Adam, AdamW
from lossact.experiment.store import Store
from lossact.experiment.targets import Accuracy, Loss, Metric
from lossact.experiment.trials import Curves, Trial, Trials

__all__ = [
    "SGD",
    "Accuracy",
    "Adam",
    "AdamW",
    "Condition",
    "Curves",
    "Executor",
    "Experiment",
    "FunctionCondition",
    "LightningCondition",
    "LocalExecutor",
    "Loss",
    "Metric",
    "RayExecutor",
    "Store",
    "Trainable",
    "Trial",
    "Trials",
    "default_setting",
]
