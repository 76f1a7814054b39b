"""Whether the packages that lossact works with are those that it was made for."""

import importlib.metadata
import importlib.util

from packaging.requirements import Requirement

from lossact.errors import InputError


def check_extra(package: str, *, extra: str, what: str) -> None:
    """Raise InputError where a package of one of lossact's extras is not installed.

    Args:
        package: the name it is imported by.
        extra: the extra that brings it.
        what: what needs it.
    """
    try:
        missing = importlib.util.find_spec(package) is None
    except ValueError:  # of a module that is no real one
        missing = True
    if missing:
        raise InputError(f"{what} needs {package}; pip install 'lossact[{extra}]'")


def check_requirements() -> None:
    """Raise InputError where an installed package is outside the range that lossact declares for it.

    pip keeps to the ranges while it installs lossact; what is installed later need not.
    """
    wrong = []
    for line in importlib.metadata.requires("lossact") or []:
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append((needed, "missing"))
            continue
        if not needed.specifier.contains(found, prereleases=True):
            wrong.append((needed, found))
    if wrong:
        told = ", ".join(f"{needed.name} is {found}" for needed, found in wrong)
        wanted = " ".join(f"'{needed.name}{needed.specifier}'" for needed, _ in wrong)
        raise InputError(f"{told}, which lossact does not work with; pip install {wanted}")
