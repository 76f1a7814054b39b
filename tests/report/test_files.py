"""Where output can be written is known before anything is trained."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lossact.cli import main
from lossact.errors import InputError
from lossact.report.files import check_outputs, check_writable
from tests.pytest_plugin.conftest import CLAIMS, Claims

NOBODY = 65534


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that this process may read, and not write to, with an inner one that it may not enter."""
    if not hasattr(os, "geteuid"):
        pytest.skip("no users whose rights differ")
    is_root = os.geteuid() == 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inner").mkdir(mode=0o700 if is_root else 0)
        folder.chmod(0o555)
        if is_root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o700)


def test_what_may_not_be_written_is_refused(closed: Path) -> None:
    for path in (closed / "x.json", closed / "new" / "folder" / "x.json"):
        with pytest.raises(InputError, match=rf"^--json={path}: {closed} may not be written to; give another place$"):
            check_outputs(json=path)
    with pytest.raises(InputError, match=rf"^{closed} may not"):
        check_writable(closed)
    assert [path.name for path in closed.iterdir()] == ["inner"]


def test_a_folder_that_may_not_be_entered_is_refused(closed: Path) -> None:
    with pytest.raises(InputError, match=rf"^--json=.*: {closed / 'inner'} may not be written to"):
        check_outputs(json=closed / "inner" / "new" / "x.json")


def close(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a folder be one that this process may not write to, whoever runs it."""
    may = os.access

    def access(path: Path, mode: int, **options: bool) -> bool:
        return Path(path) != folder and may(path, mode, **options)

    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(os, "supports_effective_ids", {*os.supports_effective_ids, access})


def test_commands_say_so_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    close(tmp_path, monkeypatch)
    with pytest.raises(SystemExit, match="2"):
        main(["surfaces", "--out", str(tmp_path / "drawn")])
    assert capfd.readouterr().err == f"lossact surfaces: {tmp_path} may not be written to; give another place\n"


@pytest.mark.parametrize("option", ["--claims-json={}/x.json", "--claims-html={}/x.html", "--claims-html={}/folder"])
def test_claims_are_not_trained_for_what_cannot_be_written(
    option: str, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = claims.pytester.mkdir("closed")
    claims.write(CLAIMS)
    close(closed, monkeypatch)
    run = claims.pytester.runpytest_inprocess("claims", option.format(closed))
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: --claims-*={closed}*: {closed} may not be written to; give another place"])
