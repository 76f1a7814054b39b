"""Curves whose files are damaged."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from lossact import Store
from tests.storage.test_store import some_curves, some_trials


def cut(content: bytes) -> bytes:
    return content[:100]


def overwritten(content: bytes) -> bytes:
    """The beginning of the first array's compressed data is another one."""
    begin = 30 + sum(struct.unpack_from("<HH", content, 26))  # behind the header, a name and more
    return content[:begin] + b"\xff" * 60 + content[begin + 60 :]


def in_headers(content: bytes, offset: int, value: bytes) -> bytes:
    """A field of the first array's two headers is another one."""
    central = content.index(b"PK\x01\x02") + 2
    for header in (0, central):
        content = content[: header + offset] + value + content[header + offset + len(value) :]
    return content


def of_another_compression(content: bytes) -> bytes:
    return in_headers(content, 8, b"\x63\x00")


def encrypted(content: bytes) -> bytes:
    return in_headers(content, 6, b"\x01\x00")


@pytest.mark.parametrize("damaged", [cut, overwritten, of_another_compression, encrypted])
def test_damaged_curves_are_set_aside(damaged: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for first in (0, 64):
            store.add("k", {}, first, some_trials(64), some_curves(64))
        file = tmp_path / "curves" / "k" / "000064.npz"
        file.write_bytes(damaged(file.read_bytes()))
        with pytest.warns(UserWarning, match=r"000064.npz: not readable .*; set aside as 000064.damaged"):
            kept = store.curves("k", 64)
        assert kept is not None
        assert len(kept) == 64
        assert len(store.trials("k", 10)) == 128
