"""Trials and conditions as two sides would hand them over."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lossact.against import Pair, SideCondition
from lossact.against.matching import ValueInfo
from lossact.storage import Trials

ACCURACY = ValueInfo(direction="higher", is_share=True, at_end=True)
NORM = ValueInfo(direction=None, is_share=False, at_end=True)


def side_condition(name: str = "mlp", *, index: int = 0, key: str = "a", **fields: Any) -> SideCondition:
    defaults: dict[str, Any] = {
        "claims": ("claims/test_a.py::test_one",), "content": {}, "block": 16, "launch": 16, "budget": 60,
        "has_target": True, "equal_steps": False, "seed_advice": "use the seed", "values": {},
    }  # fmt: skip
    return SideCondition(index=index, name=name, key=key, **defaults | fields)


def pair(**fields: Any) -> Pair:
    return Pair("mlp", side_condition(key="old", **fields), side_condition(key="new", **fields))


def trials(steps: ArrayLike, *, budget: int = 60, **values: ArrayLike) -> Trials:
    """Trials with these updates to the target, above the budget where it was not reached."""
    taken = np.asarray(steps, dtype=np.int64)
    return Trials(
        np.where(taken <= budget, taken, 0),
        taken <= budget,
        np.zeros(len(taken), bool),
        budget,
        run_digests=np.arange(1, len(taken) + 1),
        values={name: np.asarray(each, dtype=np.float64) for name, each in values.items()},
    )
