import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from lossact.cli import main
from lossact.functional import ACTIVATIONS, LOSSES, Grid, Neuron, descend, surface
from lossact.report.surfaces import descent_figure, figure_list, surface_figure
from lossact.report.surfaces_page import write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_reports_ten_figures() -> None:
    names = [name for name, _, _ in figure_list(["sigmoid", "relu"], ["l2", "cross_entropy"])]
    assert len(names) == len(set(names)) == 10


def test_the_command_writes_figures_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made" / "here"
    options = ["--activation", "relu", "--loss", "cross_entropy", "--resolution", "17", "--descent", "0.2", "0.1"]
    assert main(["surfaces", "--out", str(out), *options, "--steps", "5"]) == 0
    printed = capsys.readouterr().out
    stems = ["output_relu", "loss_relu_cross_entropy", "gradient_relu_cross_entropy", "descent_relu_cross_entropy"]
    for stem in stems:
        assert (out / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        text = "".join(ElementTree.parse(out / f"{stem}.svg").getroot().itertext())
        assert "weight w" in text
        assert "ReLU" in text
        assert f"{stem}.png" in printed
    assert "left out where it is infinite or undefined" in (out / "loss_relu_cross_entropy.svg").read_text()
    assert (out / "surfaces.html").is_file()


def test_what_is_not_finite_is_left_out_and_nothing_else() -> None:
    """Every corner that is drawn is a finite value of the surface, at its place, and all of them are drawn."""
    one = surface(Neuron("relu", "cross_entropy"), "loss", Grid(resolution=65))
    drawn: Any = surface_figure(one, largest=1.0).axes[0].collections[0]
    corners = np.asarray(drawn._faces)[~np.asarray(drawn._invalid_vertices)]
    assert np.isfinite(corners).all()
    w, b = (axis.numpy() for axis in one.grid.axes())
    columns, rows = (np.abs(corners[:, [k]] - axis).argmin(axis=1) for k, axis in enumerate((w, b)))
    values = one.values.numpy()
    np.testing.assert_array_equal(corners[:, 2], values[rows, columns])
    assert len(set(zip(rows, columns, strict=True))) == np.isfinite(values).sum() > 0


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


PROBE = """<script>
addEventListener("load", () => setTimeout(async () => {
  const found = {}, wait = ms => new Promise(done => setTimeout(done, ms));
  const at = id => document.getElementById(id), z = id => at(id).data[0].z;
  try {
    found.values = {};
    for (const activation in ACTIVATIONS) for (const loss in LOSSES) {
      at("activation").value = activation; at("activation").dispatchEvent(new Event("input"));
      at("loss").value = loss; at("loss").dispatchEvent(new Event("input"));
      found.values[activation + " " + loss] = ["output", "loss-surface", "gradient"].map(z);
    }
    found.before = z("loss-surface")[3][5];
    at("y").value = "0.8"; at("y").dispatchEvent(new Event("input"));
    found.after = z("loss-surface")[3][5];
    await wait(300);
    const eye = () => at("gradient")._fullLayout.scene._scene.getCamera().eye;
    found.eye = [eye()];
    const canvas = at("gradient").querySelector("canvas"), box = canvas.getBoundingClientRect();
    const fire = (type, x, buttons) => canvas.dispatchEvent(new MouseEvent(
      type, {bubbles: true, clientX: box.x + x, clientY: box.y + 150, button: 0, buttons}));
    fire("mousemove", 150, 0); fire("mousedown", 150, 1);
    for (let k = 0; k < 10; k++) { fire("mousemove", 150 + 8 * k, 1); await wait(30); }
    fire("mouseup", 230, 0); await wait(200);
    found.eye.push(eye());
  } catch (error) { found.error = String(error); }
  const pre = document.createElement("pre");
  pre.id = "probe"; pre.textContent = JSON.stringify(found); document.body.append(pre);
}, 300));
</script></body>"""


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a browser finds on the page, from disk and without a network."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("page")
    page = write_page(folder, Neuron("sigmoid", "l2"), Grid(w=(-4, 4), b=(-3, 3), x=0.5, y=0.25))
    page.write_text(page.read_text().replace("</body>", PROBE))
    run = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=60000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    match = re.search(r'<pre id="probe">(.*?)</pre>', run.stdout, re.DOTALL)
    assert match, run.stderr[-2000:]
    found: dict[str, Any] = json.loads(match[1])
    assert "error" not in found, found["error"]
    return found


@pytest.mark.slow
def test_the_slider_moves_the_surface(probed: dict[str, Any]) -> None:
    assert probed["before"] != probed["after"]


@pytest.mark.slow
def test_a_surface_turns_by_hand(probed: dict[str, Any]) -> None:
    before, after = probed["eye"]
    assert abs(before["x"] - after["x"]) + abs(before["y"] - after["y"]) > 0.1


@pytest.mark.slow
def test_the_page_computes_what_python_computes(probed: dict[str, Any]) -> None:
    grid = Grid(w=(-4, 4), b=(-3, 3), resolution=61, x=0.5, y=0.25)
    for activation in ACTIVATIONS:
        for loss in LOSSES:
            shown = probed["values"][f"{activation} {loss}"]
            for quantity, values in zip(("output", "loss", "gradient_w"), shown, strict=True):
                expected = surface(Neuron(activation, loss), quantity, grid).values  # type: ignore[arg-type]
                found = np.array(values, dtype=np.float64)
                wanted = np.where(expected.isfinite().numpy(), expected.numpy(), np.nan)
                # At a kink or a pole the two may round to different sides.
                near = np.isnan(found) == np.isnan(wanted)
                assert near.mean() > 0.98, (activation, loss, quantity)
                close = np.isclose(found[near], wanted[near], rtol=1e-5, atol=1e-7, equal_nan=True)
                assert close.mean() > 0.98, (activation, loss, quantity)
