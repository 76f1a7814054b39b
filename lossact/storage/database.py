"""One SQLite file of rows by replica: opened, repaired, written in transactions, and checked by checksums."""

import sqlite3
import warnings
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from lossact.errors import StoreError
from lossact.storage.schema import MIGRATIONS, SCHEMA_VERSION, Table

Rows = list[tuple[Any, ...]]
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
SQLITE_SUFFIXES = ("", "-wal", "-shm")  # SQLite's files, by what follows the name


@contextmanager
def explain_errors(store: Path, what: str, way_out: str) -> Iterator[None]:
    """Turn errors of the disk and of SQLite into one StoreError.

    Args:
        store: its directory.
        what: cannot be done.
        way_out: what the user can do.
    """
    try:
        yield
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError(f"store {store}: {what} ({error}); {way_out}") from None


class Database:
    """A store's SQLite file.

    Args:
        file: in the store's directory; created if missing. A damaged one is set aside with a warning.

    Attributes:
        execute: runs a statement, within `reading` or `writing`.

    Raises:
        StoreError: it was written by another version of lossact.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.store = file, file.parent
        self._connection = self._open()
        self.execute = self._connection.execute
        self._opened = _identity(file)

    def _open(self) -> sqlite3.Connection:
        try:
            return self._prepare(sqlite3.connect(self.file, timeout=60, isolation_level=None))
        except sqlite3.DatabaseError as error:
            if _code(error) not in DAMAGE:
                raise
            aside = _set_aside(self.file)
            warnings.warn(
                f"store {self.store}: {self.file.name} is damaged ({error}); set aside as {aside.name}, and what it "
                "held is trained again",
                stacklevel=5,
            )
        return self._prepare(sqlite3.connect(self.file, timeout=60, isolation_level=None))

    def _prepare(self, database: sqlite3.Connection) -> sqlite3.Connection:
        """Check the database, and create or migrate its tables."""
        try:
            database.execute("PRAGMA journal_mode=WAL")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version in MIGRATIONS:
                database.executescript(f"BEGIN;{MIGRATIONS[version]}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
            elif version != SCHEMA_VERSION:
                raise StoreError(
                    f"store {self.store}: written in form {version}, this lossact reads form {SCHEMA_VERSION}; "
                    "give another directory"
                )
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise damage_error(str(state).partition("\n")[2] or state)
        except UnicodeDecodeError as error:  # SQLite's message quotes the damaged bytes
            database.close()
            raise damage_error(str(error)) from None
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read within; errors say the way out."""
        with explain_errors(self.store, "cannot be read", "run again, and what is damaged is set aside"):
            yield

    def explain_write_errors(self) -> AbstractContextManager[None]:
        """Say the way out where writing fails."""
        return explain_errors(
            self.store, "cannot be written", "make room or give another directory; what it holds stays good"
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write within in one transaction, which is rolled back where anything fails."""
        with self.explain_write_errors():
            try:
                if not self.file.exists():  # SQLite would go on writing to the deleted file
                    raise FileNotFoundError(f"{self.file} was removed while this process used it")
                if _identity(self.file) != self._opened:
                    raise FileNotFoundError(f"{self.file} was replaced while this process used it")
                self.execute("BEGIN IMMEDIATE")
                yield
                self.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self.execute("ROLLBACK")
                raise

    def insert(self, table: Table, experiment: int, rows: Rows) -> None:
        """Insert the rows of consecutive replicas, within `writing`, and their checksum.

        Args:
            table: where to.
            experiment: its number.
            rows: replica and what follows, each.
        """
        self._connection.executemany(table.insert, [(experiment, *row) for row in rows])
        self.execute(
            "INSERT OR REPLACE INTO checksums VALUES (?, ?, ?, ?)", (experiment, rows[0][0], len(rows), _crc(rows))
        )

    def intact_rows(self, table: Table, key: str, first: int | None = None) -> Rows:
        """Return a key's rows by replica; drop those whose checksum is wrong, with a warning.

        Args:
            table: which rows.
            key: of the store.
            first: at most so many, None for all.
        """
        with self.reading():
            self.execute("BEGIN")  # rows and checksums of the same moment
            try:
                rows, changed = self._rows(table, key, first)
            finally:
                self.execute("COMMIT")
        if not changed:
            return rows
        with self.writing():  # another process may have repaired them meanwhile
            rows, changed = self._rows(table, key, first)
            for low, high in changed:
                self.execute(table.delete, (key, low, high))
                self.execute(
                    "DELETE FROM checksums WHERE experiment = (SELECT id FROM experiments WHERE key = ?)"
                    " AND first_replica = ?",
                    (key, low),
                )
        if changed:
            parts = ", ".join(f"{low} to {high}" for low, high in changed)
            warnings.warn(
                f"store {self.store}: {table.name} of replicas {parts} are not what was written (key {key[:12]}); "
                "dropped, to be made again",
                stacklevel=4,
            )
        return [row for row in rows if not any(low <= row[0] <= high for low, high in changed)]

    def _rows(self, table: Table, key: str, first: int | None) -> tuple[Rows, list[tuple[int, int]]]:
        """Return rows, and the ranges of replicas whose checksum is wrong; forms before 3 had no checksums."""
        written = self.execute(
            "SELECT first_replica, replicas, crc32 FROM checksums JOIN experiments ON id = experiment WHERE key = ?",
            (key,),
        ).fetchall()
        most = -1
        if first is not None:  # whole checksums that begin before it
            written = [(low, count, crc) for low, count, crc in written if low < first]
            most = max([first, *(low + count for low, count, _ in written)])
        rows: Rows = self.execute(table.select, (key, most)).fetchall()
        changed: list[tuple[int, int]] = []
        rows = [row for row in rows if isinstance(row[0], int)]  # damaged cells may be text
        replicas = [row[0] for row in rows]
        for low, count, crc in written:
            part = rows[bisect_left(replicas, low) : bisect_left(replicas, low + count)]
            if _crc(part) != crc:
                changed.append((low, low + count - 1))
        return rows[:first], changed

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _identity(file: Path) -> tuple[int, int]:
    """Return what differs between a file and one that took its place."""
    status = file.stat()
    return status.st_dev, status.st_ino


def _crc(rows: Rows) -> int:
    """Return the CRC-32 of the rows' repr."""
    return zlib.crc32(repr(rows).encode())


def damage_error(what: str) -> sqlite3.DatabaseError:
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
