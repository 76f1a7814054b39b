"""Which C++ compiler is found, and what it says of itself."""

import subprocess
from pathlib import Path

import pytest

from lossact.cpp_compiler import compiler_version, find_compiler
from lossact.errors import InputError


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder on PATH, empty; no $CXX."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(tools: Path, name: str, script: str = "true") -> Path:
    file = tools / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_compilers_are_taken_in_order(tools: Path) -> None:
    assert find_compiler() is None
    for name in ("clang++", "c++", "g++"):
        put(tools, name)
        assert find_compiler() == [name]


def test_cxx_comes_first_with_its_arguments(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tools, "g++")
    mine = put(tools, "my compiler")
    monkeypatch.setenv("CXX", f"'{mine}' -m64 '-DNAME=a b'")
    assert find_compiler() == [str(mine), "-m64", "-DNAME=a b"]
    for missing in ("", " ", "missing", str(tools / "missing")):
        monkeypatch.setenv("CXX", missing)
        assert find_compiler() == ["g++"]


def test_what_cannot_be_run_is_no_compiler(tools: Path) -> None:
    put(tools, "g++").chmod(0o644)
    (tools / "c++").mkdir()
    assert find_compiler() is None


def test_without_a_compiler_its_version_is_missing(tools: Path) -> None:
    assert compiler_version() == "missing"


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo 'g++ (Debian) 12.2.0'; echo Copyright", "(Debian) 12.2.0 -m64"),
        ("echo 'c++ (Debian) 12.2.0'", "(Debian) 12.2.0 -m64"),
        ("echo 'x86_64-linux-gnu-g++-12 (Debian) 12.2.0'", "(Debian) 12.2.0 -m64"),
        ("echo 'Debian clang version 14.0.6'", "Debian clang version 14.0.6 -m64"),
        ("echo; echo later", "-m64"),
        ('echo "$@"', "-m64 --version -m64"),
        ("exit 3", "exit status 3 -m64"),
        ("echo broken >&2; exit 1", "exit status 1 -m64"),
    ],
)
def test_the_version_is_the_first_line_and_the_flags(
    script: str, version: str, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", f"{put(tools, 'compiler', script)} -m64")
    assert compiler_version() == version


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler on PATH")
def test_the_version_of_this_machines_compiler() -> None:
    command = find_compiler()
    assert command is not None
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert compiler_version()
    assert compiler_version() in said


def test_a_compiler_that_cannot_be_run_says_why(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tools / "compiler"
    file.write_bytes(b"\x7fnothing that runs")
    file.chmod(0o755)
    monkeypatch.setenv("CXX", str(file))
    assert compiler_version().startswith("cannot be run: ")


def test_a_command_without_its_closing_quotation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", '"g++')
    with pytest.raises(InputError, match=r"CXX='\"g\+\+' is no command: No closing quotation"):
        find_compiler()
