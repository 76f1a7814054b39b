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
from tests.pytest_plugin.conftest import Claims, claims
from tests.test_train_command import config

__all__ = ["claims"]

SOURCES = sorted(Path(lossact.__file__).parent.rglob("*.py"))
SECRETS = {
    "WANDB_API_KEY": "5ecre7" * 6 + "5ecr",
    "AWS_SECRET_ACCESS_KEY": "an-aws-secret-0xC0FFEE",
    "DATABASE_URL": "postgres://somebody:pa55word-of-a-database@elsewhere/x",
}
REMOTE = "https://somebody:t0ken-in-a-remote@example.invalid/x.git"


def calls(source: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]


def test_no_pickle_is_ever_loaded() -> None:
    """Lightning's checkpoints are a test of the command's; these are all other files that are read."""
    found = 0
    for source in SOURCES:
        for call in calls(source):
            name = ast.unparse(call.func)
            assert name.rpartition(".")[0] not in {"pickle", "joblib", "shelve", "marshal", "dill"}, source
            assert name not in {"torch.load", "eval", "exec"}, source
            if name == "np.load":
                found += 1
                assert {one.arg: ast.unparse(one.value) for one in call.keywords} == {"allow_pickle": "False"}, source
    assert found >= 3


def test_sql_is_never_put_together_from_values() -> None:
    """Statements are constants of the source; values are bound."""
    for source in SOURCES:
        for call in calls(source):
            if ast.unparse(call.func).endswith((".execute", ".executemany")):
                constant = call.args[0]
                assert isinstance(constant, ast.Constant) or "SELECT" not in ast.unparse(constant), source
                assert not isinstance(constant, ast.JoinedStr), source


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
        subprocess.run(["git", *arguments], cwd=root, check=True)
    everything(claims, **SECRETS)
    files = [one for one in root.rglob("*") if one.is_file() and ".git" not in one.relative_to(root).parts]
    assert any(one.suffix == ".wandb" for one in files)
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
