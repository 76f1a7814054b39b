from pathlib import Path

import numpy as np
import pytest

from lossact import ImageFiles, LineImages
from lossact.data import Dataset
from lossact.errors import InputError


def longest_run(column: np.ndarray) -> int:
    runs = "".join("#" if pixel else " " for pixel in column).split()
    return max(map(len, runs), default=0)


def bar_and_rest(image: np.ndarray) -> tuple[range, int, np.ndarray]:
    """The bar's columns, its height, and the image without them; a tall square may hide in the same columns."""
    heights = [longest_run(column) for column in image.T]
    tall = [k for k, height in enumerate(heights) if height >= 10]
    bar = range(tall[0], tall[-1] + 1)
    rest = image.copy()
    rest[:, bar.start : bar.stop] = 0
    return bar, max(heights), rest


def check_rule(data: Dataset) -> int:
    """Check every image in which bar and square are distinguishable, and count those."""
    n_checked = 0
    for image, label in zip(data.inputs, data.targets, strict=True):
        bar, height, rest = bar_and_rest(image)
        if len(bar) > 4:
            continue
        n_checked += 1
        assert 2 <= len(bar) <= 4
        assert 10 <= height <= 14
        rows, columns = np.nonzero(rest)
        sides = (int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
        assert len(rows) == sides[0] * sides[1], "the square is filled"
        at_edge = {rows.min(), columns.min()} & {0} or {rows.max(), columns.max()} & {15}
        assert sides[0] == sides[1] or at_edge
        assert max(sides) <= 11
        assert at_edge or sides[0] % 2 == 1
        assert (columns < bar.start).all() if label else (columns >= bar.stop).all()
    return n_checked


def test_generated_images_follow_the_rule() -> None:
    n_checked = 0
    for replica in range(40):
        data = LineImages().sample(np.random.default_rng(replica))
        assert set(np.unique(data.inputs)) == {0, 1}
        assert data.targets.sum() == 32
        n_checked += check_rule(data)
    assert n_checked > 0.8 * 40 * 64


def test_the_courses_own_images_follow_the_same_rule(course_data: Path) -> None:
    data = ImageFiles.in_directory(course_data, "line", image_shape=(16, 16)).sample(np.random.default_rng(0))
    assert check_rule(data) >= 60


def test_bars_and_squares_take_every_size() -> None:
    data = LineImages(n_images=2000).sample(np.random.default_rng(0))
    bars = [bar_and_rest(image) for image in data.inputs]
    assert {len(bar) for bar, _, _ in bars} >= {2, 3, 4}
    assert {height for bar, height, _ in bars if len(bar) <= 4} >= {10, 11, 12, 13, 14}


@pytest.mark.parametrize("n_images", [0, 3, -2, 2.0])
def test_bad_numbers_are_named(n_images: int) -> None:
    with pytest.raises(InputError, match=rf"n_images={n_images} must be"):
        LineImages(n_images=n_images)
