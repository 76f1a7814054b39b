"""Make the tables of README and docs again: python docs/make_tables.py OUT, from the project's root.

Each page's commands run here, and what they print goes to OUT/PAGE.txt, with the commit and the machine on top. Copy
what changed into the pages. `--only speed.md` makes those of one page; `--list` shows the commands and runs none.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS: dict[str, list[str]] = {
    "case-study.md": ["-m pytest claims/report --claims-store none"],
    "evidence.md": ["-m lossact.stats.calibration --only exact verdicts errors coverage orderings power families maps"],
    "lightning.md": ["tests/benchmarks/fitted_together.py"],
    "literature.md": ["-m pytest claims/literature --claims-store none"],
    "measures.md": ["-m lossact.stats.calibration --only values"],
    "recorded-runs.md": ["-m lossact.stats.calibration --only recorded"],
    "speed.md": ["tests/benchmarks/throughput.py --networks", "tests/benchmarks/throughput.py"],
    "executors.md": ["tests/benchmarks/executors.py"],
}


def run_state() -> str:
    """Return the commit and the machine, on one line."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return f"commit {commit}; {platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}"


def make(page: str, out: Path) -> bool:
    """Run the commands of a page, write what they print, and return whether all of them succeeded."""
    succeeded = True
    with (out / page).with_suffix(".txt").open("w") as file:
        file.write(f"{run_state()}\n")
        for command in COMMANDS[page]:
            file.write(f"\n$ python {command}\n")
            file.flush()
            run = subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, stdout=file, check=False)
            succeeded = succeeded and run.returncode == 0
    return succeeded


def main() -> None:
    """Make the tables of the pages that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", help="folder for what the commands print")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, metavar="PAGE", help="pages (default: all, hours)")
    parser.add_argument("--list", action="store_true", help="show the commands")
    arguments = parser.parse_args()
    pages = arguments.only or list(COMMANDS)
    if arguments.list:
        for page in pages:
            for command in COMMANDS[page]:
                print(f"{page:18} python {command}")
        return
    if arguments.out is None:
        parser.error("a folder for what the commands print is needed; or --list")
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = [page for page in pages if not make(page, arguments.out)]
    if failed:
        sys.exit(f"commands of {', '.join(failed)} failed; see {arguments.out}")


if __name__ == "__main__":
    main()
