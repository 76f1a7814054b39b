"""Trials in one SQLite file, learning curves beside it."""

import json
import sqlite3
import tempfile
import warnings
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from lossact.errors import StoreError
from lossact.storage.curve_files import CurveFiles
from lossact.storage.schema import MIGRATIONS, SCHEMA_VERSION, STATISTICS_TABLE, TRIALS, Table
from lossact.storage.trials import Curves, Trials
from lossact.storage.values import pack_values, unpack_values

Rows = list[tuple[Any, ...]]
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
SQLITE_SUFFIXES = ("", "-wal", "-shm")  # SQLite's files, by what follows the name


class Store:
    """Keep the trials of all experiments that use one directory, so that none is trained twice.

    Several processes may share it: writes are transactions, and `lock` lets only one process train a key. A damaged
    file is set aside with a warning, never deleted; rows whose checksum is wrong are dropped with a warning and
    trained again.

    Args:
        directory: created if missing; None uses a temporary directory that `close` removes.

    Raises:
        StoreError: the directory or the file in it cannot be used; the methods raise it too.
    """

    def __init__(self, directory: Path | str | None = ".lossact") -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="lossact-") if directory is None else None
        self.directory = Path(self._temporary.name if self._temporary else directory or "").resolve()
        self._file = self.directory / "trials.sqlite"
        self._curves = CurveFiles(self.directory / "curves")
        with self._explain_errors("cannot be opened", "give another directory, or none"):
            (self.directory / "curves").mkdir(parents=True, exist_ok=True)
            (self.directory / "locks").mkdir(exist_ok=True)
            ignore = self.directory / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            # While the journal mode changes, SQLite fails instead of waiting for other processes.
            with FileLock(self.directory / "locks" / "opening.lock"):
                self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._prepare(sqlite3.connect(self._file, timeout=60, isolation_level=None))
        except sqlite3.DatabaseError as error:
            if _code(error) not in DAMAGE:
                raise
            aside = _set_aside(self._file)
            warnings.warn(
                f"store {self.directory}: trials.sqlite is damaged ({error}); set aside as {aside.name}, and what it "
                "held is trained again",
                stacklevel=4,
            )
        return self._prepare(sqlite3.connect(self._file, timeout=60, isolation_level=None))

    def _prepare(self, database: sqlite3.Connection) -> sqlite3.Connection:
        """Check the database, and create or migrate its tables."""
        try:
            database.execute("PRAGMA journal_mode=WAL")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version in MIGRATIONS:
                database.executescript(f"BEGIN;{MIGRATIONS[version]}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
            elif version != SCHEMA_VERSION:
                raise StoreError(
                    f"store {self.directory}: written in form {version}, this lossact reads form {SCHEMA_VERSION}; "
                    "give another directory"
                )
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise _damage(str(state).partition("\n")[2] or state)
        except UnicodeDecodeError as error:  # SQLite's message quotes the damaged bytes
            database.close()
            raise _damage(str(error)) from None
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def _explain_errors(self, what: str, way_out: str) -> Iterator[None]:
        """Turn errors of the disk and of SQLite into one StoreError."""
        try:
            yield
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(f"store {self.directory}: {what} ({error}); {way_out}") from None

    @contextmanager
    def _explain_read_errors(self) -> Iterator[None]:
        with self._explain_errors("cannot be read", "run again, and what is damaged is set aside"):
            yield

    def _explain_write_errors(self) -> AbstractContextManager[None]:
        return self._explain_errors(
            "cannot be written", "make room or give another directory; what it holds stays good"
        )

    @contextmanager
    def _write_transaction(self) -> Iterator[None]:
        """Write in one transaction, which is rolled back where anything fails."""
        with self._explain_write_errors():
            try:
                if not self._file.exists():  # SQLite would go on writing to the deleted file
                    raise FileNotFoundError(f"{self._file} was removed while this process used it")
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

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
        with self._explain_errors("cannot be locked", "give another directory, or none"):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def trials(self, key: str, budget: int, *, first: int | None = None) -> Trials:
        """Return the stored trials of replicas 0, 1, … up to the first one missing.

        Args:
            key: of the store.
            budget: of the condition, in updates.
            first: at most so many, None for all.

        Returns:
            the trials, none where nothing is stored.
        """
        rows = self._intact_rows(TRIALS, key, first)
        gapless = next((n for n, row in enumerate(rows) if row[0] != n), len(rows))
        columns: Rows = list(zip(*rows[:gapless], strict=True)) or [()] * 5
        reached = np.array([steps is not None for steps in columns[1]], dtype=bool)
        return Trials(
            steps=np.array([steps or 0 for steps in columns[1]], dtype=np.int64),
            reached=reached,
            diverged=np.array(columns[2], dtype=bool),
            budget=budget,
            run_digests=np.array(columns[3], dtype=np.int64),
            values=unpack_values(self._measures(key), columns[4]),
        )

    def _measures(self, key: str) -> list[tuple[str, str]]:
        """Return the name and type of each measured value of a key's trials, in order."""
        with self._explain_read_errors():
            row = self._database.execute("SELECT measures FROM experiments WHERE key = ?", (key,)).fetchone()
        return [] if row is None else [(str(name), str(dtype)) for name, dtype in json.loads(row[0])]

    def keys(self) -> list[str]:
        """Return all keys, sorted."""
        with self._explain_read_errors():
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
            raise StoreError(f"store {self.directory}: holds nothing under key {key}")
        return dict(json.loads(text))

    def _content(self, key: str) -> str | None:
        with self._explain_read_errors():
            row = self._database.execute("SELECT content FROM experiments WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def count(self) -> int:
        """Return the number of stored trials."""
        with self._explain_read_errors():
            return int(self._database.execute("SELECT count(*) FROM trials").fetchone()[0])

    def stored_blocks(self, key: str, block: int) -> set[int]:
        """Return the indices of the stored blocks.

        Args:
            key: of the store.
            block: replicas in a block.

        Returns:
            indices, from 0.
        """
        return {replica // block for replica, *_ in self._intact_rows(TRIALS, key)}

    def add(self, key: str, content: dict[str, Any], first_replica: int, trials: Trials, curves: Curves | None) -> None:
        """Store a whole block: first its curves, then its trials in one transaction.

        Args:
            key: of the store.
            content: what the key digests.
            first_replica: of the block.
            trials: of the block's replicas.
            curves: of the same replicas, None where none are kept.
        """
        rows: Rows = [
            (first_replica + trial.replica, trial.steps_to_target, int(trial.diverged), int(digest), measured)
            for trial, digest, measured in zip(trials, trials.run_digests, pack_values(trials), strict=True)
        ]
        if curves is not None and len(curves):
            with self._explain_write_errors():  # outside the transaction, which blocks other processes
                self._curves.write(key, first_replica, curves)
        with self._write_transaction():
            experiment = self._experiment(key, content)
            measures = json.dumps([[name, values.dtype.name] for name, values in trials.values.items()])
            self._database.execute("UPDATE experiments SET measures = ? WHERE id = ?", (measures, experiment))
            self._insert(TRIALS, experiment, rows)

    def _insert(self, table: Table, experiment: int, rows: Rows) -> None:
        """Insert the rows of consecutive replicas, and their checksum."""
        self._database.executemany(table.insert, [(experiment, *row) for row in rows])
        self._database.execute(
            "INSERT OR REPLACE INTO checksums VALUES (?, ?, ?, ?)", (experiment, rows[0][0], len(rows), _crc(rows))
        )

    def _intact_rows(self, table: Table, key: str, first: int | None = None) -> Rows:
        """Return a key's first rows, or all, by replica; drop those whose checksum is wrong."""
        with self._explain_read_errors():
            self._database.execute("BEGIN")  # rows and checksums of the same moment
            try:
                rows, changed = self._rows(table, key, first)
            finally:
                self._database.execute("COMMIT")
        if not changed:
            return rows
        with self._write_transaction():  # another process may have repaired them meanwhile
            rows, changed = self._rows(table, key, first)
            for low, high in changed:
                self._database.execute(table.delete, (key, low, high))
                self._database.execute(
                    "DELETE FROM checksums WHERE experiment = (SELECT id FROM experiments WHERE key = ?)"
                    " AND first_replica = ?",
                    (key, low),
                )
        if changed:
            parts = ", ".join(f"{low} to {high}" for low, high in changed)
            warnings.warn(
                f"store {self.directory}: {table.name} of replicas {parts} are not what was written (key {key[:12]}); "
                "dropped, to be made again",
                stacklevel=4,
            )
        return [row for row in rows if not any(low <= row[0] <= high for low, high in changed)]

    def _rows(self, table: Table, key: str, first: int | None) -> tuple[Rows, list[tuple[int, int]]]:
        """Return rows, and the ranges of replicas whose checksum is wrong; forms before 3 had no checksums."""
        rows: Rows = self._database.execute(table.select, (key, -1 if first is None else first)).fetchall()
        written = self._database.execute(
            "SELECT first_replica, replicas, crc32 FROM checksums JOIN experiments ON id = experiment WHERE key = ?",
            (key,),
        ).fetchall()
        changed: list[tuple[int, int]] = []
        rows = [row for row in rows if isinstance(row[0], int)]  # damaged cells may be text
        replicas = [row[0] for row in rows]
        for low, count, crc in written:
            part = rows[bisect_left(replicas, low) : bisect_left(replicas, low + count)]
            cut = first is not None and low + count > first
            if not cut and _crc(part) != crc:
                changed.append((low, low + count - 1))
        return rows, changed

    def _experiment(self, key: str, content: dict[str, Any]) -> int:
        self._database.execute(
            "INSERT OR IGNORE INTO experiments (key, content) VALUES (?, ?)", (key, json.dumps(content, sort_keys=True))
        )
        (found,) = self._database.execute("SELECT id FROM experiments WHERE key = ?", (key,)).fetchone() or (None,)
        if not isinstance(found, int):
            raise _damage("an experiment has no number")
        return found

    def numbers(self, key: str, *, first: int) -> NDArray[np.float64]:
        """Return the first stored numbers, NaN where a replica has none.

        Args:
            key: of the store.
            first: at most so many.

        Returns:
            (n,) numbers of replicas 0, 1, …, NaN where a replica has none.
        """
        rows = self._intact_rows(STATISTICS_TABLE, key, first)
        return np.array([np.nan if value is None else value for _, value in rows], dtype=np.float64)

    def add_numbers(self, key: str, content: dict[str, Any], numbers: NDArray[np.float64]) -> None:
        """Store the numbers of replicas 0, 1, … in one transaction.

        Args:
            key: of the store.
            content: what the key digests.
            numbers: (replicas,), NaN where a replica has none.
        """
        with self._write_transaction():
            experiment = self._experiment(key, content)
            self._insert(
                STATISTICS_TABLE, experiment, [(k, None if x != x else x) for k, x in enumerate(numbers.tolist())]
            )

    def forget(self, key: str) -> None:
        """Delete the trials of a key, so that they are trained again."""
        with self._write_transaction():
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
        with self._explain_read_errors():
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


def _crc(rows: Rows) -> int:
    """Return the CRC-32 of the rows' repr."""
    return zlib.crc32(repr(rows).encode())


def _damage(what: str) -> sqlite3.DatabaseError:
    """Make the error that SQLite raises for a damaged file."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _set_aside(file: Path) -> Path:
    """Rename a database to the first free name; where it is now."""
    number = 1
    while (aside := file.with_name(f"{file.stem}.damaged-{number}{file.suffix}")).exists():
        number += 1
    for ending in reversed(SQLITE_SUFFIXES):
        part = file.with_name(file.name + ending)
        if part.exists():
            part.replace(aside.with_name(aside.name + ending))
    return aside
