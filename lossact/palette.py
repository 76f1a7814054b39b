"""The colours of every figure and page, on light and on dark paper.

Series keep their order: the first four stay apart for every kind of colour vision, and all of them also differ in their
dashes. Verdicts are blue, orange and grey, which everybody tells apart, and as the maps have them: blue where a claim
holds. The light series begin with colours of Okabe and Ito.

Reference: Okabe and Ito, Color universal design, 2008.
"""

from typing import NamedTuple


class Colour(NamedTuple):
    """A colour for light paper and its counterpart for dark paper, as #rrggbb."""

    light: str
    dark: str


INK = Colour("#1f2328", "#e6edf3")
SOFT = Colour("#59636e", "#9aa5b1")
PAPER = Colour("#ffffff", "#0d1117")
PANEL = Colour("#f6f8fa", "#161b22")
LINE = Colour("#d1d9e0", "#30363d")

VERDICTS = {
    "supported": Colour("#0063a8", "#6cb6ff"),
    "refuted": Colour("#c2410c", "#ff8a4c"),
    "inconclusive": Colour("#6b6375", "#b4acbf"),
}
TERMINAL = {"supported": "green", "refuted": "red", "inconclusive": "yellow"}  # a terminal's own names

SERIES = (
    Colour("#0072b2", "#58a6ff"),
    Colour("#d55e00", "#ff9248"),
    Colour("#009e73", "#2fd0a0"),
    Colour("#c46aa0", "#f0a6d0"),
    Colour("#502800", "#c828f0"),
    Colour("#7800f0", "#f02850"),
    Colour("#f00050", "#a0f000"),
    Colour("#780050", "#f000a0"),
)

# Colour maps of matplotlib and of plotly that vary evenly in lightness.
SEQUENTIAL = "viridis"
DIVERGING = "coolwarm"
CLAIM_HOLDS = "RdBu"  # from 0, the claim fails, to 1, it holds


def css_variables() -> dict[str, Colour]:
    """Return the name of each colour's CSS variable and the colour."""
    return {
        "ink": INK,
        "soft": SOFT,
        "paper": PAPER,
        "panel": PANEL,
        "line": LINE,
        **VERDICTS,
        **{f"series-{k}": colour for k, colour in enumerate(SERIES)},
    }


def css() -> str:
    """Return the rules that set every variable, on light paper and on dark."""

    def block(shade: int) -> str:
        return " ".join(f"--{name}: {colour[shade]};" for name, colour in css_variables().items())

    return (
        f":root {{ color-scheme: light dark; {block(0)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {block(1)} }} }}\n"
    )
