"""Nothing leaves the machine, nothing gets in, and no secret is written down."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lossact
from tests.pytest_plugin.conftest import Claims
from tests.test_train_command import config

SOURCES_ROOT = Path(lossact.__file__).parent
SOURCES = sorted(SOURCES_ROOT.rglob("*.py"))
SECRETS = {
    "WANDB_API_KEY": "5ecre7" * 6 + "5ecr",
    "AWS_SECRET_ACCESS_KEY": "an-aws-secret-0xC0FFEE",
    "DATABASE_URL": "postgres://somebody:pa55word-of-a-database@elsewhere/x",
}
REMOTE = "https://somebody:t0ken-in-a-remote@example.invalid/x.git"


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


PICKLES = {"pickle", "cloudpickle", "joblib", "shelve", "marshal", "dill"}
READERS = {"load", "loads", "Unpickler", "open", "*"}


def reads_pickles(tree: ast.AST) -> bool:
    """Return whether code uses a reader of pickles, under any imported name."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name for alias in node.names if alias.name.rpartition(".")[2] in PICKLES}
        elif isinstance(node, ast.ImportFrom):
            modules |= {alias.asname or alias.name for alias in node.names if alias.name in PICKLES}
            if (node.module or "").rpartition(".")[2] in PICKLES and READERS & {alias.name for alias in node.names}:
                return True
    return any(
        isinstance(node, ast.Attribute) and node.attr in READERS and ast.unparse(node.value) in modules
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import pickle\npickle.loads(content)", True),
        ("import pickle as p\nclass Mine(p.Unpickler): ...", True),
        ("from pickle import load as read", True),
        ("from ray import cloudpickle\ncloudpickle.loads(content)", True),
        ("import ray.cloudpickle\nray.cloudpickle.load(file)", True),
        ("import json, pickle\njson.loads(text)\npickle.dumps(value)", False),
    ],
)
def test_readers_of_pickles_are_recognised(code: str, expected: bool) -> None:
    assert reads_pickles(ast.parse(code)) == expected


def test_pickles_are_read_by_ray_workers_alone() -> None:
    """Of conditions that the run itself sends to its workers. No file is: that of checkpoints is the command's test."""
    trees = {source.relative_to(SOURCES_ROOT).as_posix(): ast.parse(source.read_text()) for source in SOURCES}
    assert [name for name, tree in trees.items() if reads_pickles(tree)] == ["executors/ray/serialization.py"]
    readers = [name for name, tree in trees.items() if any(_last(call) == "deserialize" for call in calls(tree))]
    assert readers == ["executors/ray/task.py"]
    arrays = 0
    for name, tree in trees.items():
        for call in calls(tree):
            assert ast.unparse(call.func) not in {"torch.load", "eval", "exec"}, name
            if ast.unparse(call.func) in {"np.load", "numpy.load"}:
                arrays += 1
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                assert options == {"allow_pickle": "False"}, name
    assert arrays >= 3


