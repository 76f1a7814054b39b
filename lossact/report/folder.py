"""A report as a folder that opens from disk and can be mailed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lossact.claims.result import ClaimResult
from lossact.report.html import write_html
from lossact.report.json_file import write_json
from lossact.report.markdown import write_markdown
from lossact.report.run_info import RunInfo
from lossact.report.stored import StoredCondition


def write_folder(
    directory: Path, results: Sequence[ClaimResult], conditions: Mapping[str, StoredCondition], run: RunInfo
) -> None:
    """Write index.html, report.md for a pull request, and verdicts.json; the folder is made where it is missing.

    Args:
        directory: the folder.
        results: at least one.
        conditions: by key, as far as the store holds them.
        run: what the verdicts hold for.
    """
    write_html(directory / "index.html", results, conditions, run)
    write_markdown(directory / "report.md", results, run)
    write_json(directory / "verdicts.json", results, run)
