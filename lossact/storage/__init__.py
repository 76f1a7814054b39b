"""Where the outcomes of training are kept: trials, the store that holds them, and the keys they are found by."""

from lossact.storage.store import Store
from lossact.storage.trials import FEWEST_COPIES, FEWEST_EQUAL_RUNS, Curves, Trial, Trials

__all__ = ["FEWEST_COPIES", "FEWEST_EQUAL_RUNS", "Curves", "Store", "Trial", "Trials"]
