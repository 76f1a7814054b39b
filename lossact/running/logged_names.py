"""Whether a LightningModule logs what its condition names."""

import re
from collections.abc import Collection

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError

LOSS = "loss"  # what training_step returns, where the module logs nothing of that name


def check_logged(condition: LightningCondition, logged: Collection[str], updates: int, *, has_metric: bool) -> None:
    """Raise InputError where the target's metric has no value after the fit, or a measure was never logged.

    Args:
        condition: what was trained.
        logged: names of all that the module logged.
        updates: of the fit.
        has_metric: whether the target's metric had a value.
    """
    missing = [f"measures: {name!r}" for name in condition.logged_measures if name not in logged]
    if condition.has_target and not has_metric:
        missing.insert(0, f"metric={condition.metric!r}")
    if missing:
        names = ", ".join(sorted(logged)) or "nothing"
        raise InputError(f"{condition}: {missing[0]} was never logged in {updates} updates; the module logged {names}")


def check_spelling(condition: LightningCondition, logged: Collection[str]) -> None:
    """Raise InputError where a name is not logged yet, and one that differs in case and punctuation alone is.

    Any other name may be logged in a later epoch.

    Args:
        condition: what is trained.
        logged: names of all that the module has logged, after an epoch with its validation.
    """
    wanted = [*condition.logged_measures, *([condition.metric] if condition.metric not in (None, LOSS) else [])]
    by_letters = {_letters(name): name for name in logged}
    for name in (str(name) for name in wanted if name not in logged):
        if _letters(name) in by_letters:
            raise InputError(
                f"{condition}: {name!r} is not logged, only {', '.join(sorted(logged))}; did you mean "
                f"{by_letters[_letters(name)]!r}?"
            )


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