def _last(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def composed_statements(tree: ast.Module) -> list[str]:
    """SQL statements that are anything but constants of their file.

    A constant is a literal, what is put together from constants, or a field of a class of statements whose instances
    are all made of literals at the top of the file.
    """
    constants: set[str] = set()

    def is_constant(node: ast.expr | None) -> bool:
        match node:
            case ast.Constant():
                return True
            case ast.Name(id=name):
                return name in constants
            case ast.JoinedStr(values=parts) | ast.Dict(values=parts):
                return all(map(is_constant, parts))
            case ast.FormattedValue(value=value) | ast.Subscript(value=value):
                return is_constant(value)
            case ast.BinOp(left=left, right=right):
                return is_constant(left) and is_constant(right)
        return False

    top: dict[str, list[ast.Call]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if is_constant(node.value):
                constants.add(node.targets[0].id)
            elif isinstance(node.value, ast.Call) and all(map(is_constant, node.value.args)):
                top.setdefault(ast.unparse(node.value.func), []).append(node.value)
    every = {name: [call for call in calls(tree) if ast.unparse(call.func) == name] for name in top}
    of_constants = {name for name in top if top[name] == every[name] and not any(c.keywords for c in every[name])}
    composed: list[str] = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        tables = {
            argument.arg
            for argument in function.args.args
            if argument.annotation and ast.unparse(argument.annotation) in of_constants
        }
        for call in calls(function):
            if _last(call) in {"execute", "executemany", "executescript"}:
                statement = call.args[0]
                field = isinstance(statement, ast.Attribute) and ast.unparse(statement.value) in tables
                if not field and not is_constant(statement):
                    composed.append(ast.unparse(call))
    return composed


SCHEMA = ast.parse((SOURCES_ROOT / "storage" / "schema.py").read_text())


def with_schema(tree: ast.Module) -> ast.Module:
    """A file after the statements of the store's schema, where it imports them."""
    imported = any(isinstance(node, ast.ImportFrom) and node.module == "lossact.storage.schema" for node in tree.body)
    return ast.Module([*SCHEMA.body, *tree.body], []) if imported else tree


def test_sql_is_never_put_together_from_values() -> None:
    """Statements are constants of the source; values are bound."""
    statements = 0
    for source in SOURCES:
        tree = ast.parse(source.read_text())
        statements += sum(_last(call) in {"execute", "executemany", "executescript"} for call in calls(tree))
        assert composed_statements(with_schema(tree)) == [], source
    assert statements >= 10


@pytest.mark.parametrize(
    "statement",
    ["name", "f'SELECT {name}'", "'SELECT ' + name", "table.select", "CONSTANT.format(name)", "f'{CONSTANT} {name}'"],
)
def test_sql_that_is_put_together_is_recognised(statement: str) -> None:
    source = "CONSTANT = 'SELECT'\ndef act(database, name, table: Table):\n    database.execute({})"
    assert composed_statements(ast.parse(source.format(statement)))
    assert not composed_statements(ast.parse(source.format("CONSTANT + f' {CONSTANT}'")))


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "WANDB_SILENT": "true"}


def everything(claims: Claims, *before: str, **more: str) -> None:
    """Claims with all that they can write, and a fit that is logged; `before` is put before either command."""
    root = claims.pytester.path
    options = ["--claims-wandb=offline", "--claims-html=report", f"--claims-json={claims.json}"]
    for command in (
        ["-m", "pytest", "claims", *options],
        ["-m", "lossact.cli", "fit", config("mlp_sigmoid_ce"), config("with/wandb"), "--model.budget=20"],
    ):
        subprocess.run(
            [*before, sys.executable, *command],
            cwd=root, env=environment() | more, capture_output=True, check=False, timeout=300,
        )  # fmt: skip
    assert (root / "report" / "index.html").is_file()
    assert len(list((root / ".lossact" / "wandb").glob("offline-run-*"))) == 4


@pytest.mark.slow
def test_no_secret_is_written_down(claims: Claims) -> None:
    claims.write()
    root = claims.pytester.path
    for arguments in (["init", "-q"], ["remote", "add", "origin", REMOTE]):
        subprocess.run(["git", *arguments], cwd=root, check=True, timeout=60)
    everything(claims, **SECRETS)
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts]
    assert any(path.suffix == ".wandb" for path in files)
    for file in files:
        content = file.read_bytes()
        for secret in (*SECRETS.values(), "pa55word-of-a-database", "t0ken-in-a-remote"):
            assert secret.encode() not in content, file


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_byte_leaves_the_machine(claims: Claims, tmp_path: Path) -> None:
    claims.write()
    log = tmp_path / "connections"
    everything(claims, "strace", "-f", "-qq", "-A", "-e", "trace=connect,sendto", "-o", str(log))
    asked = re.findall(r"sa_family=AF_INET6?,.*?(?:inet_addr|inet_pton\(AF_INET6,) ?\(?\"([^\"]+)\"", log.read_text())
    assert set(asked) <= {"127.0.0.1", "::1"}
