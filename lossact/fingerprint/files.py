"""Which files hold user code, and the digest of a data file."""

import hashlib
import os
import sys
import sysconfig
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from lossact.errors import InputError

INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))
SITE_FOLDERS = {"site-packages", "dist-packages"}
LOSSACT = Path(__file__).parents[1].resolve()


def file_digest(path: Path | str) -> str:
    """Return the digest of a file's bytes, to name a data file in a condition's `version`.

    lossact sees the arrays that code holds, but not the files that a training function or a LightningModule opens
    itself. `version=file_digest("data.npy")` has trials trained anew where such a file changes.

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits, the SHA-256.

    Raises:
        InputError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; give a file that can be read") from None
    return digest.hexdigest()


def users_file(name: str) -> Path | None:
    """Return the resolved path of a Python file, or None for installed packages, lossact, and what is no file.

    Args:
        name: a path as a module or a code object has it.

    Returns:
        the path, None where it is no user's file.
    """
    path = os.path.abspath(name)
    return _classified(path) if path.endswith(".py") and os.path.isfile(path) else None


@cache
def _classified(name: str) -> Path | None:
    file = Path(name).resolve()
    if SITE_FOLDERS & set(file.parts):  # of another environment, or linked to
        return None
    return None if any(file.is_relative_to(folder) for folder in (*INSTALLED, LOSSACT)) else file


def file_of_module(module: ModuleType | None) -> Path | None:
    """Return the user's file that a module was imported from, or None.

    Args:
        module: any module, or None.

    Returns:
        the file's resolved path, or None.
    """
    name = getattr(module, "__file__", None)
    return users_file(name) if isinstance(name, str) else None


def file_of_import(name: str) -> Path | None:
    """Return the user's file that `import name` runs, or None; nothing is imported.

    Args:
        name: the module's full name.

    Returns:
        the file's resolved path, or None.
    """
    if not name or name.partition(".")[0] in sys.stdlib_module_names:
        return None
    if name in sys.modules:
        return file_of_module(sys.modules[name])
    parts, spec, folders = name.split("."), None, None
    package = sys.modules.get(parts[0])
    if isinstance(getattr(package, "__file__", None), str) and file_of_module(package) is None:
        return None  # of an installed package
    for k in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: k + 1]), folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations or []
    return None if spec is None or spec.origin is None else users_file(spec.origin)


def python_files_below(folder: Path) -> list[Path]:
    """Return the user's Python files in a folder and the folders below it, but for hidden ones and environments.

    Args:
        folder: any folder.

    Returns:
        resolved paths, sorted.
    """
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith((".", "__")) and not os.path.isfile(os.path.join(parent, name, "pyvenv.cfg"))
        ]
        files = (users_file(os.path.join(parent, name)) for name in names)
        found += [file for file in files if file is not None]
    return sorted(found)


_modules: dict[Path, ModuleType] = {}


def module_of_file(file: Path) -> ModuleType | None:
    """Return the module that was imported from a user's file, or None.

    Args:
        file: its resolved path.

    Returns:
        the module, or None.
    """
    known = _modules.get(file)
    if known is not None and sys.modules.get(known.__name__) is known:
        return known
    for module in list(sys.modules.values()):
        name = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(name, str) and name.endswith(file.name) and file_of_module(module) == file:
            _modules[file] = module
            return module
    return None


def import_name(module: ModuleType) -> str:
    """Return a module's full name, also where it runs as a script by `python -m`.

    Args:
        module: any module.

    Returns:
        the name under which it can be imported.
    """
    spec = getattr(module, "__spec__", None)
    return str(spec.name) if module.__name__ == "__main__" and spec is not None else module.__name__


def users_modules() -> list[ModuleType]:
    """Return the imported modules that are user code: neither an installed package nor lossact.

    Returns:
        modules, in the order in which they were imported.
    """
    installed = tuple(map(str, (*INSTALLED, LOSSACT)))  # nearly all are: their paths need not be resolved
    modules = [module for name, module in list(sys.modules.items()) if getattr(module, "__name__", None) == name]
    others = [module for module in modules if not str(getattr(module, "__file__", None)).startswith(installed)]
    return [module for module in others if file_of_module(module) is not None]
