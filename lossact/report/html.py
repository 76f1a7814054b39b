"""The verdicts as one HTML page that opens from disk and loads nothing."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from lossact.claims.result import ClaimResult

STYLE = """
:root { color-scheme: light dark; --line: #8884; --supported: #1a7f37; --refuted: #c93c37; --inconclusive: #9a6700; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
article { border-top: 1px solid var(--line); padding: 1rem 0; }
h2 { font-size: 1.1rem; margin: 0 0 .3rem; }
p { margin: .2rem 0; }
.supported { color: var(--supported); }
.refuted { color: var(--refuted); }
.inconclusive { color: var(--inconclusive); }
.detail { opacity: .75; font-size: .9rem; }
svg { width: 100%; max-width: 30rem; height: 2.2rem; display: block; }
svg text { font-size: 11px; fill: currentColor; }
"""


def write_html(path: Path, results: Sequence[ClaimResult], *, seed: int, alpha: float, delta: float) -> None:
    """Write one page with every claim's verdict; the folder is made where it is missing.

    Args:
        path: the file.
        results: at least one.
        seed, alpha, delta: of the run.
    """
    families = dict.fromkeys(result.family_folder for result in results)
    body = "".join(
        _family([result for result in results if result.family_folder == folder], alpha) for folder in families
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Claims</title><style>{STYLE}</style></head><body>"
        f'<p class="detail">lossact: seed {seed}, alpha {alpha:g} a side for each family, delta {delta:g}</p>{body}'
        "</body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _family(results: Sequence[ClaimResult], alpha: float) -> str:
    first = results[0]
    size = first.family_size
    head = f"<h1>{escape(first.family)}</h1><p class=detail>{size} claims, each at {alpha:g}/{size} a side</p>"
    return head + "".join(map(_claim, results))


def _claim(result: ClaimResult) -> str:
    verdict = result.verdict
    effect = verdict["effect"]
    source = f" ({result.source})" if result.source else ""
    reason = f": {verdict['reason']}" if verdict["reason"] else ""
    reached = ", ".join(f"{c['name']} {c['reached'] / c['replicas']:.0%}" for c in verdict["conditions"])
    if result.exact:
        level, value = "exact", "undefined" if effect["value"] is None else f"{effect['value']:.1e}"
    else:
        level = f"{effect['level']:.1%} interval {effect['low']:.3f} to {effect['high']:.3f}"
        value = f"{effect['value']:.3f}"
    trained = f"; reached within {verdict['budget']} updates: {escape(reached)}" if reached else ""
    lines = [
        f'<h2><span class="{result.name}">{result.name.upper()}</span> {escape(result.statement + source)}</h2>',
        f"<p>{escape(result.sentence)}{escape(reason)}</p>",
        "" if result.exact else _interval(effect),
        f"<p class=detail>{escape(effect['name'])} {value}, {level}; "
        f"{verdict['replicas']} {'points' if result.exact else 'replicas'}{trained}</p>",
    ]
    story = verdict["story"]
    if story:
        told = f"a single run of each tells this order in {story['successes']} of {story['n']}"
        lines.append(f"<p class=detail>{told} (at most {story['high']:.1%})</p>")
    if result.recorded is not None and result.recorded != result.name:
        lines.append(f"<p class=detail>on record: {escape(result.recorded)}</p>")
    lines += [f"<p class=detail>{escape(warning)}</p>" for warning in result.warnings]
    return f"<article>{''.join(lines)}</article>"


def _interval(effect: dict[str, Any]) -> str:
    """The interval on a scale from 0 to 1, with a tick at 1/2."""
    low, high, value = (4 + 292 * effect[name] for name in ("low", "high", "value"))
    return (
        '<svg viewBox="0 0 300 30" preserveAspectRatio="xMinYMid" role="img" aria-label="interval">'
        '<line x1="4" y1="12" x2="296" y2="12" stroke="currentColor" stroke-opacity=".3"/>'
        '<line x1="150" y1="4" x2="150" y2="20" stroke="currentColor"/>'
        f'<line x1="{low:.1f}" y1="12" x2="{high:.1f}" y2="12" stroke="currentColor" stroke-width="4"/>'
        f'<circle cx="{value:.1f}" cy="12" r="5" fill="currentColor"/>'
        '<text x="4" y="29">0</text><text x="150" y="29" text-anchor="middle">1/2</text>'
        '<text x="296" y="29" text-anchor="end">1</text></svg>'
    )
