"""Decide from syntax whether code that runs at import may change training."""

import ast
from collections.abc import Iterable, Iterator, Mapping

from lossact.fingerprint.files import file_of_import

OURS = {"lossact", "pytest"}
PURE_BUILTINS = {
    "abs", "all", "any", "bool", "complex", "dict", "divmod", "enumerate", "filter", "float", "frozenset", "int",
    "isinstance", "iter", "len", "list", "map", "max", "min", "next", "print", "range", "repr", "reversed", "round",
    "set", "slice", "sorted", "str", "sum", "tuple", "type", "zip",
}  # fmt: skip
PURE_MODULES = {
    "argparse", "collections", "contextlib", "copy", "csv", "dataclasses", "datetime", "fractions", "functools",
    "itertools", "json", "logging", "math", "operator", "pathlib", "pprint", "re", "statistics", "string", "textwrap",
    "time", "typing", "warnings",
}  # fmt: skip
READING_METHODS = {"copy", "format", "get", "items", "join", "keys", "split", "values"}
REACHING_BUILTINS = {"__import__", "delattr", "eval", "exec", "globals", "locals", "setattr", "vars"}
SETTERS = ("set_", "use_", "enable_", "disable_", "manual_seed", "seed", "patch", "register")

FUNCTION_KINDS = (ast.FunctionDef, ast.AsyncFunctionDef)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Effects:
    """Judges expressions and function bodies of one file.

    Args:
        functions: the file's top-level functions by name.
        imports: what the file's imported names stand for, such as {"F": "torch.nn.functional"}.
    """

    def __init__(self, functions: Mapping[str, FunctionNode], imports: Mapping[str, str]) -> None:
        self.functions, self.imports = functions, imports
        self._judged: dict[str, bool] = {}

    def origin(self, expression: ast.expr) -> str | None:
        """Return the root package of what an expression is called on: "lossact" of `Accuracy().at_least(1)`."""
        name = root_name(expression)
        return None if name is None or name not in self.imports else self.imports[name].partition(".")[0]

    def only_builds_claims(self, value: ast.expr) -> bool:
        """Whether an expression calls something, and only lossact, the file's own functions and pure built-ins."""
        calls = list(_calls([value]))
        return bool(calls) and all(self._is_harmless(call, fresh=set()) for call in calls)

    def in_body(self, body: Iterable[ast.stmt]) -> bool:
        """Whether running statements may change something that outlives them."""
        statements = list(body)
        fresh = _fresh_names(statements, self.functions)
        local = {node.name: node for node in _executed(statements) if isinstance(node, FUNCTION_KINDS)}
        for node in _executed(statements):
            if isinstance(node, ast.Global) or _stores_outside(node, fresh):
                return True
            if isinstance(node, ast.Call):
                name = root_name(node.func)
                if isinstance(node.func, ast.Name) and name in local:
                    if self.in_body(local[name].body):
                        return True
                elif not self._is_harmless(node, fresh) and not self._is_plain_value(node, statements):
                    return True
        return False

    def of_function(self, name: str) -> bool:
        """Whether a call of the file's function may change something."""
        if name not in self._judged:
            self._judged[name] = False  # of one that calls itself
            self._judged[name] = self.in_body(self.functions[name].body)
        return self._judged[name]

    def _is_harmless(self, call: ast.Call, fresh: set[str]) -> bool:
        """Whether a call is of lossact, pytest, an effect-free function, a pure built-in or a new local object."""
        function, name = call.func, root_name(call.func)
        if name is None:
            return isinstance(function, ast.Attribute) and function.attr in READING_METHODS
        if name in fresh:
            return True
        if isinstance(function, ast.Name) and name in self.functions:
            return not self.of_function(name)
        if isinstance(function, ast.Name) and name in PURE_BUILTINS and name not in self.imports:
            return True
        origin = self.origin(function)
        if origin in OURS or origin in PURE_MODULES:
            return True
        if origin == "sys" and isinstance(function, ast.Attribute) and function.attr == "exit":
            return True
        return origin is None and isinstance(function, ast.Attribute) and function.attr in READING_METHODS

    def _is_plain_value(self, call: ast.Call, statements: list[ast.stmt]) -> bool:
        """Whether a call only makes a value: of an installed package, not as a statement, not named like a setter."""
        if any(isinstance(node, ast.Expr) and node.value is call for node in _executed(statements)):
            return False
        name, origin = root_name(call.func), self.origin(call.func)
        last = call.func.attr if isinstance(call.func, ast.Attribute) else name or ""
        if last in REACHING_BUILTINS or last.startswith(SETTERS) or origin == "importlib":
            return False
        if origin is None:
            return isinstance(call.func, ast.Name) and (last == "open" or last[:1].isupper())  # a class of the file
        return bool(origin) and file_of_import(origin) is None  # installed, or the standard library


def root_name(expression: ast.expr) -> str | None:
    """Return the name at the root of `name.attribute[index](...)…`, None where there is none."""
    while isinstance(expression, (ast.Attribute, ast.Subscript, ast.Call)):
        expression = expression.func if isinstance(expression, ast.Call) else expression.value
    return expression.id if isinstance(expression, ast.Name) else None


def _executed(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Nodes that run when the statements do: all but the bodies of functions and lambdas."""
    left = list(nodes)
    while left:
        node = left.pop()
        yield node
        if isinstance(node, FUNCTION_KINDS):
            left += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        elif not isinstance(node, ast.Lambda):
            left += ast.iter_child_nodes(node)


def _calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    return (node for node in _executed(nodes) if isinstance(node, ast.Call))


def _fresh_names(statements: list[ast.stmt], functions: Mapping[str, FunctionNode]) -> set[str]:
    """Names that only ever stand for objects made here; `m = torch.nn` is another name of what all share."""
    fresh: set[str] = set()
    shared: set[str] = set()
    for node in _executed(statements):
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = node.value
            made_here = not isinstance(value, (ast.Name, ast.Attribute, ast.Subscript, ast.IfExp, ast.BoolOp)) and not (
                isinstance(value, ast.Call)
                and isinstance(value.func, ast.Name)
                and value.func.id in {*functions, *REACHING_BUILTINS, "getattr"}
            )
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            fresh |= names if made_here else set()
            shared |= set() if made_here else names
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            shared |= {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
    return fresh - shared


def _stores_outside(node: ast.AST, fresh: set[str]) -> bool:
    stored = isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del))
    return stored and isinstance(node, (ast.Attribute, ast.Subscript)) and root_name(node) not in fresh
