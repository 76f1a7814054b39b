"""The page, in a browser, from disk and without a network."""

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossact.functional import ACTIVATIONS, LOSSES, RANGES, Grid, Neuron, mesh
from lossact.report.surfaces_page import ROWS, write_page
from tests.report.browser import CHROMIUM, NO_WEBGL, WEBGL, browse, opened

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]
GRIDS = {name: Grid(RANGES[name], RANGES[name], x=0.5, y=0.25) for name in ("sigmoid", "relu")}

PROBE = """<script>
addEventListener("load", () => setTimeout(async () => {
  const seen = {}, wait = ms => new Promise(done => setTimeout(done, ms)), at = id => document.getElementById(id);
  const choose = (id, value) => { at(id).value = value; at(id).dispatchEvent(new Event("input")); };
  const eye = side => at(side + "-surface")._fullLayout.scene.camera.eye;
  try {
    seen.meshes = {};
    for (const activation in ACTIVATIONS) for (const loss in LOSSES) for (const quantity in QUANTITIES)
      seen.meshes[`${activation} ${loss} ${quantity}`] =
        meshRows(quantity, activation, loss, 0.5, 0.25, SETUP.ranges[activation], SETUP.rows)
          .rows.map(row => row && [row.z, row.value]);
    const surface = at("left-surface").data[0];
    seen.drawn = [surface.x, surface.y, surface.z].map(part => part.map(row => [row[0], row[2]]));
    const before = surface.z[30][0];
    choose("y", "0.8"); await wait(100);
    seen.moved = [before, at("left-surface").data[0].z[30][0]];
    seen.eyes = [eye("left"), eye("right")];
    at("right-surface").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowLeft", bubbles: true}));
    await wait(500);
    seen.eyes.push(eye("left"), eye("right"));
    const svg = at("profile-loss"), box = svg.getBoundingClientRect();
    svg.dispatchEvent(new PointerEvent("pointermove", {clientX: box.x + box.width / 2, clientY: box.y + 40}));
    await wait(1500);
    seen.z = state.z;
    seen.marks = ["left", "right"].map(side => at(side + "-surface").data[1].x.length);
    seen.readout = at("readout").textContent;
    seen.address = location.hash;
  } catch (error) { seen.error = String(error); }
  const pre = document.createElement("pre");
  pre.id = "probe"; pre.textContent = JSON.stringify(seen); document.body.append(pre);
}, 500));
</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for stem in ("loss_sigmoid_l2", "loss_sigmoid_cross_entropy"):
        (folder / f"{stem}.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return write_page(folder, list(GRIDS), ["l2", "cross_entropy"], GRIDS)


@pytest.fixture(scope="module")
def probed(page: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page shows and does."""
    probe = page.with_name("probe.html")
    probe.write_text(page.read_text().replace("</body>", PROBE))
    dom = browse(probe.as_uri() + "#quantity=loss", tmp_path_factory.mktemp("probe"), flags=WEBGL, width=1280, dom=True)
    match = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
    assert match, dom[-2000:]
    measurements: dict[str, Any] = json.loads(html.unescape(match[1]))
    assert "error" not in measurements, measurements["error"]
    return measurements


def test_the_page_computes_what_python_computes(probed: dict[str, Any]) -> None:
    """At each point of the page's mesh the neuron has that value; the page's mesh has python's rows."""
    x, y = torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.25, dtype=torch.float64)
    for activation in ACTIVATIONS:
        for loss in LOSSES:
            neuron = Neuron(activation, loss)
            functions = {
                "output": lambda z, neuron=neuron: neuron.output(0 * z, z, x),
                "loss": lambda z, neuron=neuron: neuron.loss_value(0 * z, z, x, y),
                "gradient": lambda z, neuron=neuron: neuron.gradient_w(0 * z, z, x, y),
                "gradient_z": lambda z, neuron=neuron: neuron.gradient_b(0 * z, z, x, y),
            }
            for name, function in functions.items():
                z, shown = np.array([row for row in probed["meshes"][f"{activation} {loss} {name}"] if row]).T
                expected = function(torch.from_numpy(z.copy())).numpy()  # type: ignore[no-untyped-call]
                # Beside a pole or a kink the two may round to different sides.
                close = np.isclose(shown, expected, rtol=1e-5, atol=1e-7)
                assert close.mean() > 0.97, (activation, loss, name)
                quantity = {"gradient": "gradient_w", "gradient_z": "gradient_b"}.get(name, name)
                grid = Grid(RANGES[activation], RANGES[activation], resolution=ROWS, x=0.5, y=0.25)
                ours = mesh(neuron, quantity, grid)  # type: ignore[arg-type]
                assert abs(len(z) - int(ours.z.isfinite().sum())) <= 4, (activation, loss, name)


