"""The verdicts as one JSON file."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from lossact.claims.result import ClaimResult


def write_json(
    path: Path, results: Sequence[ClaimResult], *, seed: int, alpha: float, delta: float, device: str
) -> None:
    """Write verdicts and the setting they hold for; the folder is made where it is missing."""
    document = {
        "lossact": version("lossact"),
        "torch": version("torch"),
        "device": device,
        "seed": seed,
        "alpha": alpha,
        "delta": delta,
        "claims": [result.to_json() for result in results],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
