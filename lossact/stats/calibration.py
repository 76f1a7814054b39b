"""How often verdicts are wrong, by simulation: python -m lossact.stats.calibration [--short].

Every table states what it should show and ends in a line that says whether it did. All verdicts come from the functions
that decide claims; what is compared with them (group-sequential designs, a sign test) is written here, and
adastop and ville are used where they are installed. With --trials FILE (steps_to_target of one real condition) the
suites of an A/A test are resampled from real runs.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from lossact.stats.decision import Comparison, Decision, decide
from lossact.stats.holm import holm
from lossact.stats.outcomes import Outcome, Outcomes, compare_steps
from lossact.stats.replay import Margins

ALPHA, DELTA, BUDGET, LIMIT = 0.025, 0.1, 1000, 2048
WINS = Margins.of_wins(DELTA)
STAGES = (64, 256, 1024)