def test_what_is_drawn_lies_on_its_level_lines(probed: dict[str, Any]) -> None:
    w, b, loss = (np.array(part, dtype=np.float64) for part in probed["drawn"])
    np.testing.assert_allclose(loss[:, 0], loss[:, 1])
    z = 0.5 * w + b
    np.testing.assert_allclose(z[:, 0], z[:, 1], atol=1e-12)
    np.testing.assert_allclose(loss, (1 / (1 + np.exp(-z)) - 0.25) ** 2, rtol=1e-9, atol=1e-12)


def test_the_slider_moves_the_surface(probed: dict[str, Any]) -> None:
    before, after = probed["moved"]
    assert before != after


def test_a_key_turns_both_surfaces_alike(probed: dict[str, Any]) -> None:
    left, right, turned_left, turned_right = ([eye["x"], eye["y"], eye["z"]] for eye in probed["eyes"])
    np.testing.assert_allclose(left, right)
    np.testing.assert_allclose(turned_left, turned_right)
    assert np.linalg.norm(np.subtract(left, turned_left)) > 0.05
    np.testing.assert_allclose(np.linalg.norm(left), np.linalg.norm(turned_left))


def test_the_pointer_marks_a_level_line_and_the_address_remembers_it(probed: dict[str, Any]) -> None:
    assert probed["marks"] == [2, 2]
    assert f"z = {probed['z']:.2f}" in probed["readout"]
    kept = dict(pair.split("=") for pair in probed["address"].removeprefix("#").split("&"))
    assert kept["y"] == "0.8"
    assert float(kept["z"]) == pytest.approx(probed["z"], abs=1e-3)
    assert float(kept["azimuth"]) == pytest.approx(-63)


@pytest.mark.parametrize("flags", [WEBGL, NO_WEBGL], ids=["WebGL", "pictures"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_goes_wrong_and_nothing_leaves(page: Path, tmp_path: Path, width: int, flags: tuple[str, ...]) -> None:
    address = "#activation=sigmoid&left=l2&right=nonsense&quantity=loss&x=1e99&azimuth=nan"
    assert opened(page, tmp_path, flags=flags, width=width, address=address) == ([], set())


def test_without_webgl_pictures_stand_for_surfaces(page: Path, tmp_path: Path) -> None:
    dom = browse(page.as_uri(), tmp_path, flags=NO_WEBGL, dom=True)
    assert re.search(r'<img id="left-picture"[^>]* src="loss_sigmoid_l2.svg"', dom)
    assert "This browser has no WebGL: a picture, drawn at x = 0.5, y = 0.25" in dom
    assert 'class="line line-1"' in dom  # profiles need none
    other = browse(page.as_uri() + "#activation=gelu", tmp_path, flags=NO_WEBGL, dom=True)
    assert "lossact surfaces --activation gelu --loss l2 draws it" in other


def test_the_page_is_small_and_its_library_is_written_once(page: Path) -> None:
    script = page.with_name("surfaces.js")
    assert page.stat().st_size + script.stat().st_size < 6e6
    assert script.read_text(encoding="utf-8").count("Copyright 2012-2026, Plotly") <= 1
    assert len(page.read_text()) < 20_000
