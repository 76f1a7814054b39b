"""What lossact raises when something it was given cannot be used.

Every message names the value, the rule it breaks and the way out, so that a door (pytest, the command line, a
notebook) can show it as it is, without a traceback.
"""

# What functions, networks and modules of users raise where something does not fit.
FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)


class LossactError(Exception):
    """Base of everything lossact raises on purpose."""


class InputError(LossactError, ValueError):
    """A value given by the user breaks a rule."""


class EditedFileError(InputError):
    """A file of code was edited after this process read it."""


class DataError(InputError):
    """A data file is missing or does not hold what it should."""


class ClaimError(LossactError):
    """A claim is not stated in a way that can be evaluated."""


class TrainingError(LossactError):
    """A block of replicas failed where it was trained."""


class StoreError(LossactError):
    """Stored trials cannot be read or written."""


def describe_error(error: BaseException) -> dict[str, str]:
    """Return an error as programs read it: its kind, its message, and the way out or "".

    Messages of lossact end in the way out, after a semicolon; those of other errors are left whole.

    >>> describe_error(InputError("git is not on PATH; install git"))
    {'kind': 'InputError', 'message': 'git is not on PATH', 'way_out': 'install git'}
    """
    message, _, way_out = str(error).rpartition("; ") if isinstance(error, LossactError) else (str(error), "", "")
    return {"kind": type(error).__name__, "message": message or way_out, "way_out": way_out if message else ""}
