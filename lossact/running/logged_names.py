"""Whether a LightningModule logs what its condition names."""

from collections.abc import Collection
from difflib import get_close_matches

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError

LOSS = "loss"  # what training_step returns, where the module logs nothing of that name
LIKENESS = 0.7  # of a name to the one that was meant: "val_accuracy" is like "val_acc", and "val_loss" is not


def check_logged(condition: LightningCondition, logged: Collection[str], updates: int, *, has_metric: bool) -> None:
    """Raise InputError where the target's metric has no value after the fit, or a measure was never logged.

    Args:
        condition: what was trained.
        logged: names of all that the module logged.
        updates: of the fit.
        has_metric: whether the target's metric had a value.
    """
    missing = [f"measures: {name!r}" for name in condition.measures if name not in logged]
    if condition.has_target and not has_metric:
        missing.insert(0, f"metric={condition.metric!r}")
    if missing:
        names = ", ".join(sorted(logged)) or "nothing"
        raise InputError(f"{condition}: {missing[0]} was never logged in {updates} updates; the module logged {names}")


def check_spelling(condition: LightningCondition, logged: Collection[str]) -> None:
    """Raise InputError where a name is not logged in the first epoch, and one that is much like it is.

    A name that is like no other may be logged in a later epoch.

    Args:
        condition: what is trained.
        logged: names of all that the module has logged, after an epoch with its validation.
    """
    wanted = [*condition.measures, *([condition.metric] if condition.metric not in (None, LOSS) else [])]
    for name in (str(name) for name in wanted if name not in logged):
        close = get_close_matches(name, logged, n=1, cutoff=LIKENESS)
        if close:
            names = ", ".join(sorted(logged))
            raise InputError(
                f"{condition}: {name!r} was not logged in the first epoch, only {names}; did you mean {close[0]!r}?"
            )
