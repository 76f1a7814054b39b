"""The verdicts of a run as one JSON document, or the error that ended it."""

import json
from collections.abc import Sequence
from pathlib import Path

from lossact.claims.result import ClaimResult
from lossact.errors import describe_error
from lossact.report.files import write_whole
from lossact.report.run_info import RunInfo

VERSION = 1  # of the form; fields are added without raising it


def write_json(path: Path, results: Sequence[ClaimResult], run: RunInfo) -> None:
    """Write verdicts and the setting they hold for; the folder is made where it is missing."""
    write_whole(path, verdicts_json(results, run))


def verdicts_json(results: Sequence[ClaimResult], run: RunInfo) -> str:
    """Return verdicts and the setting they hold for, as --claims-json has them; claims without one come last."""
    errors = {claim.id: claim.error for claim in run.undecided}
    decided = {result.id for result in results}
    document = {
        "version": VERSION,
        "lossact": run.versions["lossact"],
        "torch": run.versions["torch"],
        "device": run.device,
        "seed": run.seed,
        "alpha": run.alpha,
        "delta": run.delta,
        "claims": [
            *(result.to_json() | {"error": errors.get(result.id)} for result in results),
            *(claim.to_json() for claim in run.undecided if claim.id not in decided),
        ],
    }
    if run.plans:
        document["plans"] = list(run.plans)
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def error_json(error: BaseException) -> str:
    """Return an error as a document of its own."""
    return json.dumps({"error": describe_error(error)}, indent=1) + "\n"
