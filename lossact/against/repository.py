"""A git repository, and the files of one of its revisions in a folder of their own."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lossact.errors import InputError

FOLDER = "lossact-against-"  # how the names of temporary folders begin
SECONDS = 600  # a git command's limit
NO_DATA = {".py", ".pyi", ".md", ".rst", ".lock"}  # endings of code and prose
SUBMODULE = "160000 "  # how git writes the mode of one
SET_BY_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


@dataclass(frozen=True)
class Repository:
    """A git repository with a working tree.

    Attributes:
        root: the top folder of its working tree, resolved.
        inside: the current folder, relative to the root.
    """

    root: Path
    inside: Path

    @classmethod
    def of(cls, folder: Path) -> "Repository":
        """Find the repository that holds a folder.

        Args:
            folder: any folder of the working tree.

        Returns:
            the repository.

        Raises:
            InputError: git is missing, or the folder is in no repository.
        """
        if shutil.which("git") is None:
            raise InputError("git is not on PATH, and revisions are read with it; install git")
        folder = folder.resolve()
        top_level = _git(folder, "rev-parse", "--show-toplevel")
        if (
            top_level.returncode
            and "not a git repository" not in top_level.stderr
            and "work tree" not in top_level.stderr
        ):
            raise InputError(f"git cannot read {folder}: {' '.join(top_level.stderr.split())}")  # another's folder, say
        if top_level.returncode or not top_level.stdout.strip():
            raise InputError(f"{folder} is in no git repository with files; go to the project's folder")
        root = Path(top_level.stdout.rstrip("\n")).resolve()
        return cls(root, folder.relative_to(root))

    def commit(self, revision: str) -> str:
        """Return the full name of the commit that a revision stands for.

        Args:
            revision: a commit, branch or tag.

        Returns:
            its full hash.

        Raises:
            InputError: there is none.
        """
        parsed = None
        if revision and not revision.startswith("-"):
            parsed = _git(self.root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        if parsed is None or parsed.returncode:
            shallow = _git(self.root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
            way_out = (
                "the clone is shallow: git fetch --unshallow" if shallow else "git log and git branch -a list some"
            )
            raise InputError(f"revision {revision!r} is no commit of {self.root}; {way_out}")
        return parsed.stdout.strip()

    def is_dirty(self) -> bool:
        """Return whether the working tree holds changes that are not committed."""
        return bool(_git(self.root, "status", "--porcelain").stdout.strip())

    def changed_data(self, commit: str) -> list[str]:
        """Return the changed and the new files that hold neither code nor prose.

        Args:
            commit: what the working tree is compared with.

        Returns:
            paths relative to the root.
        """
        return [
            name
            for name in self._changed(commit)
            if not name.startswith(".") and name != "pyproject.toml" and Path(name).suffix not in NO_DATA
        ]

    def changed_code(self, commit: str) -> list[str]:
        """Return the changed and the new files of Python, but for those of tests and claims.

        Args:
            commit: what the working tree is compared with.

        Returns:
            paths relative to the root.
        """
        names = [Path(name) for name in self._changed(commit)]
        return [str(name) for name in names if name.suffix == ".py" and not name.name.startswith(("test_", "conftest"))]

    def _changed(self, commit: str) -> list[str]:
        """Return the files that differ, with those that are not in the commit and that git does not ignore."""
        changed = _git(self.root, "diff", "--name-only", "-z", commit).stdout
        new = _git(self.root, "ls-files", "--others", "--exclude-standard", "-z").stdout
        return [name for name in (changed + new).split("\0") if name]

    @contextmanager
    def files_of(self, commit: str, *, links: Sequence[Path] = ()) -> Iterator[Path]:
        """Yield a temporary folder with the files of a commit; nothing is left of it afterwards.

        Args:
            commit: its full name.
            links: files and folders of the working tree to link into it, such as data that git ignores.

        Raises:
            InputError: a link is not below the root or is in the commit, or git cannot write the files.
        """
        relative = [self._checked_link(path) for path in links]
        with _folder_of(f"{self.root}\0{commit}") as temporary:
            folder = temporary / self.root.name
            try:
                _check_out(self.root, folder, commit)
                for path in relative:
                    _link(self.root / path, folder / path, commit)
                yield folder
            finally:
                _discard(self.root, folder, commit)

    def _checked_link(self, path: Path) -> Path:
        absolute = Path(os.path.abspath(path))
        if not absolute.exists():
            raise InputError(f"link {path} does not exist; give a file or folder of the working tree")
        if not absolute.is_relative_to(self.root) or absolute == self.root:
            raise InputError(f"link {path} is not below {self.root}; what lies outside needs no link")
        return absolute.relative_to(self.root)


@contextmanager
def _folder_of(what: str) -> Iterator[Path]:
    """Yield a temporary folder whose name depends on this alone, gone afterwards.

    Code that asks where it lies has that in its key: the same place next time finds its trials in the store. Where
    another process uses the folder the place is another one.
    """
    folder = Path(tempfile.gettempdir()).resolve() / f"{FOLDER}{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    owner = folder / "process"
    with suppress(OSError, ValueError):
        if not _is_running(int(owner.read_text())):  # it was killed
            shutil.rmtree(folder)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}-") as other:
            yield Path(other).resolve()
        return
    try:
        owner.write_text(str(os.getpid()))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _check_out(root: Path, folder: Path, commit: str) -> None:
    """Write the files of a commit into a new worktree, those of submodules too that are there in the working tree."""
    _forget_lost_folders(root)
    added = _git(root, "worktree", "add", "--quiet", "--detach", str(folder), commit)
    if added.returncode:
        raise InputError(f"git cannot write the files of {commit[:12]}: {_last_line(added.stderr)}")
    for path, of_submodule in _submodules(root, commit):
        _check_out(root / path, folder / path, of_submodule)


def _discard(root: Path, folder: Path, commit: str) -> None:
    """Remove a worktree that was made so, as far as it was."""
    for path, of_submodule in _submodules(root, commit):
        _discard(root / path, folder / path, of_submodule)
    _git(root, "worktree", "remove", "--force", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    _forget_lost_folders(root)


def _submodules(root: Path, commit: str) -> list[tuple[str, str]]:
    """Return path and commit of each submodule that is there in the working tree."""
    entries = _git(root, "ls-tree", "-r", "-z", commit).stdout.split("\0")
    found = [entry.partition("\t") for entry in entries if entry.startswith(SUBMODULE)]
    return [(path, described.split()[2]) for described, _, path in found if (root / path / ".git").exists()]


def _forget_lost_folders(root: Path) -> None:
    """Have git forget folders of lossact's that are gone, as a killed process leaves them.

    Other worktrees stay, also those whose folder is missing: it may lie on a disk that is not mounted now.
    """
    for line in _git(root, "worktree", "list", "--porcelain").stdout.splitlines():
        path = Path(line.removeprefix("worktree "))
        is_ours = line.startswith("worktree ") and any(part.startswith(FOLDER) for part in path.parts)
        if is_ours and not path.exists():
            _git(root, "worktree", "remove", "--force", "--force", str(path))


def _link(source: Path, target: Path, commit: str) -> None:
    if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
        target.rmdir()  # a submodule's
    if target.exists() or target.is_symlink():
        raise InputError(f"link {source}: {commit[:12]} has files of its own there; leave the link out")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run git without the user's hooks, deaf to Ctrl-C, which ends it through this process alone."""
    environment = {name: value for name, value in os.environ.items() if name not in SET_BY_HOOKS}
    return subprocess.run(
        ["git", "--no-optional-locks", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
        env=environment | {"LC_ALL": "C"},
        start_new_session=True,
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
