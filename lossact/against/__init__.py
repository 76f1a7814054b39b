"""Train the same conditions under two states of their code, and say whether they still learn as they did."""

from lossact.against.before_after import BeforeAfter, compare_with_revision
from lossact.against.matching import Pair, SideCondition
from lossact.against.repository import Repository
from lossact.against.results import ConditionResult, MeasureResult
from lossact.against.settings import FAIL_ON, Settings, exit_code

__all__ = [
    "FAIL_ON",
    "BeforeAfter",
    "ConditionResult",
    "MeasureResult",
    "Pair",
    "Repository",
    "Settings",
    "SideCondition",
    "compare_with_revision",
    "exit_code",
]
