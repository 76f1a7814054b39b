"""What a side says where it ends, and what is noted where nothing trained otherwise."""

import sys
from pathlib import Path

import pytest

from lossact.against import Pair, Repository
from lossact.against.before_after import notes_of
from lossact.against.side import Side
from lossact.errors import TrainingError
from tests.against.projects import Project
from tests.against.sides import side_condition

FAILS = """
error = KeyError("the column acc is missing")
error.add_note("while training script, replicas 0 to 15")
try:
    1 / 0
except ZeroDivisionError:
    raise error
"""
HANDLES = """
import sys, traceback
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
sys.exit("no claims")
"""


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (FAILS, "KeyError: 'the column acc is missing'; while training script, replicas 0 to 15"),
        ("import sys; print('a\\nb', file=sys.stderr); sys.exit(3)", "ended with 3; b"),
        ("raise ValueError('no number')", "ended with 1; ValueError: no number"),
        (HANDLES, "ended with 1; no claims"),
        ("import sys; sys.exit(3)", "it printed nothing"),
    ],
)
def test_a_side_that_ends_says_why(program: str, words: str, tmp_path: Path) -> None:
    side = Side(
        "working tree", root=tmp_path, working_tree=tmp_path, inside=Path(), python=sys.executable, program=program,
        log=tmp_path / "log",
    )  # fmt: skip
    with side, pytest.raises(TrainingError) as error:
        side.receive()
    assert words in str(error.value)


def test_code_that_no_condition_reads_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    commit, repository = project.commit(), Repository.of(project.folder)
    alike = Pair("mlp", side_condition(key="a"), side_condition(key="a"))
    changed = Pair("own", side_condition(key="a"), side_condition(key="b"))
    assert notes_of(repository, commit, [alike], []) == []
    project.edit("RATE = 0.3", "RATE = 0.6")
    (note,) = notes_of(repository, commit, [alike], [])
    assert note.startswith("no condition reads what changed in nets.py; where training starts it as a program")
    assert not any("no condition reads" in note for note in notes_of(repository, commit, [alike, changed], []))
