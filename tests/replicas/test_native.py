"""Programs in C++ that are built where they run."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lossact.cpp_compiler import find_compiler
from lossact.replicas import native
from lossact.replicas.native import ANY_CPU, VECTORS, BuildError, build

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler on PATH")
SOURCE = 'extern "C" int vector_bytes() { return VECTOR_BYTES; }\nextern "C" int number() { return NUMBER; }\n'


@pytest.fixture(autouse=True)
def nothing_built_before() -> Iterator[None]:
    build.cache_clear()
    yield
    build.cache_clear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "numbers.cpp"
    file.write_text(SOURCE)
    return file


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def put_compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "compiler"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("CXX", str(file))


@needs_compiler
def test_a_program_is_built_once_for_each_set_of_constants(
    source: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    run = subprocess.run

    def counted(command: list[str], **options: Any) -> Any:
        started.append(command)
        return run(command, **options)

    monkeypatch.setattr("lossact.replicas.native.subprocess.run", counted)
    assert [build(source, NUMBER=number).number() for number in (3, 5, 3)] == [3, 5, 3]
    assert len(started) == 2
    assert not any(temporary.iterdir())
    for word in ("-O3", "-shared", "-DNUMBER=3", str(source)):
        assert word in started[0]


@needs_compiler
def test_vectors_are_as_wide_as_torchs(source: Path) -> None:
    width = {"AVX512": 64, "AVX2": 32}.get(torch.backends.cpu.get_cpu_capability(), 16)
    assert build(source, NUMBER=1).vector_bytes() == width
    assert {bytes_ for bytes_, _ in (*VECTORS.values(), ANY_CPU)} == {16, 32, 64}


@needs_compiler
def test_what_the_compiler_says_is_told(source: Path, temporary: Path) -> None:
    with pytest.raises(BuildError, match=r"(?s)numbers\.cpp.*NUMBER"):
        build(source)
    assert not any(temporary.iterdir())
    assert build(source, NUMBER=1).number() == 1


def test_without_a_compiler_there_is_no_program(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BuildError, match=r"no C\+\+ compiler on PATH"):
        build(source, NUMBER=1)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no space left >&2; exit 2", "compiler: no space left"),
        ("exit 2", "returned non-zero exit status 2"),
        ("kill -9 $$", "died with <Signals.SIGKILL"),
        ("exit 0", r"numbers\.so"),  # it wrote nothing
        ('for last; do :; done; echo text > "$last"', r"numbers\.so"),  # it wrote no library
        ("exec sleep 60", "timed out"),
    ],
)
def test_a_compiler_that_fails_is_an_error_of_the_build(
    script: str, why: str, source: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_compiler(tmp_path, script, monkeypatch)
    monkeypatch.setattr(native, "LONGEST", 2 if "sleep" in script else 60)
    with pytest.raises(BuildError, match=why):
        build(source, NUMBER=1)
    assert not any(temporary.iterdir())
