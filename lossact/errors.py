"""What lossact raises when something it was given cannot be used.

Every message names the value, the rule it breaks and the way out, so that a door (pytest, the command line, a
notebook) can show it as it is, without a traceback.
"""


class LossactError(Exception):
    """Base of everything lossact raises on purpose."""


class InputError(LossactError, ValueError):
    """A value given by the user breaks a rule."""


class DataError(InputError):
    """A data file is missing or does not hold what it should."""


class ClaimError(LossactError):
    """A claim is not stated in a way that can be evaluated."""


class TrainingError(LossactError):
    """A block of replicas failed where it was trained."""


class StoreError(LossactError):
    """Stored trials cannot be read or written."""
