"""User's files as this process first read them."""

from pathlib import Path

from lossact.fingerprint.source_file import SourceFile, edited

PINNED: dict[Path, tuple[int, SourceFile]] = {}  # file to when it was changed, and what it held


def pinned_source(file: Path) -> SourceFile:
    """Return a file's source as this process first read it; comments and docstrings may have changed since.

    Raises:
        InputError: its code was edited meanwhile, or is no Python.
    """
    changed_at = file.stat().st_mtime_ns
    when, source = PINNED.get(file, (None, None))
    if source is None or when != changed_at:
        now = SourceFile(file, file.read_bytes())
        if source is not None and now.digest != source.digest:
            raise edited(file)
        source = now if source is None else source
        PINNED[file] = (changed_at, source)
    return source
