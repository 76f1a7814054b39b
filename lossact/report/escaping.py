"""Text that a terminal or Markdown shows as it is."""

import re


def printable(text: str) -> str:
    """Return text with control characters escaped, so that a terminal only shows it."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def plain(text: str) -> str:
    """Return text on one line, escaped so that Markdown shows it unchanged."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&@!$])", r"\\\1", " ".join(text.split()))
