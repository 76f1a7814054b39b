"""The verdicts as one JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path

from lossact.claims.result import ClaimResult
from lossact.report.files import write_whole
from lossact.report.run_info import RunInfo


def write_json(path: Path, results: Sequence[ClaimResult], run: RunInfo) -> None:
    """Write verdicts and the setting they hold for; the folder is made where it is missing."""
    write_whole(path, verdicts_json(results, run))


def verdicts_json(results: Sequence[ClaimResult], run: RunInfo) -> str:
    """Return verdicts and the setting they hold for, as --claims-json has them."""
    document = {
        "lossact": run.versions["lossact"],
        "torch": run.versions["torch"],
        "device": run.device,
        "seed": run.seed,
        "alpha": run.alpha,
        "delta": run.delta,
        "claims": [result.to_json() for result in results],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
