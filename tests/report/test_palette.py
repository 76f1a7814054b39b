"""Colours stay apart for every kind of colour vision, and stand out from their paper."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from lossact.palette import INK, PAPER, SERIES, SOFT, VERDICTS, css, css_variables

# Machado, Oliveira and Fernandes, A physiologically-based model for simulation of color vision deficiency, 2009.
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> NDArray[np.float64]:
    """Linear RGB of #rrggbb, as sRGB defines it."""
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of linear RGB, under D65."""
    relative = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(colour_a: str, colour_b: str) -> float:
    """WCAG's contrast ratio."""
    dark, light = sorted(float((TO_XYZ @ linear(colour))[1]) for colour in (colour_a, colour_b))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("shade", [0, 1])
def test_colours_stay_apart(vision: str, shade: int) -> None:
    def smallest_difference(colours: list[str]) -> float:
        seen = [lab(np.array(VISION[vision]) @ linear(colour)) for colour in colours]
        return min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2))

    assert smallest_difference([colour[shade] for colour in SERIES[:4]]) > 12
    assert smallest_difference([colour[shade] for colour in SERIES]) > 10
    assert smallest_difference([colour[shade] for colour in VERDICTS.values()]) > 25


@pytest.mark.parametrize("shade", [0, 1])
def test_colours_stand_out_from_their_paper(shade: int) -> None:
    for colour in (*VERDICTS.values(), INK, SOFT):
        assert contrast(colour[shade], PAPER[shade]) >= 4.5
    for colour in SERIES:
        assert contrast(colour[shade], PAPER[shade]) >= 3


def test_the_style_sheet_sets_every_colour_twice() -> None:
    for name, colour in css_variables().items():
        assert css().count(f"--{name}: ") == 2
        assert f"--{name}: {colour.dark};" in css().partition("prefers-color-scheme: dark")[2]
