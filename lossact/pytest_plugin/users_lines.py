"""An error of a user's code as it is shown beside a claim: the user's own lines, and not those that led to them."""

import traceback
from pathlib import Path

import pytest

import lossact
from lossact.fingerprint.files import users_file

EVALUATING = Path(lossact.__file__).parent / "claims"


def users_lines(error: BaseException, config: pytest.Config) -> str | None:
    """Return an error with the lines of the user's files that it passed through, and with its notes.

    Args:
        error: what a claim ended in.
        config: whose --tb and --full-trace ask for more.

    Returns:
        text of several lines; None where the error did not come out of training, passed no line of a user's file, was
        raised because of another one, or is to be shown otherwise.
    """
    is_chained = error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__)
    if is_chained or config.getoption("tbstyle", "auto") != "auto" or config.getoption("fulltrace", False):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    begins = next((at for at, frame in enumerate(frames) if Path(frame.filename).is_relative_to(EVALUATING)), None)
    own = [frame for frame in frames[begins:] if users_file(frame.filename) is not None]
    if begins is None or not own:
        return None
    words = traceback.format_exception_only(error)  # with the notes
    lines = [f"{_relative(frame.filename)}:{frame.lineno}: in {frame.name}\n    {frame.line}\n" for frame in own]
    return "".join([*words, *lines]).rstrip("\n")


def _relative(file: str) -> str:
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file
