"""Whether the packages that lossact works with are those that it was made for."""

import importlib.metadata

from packaging.requirements import Requirement

from lossact.errors import InputError


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
