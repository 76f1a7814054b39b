"""Check that the installed packages are within the ranges that lossact declares."""

import importlib.metadata
import importlib.util
import tomllib
from collections.abc import Collection
from pathlib import Path

from packaging.requirements import Requirement

from lossact.errors import InputError

# Packages that claims do without. They may be missing, as on a machine that is lent for its GPU.
ONLY_FOR_SOME = ("jsonargparse", "plotly", "wandb")


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


def check_requirements(needed: Collection[str] = ()) -> None:
    """Raise InputError where a package is missing or outside the range that lossact declares for it.

    pip keeps to the ranges while it installs lossact; what is installed later need not.

    Args:
        needed: those of ONLY_FOR_SOME that must not be missing either.
    """
    missing, unfit = [], []
    for line in declared_requirements():
        required = Requirement(line)
        if required.marker is not None and not required.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(required.name)
        except importlib.metadata.PackageNotFoundError:
            if required.name in needed or required.name not in ONLY_FOR_SOME:
                missing.append((required, "missing"))
            continue
        if not required.specifier.contains(version, prereleases=True):
            unfit.append((required, version))
    for packages, why in ((unfit, "which lossact does not work with"), (missing, "which lossact needs for this")):
        if packages:
            present = ", ".join(f"{required.name} is {version}" for required, version in packages)
            wanted = " ".join(f"'{required.name}{required.specifier}'" for required, _ in packages)
            raise InputError(f"{present}, {why}; pip install {wanted}")


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
