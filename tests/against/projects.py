"""Repositories with claims, made by tests."""

import os
import subprocess
import sys
from pathlib import Path

from tests.processes import Start

ROOT = Path(__file__).parents[2]
IDENTITY = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]

NETS = """
import torch

RATE = 0.3

def total(parts):
    # a comment
    return parts[0] + parts[1] + parts[2]

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = torch.nn.Linear(16, 8), torch.nn.Linear(8, 1)

    def forward(self, images):
        h = torch.tanh(self.hidden(images.flatten(1)))
        return self.out(total([h, h * 0.37, h * h * 0.11])).squeeze(-1)
"""
CLAIMS = """
import pytest
from lossact import SGD, Accuracy, Condition, Loss, MLPConfig, RandomImages, higher
from {module} import RATE, Net

def condition(name, network, rate):
    return Condition(name=name, network=network, loss="cross_entropy", data=RandomImages(), budget=12,
                     optimizer=SGD(learning_rate=rate, momentum=0.5), measures={{"loss": Loss()}})

OWN, MLP = condition("own", Net, RATE), condition("mlp", MLPConfig(activation="sigmoid"), 0.1)

@pytest.mark.claim("one has the higher loss")
def test_loss():
    return higher("loss", MLP, than=OWN)
"""


class Project:
    """A git repository with claims about a network of its own."""

    def __init__(self, folder: Path, *, source: str = "", module: str = "nets") -> None:
        self.folder, self.code = folder, folder / source / "nets.py"
        (folder / "claims").mkdir(parents=True)
        self.code.parent.mkdir(parents=True, exist_ok=True)
        self.code.write_text(NETS)
        (folder / "claims" / "test_loss.py").write_text(CLAIMS.format(module=module))
        (folder / ".gitignore").write_text(".lossact/\nignored/\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *IDENTITY, "-C", str(self.folder), *arguments],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "a state")
        return self.git("rev-parse", "HEAD").strip()

    def edit(self, old: str, new: str, file: Path | None = None) -> None:
        file = file or self.code
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def state(self) -> tuple[str, str, list[str]]:
        """What a command must leave as it was."""
        files = sorted(str(path) for path in self.folder.rglob("*") if not {".git", ".lossact"} & set(path.parts))
        return self.git("status", "--porcelain"), self.git("worktree", "list"), files

    def against(self, start: Start, *arguments: str) -> "subprocess.Popen[str]":
        """Start lossact against in the project, with its code on the path as an editable install puts it there."""
        path = os.pathsep.join([str(ROOT), str(self.code.parent)])
        return start(
            [sys.executable, "-m", "lossact.cli", "against", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
        )
