"""A claim that ended in an error, as plain values that travel between processes."""

from dataclasses import asdict, dataclass
from typing import Any

from lossact.errors import describe_error

OF_A_CLAIM = ("id", "statement", "source", "family", "family_size", "recorded")


def marker_fields(claim: Any) -> dict[str, Any]:
    """Return what --claims-json says of a claim whatever became of it.

    Args:
        claim: as pytest's marker describes it.

    Returns:
        values by name.
    """
    return {name: getattr(claim, name) for name in OF_A_CLAIM}


@dataclass(frozen=True, kw_only=True)
class UndecidedClaim:
    """A claim that ended in an error.

    Attributes:
        id: pytest's node id.
        error: its kind, its message and the way out.
        statement, source, recorded: from the claim's marker; empty and None where it cannot be read.
        family, family_size: in which the claim would have been decided; None where that is not known.
    """

    id: str
    error: dict[str, str]
    statement: str = ""
    source: str = ""
    recorded: str | None = None
    family: str | None = None
    family_size: int | None = None

    @classmethod
    def of(cls, error: BaseException, **metadata: Any) -> "UndecidedClaim":
        """Describe a claim that an error ended.

        Args:
            error: what ended it.
            **metadata: the other fields.

        Returns:
            the claim, undecided.
        """
        return cls(error=describe_error(error), **metadata)

    @property
    def reason(self) -> str:
        """The error in words, on one line."""
        words = "; ".join(filter(None, (self.error["message"], self.error["way_out"])))
        return f"{self.error['kind']}: {' '.join(words.split())}".removesuffix(": ")

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, for the constructor."""
        return asdict(self)

    def to_json(self) -> dict[str, Any]:
        """The claim's entry in --claims-json."""
        return marker_fields(self) | {"verdict": None, "reason": self.error["message"], "error": self.error}
