"""The tables of the store's SQLite file, and what older forms of them lack."""

from dataclasses import dataclass

SCHEMA_VERSION = 4

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
NUMBERS = """
CREATE TABLE numbers (
    experiment INTEGER NOT NULL REFERENCES experiments (id),
    replica INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (experiment, replica)
) WITHOUT ROWID;
"""
CHECKSUMS = """
CREATE TABLE checksums (
    experiment INTEGER NOT NULL REFERENCES experiments (id),
    first_replica INTEGER NOT NULL,
    replicas INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    PRIMARY KEY (experiment, first_replica)
) WITHOUT ROWID;
"""
DIGESTS_AND_VALUES = """
ALTER TABLE trials ADD COLUMN run_digest INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trials ADD COLUMN measured BLOB;
ALTER TABLE experiments ADD COLUMN measures TEXT NOT NULL DEFAULT '[]';
"""
# What a database of an older form lacks.
MIGRATIONS = {
    0: SCHEMA + NUMBERS + CHECKSUMS + DIGESTS_AND_VALUES,
    1: NUMBERS + CHECKSUMS + DIGESTS_AND_VALUES,
    2: CHECKSUMS + DIGESTS_AND_VALUES,
    3: DIGESTS_AND_VALUES + "DELETE FROM checksums;\n",  # they are of rows without digests and values
}


@dataclass(frozen=True)
class Table:
    """Rows of replicas, by key: the statements that read, write and drop them."""

    name: str
    select: str
    insert: str
    delete: str


TRIALS = Table(
    "trials",
    "SELECT replica, steps_to_target, diverged, run_digest, measured FROM trials JOIN experiments ON id = experiment"
    " WHERE key = ? ORDER BY replica LIMIT ?",
    "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?)",
    "DELETE FROM trials WHERE experiment = (SELECT id FROM experiments WHERE key = ?) AND replica BETWEEN ? AND ?",
)
STATISTICS_TABLE = Table(
    "numbers",
    "SELECT replica, value FROM numbers JOIN experiments ON id = experiment WHERE key = ? ORDER BY replica LIMIT ?",
    "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)",
    "DELETE FROM numbers WHERE experiment = (SELECT id FROM experiments WHERE key = ?) AND replica BETWEEN ? AND ?",
)
