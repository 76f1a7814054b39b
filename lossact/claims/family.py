"""A folder of claims, whose declared size sets the level of each."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from lossact.errors import ClaimError

FILE = "family.toml"


@dataclass(frozen=True)
class Family:
    """Claims that are made together.

    Attributes:
        name: what tables call it.
        directory: where its claims lie.
        size: how many claims share its alpha: the declared number, 1 where none is declared.
        declared: whether the size was declared in the folder's family.toml.
    """

    name: str
    directory: Path
    size: int
    declared: bool


def declared_family(directory: Path) -> Family | None:
    """Return the family that a folder, or the nearest one above it, declares.

    A declaration is a file family.toml with `size`, and with `name` where the folder's own will not do.

    Args:
        directory: where the claims lie.

    Returns:
        the family, None where none is declared.

    Raises:
        ClaimError: the file is no TOML, or its size is no integer >= 1.
    """
    for folder in (directory, *directory.parents):
        file = folder / FILE
        if file.is_file():
            return _read(file)
    return None


def _read(file: Path) -> Family:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ClaimError(f"{file}: not readable as TOML ({error})") from None
    unknown = sorted(content.keys() - {"size", "name"})
    if unknown:
        raise ClaimError(f"{file}: unknown {', '.join(unknown)}; a family has a size and may have a name")
    size = content.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ClaimError(
            f"{file}: size={size!r} must be an integer >= 1; write size = N, the number of claims in the folder"
        )
    return Family(str(content.get("name", file.parent.name)), file.parent, size, declared=True)
