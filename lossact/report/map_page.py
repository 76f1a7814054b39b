"""A map as one HTML page that opens from disk and loads nothing; pointing at a cell shows its verdict."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from lossact.claims.axis import Axis
from lossact.claims.map import ClaimMap
from lossact.claims.verdict import Verdict
from lossact.errors import InputError
from lossact.palette import css
from lossact.report.map import COLOURS, MARKS, legend, shades_of

NOTED_AXES = '<meta name="lossact-axes" content="'
NOTED = '<meta name="lossact-claim" content="'  # how the note of the claim begins
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; }
p { margin: .3rem 0; }
.detail { opacity: .75; font-size: .9rem; }
div { overflow-x: auto; margin-top: 1rem; padding-bottom: 11rem; }
table { border-collapse: collapse; table-layout: fixed; font-variant-numeric: tabular-nums; }
th { font-weight: normal; font-size: .8rem; padding: .2rem .4rem; text-align: right; }
thead th, tfoot th { text-align: center; }
td { position: relative; width: 3.6rem; height: 2.1rem; text-align: center; padding: 0; cursor: default; }
td.here { outline: 3px solid currentColor; outline-offset: -5px; border-radius: 50%; }
td.diverged { background-image: repeating-linear-gradient(45deg, #8888 0 2px, transparent 2px 7px); }
td span { display: none; position: absolute; z-index: 1; top: 100%; left: 50%; transform: translateX(-50%);
  width: 15rem; padding: .4rem .7rem; border-radius: .4rem; background: #222; color: #fff; font-size: .8rem;
  text-align: left; white-space: pre-line; box-shadow: 0 2px 8px #0006; }
td:nth-child(-n+5) span { left: 0; transform: none; }
td:nth-last-child(-n+4) span { left: auto; right: 0; transform: none; }
td:hover span, td:focus span { display: block; }
td:focus { outline: 2px solid #000; }
"""


def write_map_page(path: Path, claim_map: ClaimMap, *, of: str = "") -> Path:
    """Write the page; the folder must exist. Values on hover, or on the keyboard's focus.

    Args:
        path: the file.
        claim_map: the map.
        of: where the claim is, FILE::NAME, noted in the page.
    """
    diverged = claim_map.diverged()
    rows = "".join(_row(claim_map, row, diverged[row]) for row in reversed(range(len(claim_map.y.values))))
    head = "".join(f"<th scope=col>{value:.3g}</th>" for value in claim_map.x.values)
    width = len(claim_map.x.values)
    sentence = escape(repr(claim_map.hypothesis))
    effect, marks = escape(claim_map.hypothesis.effect_name), escape(legend(claim_map))
    counts, *notes = str(claim_map).splitlines()[1:]
    details = f"{escape(counts)}; seed {claim_map.seed}, delta {claim_map.delta:g}{_reference(claim_map)}"
    axes = _noted_axes([claim_map.x.path, claim_map.y.path])
    middle = shades_of(claim_map).vcenter
    turn = "" if middle == 0.5 else f", white at {middle:g}"
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{_noted(of)}{axes}'
        f"<title>{sentence}</title><style>{css()}{STYLE}</style></head><body><h1>{sentence}</h1>"
        f"<p>{effect} from 0 (red) to 1 (blue){turn}; {marks}. Point at a cell.</p><p class=detail>{details}</p>"
        f"{''.join(f'<p class=detail>{escape(note)}</p>' for note in notes)}"
        f"<div><table><thead><tr><th>{_name(claim_map.y)}</th><th colspan={width}></th></tr></thead>"
        f"<tbody>{rows}</tbody><tfoot><tr><th></th>{head}</tr>"
        f"<tr><th></th><th colspan={width}>{_name(claim_map.x)}</th></tr></tfoot></table></div></body></html>\n"
    )
    path.write_text(page, encoding="utf-8")
    return path


def check_no_other_map(path: Path, of: str, axes: Sequence[str]) -> None:
    """Raise InputError where a page of another claim, or over other axes, would be replaced.

    Args:
        path: of the page.
        of: where the claim is, FILE::NAME.
        axes: paths of the map's axes.

    Raises:
        InputError: as above.
    """
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
        if NOTED in text and _noted(of) not in text:
            raise InputError(f"{path} is the map of another claim; give another folder, --out, or delete it")
        if NOTED_AXES in text and _noted_axes(axes) not in text:
            raise InputError(f"{path} is a map over other axes; give another folder, --out, or delete it")


def _noted(of: str) -> str:
    return f'{NOTED}{escape(of)}">' if of else ""


def _noted_axes(paths: Sequence[str]) -> str:
    return f'{NOTED_AXES}{escape(" ".join(paths))}">'


def _row(claim_map: ClaimMap, row: int, diverged: NDArray[np.bool_]) -> str:
    cells = []
    shades = shades_of(claim_map)
    for column, cell in enumerate(claim_map.cells[row]):
        value = cell.decision.value
        marks = [
            name
            for name, there in (
                ("here", claim_map.reference_point == (claim_map.x.values[column], claim_map.y.values[row])),
                ("diverged", diverged[column]),
            )
            if there
        ]
        shade = float(shades(value))
        ink = "#fff" if abs(shade - 0.5) > 0.3 else "#000"
        place = f"{claim_map.x.path} = {claim_map.x.values[column]:g}\n{claim_map.y.path} = {claim_map.y.values[row]:g}"
        cells.append(
            f'<td class="{" ".join(marks)}" tabindex=0 style="background-color:{to_hex(COLOURS(shade))};color:{ink}">'
            f"{MARKS[cell.name]}<span>{escape(place)}\n{escape(_cell_text(cell))}</span></td>"
        )
    return f"<tr><th scope=row>{claim_map.y.values[row]:.3g}</th>{''.join(cells)}</tr>"


def _cell_text(cell: Verdict) -> str:
    d = cell.decision
    lines = [
        f"{cell.name.upper()}" + (f": {d.reason}" if d.reason else ""),
        f"{d.value:.3f} [{d.low:.3f}, {d.high:.3f}], {d.replicas} replicas",
    ]
    for condition in cell.conditions:
        diverged = f", {condition.diverged / condition.replicas:.0%} diverged" if condition.diverged else ""
        lines.append(f"{condition.name} arrives in {condition.reached / condition.replicas:.0%}{diverged}")
    return "\n".join(lines)


def _reference(claim_map: ClaimMap) -> str:
    if claim_map.reference_point is None:
        return ""
    x, y = claim_map.reference_point
    return escape(f"; the claim's own setting: {claim_map.x.path} = {x:g}, {claim_map.y.path} = {y:g}")


def _name(axis: Axis) -> str:
    return escape(axis.path.rpartition(".")[2].replace("_", " "))
