"""A file of user code: its top-level statements, and which of them a result depends on."""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType

from lossact.errors import EditedFileError, InputError
from lossact.fingerprint.bytecode import Chain, global_chains, span
from lossact.fingerprint.effects import FUNCTION_KINDS, Effects
from lossact.fingerprint.syntax import parse, tree_digest

# Packages whose import alone changes nothing: their versions are in the key, or they compute nothing.
IMPORTED_WITHOUT_EFFECT = {"hypothesis", "lightning", "lossact", "numpy", "pytest", "torch"} | sys.stdlib_module_names
DECORATORS_WITHOUT_EFFECT = {"contextlib", "functools", "hypothesis", "lossact", "pytest"}


@dataclass(frozen=True, eq=False)
class Statement:
    """A top-level statement, or one name of an import.

    Attributes:
        node: its syntax tree.
        defines: names that it binds.
        optional: whether it counts only where a name that it binds is used.
    """

    node: ast.stmt
    defines: frozenset[str]
    optional: bool
    file: Path

    @cached_property
    def chains(self) -> frozenset[Chain]:
        """The global names that it loads, with attributes."""
        return global_chains(compile(ast.Module([self.node], []), str(self.file), "exec", dont_inherit=True))

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, (ast.Import, ast.ImportFrom))


class SourceFile:
    """A parsed file.

    Args:
        path: the file.
        source: what it holds.

    Raises:
        InputError: it is no Python.
    """

    def __init__(self, path: Path, source: bytes) -> None:
        self.path = path
        try:
            self.tree = parse(source)
        except (SyntaxError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as Python ({error}); mend it, or import something else") from None
        self.digest = tree_digest(self.tree)

    @cached_property
    def statements(self) -> list[Statement]:
        """The top-level statements, each name of an import by itself."""
        functions = {node.name: node for node in self.tree.body if isinstance(node, FUNCTION_KINDS)}
        effects = Effects(functions, _imported_names(self.tree.body))
        return [self._statement(node, effects) for node in _split_imports(self.tree.body)]

    def kept(self, names: Iterable[str], *, whole: bool) -> list[Statement]:
        """Return the statements that a result depends on.

        Args:
            names: global names that reached code uses.
            whole: whether all count.
        """
        if whole:
            return self.statements
        needed = set(names)
        kept: dict[int, Statement] = {}
        while True:
            new = [
                (k, statement)
                for k, statement in enumerate(self.statements)
                if k not in kept and (not statement.optional or statement.defines & needed)
            ]
            if not new:
                return [kept[k] for k in sorted(kept)]
            kept.update(new)
            needed |= {chain[0] for _, statement in new for chain in statement.chains}

    def function_nodes(self, code: CodeType) -> list[ast.AST]:
        """Return the syntax tree of a function's code: one, or several lambdas of a line that nothing tells apart.

        Raises:
            InputError: the file holds no such function.
        """
        nodes = self._functions.get((code.co_firstlineno, code.co_name), [])
        place = span(code) if len(nodes) > 1 else None
        if place is not None:
            around = [node for node in nodes if _start(node) <= place[0] and place[1] <= _end(node)]
            nodes = [max(around, key=_start)] if around else nodes  # the innermost
        if not nodes:
            raise edited(self.path)
        return nodes

    @cached_property
    def _functions(self) -> dict[tuple[int, str], list[ast.AST]]:
        nodes: dict[tuple[int, str], list[ast.AST]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, FUNCTION_KINDS):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                nodes.setdefault((first, node.name), []).append(node)
            elif isinstance(node, ast.Lambda):
                nodes.setdefault((node.lineno, "<lambda>"), []).append(node)
        return nodes

    def _statement(self, node: ast.stmt, effects: Effects) -> Statement:
        return Statement(node, frozenset(_bound_names(node)), _is_optional(node, effects), self.path)


def edited(path: Path) -> EditedFileError:
    """Return the error of a file that is not what this process imported."""
    return EditedFileError(f"{path} was edited after this process read it; start again, to train what it holds now")


def digest_of(statements: Iterable[Statement]) -> str:
    """Return the digest of statements; the order of imports without effect does not count."""
    statements = list(statements)
    imports = sorted(
        tree_digest(statement.node) for statement in statements if statement.is_import and statement.optional
    )
    others = [
        tree_digest(statement.node) for statement in statements if not (statement.is_import and statement.optional)
    ]
    return hashlib.sha256(repr((imports, others)).encode()).hexdigest()


def _is_optional(node: ast.stmt, effects: Effects) -> bool:
    if isinstance(node, ast.Import):
        return node.names[0].name.partition(".")[0] in IMPORTED_WITHOUT_EFFECT
    if isinstance(node, ast.ImportFrom):
        root = (node.module or "").partition(".")[0]
        return not node.level and root in IMPORTED_WITHOUT_EFFECT - {"__future__"} and node.names[0].name != "*"
    if isinstance(node, FUNCTION_KINDS):
        return all(effects.origin(decorator) in DECORATORS_WITHOUT_EFFECT for decorator in node.decorator_list)
    if isinstance(node, ast.Assign):
        named = all(isinstance(part, ast.Name) for target in node.targets for part in _parts(target))
        return named and effects.only_builds_claims(node.value)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.value is not None and effects.only_builds_claims(node.value)
    if isinstance(node, ast.Expr):
        return effects.only_builds_claims(node.value)
    if isinstance(node, ast.If) and _asks_whether_script(node.test):
        return not node.orelse and not effects.in_body(node.body)
    return isinstance(node, ast.ClassDef) and _only_groups_tests(node)


def _only_groups_tests(node: ast.ClassDef) -> bool:
    plain = not (node.bases or node.keywords or node.decorator_list)
    return plain and node.name.startswith("Test") and all(isinstance(part, FUNCTION_KINDS) for part in node.body)


def _asks_whether_script(test: ast.expr) -> bool:
    return ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")


def _parts(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _parts(element)
    elif isinstance(target, ast.Starred):
        yield from _parts(target.value)
    else:
        yield target


def _bound_names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, (*FUNCTION_KINDS, ast.ClassDef)):
        yield node.name
    else:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id


def _split_imports(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (ast.copy_location(ast.Import([alias]), node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                ast.copy_location(ast.ImportFrom(node.module, [alias], node.level), node) for alias in node.names
            )
        else:
            yield node


def _imported_names(body: Iterable[ast.stmt]) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"
    return names


def _start(node: ast.AST) -> tuple[int, int]:
    return node.lineno, node.col_offset  # type: ignore[attr-defined]


def _end(node: ast.AST) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
