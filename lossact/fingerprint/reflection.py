"""Code that reaches what it does not name: getattr with a computed name, globals(), eval, importlib."""

import ast
from collections.abc import Iterator
from functools import cache

REFLECTIVE_NAMES = {
    "__import__", "attrgetter", "compile", "eval", "exec", "getmembers", "globals", "import_module", "locals", "vars",
}  # fmt: skip
REFLECTIVE_ATTRIBUTES = {
    "__dict__",
    "__getattribute__",
    "__globals__",
    "__subclasses__",
    "attrgetter",
    "getmembers",
    "import_module",
}
IMPORTERS = {"import_module", "__import__", "locate", "resolve_name"}
REFLECTIVE_MODULES = {"importlib", "runpy", "pkgutil"}
QUERIES = ("importlib.metadata", "importlib.resources")  # which only read


@cache
def reflective_targets(node: ast.AST) -> tuple[ast.expr | None, ...]:
    """Return what code looks into by a name that is not written in it; None where that may be anything."""
    return tuple(_reflective_targets(node))


@cache
def possible_imports(node: ast.AST, package: str) -> tuple[str, ...]:
    """Return the full names of modules that a syntax tree may load, by import statements or constants.

    Args:
        node: the tree.
        package: of the file that it stands in, for relative imports.
    """
    return (*_imported_modules(node, package), *_constant_imports(node))


def _reflective_targets(node: ast.AST) -> Iterator[ast.expr | None]:
    called_with_constant: set[ast.AST] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in ("getattr", "hasattr"):
            if len(part.args) >= 2 and isinstance(part.args[1], ast.Constant):
                called_with_constant.add(part.func)
            elif len(part.args) >= 2:
                called_with_constant.add(part.func)
                yield part.args[0]
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            if part.id in REFLECTIVE_NAMES or (part.id == "getattr" and part not in called_with_constant):
                yield None
        elif isinstance(part, ast.Attribute):
            of_sys = isinstance(part.value, ast.Name) and part.value.id == "sys"
            if part.attr in REFLECTIVE_ATTRIBUTES or (of_sys and part.attr == "modules"):
                yield None
        elif isinstance(part, ast.Import):
            if any(_is_reflective(alias.name) for alias in part.names):
                yield None
        elif isinstance(part, ast.ImportFrom) and any(_is_reflective(f"{part.module}.{a.name}") for a in part.names):
            yield None


def _is_reflective(module: str) -> bool:
    return module.partition(".")[0] in REFLECTIVE_MODULES and not module.startswith(QUERIES)


def _imported_modules(node: ast.AST, package: str) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            for alias in part.names:
                yield from _with_parents(alias.name)
        elif isinstance(part, ast.ImportFrom):
            above = package.rsplit(".", part.level - 1)[0] if part.level else ""
            source = ".".join(name for name in (above, part.module or "") if name)
            yield from _with_parents(source)
            yield from (f"{source}.{alias.name}" for alias in part.names)


def _constant_imports(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and part.args:
            name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
            argument = part.args[0]
            if name in ("import_module", "__import__") and isinstance(argument, ast.Constant):
                yield from _with_parents(str(argument.value))


@cache
def computed_imports(node: ast.AST) -> tuple[str, ...]:
    """Return what is written of the names of modules that code imports by computed names.

    Args:
        node: the syntax tree.

    Returns:
        of each the packages that it begins with: "models" for f"models.{name}", "" where nothing is known.
    """
    found = []
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and part.args:
            name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
            if name in IMPORTERS and not isinstance(part.args[0], ast.Constant):
                found.append(_written_packages(part.args[0]))
    return tuple(found)


def _written_packages(name: ast.expr) -> str:
    first = name.values[0] if isinstance(name, ast.JoinedStr) and name.values else name
    while isinstance(first, ast.BinOp):  # "models." + name, "models.%s" % name
        first = first.left
    text = str(first.value) if isinstance(first, ast.Constant) else ""
    return text.partition("%")[0].rpartition(".")[0]


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: k + 1]) for k in range(len(parts))]
