"""Trials in one SQLite file, learning curves beside it."""

import json
import os
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from lossact.errors import StoreError
from lossact.experiment.trials import Curves, Trials

SCHEMA_VERSION = 1
CURVES_KEPT = 256

SCHEMA = """
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL
);
CREATE TABLE trials (
    experiment INTEGER NOT NULL REFERENCES experiments (id),
    replica INTEGER NOT NULL,
    steps_to_target INTEGER,
    diverged INTEGER NOT NULL,
    PRIMARY KEY (experiment, replica)
) WITHOUT ROWID;
"""


class Store:
    """The trials of all experiments that used one directory. What it holds is never trained again.

    Several processes may use it at once: writes are transactions, and `training` lets one of them train a key.

    Args:
        directory: made where it is missing; None keeps everything in a temporary one that `close` removes.

    Raises:
        StoreError: the directory or the file in it cannot be used.
    """

    def __init__(self, directory: Path | str | None = ".lossact") -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="lossact-") if directory is None else None
        self.directory = Path(self._temporary.name if self._temporary else directory or "").resolve()
        try:
            (self.directory / "curves").mkdir(parents=True, exist_ok=True)
            (self.directory / "locks").mkdir(exist_ok=True)
            ignore = self.directory / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            self._database = sqlite3.connect(self.directory / "trials.sqlite", timeout=60, isolation_level=None)
            # SQLite does not wait for its turn when the journal's form changes.
            with FileLock(self.directory / "locks" / "opening.lock"):
                self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"store {self.directory}: cannot be opened ({error}); give another directory, or none"
            ) from None

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        with self._transaction():
            (found,) = self._database.execute("PRAGMA user_version").fetchone()
            if found == 0:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif found != SCHEMA_VERSION:
                raise StoreError(
                    f"store {self.directory}: written in form {found}, this lossact reads form {SCHEMA_VERSION}; "
                    "give another directory"
                )

    @property
    def temporary(self) -> bool:
        """Whether everything is gone after `close`."""
        return self._temporary is not None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def training(self, key: str) -> Iterator[None]:
        """Hold the right to train a key; ends with the process at the latest."""
        with FileLock(self.directory / "locks" / f"{key}.lock"):
            yield

    def trials(self, key: str, budget: int) -> Trials:
        """The longest gapless run of stored trials from replica 0 on."""
        rows = self._database.execute(
            "SELECT replica, steps_to_target, diverged FROM trials JOIN experiments ON id = experiment"
            " WHERE key = ? ORDER BY replica",
            (key,),
        ).fetchall()
        gapless = next((n for n, row in enumerate(rows) if row[0] != n), len(rows))
        columns: list[tuple[Any, ...]] = list(zip(*rows[:gapless], strict=True)) or [(), (), ()]
        reached = np.array([steps is not None for steps in columns[1]], dtype=bool)
        return Trials(
            steps=np.array([steps or 0 for steps in columns[1]], dtype=np.int64),
            reached=reached,
            diverged=np.array(columns[2], dtype=bool),
            budget=budget,
        )

    def holds(self, key: str) -> bool:
        """Whether anything is stored under a key."""
        return bool(self._database.execute("SELECT 1 FROM experiments WHERE key = ?", (key,)).fetchone())

    def content(self, key: str) -> dict[str, Any]:
        """What a key stands for.

        Raises:
            StoreError: nothing is stored under it.
        """
        row = self._database.execute("SELECT content FROM experiments WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise StoreError(f"store {self.directory}: holds nothing under key {key}")
        content: dict[str, Any] = json.loads(row[0])
        return content

    def stored_blocks(self, key: str, block: int) -> set[int]:
        """Indices of the blocks that are stored."""
        rows = self._database.execute(
            "SELECT DISTINCT replica / ? FROM trials JOIN experiments ON id = experiment WHERE key = ?", (block, key)
        )
        return {index for (index,) in rows}

    def add(self, key: str, content: dict[str, Any], first_replica: int, trials: Trials, curves: Curves | None) -> None:
        """Write a block whole: its curves first where any are given, then its trials in one transaction."""
        if curves is not None and len(curves):
            self._write_curves(key, first_replica, curves)
        rows = [(first_replica + trial.replica, trial.steps_to_target, trial.diverged) for trial in trials]
        with self._transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO experiments (key, content) VALUES (?, ?)",
                (key, json.dumps(content, sort_keys=True)),
            )
            (experiment,) = self._database.execute("SELECT id FROM experiments WHERE key = ?", (key,)).fetchone()
            self._database.executemany(
                "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?)", [(experiment, *row) for row in rows]
            )

    def forget(self, key: str) -> None:
        """Drop the trials of a key, to have them trained anew."""
        with self._transaction():
            self._database.execute(
                "DELETE FROM trials WHERE experiment = (SELECT id FROM experiments WHERE key = ?)", (key,)
            )

    def _curve_file(self, key: str, first_replica: int) -> Path:
        return self.directory / "curves" / key[:32] / f"{first_replica:06d}.npz"

    def _write_curves(self, key: str, first_replica: int, curves: Curves) -> None:
        file = self._curve_file(key, first_replica)
        file.parent.mkdir(exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(
            partial,
            loss=curves.loss,
            metric=curves.metric,
            gradient_norm=curves.gradient_norm,
            layers=np.array(curves.layers, dtype=np.str_),
            gradient_every=curves.gradient_every,
        )
        partial.replace(file)

    def curves(self, key: str, block: int) -> Curves | None:
        """The curves kept for the first replicas, or None where there are none."""
        parts: list[Curves] = []
        for first_replica in range(0, CURVES_KEPT, block):
            file = self._curve_file(key, first_replica)
            if not file.exists():
                break
            try:
                with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                    parts.append(_curves(arrays))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise StoreError(
                    f"{file}: not readable as learning curves ({error}); delete it, trials are kept elsewhere"
                ) from None
        return Curves.joined(parts) if parts else None

    def close(self) -> None:
        """Close the file; a temporary store is gone then."""
        self._database.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _curves(arrays: Mapping[str, NDArray[Any]]) -> Curves:
    return Curves(
        arrays["loss"],
        arrays["metric"],
        arrays["gradient_norm"],
        tuple(map(str, arrays["layers"])),
        int(arrays["gradient_every"]),
    )
