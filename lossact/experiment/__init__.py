"""Conditions, trials, the store that keeps them and the runner that trains what is missing."""

from lossact.experiment.condition import SGD, Accuracy, Condition
from lossact.experiment.experiment import Experiment, default_setting
from lossact.experiment.store import Store
from lossact.experiment.trials import Curves, Trial, Trials

__all__ = ["SGD", "Accuracy", "Condition", "Curves", "Experiment", "Store", "Trial", "Trials", "default_setting"]
