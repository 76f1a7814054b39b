"""Check that the installed packages are within the ranges that lossact declares."""

import importlib.metadata
import importlib.util
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from lossact.errors import InputError


def check_extra(package: str, *, extra: str, what: str) -> None:
    """Raise InputError where a package of one of lossact's extras is not installed.

    Args:
        package: the name it is imported by.
        extra: the extra that installs it.
        what: what needs it, for the error.
    """
    try:
        missing = importlib.util.find_spec(package) is None
    except ValueError:  # of a module in sys.modules that was not imported
        missing = True
    if missing:
        raise InputError(f"{what} needs {package}; pip install 'lossact[{extra}]'")


def check_requirements() -> None:
    """Raise InputError where an installed package is outside the range that lossact declares for it.

    pip keeps to the ranges while it installs lossact; what is installed later need not.
    """
    unfit = []
    for line in declared_requirements():
        required = Requirement(line)
        if required.marker is not None and not required.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(required.name)
        except importlib.metadata.PackageNotFoundError:
            unfit.append((required, "missing"))
            continue
        if not required.specifier.contains(version, prereleases=True):
            unfit.append((required, version))
    if unfit:
        present = ", ".join(f"{required.name} is {version}" for required, version in unfit)
        wanted = " ".join(f"'{required.name}{required.specifier}'" for required, _ in unfit)
        raise InputError(f"{present}, which lossact does not work with; pip install {wanted}")


def declared_requirements() -> list[str]:
    """Return what lossact declares that it needs: where it is installed, else in its checkout's pyproject.toml.

    Returns:
        Lines such as "torch>=2.7,<3"; none where lossact was copied somewhere without that file.
    """
    try:
        return importlib.metadata.requires("lossact") or []
    except importlib.metadata.PackageNotFoundError:
        project = Path(__file__).parents[1] / "pyproject.toml"
        if not project.is_file():
            return []
        return list(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])
