import subprocess
from pathlib import Path

import pytest

from lossact.against import Repository
from lossact.errors import InputError
from tests.against.projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_the_files_of_a_commit_are_there_and_gone_again(project: Project) -> None:
    first = project.commit()
    project.edit("RATE = 0.3", "RATE = 0.6")
    state = project.state()
    repository = Repository.of(project.folder / "claims")
    assert (repository.root, repository.inside) == (project.folder.resolve(), Path("claims"))
    assert repository.is_dirty()
    seen: list[Path] = []

    def interrupted() -> None:
        with repository.files_of(repository.commit("HEAD")) as folder:
            seen.append(folder)
            assert "RATE = 0.3" in (folder / "nets.py").read_text()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not seen[0].parent.exists()
    assert project.state() == state
    assert repository.commit("main") == first


def test_a_commit_has_one_place_unless_another_process_is_there(project: Project) -> None:
    repository = Repository.of(project.folder)
    with repository.files_of("HEAD") as first:
        with repository.files_of("HEAD") as second:
            assert first != second
            assert (second / "nets.py").exists()
        assert (first / "nets.py").exists()
    with repository.files_of("HEAD") as again:
        assert again == first
    first.parent.mkdir()  # as a process that was killed leaves it
    project.git("worktree", "add", "--quiet", "--detach", str(first), "HEAD")
    (first.parent / "process").write_text(str(2**22 + 1))  # above what Linux numbers processes by
    with repository.files_of("HEAD") as after:
        assert after == first
    assert not first.parent.exists()
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_worktrees_of_others_stay_where_their_folders_are_missing_for_now(project: Project, tmp_path: Path) -> None:
    other, away = tmp_path / "other", tmp_path / "away"
    project.git("worktree", "add", "--quiet", "--detach", str(other), "HEAD")
    other.rename(away)  # as on a disk that is not mounted now
    with Repository.of(project.folder).files_of("HEAD"):
        pass
    away.rename(other)
    assert subprocess.run(["git", "-C", str(other), "status"], capture_output=True, check=False).returncode == 0


def test_submodules_have_the_files_that_the_commit_names(project: Project, tmp_path: Path) -> None:
    library = Project(tmp_path / "library")
    project.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(library.folder), "lib")
    first = project.commit()
    inside = project.folder / "lib"
    project.edit("RATE = 0.3", "RATE = 0.6", inside / "nets.py")
    project.git("-C", "lib", "commit", "--quiet", "--all", "-m", "a state")
    project.commit()
    repository = Repository.of(project.folder)
    with repository.files_of(first) as files:
        assert "RATE = 0.3" in (files / "lib" / "nets.py").read_text()
    assert "RATE = 0.6" in (inside / "nets.py").read_text()
    for folder in (".", "lib"):
        assert len(project.git("-C", folder, "worktree", "list").splitlines()) == 1


def test_links_bring_ignored_files_and_leave_their_content(project: Project) -> None:
    data = project.folder / "ignored" / "numbers.txt"
    data.parent.mkdir()
    data.write_text("1")
    repository = Repository.of(project.folder)
    with repository.files_of("HEAD", links=[data.parent]) as folder:
        assert (folder / "ignored" / "numbers.txt").read_text() == "1"
    assert data.read_text() == "1"


@pytest.mark.parametrize(
    ("link", "message"),
    [("nowhere", "does not exist"), ("/", "is not below"), ("nets.py", "has files of its own there")],
)
def test_links_that_cannot_be(project: Project, link: str, message: str) -> None:
    repository = Repository.of(project.folder)
    with pytest.raises(InputError, match=message), repository.files_of("HEAD", links=[project.folder / link]):
        pass
    assert len(project.git("worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("revision", ["nothing", "", "--all", "HEAD~99"])
def test_a_revision_that_is_none(project: Project, revision: str) -> None:
    with pytest.raises(InputError, match="is no commit of"):
        Repository.of(project.folder).commit(revision)


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "plain"
    folder.mkdir()
    with pytest.raises(InputError, match="is in no git repository"):
        Repository.of(folder)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(InputError, match="git is not on PATH"):
        Repository.of(folder)


def test_a_repository_that_git_refuses_is_told_in_gits_words(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(InputError, match=r"git cannot read .*safe\.directory"):
        Repository.of(project.folder)


def test_a_repository_without_files(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path)], check=True, timeout=60)
    with pytest.raises(InputError, match="is in no git repository with files"):
        Repository.of(tmp_path)


def test_changed_data_are_what_holds_neither_code_nor_prose(project: Project) -> None:
    data = project.folder / "data.csv"
    data.write_text("1")
    first = project.commit()
    data.write_text("2")
    project.edit("a comment", "another")
    (project.folder / "new.yaml").write_text("rate: 1")
    (project.folder / "new.py").write_text("RATE = 1")
    (project.folder / "ignored").mkdir()
    (project.folder / "ignored" / "large.csv").write_text("3")
    assert Repository.of(project.folder).changed_data(first) == ["data.csv", "new.yaml"]
    assert Repository.of(project.folder).changed_code(first) == ["nets.py", "new.py"]
