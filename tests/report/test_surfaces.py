import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lossact.cli import main
from lossact.functional import RANGES, Grid, Mesh, Neuron, descend, mesh
from lossact.functional.surfaces import Quantity
from lossact.report.descent import descent_figure
from lossact.report.profiles import profile_figure, saturated_ranges
from lossact.report.surfaces import figure_list, surface_figure


def test_the_reports_ten_figures() -> None:
    names = [name for name, _, _ in figure_list(["sigmoid", "relu"], ["l2", "cross_entropy"])]
    assert len(names) == len(set(names)) == 10


@pytest.mark.parametrize("losses", [["l2", "cross_entropy"], ["hinge", "huber"]])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "gelu"])
def test_scales_are_linear_with_few_round_ticks_around_all_values(activation: str, losses: list[str]) -> None:
    for _, neuron, quantity in figure_list([activation], losses):
        shown = mesh(neuron, quantity, Grid(RANGES[activation], RANGES[activation], y=0.8))
        axes, bar = surface_figure(shown).axes
        ticks = bar.get_yticks()
        assert 2 <= len(ticks) <= 7
        np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0])
        leading = float(f"{ticks[1] - ticks[0]:e}".partition("e")[0])
        assert min(abs(leading - round_step) for round_step in (1, 2, 2.5, 5)) < 1e-9
        low, high = axes.get_zlim()  # type: ignore[attr-defined]
        values = shown.values[shown.values.isfinite()]
        assert low <= float(values.min()) <= float(values.max()) <= high


