"""Text that a terminal or Markdown shows as it is."""

import re


def printable(text: str) -> str:
    """Text whose characters a terminal shows, and does not obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&@!$])", r"\\\1", " ".join(text.split()))
