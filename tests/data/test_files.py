from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossact import ImageFiles
from lossact.errors import DataError

IMAGES = np.arange(32).reshape(2, 4, 4) % 2
LABELS = np.array([0.0, 1.0])


def write(folder: Path, images: Any = IMAGES, labels: Any = LABELS) -> None:
    for name, array in (("random_imgs", images), ("random_labs", labels)):
        if array is not None:
            np.save(folder / f"{name}.npy", array, allow_pickle=True)


def test_files_hold_what_was_written(tmp_path: Path) -> None:
    write(tmp_path)
    files = ImageFiles.in_directory(tmp_path, "random")
    read = files.sample(np.random.default_rng(0))
    np.testing.assert_array_equal(read.inputs, IMAGES)
    np.testing.assert_array_equal(read.targets, LABELS)
    assert files.image_shape == (4, 4)


def test_equal_arrays_make_equal_data_wherever_they_lie(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder, images in zip(folders, (IMAGES, IMAGES.astype(float), 1 - IMAGES), strict=True):
        folder.mkdir()
        write(folder, images)
    a, b, c = (ImageFiles.in_directory(folder, "random") for folder in folders)
    assert a == b
    assert a != c


def test_the_courses_own_files_are_read(course_data: Path) -> None:
    files = ImageFiles.in_directory(course_data, "random", image_shape=(4, 4))
    assert files.n_images == 64
    assert files.sample(np.random.default_rng(0)).targets.sum() == 11


def truncate(folder: Path) -> None:
    write(folder)
    file = folder / "random_imgs.npy"
    file.write_bytes(file.read_bytes()[:100])


def zipped(folder: Path) -> None:
    write(folder)
    (folder / "random_imgs.npy").write_bytes(b"PK\x03\x04 and then nothing")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda f: write(f, images=None), r"random_imgs.npy: no such file"),
        (lambda f: write(f, labels=None), r"random_labs.npy: no such file"),
        (zipped, r"random_imgs.npy: not a readable .npy array"),
        (truncate, r"random_imgs.npy: not a readable .npy array"),
        (lambda f: write(f, IMAGES.astype(object)), r"random_imgs.npy: not a readable .npy array without pickled"),
        (lambda f: write(f, IMAGES.astype("U1")), r"random_imgs.npy: dtype <U1 must be boolean, integer or floating"),
        (lambda f: write(f, IMAGES.astype(complex)), r"dtype complex128 must be"),
        (lambda f: write(f, IMAGES[0]), r"shape \(4, 4\) must be \(n, height, width\)"),
        (lambda f: write(f, IMAGES[:0], LABELS[:0]), r"shape \(0, 4, 4\) must be .* with no zero"),
        (lambda f: write(f, IMAGES[:, :3]), r"images are \(3, 4\), but this claim needs \(4, 4\)"),
        (lambda f: write(f, labels=LABELS[:1]), r"shape \(1,\) must be \(2,\), one label for each"),
        (lambda f: write(f, labels=LABELS[:, None]), r"shape \(2, 1\) must be \(2,\)"),
        (lambda f: write(f, labels=[0, 2]), r"labels must be 0 or 1, but 2 is among them"),
        (lambda f: write(f, labels=[0, np.nan]), r"labels must be 0 or 1, but nan is among them"),
        (lambda f: write(f, IMAGES * np.inf), r"every pixel must be finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply")
def test_bad_files_are_named(tmp_path: Path, prepare: Callable[[Path], None], message: str) -> None:
    prepare(tmp_path)
    with pytest.raises(DataError, match=message):
        ImageFiles.in_directory(tmp_path, "random", image_shape=(4, 4))
