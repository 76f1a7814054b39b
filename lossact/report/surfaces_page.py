"""A page on which a neuron's surfaces are turned by hand, and its input, target, activation and loss moved."""

import json
from importlib.resources import files
from pathlib import Path

from lossact.functional import Grid, Neuron

POINTS = 61

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>One neuron: output, loss, gradient</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; }
form { display: flex; flex-wrap: wrap; gap: .6rem 1.6rem; align-items: center; margin: 1rem 0; }
label { display: flex; gap: .5rem; align-items: center; }
output { min-width: 3.2rem; font-variant-numeric: tabular-nums; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid #8885; border-radius: .5rem; overflow: hidden; }
figure > div { height: 26rem; }
figcaption { padding: .4rem .8rem; }
figcaption span { opacity: .7; }
</style>
<script src="surfaces.js"></script>
</head>
<body>
<h1>One neuron: output, loss and gradient</h1>
<p>p = act(w x + b), and its loss against the target y. Drag a surface to turn it.</p>
<form>
<label>activation <select id="activation"></select></label>
<label>loss <select id="loss"></select></label>
<label>input x <input id="x" type="range" min="-3" max="3" step="0.05"><output id="x-value"></output></label>
<label>target y <input id="y" type="range" min="0" max="1" step="0.01"><output id="y-value"></output></label>
</form>
<main>
<figure><figcaption>Output p <span id="output-note"></span></figcaption><div id="output"></div></figure>
<figure><figcaption>Loss <span id="loss-note"></span></figcaption><div id="loss-surface"></div></figure>
<figure><figcaption>Gradient in w <span id="gradient-note"></span></figcaption><div id="gradient"></div></figure>
</main>
</body>
</html>
"""


def write_page(directory: Path, neuron: Neuron, grid: Grid) -> Path:
    """Write surfaces.html and, beside it, surfaces.js with all that it runs; no network is needed.

    Args:
        directory: where to; must exist.
        neuron: what is shown first.
        grid: ranges, and the input and target shown first.
    """
    from plotly.offline import get_plotlyjs

    state = {"activation": neuron.activation, "loss": neuron.loss, "x": grid.x, "y": grid.y}
    setup = {"state": state, "w": grid.w, "b": grid.b, "points": POINTS}
    script = files("lossact.report").joinpath("surfaces.js").read_text(encoding="utf-8")
    whole = f"{get_plotlyjs()}\nconst SETUP = {json.dumps(setup)};\n{script}"
    (directory / "surfaces.js").write_text(whole, encoding="utf-8")
    page = directory / "surfaces.html"
    page.write_text(PAGE, encoding="utf-8")
    return page
