import json
from pathlib import Path
from typing import Any

import pytest

import lossact.running.runner  # noqa: F401  loaded once for all runs in this process

CONDITIONS = """
import pytest
from lossact import SGD, Accuracy, Condition, ImageFiles, MLPConfig, RandomImages, faster, ordering

def condition(name, loss="cross_entropy", budget=60, target=0.8, data=RandomImages(), activation="sigmoid"):
    return Condition(name=name, network=MLPConfig(activation=activation), loss=loss, data=data, budget=budget,
                     optimizer=SGD(learning_rate=0.1, momentum=0.9), target=Accuracy().at_least(target))

EASY, HARD = condition("easy", target=0.6), condition("hard", target=0.99)
"""

CLAIMS = """
@pytest.mark.claim("an easy target is met first", source="common sense")
def test_true():
    return faster(EASY, than=HARD)

@pytest.mark.claim("a hard target is met first")
def test_false():
    return faster(HARD, than=EASY)
"""


class Claims:
    """A project with claims, in a separate folder."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.json = pytester.path / "verdicts.json"

    def write(self, claims: str = CLAIMS, *, name: str = "test_claims.py", size: int | None = None) -> Path:
        folder = self.pytester.path / "claims"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(CONDITIONS + claims)
        if size is not None:
            (folder / "family.toml").write_text(f"size = {size}\n")
        return folder

    def run(self, *arguments: str, subprocess: bool = False) -> pytest.RunResult:
        """In this process, where everything heavy is loaded once, unless that would show something else."""
        arguments = ("claims", "--claims-json", str(self.json), *arguments)
        if subprocess:
            return self.pytester.runpytest_subprocess(*arguments, timeout=240)
        return self.pytester.runpytest_inprocess(*arguments)

    def verdicts(self) -> dict[str, dict[str, Any]]:
        document = json.loads(self.json.read_text())
        return {claim["id"].rpartition("::")[2]: claim for claim in document["claims"]}
