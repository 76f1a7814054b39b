"""Python source without what cannot change an outcome: comments, blank lines, docstrings and other bare constants."""

import ast
import hashlib
from functools import cache


def parse(source: bytes | str) -> ast.Module:
    """Return a file's syntax tree without docstrings and other bare constants; positions are kept."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [statement for statement in body if not _is_bare_constant(statement)]
            if not kept and body and not isinstance(node, ast.Module):
                kept = [ast.copy_location(ast.Pass(), body[0])]
            node.body = kept  # type: ignore[attr-defined]
    return tree


@cache
def tree_digest(node: ast.AST) -> str:
    """Return the digest of a syntax tree, whatever its position."""
    parts: list[str] = []
    _append_parts(node, parts)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def syntax_digest(source: bytes | str) -> str:
    """Return the digest of Python source; equal where only comments, blank lines and docstrings differ."""
    return tree_digest.__wrapped__(parse(source))


def _is_bare_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _append_parts(node: ast.AST, parts: list[str]) -> None:
    # As ast.dump writes a tree, three times as fast, and with the ends of lists marked.
    parts.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            _append_parts(value, parts)
        elif isinstance(value, list):
            parts.append("[")
            for element in value:
                if isinstance(element, ast.AST):
                    _append_parts(element, parts)
                else:
                    parts.append(repr(element))
            parts.append("]")
        else:
            parts.append(repr(value))
