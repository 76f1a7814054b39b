"""Trials in one SQLite file, learning curves beside it."""

import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lossact.errors import InputError, StoreError
from lossact.storage.curve_files import CurveFiles
from lossact.storage.database import Database, Rows, damage_error, explain_errors
from lossact.storage.schema import STATISTICS_TABLE, TRIALS
from lossact.storage.trials import NOT_COUNTED, Curves, Trials
from lossact.storage.values import BYTES_OF_A_VALUE, pack_values, unpack_values


class Store:
    """Keep the trials of all experiments that use one directory, so that none is trained twice.

    Several processes may share it: writes are transactions, and `lock` lets only one process train a key. A damaged
    file is set aside with a warning, never deleted; rows whose checksum is wrong are dropped with a warning and
    trained again.

    Args:
        directory: created if missing; None uses a temporary directory that `close` removes.

    Raises:
        InputError: `directory` is no path.
        StoreError: the directory or the file in it cannot be used; the methods raise it too.
    """

    def __init__(self, directory: os.PathLike[str] | str | None = ".lossact") -> None:
        if not isinstance(directory, (str, os.PathLike, type(None))):
            raise InputError(f"directory={directory!r} must be a path; try '.lossact', or None for a temporary one")
        if directory == "":
            raise InputError("directory='' names no folder; try '.lossact', or None for a temporary one")
        self._temporary = tempfile.TemporaryDirectory(prefix="lossact-") if directory is None else None
        self.directory = Path(self._temporary.name if self._temporary else directory or "").resolve()
        self._curves = CurveFiles(self.directory / "curves")
        with explain_errors(self.directory, "cannot be opened", "give another directory, or none"):
            held_files = self.directory.is_dir() and any(self.directory.iterdir())
            (self.directory / "curves").mkdir(parents=True, exist_ok=True)
            (self.directory / "locks").mkdir(exist_ok=True)
            if not held_files:  # git is to ignore a store, and no other files
                (self.directory / ".gitignore").write_text("*\n")
            # While the journal mode changes, SQLite fails instead of waiting for other processes.
            with FileLock(self.directory / "locks" / "opening.lock"):
                self._database = Database(self.directory / "trials.sqlite")

    @property
    def temporary(self) -> bool:
        """Whether `close` removes everything."""
        return self._temporary is not None

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the lock under which a key is trained; it ends with the process, if not before.

        Args:
            key: of the store.
        """
        lock = FileLock(self.directory / "locks" / f"{key}.lock")
        with explain_errors(self.directory, "cannot be locked", "give another directory, or none"):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def is_locked(self, key: str) -> bool:
        """Return whether another process trains a key now.

        Args:
            key: of the store.
        """
        lock = FileLock(self.directory / "locks" / f"{key}.lock")
        with explain_errors(self.directory, "cannot be locked", "give another directory, or none"):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            lock.release()
        return False

    def trials(self, key: str, budget: int, *, first: int | None = None) -> Trials:
        """Return the stored trials of replicas 0, 1, … up to the first one missing.

        Args:
            key: of the store.
            budget: of the condition, in updates.
            first: at most so many, None for all.

        Returns:
            the trials, none where nothing is stored.
        """
        rows = self._database.intact_rows(TRIALS, key, first)
        measures = self._measures(key)
        if any(row[4] is not None and len(row[4]) != BYTES_OF_A_VALUE * len(measures) for row in rows):
            self.forget(key)
            warnings.warn(
                f"store {self.directory}: names of measures are not what was written (key {key[:12]}); its trials are "
                "dropped, to be made again",
                stacklevel=2,
            )
            rows = []
        gapless = next((n for n, row in enumerate(rows) if row[0] != n), len(rows))
        columns: Rows = list(zip(*rows[:gapless], strict=True)) or [()] * 5
        reached = np.array([steps not in {None, NOT_COUNTED} for steps in columns[1]], dtype=bool)
        return Trials(
            steps=np.array([steps or 0 for steps in columns[1]], dtype=np.int64),
            reached=reached,
            diverged=np.array(columns[2], dtype=bool),
            budget=budget,
            run_digests=np.array(columns[3], dtype=np.int64),
            values=unpack_values(measures, columns[4]),
        )

    def _measures(self, key: str) -> list[tuple[str, str]]:
        """Return the name and type of each measured value of a key's trials, in order; none where they are damaged."""
        with self._database.reading():
            row = self._database.execute("SELECT measures FROM experiments WHERE key = ?", (key,)).fetchone()
        try:
            return [] if row is None else [(str(name), np.dtype(dtype).name) for name, dtype in json.loads(row[0])]
        except (ValueError, TypeError):
            return []

    def keys(self) -> list[str]:
        """Return all keys, sorted."""
        with self._database.reading():
            return [str(key) for (key,) in self._database.execute("SELECT key FROM experiments ORDER BY key")]

    def holds(self, key: str) -> bool:
        """Return whether anything is stored under a key."""
        return self._content(key) is not None

    def content(self, key: str) -> dict[str, Any]:
        """Return the content of which a key is the digest.

        Args:
            key: of the store.

        Returns:
            plain values, as JSON has them.

        Raises:
            StoreError: nothing is stored under it.
        """
        text = self._content(key)
        if text is None:
            raise StoreError(f"store {self.directory}: holds nothing under key {key}; keys() lists what it holds")
        return dict(json.loads(text))

    def _content(self, key: str) -> str | None:
        with self._database.reading():
            row = self._database.execute("SELECT content FROM experiments WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def count(self) -> int:
        """Return the number of stored trials."""
        with self._database.reading():
            return int(self._database.execute("SELECT count(*) FROM trials").fetchone()[0])

    def stored_blocks(self, key: str, block: int) -> set[int]:
        """Return the indices of the stored blocks.

        Args:
            key: of the store.
            block: replicas in a block.

        Returns:
            indices, from 0.
        """
        return {replica // block for replica, *_ in self._database.intact_rows(TRIALS, key)}

    def add(self, key: str, content: dict[str, Any], first_replica: int, trials: Trials, curves: Curves | None) -> None:
        """Store a whole block: first its curves, then its trials in one transaction.

        Args:
            key: of the store.
            content: what the key digests.
            first_replica: of the block.
            trials: of the block's replicas.
            curves: of the same replicas, None where none are kept.
        """
        unknown = None if trials.are_counted else NOT_COUNTED
        rows: Rows = [
            (
                first_replica + trial.replica,
                trial.steps_to_target if trial.reached else unknown,
                int(trial.diverged),
                int(digest),
                measured,
            )
            for trial, digest, measured in zip(trials, trials.run_digests, pack_values(trials), strict=True)
        ]
        if curves is not None and len(curves):
            with self._database.explain_write_errors():  # outside the transaction, which blocks other processes
                self._curves.write(key, first_replica, curves)
        with self._database.writing():
            experiment = self._experiment(key, content)
            measures = json.dumps([[name, values.dtype.name] for name, values in trials.values.items()])
            self._database.execute("UPDATE experiments SET measures = ? WHERE id = ?", (measures, experiment))
            self._database.insert(TRIALS, experiment, rows)

    def _experiment(self, key: str, content: dict[str, Any]) -> int:
        self._database.execute(
            "INSERT OR IGNORE INTO experiments (key, content) VALUES (?, ?)", (key, json.dumps(content, sort_keys=True))
        )
        (found,) = self._database.execute("SELECT id FROM experiments WHERE key = ?", (key,)).fetchone() or (None,)
        if not isinstance(found, int):
            raise damage_error("an experiment has no number")
        return found

    def numbers(self, key: str, *, first: int) -> NDArray[np.float64]:
        """Return the first stored numbers, NaN where a replica has none.

        Args:
            key: of the store.
            first: at most so many.

        Returns:
            (n,) numbers of replicas 0, 1, …, NaN where a replica has none.
        """
        rows = self._database.intact_rows(STATISTICS_TABLE, key, first)
        return np.array([np.nan if value is None else value for _, value in rows], dtype=np.float64)

    def add_numbers(self, key: str, content: dict[str, Any], numbers: NDArray[np.float64]) -> None:
        """Store the numbers of replicas 0, 1, … in one transaction.

        Args:
            key: of the store.
            content: what the key digests.
            numbers: (replicas,), NaN where a replica has none.
        """
        with self._database.writing():
            experiment = self._experiment(key, content)
            self._database.insert(
                STATISTICS_TABLE, experiment, [(k, None if x != x else x) for k, x in enumerate(numbers.tolist())]
            )

    def forget(self, key: str) -> None:
        """Delete the trials and numbers of a key, so that they are made again."""
        with self._database.writing():
            self._database.execute(
                "DELETE FROM numbers WHERE experiment = (SELECT id FROM experiments WHERE key = ?)", (key,)
            )
            self._database.execute(
                "DELETE FROM trials WHERE experiment = (SELECT id FROM experiments WHERE key = ?)", (key,)
            )
            self._database.execute(
                "DELETE FROM checksums WHERE experiment = (SELECT id FROM experiments WHERE key = ?)", (key,)
            )

    def curves(self, key: str, block: int) -> Curves | None:
        """Return the stored curves of the first replicas, or None.

        Args:
            key: of the store.
            block: replicas in a block.

        Returns:
            the curves, None where none are stored.
        """
        with self._database.reading():
            return self._curves.read(key, block)

    def close(self) -> None:
        """Close the database, and remove a temporary store."""
        self._database.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
