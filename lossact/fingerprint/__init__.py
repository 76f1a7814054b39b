"""Fingerprint user code and values, so that stored results are reused only while both are unchanged."""

from lossact.fingerprint.files import file_digest, users_modules
from lossact.fingerprint.function import fingerprint, to_canonical
from lossact.fingerprint.syntax import syntax_digest

__all__ = ["file_digest", "fingerprint", "syntax_digest", "to_canonical", "users_modules"]
