"""What --claims-json shows of a run that ended before any claim could be decided."""

import ast
import re
import sys
from pathlib import Path

import pytest

from lossact.errors import InputError
from lossact.pytest_plugin.options import STANDARD_OUTPUT, output_file


def reason_of(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return why something failed on one line: where it is, and the last line of its traceback."""
    last = str(report.longrepr).strip().rpartition("\n")[2]
    return f"{report.nodeid}: {last.removeprefix('E ').strip()}{_way_to_import(last)}"


def holds_claims(report: pytest.CollectReport | pytest.TestReport, root: Path) -> bool:
    """Return whether a report is about a claim, or about a file of claims, as far as the file's text tells.

    Args:
        report: of a test, or of a file that could not be collected.
        root: the folder that node ids begin at.
    """
    file, _, test = report.nodeid.partition("::")
    name = test.rpartition("::")[2].partition("[")[0]
    try:
        text = (root / file).read_text(encoding="utf-8")
        functions = ast.walk(ast.parse(text))
    except SyntaxError:
        return not test and ".claim(" in text
    except (OSError, UnicodeDecodeError):
        return False
    return any(
        isinstance(function, ast.FunctionDef)
        and name in ("", function.name)
        and any(".claim(" in ast.unparse(mark) for mark in function.decorator_list)
        for function in functions
    )


def _way_to_import(error: str) -> str:
    """Return how to import a module that lies in the current folder and was not found, "" for any other error."""
    missing_module = re.search(r"ModuleNotFoundError: No module named '([^'.]+)'", error)
    if missing_module is None or not (Path(f"{missing_module[1]}.py").is_file() or Path(missing_module[1]).is_dir()):
        return ""
    return (
        f"; {missing_module[1]} lies in this folder, which is not on the import path: set PYTHONPATH=. or, in "
        'pyproject.toml under [tool.pytest.ini_options], pythonpath = ["."]'
    )


def write_error(error: BaseException, config: pytest.Config) -> None:
    """Write an error where the command line asks for JSON.

    A file that the ini file names is left alone: a run of something else may have ended, and the verdicts there hold.
    """
    text: str | None = config.getoption("--claims-json")
    if text is None or hasattr(config, "workerinput"):
        return
    from lossact.report.files import write_whole
    from lossact.report.json_file import error_json

    try:
        path = output_file(text)
    except (InputError, OSError, ValueError, RuntimeError):  # it is this option that ended the run, or will the next
        return
    try:
        if path == STANDARD_OUTPUT:
            sys.stdout.write(error_json(error))
            sys.stdout.flush()
        else:
            write_whole(path, error_json(error))
    except OSError as reason:
        print(f"verdicts as JSON: not written to {text} ({reason})", file=sys.stderr)
