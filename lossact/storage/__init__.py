"""Keep the outcomes of training: trials, the store that holds them, and their keys."""

from lossact.storage.store import Store
from lossact.storage.trials import FEWEST_COPIES, FEWEST_EQUAL_RUNS, NOT_COUNTED, Curves, Trial, Trials

__all__ = ["FEWEST_COPIES", "FEWEST_EQUAL_RUNS", "NOT_COUNTED", "Curves", "Store", "Trial", "Trials"]