def test_the_command_writes_figures_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made" / "here"
    options = ["--activation", "relu", "--loss", "cross_entropy", "--resolution", "17", "--descent", "0.2", "0.1"]
    assert main(["surfaces", "--out", str(out), *options, "--steps", "5"]) == 0
    printed = capsys.readouterr().out
    stems = ["output_relu", "loss_relu_cross_entropy", "gradient_relu_cross_entropy", "descent_relu_cross_entropy"]
    for stem in [*stems, "profile_relu", "all_surfaces"]:
        assert (out / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        text = "".join(ElementTree.parse(out / f"{stem}.svg").getroot().itertext())
        assert "weight w" in text or stem not in stems
        assert "ReLU" in text
        assert f"{stem}.png" in printed
    assert "left out where it is infinite or undefined" in (out / "loss_relu_cross_entropy.svg").read_text()
    assert (out / "surfaces.html").is_file()


def drawn_corners(shown: Mesh) -> NDArray[np.float64]:
    """Every corner (facets, 4, 3) of the surface that a figure shows."""
    axes: Any = surface_figure(shown).axes[0]
    surface = next(artist for artist in axes.collections if artist.get_rasterized())
    return np.asarray(surface._faces)


@pytest.mark.parametrize("x", [1.0, -0.5])
@pytest.mark.parametrize(("name", "neuron", "quantity"), figure_list(["sigmoid", "relu"], ["l2", "cross_entropy"]))
def test_each_corner_that_is_drawn_is_a_value_at_its_place(
    name: str, neuron: Neuron, quantity: Quantity, x: float
) -> None:
    """What is read back from the figure is compared with the neuron over the plane of w and b."""
    ranges = RANGES[neuron.activation]
    corners = drawn_corners(mesh(neuron, quantity, Grid(ranges, ranges, resolution=31, x=x), across=3)).reshape(-1, 3)
    assert np.isfinite(corners).all()
    w, b, drawn = (column.clone() for column in torch.from_numpy(corners.copy()).T)
    x_tensor, y_tensor = (torch.tensor(number, dtype=torch.float64) for number in (x, 0.5))
    w.requires_grad_()
    loss = neuron.loss_value(w, b, x_tensor, y_tensor)
    if quantity == "output":
        expected = neuron.output(w, b, x_tensor)
    elif quantity == "loss":
        expected = loss
    else:
        (expected,) = torch.autograd.grad(loss.sum(), w)
    # At a jump, w x + b is rounded to either side.
    close = torch.isclose(expected, drawn, rtol=1e-6, atol=1e-9)
    assert float(close.double().mean()) > 0.98


def test_no_facet_lies_across_a_ridge_or_an_edge() -> None:
    """Both outer rows of a facet are level lines, and none has 0 or 1 of a ReLU's p between them."""
    for quantity in ("loss", "gradient_w"):
        facets = drawn_corners(mesh(Neuron("relu", "l2"), quantity, Grid((-1, 1), (-1, 1), resolution=40)))
        z = facets[..., 0] + facets[..., 1]
        np.testing.assert_allclose(z[:, 0], z[:, 3], atol=1e-12)
        np.testing.assert_allclose(z[:, 1], z[:, 2], atol=1e-12)
        for edge in (0, 1):
            across = (z[:, 0] < edge) & (z[:, 1] > edge)
            assert (z[across, 1] - z[across, 0] < 1e-7).all()


@pytest.mark.parametrize(
    ("activation", "loss"), [("sigmoid", "l2"), ("sigmoid", "cross_entropy"), ("relu", "cross_entropy")]
)
def test_a_profile_is_the_neurons(activation: str, loss: str) -> None:
    ranges = RANGES[activation]
    upper, lower = profile_figure(activation, [loss], Grid(ranges, ranges, y=0.3)).axes
    neuron, one = Neuron(activation, loss), torch.tensor(1.0, dtype=torch.float64)
    for axes, function in ((upper, neuron.loss_value), (lower, neuron.gradient_b)):
        z, drawn = (torch.as_tensor(np.asarray(values)) for values in axes.get_lines()[0].get_data())
        kept = z.isfinite()
        np.testing.assert_allclose(drawn[kept], function(0 * z[kept], z[kept], one, 0.3 * one), rtol=1e-12)


def test_saturation_is_marked_where_the_derivative_is_a_twentieth_of_its_largest() -> None:
    (low, start), (end, high) = saturated_ranges("sigmoid", Grid((-6, 6), (-6, 6)))
    edge = math.log((1 + math.sqrt(0.95)) / (1 - math.sqrt(0.95)))  # p (1 - p) = 1 / 80
    assert (low, high) == (-12, 12)
    assert -start == pytest.approx(edge, abs=0.02)
    assert end == pytest.approx(edge, abs=0.02)
    assert saturated_ranges("relu", Grid((-1, 1), (-1, 1)))[0] == pytest.approx((-2, 0))


def test_a_descent_shows_paths_and_learning_curves() -> None:
    neuron, grid = Neuron("sigmoid", "l2"), Grid(resolution=21, y=0)
    w, b, x, y = (torch.tensor(value, dtype=torch.float64) for value in ([2.0, 0.6], [2.0, 0.9], 1.0, 0.0))
    path = descend(neuron, w, b, x, y, learning_rate=0.15, steps=300)
    figure = descent_figure(neuron, path, grid, learning_rate=0.15)
    curves = figure.axes[1].get_lines()
    np.testing.assert_array_equal(np.asarray(curves[0].get_ydata()), path.loss[:, 0].numpy())
    assert [str(line.get_label()).split(":")[0] for line in curves] == ["from w = 2, b = 2", "from w = 0.6, b = 0.9"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--activation", "sigmod"], "activation='sigmod' is not known; choose one of gelu"),
        (["--loss", "mse"], "loss='mse' is not known; choose one of cross_entropy"),
        (["--w", "3", "3"], "w=3,3 must be a range from low to high; try -10,10"),
        (["--resolution", "0"], "resolution=0 must be an integer >= 2"),
        (["--x", "nan"], "x=nan must be a finite number"),
        (["--descent", "inf", "0"], "descent's w=inf must be a finite number"),
        (["--learning-rate", "0"], "learning_rate=0.0 must be > 0"),
        (["--steps", "0"], "steps=0 must be an integer >= 1"),
        (["--w", "-1e1", "1e1", "--steps", "0"], "steps=0 must be an integer >= 1"),
        (["--x", "1e300"], "x=1e+300 must be >= -1e+09 and <= 1e+09; try 1"),
        (["--resolution", "100000000"], "resolution=100000000 must be an integer >= 2 and <= 2001"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["surfaces", "--out", str(tmp_path / "out"), *options])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lossact surfaces: {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        main(["surfaces", "--out", str(tmp_path / "file" / "out")])
    assert capsys.readouterr().err.count("\n") == 1
