"""Files that are there whole, or not at all."""

import os
from pathlib import Path


def is_page(path: Path) -> bool:
    """Return whether a report of that name is one page, and not a folder."""
    return path.suffix.lower() in {".html", ".htm"}


def write_whole(path: Path, text: str) -> None:
    """Write a text file, in place of an older one only once it is complete; the folder is made where it is missing.

    Raises:
        OSError: it cannot be written; what was there before is left.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
