"""lossact against in repositories made here: every test starts two processes a run."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from lossact.cli import main
from tests.against.projects import Project
from tests.processes import Start, wait_until

MINUTES = 600


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def compare(project: Project, start: Start, *arguments: str, status: int) -> tuple[dict[str, dict[str, Any]], Any]:
    """Run the command; what it says of each condition, and all that it says."""
    state = project.state()
    process = project.against(start, *arguments, "--json", "-")
    printed, errors = process.communicate(timeout=MINUTES)
    assert process.returncode == status, errors
    document = json.loads(printed)  # nothing else is on standard output
    assert project.state() == state
    return {condition["name"]: condition for condition in document["conditions"]}, document


@pytest.mark.slow
def test_a_comment_changes_nothing_and_one_block_shows_it(project: Project, start: Start) -> None:
    project.edit("# a comment", "# another")
    conditions, document = compare(project, start, "HEAD", status=0)
    assert {name: each["verdict"] for name, each in conditions.items()} == {"own": "identical", "mlp": "identical"}
    assert (document["tests"], document["uncommitted_changes"]) == (0, True)
    assert document["trained_replicas"] == sum(each["replicas"] for each in conditions.values()) == 16 + 64
    conditions_again, document = compare(project, start, "HEAD", status=0)
    assert document["trained_replicas"] == 0
    assert conditions_again == conditions


@pytest.mark.slow
def test_the_order_of_a_sum_is_equivalent_from_both_sides(project: Project, start: Start) -> None:
    project.edit("parts[0] + parts[1] + parts[2]", "parts[2] + parts[1] + parts[0]")
    conditions, _ = compare(project, start, "HEAD", status=0)
    assert {name: each["verdict"] for name, each in conditions.items()} == {"own": "equivalent", "mlp": "identical"}
    assert conditions["own"]["changes"] == ["code of total"]
    changed = project.commit()
    project.git("checkout", "--quiet", "HEAD~1")
    reversed_sides, document = compare(project, start, changed, status=0)
    assert reversed_sides["own"]["verdict"] == "equivalent"
    assert document["trained_replicas"] == 0  # both sides are stored


@pytest.mark.slow
def test_half_the_learning_rate_is_worse_and_twice_is_better(project: Project, start: Start) -> None:
    first = project.git("rev-parse", "HEAD").strip()
    project.edit("RATE = 0.3", "RATE = 0.15")
    halved, document = compare(project, start, "HEAD", status=1)
    assert halved["own"]["verdict"] == "worse"
    assert halved["own"]["changes"] == ["optimizer.learning_rate 0.3 → 0.15"]
    assert document["exit_status"] == 1
    changed = project.commit()
    project.git("checkout", "--quiet", first)
    doubled, _ = compare(project, start, changed, status=0)
    assert doubled["own"]["verdict"] == "better"
    value = {name: each["own"]["measures"][0]["difference"]["value"] for name, each in (("a", halved), ("b", doubled))}
    assert value["a"] == -value["b"] > 0
    compare(project, start, changed, "--fail-on", "different", status=1)


@pytest.mark.slow
def test_a_renamed_condition_and_files_for_people(project: Project, start: Start, tmp_path: Path) -> None:
    project.edit('"own"', '"mine"', project.folder / "claims" / "test_loss.py")
    markdown, page = tmp_path / "a.md", tmp_path / "a.html"
    conditions, document = compare(project, start, "main", "--markdown", str(markdown), "--html", str(page), status=0)
    assert list(conditions) == ["mlp"]
    assert (document["only_before"], document["only_after"]) == (["own"], ["mine"])
    assert "| mlp | all | ✅ identical |" in markdown.read_text()
    assert "only the working tree has mine" in page.read_text()
    assert "<svg" in page.read_text()


@pytest.mark.slow
def test_a_source_folder_is_put_in_its_place(tmp_path: Path, start: Start) -> None:
    project = Project(tmp_path / "project", source="src")
    project.edit("RATE = 0.3", "RATE = 0.1")
    conditions, _ = compare(project, start, "HEAD", "claims/test_loss.py::test_loss", "--max-replicas", "32", status=1)
    assert conditions["own"]["changes"] == ["optimizer.learning_rate 0.3 → 0.1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("nets.py", "import nothing_of_that_name", "revision HEAD: claims/test_loss.py: "),
        ("claims/test_loss.py", "import pytest", "revision HEAD: claims: no claim there"),
        (
            "claims/conftest.py",
            "import sys, importlib.util\nspec = importlib.util.spec_from_file_location('own', {tree!r} + '/nets.py')\n"
            "sys.modules['own'] = module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\n",
            "revision HEAD: the module own was loaded from the working tree",
        ),
    ],
)
def test_a_revision_that_cannot_be_asked(project: Project, start: Start, file: str, text: str, message: str) -> None:
    changed = project.folder / file
    before = changed.read_text() if changed.exists() else None
    changed.write_text(text.format(tree=str(project.folder)))
    project.commit()
    if before is not None:
        changed.write_text(before)
    process = project.against(start, "HEAD", "--json", "-")
    printed, errors = process.communicate(timeout=MINUTES)
    assert process.returncode == 2
    assert f"lossact against: {message}" in errors
    assert "Traceback" not in errors
    assert json.loads(printed)["error"]["kind"] == "InputError"
    if file == "nets.py":
        assert "nothing_of_that_name" in errors


@pytest.mark.slow
def test_a_store_that_no_side_can_use(project: Project, start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = project.against(start, "HEAD", "--store", str(tmp_path / "file" / "store"))
    _, errors = process.communicate(timeout=MINUTES)
    assert process.returncode == 2
    assert "cannot be opened" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(project: Project, start: Start, tmp_path: Path) -> None:
    project.edit("RATE = 0.3", "RATE = 0.29")
    state = project.state()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        process = project.against(start, "HEAD", "--max-replicas", "1000000", "--delta", "0.001")
    assert wait_until(lambda: (project.folder / ".lossact" / "trials.sqlite").exists())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=MINUTES)
    assert process.returncode == 130
    assert project.state() == state
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "is no commit of"),
        (["HEAD", "--alpha", "0.7"], "alpha=0.7 must be"),
        (["HEAD", "--within", "accuracy"], "must be MEASURE=MARGIN"),
        (["HEAD", "--within", "accuracy=-1"], "within accuracy=-1.0 must be > 0"),
        (["HEAD", "--higher", "a", "--lower", "a"], "is given to --higher and to --lower"),
        (["HEAD", "--link", "nowhere"], "does not exist"),
        (["HEAD", "--python", "/no/python"], "does not exist"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(
    project: Project, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(project.folder)
    with pytest.raises(SystemExit) as ended:
        main(["against", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert len(project.git("worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--junit", "."], "--junit=.: is a folder, but must be a file; name a file in it"),
        (["--json", "x", "--markdown", "./x"], "--json and --markdown are both x; give each its own file"),
    ],
)
def test_outputs_that_cannot_be_files_are_refused(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["against", "HEAD", *options])
    assert capsys.readouterr().err == f"lossact against: {message}\n"
    assert not list(tmp_path.iterdir())
