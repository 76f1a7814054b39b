"""The files of a project that visited functions depend on."""

import ast
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from lossact.errors import InputError
from lossact.fingerprint.files import (
    file_of_import,
    file_of_module,
    import_name,
    module_of_file,
    python_files_below,
)
from lossact.fingerprint.pinned import pinned_source
from lossact.fingerprint.reader import Reader
from lossact.fingerprint.reflection import computed_imports, possible_imports, reflective_targets
from lossact.fingerprint.source_file import Statement, digest_of

MOST_COMPUTED = 500  # files that an import by a computed name may mean


class Dependencies:
    """Follows imports from what a reader has visited.

    Args:
        reader: after it has read a function.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.files: dict[Path, str] = {}  # to the full name of its module
        self.whole: set[Path] = set()
        self.also: dict[tuple[Path, str], Any] = {}

    def content(self) -> dict[str, Any]:
        """Return the digests of all files, and what their statements name in each other."""
        state = None
        while state != (state := self._state()):
            self._add_visited()
            for file in sorted(self.files):
                self._follow(file)
        digests = {file: digest_of(self._kept(file)) for file in self.files}
        scripts = [digests[file] for file in self.files if self._runs_as_script_with_effects(file)]
        also = [self.also[place] for place in sorted(self.also)]
        return {"files": sorted(digests.values()), "scripts": scripts, "also": also}

    def _state(self) -> tuple[Any, ...]:
        n_nodes = sum(map(len, self.reader.nodes.values()))
        n_names = sum(map(len, self.reader.names.values()))
        return len(self.files), len(self.whole), len(self.also), len(self.reader.modules), n_nodes, n_names

    def _add_visited(self) -> None:
        for module in self.reader.modules:
            file = file_of_module(module)
            if file is not None:
                self.files.setdefault(file, import_name(module))
        for file in self.reader.nodes:
            if file not in self.files:
                source = module_of_file(file)
                self.files[file] = file.stem if source is None else import_name(source)

    def _kept(self, file: Path) -> list[Statement]:
        return pinned_source(file).kept(self.reader.names.get(file, ()), whole=file in self.whole)

    def _follow(self, file: Path) -> None:
        """Add what a file's kept statements and visited functions import and name."""
        kept, module = self._kept(file), module_of_file(file)
        nodes = [*(statement.node for statement in kept), *self.reader.nodes.get(file, ())]
        if file not in self.whole and any(self._looks_anywhere(node, module) for node in nodes):
            self.whole.add(file)
            kept = self._kept(file)
            nodes = [*(statement.node for statement in kept), *self.reader.nodes.get(file, ())]
        package = self.files[file] if file.name == "__init__.py" else self.files[file].rpartition(".")[0]
        for node in nodes:
            top = isinstance(node, (ast.Import, ast.ImportFrom))
            for name in possible_imports(node, package):
                self._add_import(name, whole=file in self.whole or not top)
            for written in computed_imports(node):
                self._add_all_below(file, written)
        if module is None:
            return
        for statement in kept:
            self._read(file, statement, module)
        if file in self.whole:
            self._read_values(file, module)

    def _add_import(self, name: str, *, whole: bool) -> None:
        file = file_of_import(name)
        if file is not None:
            self.files.setdefault(file, name)
            if whole or name not in sys.modules:
                self.whole.add(file)

    def _add_all_below(self, file: Path, package: str) -> None:
        """Add all modules that a file may import by a computed name.

        Args:
            file: whose code imports.
            package: what is written of the name; "" for nothing.
        """
        root = file.parents[self.files[file].count(".") + (file.name == "__init__.py")]  # where absolute imports begin
        folder = root.joinpath(*package.split("."))
        if not folder.is_dir():
            home = file_of_import(package)
            if home is None:
                return  # of an installed package
            root = home.parents[package.count(".") + (home.name == "__init__.py")]
            folder = home.parent
        found = python_files_below(folder)
        if len(found) > MOST_COMPUTED:
            raise InputError(
                f"{file} imports a module by a computed name, which may be any of {len(found)} files in {folder}; "
                "import it by a name that is written there, or hand over the function itself"
            )
        for each in found:
            self.files.setdefault(each, ".".join(each.relative_to(root).with_suffix("").parts))
            self.whole.add(each)

    def _read(self, file: Path, statement: Statement, module: ModuleType) -> None:
        """Read the user's functions and classes that a statement names."""
        for chain in sorted(statement.chains):
            place = (file, ".".join(chain))
            if place not in self.also and chain[0] in vars(module):
                value = vars(module)[chain[0]]
                for name in chain[1:]:
                    value = getattr(value, name, None) if isinstance(value, ModuleType) else value
                if isinstance(value, (FunctionType, type)):
                    self.also[place] = self.reader.used(value)

    def _read_values(self, file: Path, module: ModuleType) -> None:
        """Read all global values of a module, of which any may be used."""
        for name, value in sorted(vars(module).items()):
            place = (file, name)
            if place not in self.also and not name.startswith("__"):
                self.also[place] = self.reader.used(value)

    def _looks_anywhere(self, node: ast.AST, module: ModuleType | None) -> bool:
        """Whether code may use what it does not name; a user's module that it looks into counts whole."""
        anywhere = False
        for target in reflective_targets(node):
            looked_into = None if target is None else _module_named(target, module)
            if looked_into is None:
                anywhere = True
                continue
            file = file_of_module(looked_into)
            if file is not None:
                self.files.setdefault(file, import_name(looked_into))
                self.whole.add(file)
        return anywhere

    def _runs_as_script_with_effects(self, file: Path) -> bool:
        script = sys.modules.get("__main__")
        guarded = [
            statement
            for statement in self._kept(file)
            if isinstance(statement.node, ast.If) and "__main__" in ast.dump(statement.node.test)
        ]
        return bool(guarded) and not all(statement.optional for statement in guarded) and file_of_module(script) == file


def _module_named(target: ast.expr, module: ModuleType | None) -> ModuleType | None:
    """Return the module that an expression such as `torch.nn` names in a file, None where it names none."""
    names: list[str] = []
    while isinstance(target, ast.Attribute):
        names.append(target.attr)
        target = target.value
    if not isinstance(target, ast.Name) or module is None:
        return None
    value = vars(module).get(target.id)
    for name in reversed(names):
        value = getattr(value, name, None) if isinstance(value, ModuleType) else None
    return value if isinstance(value, ModuleType) else None
