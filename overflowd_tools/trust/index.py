"""The index of a keyring: an SQLite database made from the log, and made again whenever it does not fit that.

Nothing in it is lost with it. SQLite itself keeps it whole through crashes; how far it follows the log is written in
the same transaction as what it took from there. Everyone who uses it holds the lock of the log.
"""

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust.events import slots_start
from overflowd_tools.trust.reputation import FIELDS, Numbers, Record

_TYPES = {bytes: "BLOB", str: "TEXT", int: "INTEGER"}
_COLUMNS = ", ".join(
    f"{name} {_TYPES[type(first)]} {'PRIMARY KEY' if name == 'key' else 'NOT NULL'}" for name, first in FIELDS.items()
)
_SCHEMA = {
    "keys": f"CREATE TABLE keys ({_COLUMNS}) WITHOUT ROWID",
    "numbers": (
        "CREATE TABLE numbers (key BLOB, epoch INTEGER, recipient TEXT, low INTEGER NOT NULL, high INTEGER NOT NULL, "
        "received INTEGER NOT NULL, packets INTEGER NOT NULL, octets INTEGER NOT NULL, last_ms INTEGER NOT NULL, "
        "PRIMARY KEY (key, epoch, recipient)) WITHOUT ROWID"
    ),
    "window": (
        "CREATE TABLE window (slot BLOB PRIMARY KEY, digest BLOB NOT NULL, key BLOB NOT NULL, "
        "time_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, place INTEGER NOT NULL, "
        "passed INTEGER NOT NULL)"  # with rows in the order of the log it takes a quarter less time to write
    ),
    "window_time": "CREATE INDEX window_time ON window (key, time_ms)",
    "statements": (
        "CREATE TABLE statements (key BLOB, kind TEXT, text BLOB NOT NULL, PRIMARY KEY (key, kind)) WITHOUT ROWID"
    ),
    "progress": "CREATE TABLE progress (log TEXT NOT NULL, place INTEGER NOT NULL, tail BLOB NOT NULL)",
}
SUFFIXES = ("", "-wal", "-shm", "-journal")
"""What follows the name of the index in the names of the files that SQLite has for it."""
_NUMBERS = ("key", "epoch", "recipient", "low", "high", "received", "packets", "octets", "last_ms")
Series = tuple[bytes, int, str]
"""Key, epoch and recipient, within which reports are numbered."""
_LANE = (
    "SELECT (SELECT max(slot) FROM window WHERE slot BETWEEN ? AND ?), low, high, received, packets, octets "
    "FROM (SELECT 1) LEFT JOIN numbers ON key = ? AND epoch = ? AND recipient = ?"
)
_MARKS = ", ".join("?" * len(FIELDS))


class Entry(NamedTuple):
    """A report in the window of replays."""

    slot: bytes
    digest: bytes
    key: bytes
    time_ms: int
    expires_ms: int
    place: int
    """Where its line is in the log."""
    passed: int
    """Whether it was passed on; one that was held back may come again."""


class Lane:
    """What there is of the reports of one series."""

    __slots__ = ("highest", "numbers", "start")

    def __init__(self, start: bytes) -> None:
        self.start = start
        """What their slots begin with."""
        self.highest = 0
        """No number in the window is above this one."""
        self.numbers: Numbers | None = None


def new_lane(series: Series) -> Lane:
    """Return the lane of a series of which there is nothing yet."""
    key, epoch, recipient = series
    return Lane(slots_start(key, recipient, epoch))


class Cache:
    """Records and lanes that were read from the index, good as long as nobody else writes it."""

    limit = 1 << 13

    def __init__(self) -> None:
        self.records: dict[bytes, Record | None] = {}
        self.lanes: dict[Series, Lane] = {}
        self.whole: set[bytes] = set()
        """Keys of which there is nothing in the index that is not here: those that were not known before."""

    def shrink(self) -> None:
        """Forget all when there is too much of it."""
        if max(len(self.records), len(self.lanes)) > self.limit:
            self.records.clear()
            self.lanes.clear()
            self.whole.clear()


class Index:
    """An open index. Every method may raise sqlite3.Error, after which it is to be made again."""

    def __init__(self, path: str) -> None:
        """Open the database, or make an empty one (mode 0600). Raises KeyFileError for the file of somebody else."""
        self.path = path
        for suffix in SUFFIXES:
            _refuse_foreign(path + suffix)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._inode = os.stat(path).st_ino
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def is_current(self) -> bool:
        """Tell whether the file at the path is still the one that is open."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def _prepare(self) -> None:
        run = self._database.execute
        run("PRAGMA trusted_schema = OFF")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA cache_size = -2048")  # KiB; the kernel has the rest
        found = dict(run("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        if not found:
            run("BEGIN")
            for statement in _SCHEMA.values():
                run(statement)
            run("INSERT INTO progress VALUES ('', 0, x'')")
            run("COMMIT")
        elif found != _SCHEMA:
            raise sqlite3.DatabaseError("not the index of a keyring")

    def begin(self) -> None:
        """Begin a transaction."""
        self._database.execute("BEGIN IMMEDIATE")

    def commit(self, log: str, place: int, tail: bytes) -> None:
        """End a transaction, after which the index follows the log of this id up to this place."""
        self._database.execute("UPDATE progress SET log = ?, place = ?, tail = ?", (log, place, tail))
        self._database.execute("COMMIT")

    def rollback(self) -> None:
        """Undo a transaction, if there is one."""
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def progress(self) -> tuple[str, int, bytes]:
        """Return the id of the log, the place up to which it was followed, and the octets before that."""
        log, place, tail = self._database.execute("SELECT log, place, tail FROM progress").fetchone()
        return log, place, tail

    def record(self, key: bytes) -> Record | None:
        """Return what is known about a key."""
        row = self._database.execute("SELECT * FROM keys WHERE key = ?", (key,)).fetchone()
        return Record(row) if row else None

    def records(self) -> Iterator[Record]:
        """Return what is known about every key."""
        return map(Record, self._database.execute("SELECT * FROM keys"))

    def lane(self, series: Series) -> Lane:
        """Return what there is of the reports of a series."""
        lane = new_lane(series)
        slots = (lane.start, lane.start + b"\xff" * 8)
        last, *numbers = self._database.execute(_LANE, (*slots, *series)).fetchone()
        if last:
            lane.highest = int.from_bytes(last[len(lane.start) :], "big")
        if numbers[0] is not None:
            lane.numbers = Numbers(*numbers)
        return lane

    def all_numbers(self, key: bytes) -> list[dict[str, Any]]:
        """Return epoch, to, low, high, received, packets, octets and last_ms of every recipient of a key."""
        chosen = f"SELECT {', '.join(_NUMBERS[1:])} FROM numbers WHERE key = ? ORDER BY last_ms"  # noqa: S608 - our names
        names = [name.replace("recipient", "to") for name in _NUMBERS[1:]]
        return [dict(zip(names, row, strict=True)) for row in self._database.execute(chosen, (key,))]

    def entry(self, slot: bytes) -> Entry | None:
        """Return the report of this slot in the window."""
        row = self._database.execute("SELECT * FROM window WHERE slot = ?", (slot,)).fetchone()
        return Entry._make(row) if row else None

    def entries(self) -> Iterator[Entry]:
        """Return the window in the order of the log."""
        return map(Entry._make, self._database.execute("SELECT * FROM window ORDER BY place"))

    def statements(self, key: bytes) -> dict[str, bytes]:
        """Return the statements about a key by their kinds."""
        return dict(self._database.execute("SELECT kind, text FROM statements WHERE key = ?", (key,)))

    def put_records(self, records: Iterable[Record]) -> None:
        """Write records."""
        values = (record.values() for record in records)
        self._database.executemany(f"REPLACE INTO keys VALUES ({_MARKS})", values)  # noqa: S608 - marks alone

    def put_numbers(self, rows: Iterable[tuple[Series, Numbers, int]]) -> None:
        """Write the numbers of some recipients, each with the time of the last report."""
        values = (
            (*series, of.low, of.high, of.received, of.packets, of.octets, last_ms) for series, of, last_ms in rows
        )
        self._database.executemany("REPLACE INTO numbers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def drop_numbers(self, rows: Iterable[Series]) -> None:
        """Delete the numbers of some recipients."""
        self._database.executemany("DELETE FROM numbers WHERE key = ? AND epoch = ? AND recipient = ?", rows)

    def put_entries(self, entries: Iterable[Entry]) -> None:
        """Write entries of the window."""
        self._database.executemany("REPLACE INTO window VALUES (?, ?, ?, ?, ?, ?, ?)", entries)

    def move_entries(self, places: Iterable[tuple[int, bytes]]) -> None:
        """Write (place, slot) of entries whose lines have moved."""
        self._database.executemany("UPDATE window SET place = ? WHERE slot = ?", places)

    def put_statement(self, key: bytes, kind: str, text: bytes) -> None:
        """Write a statement."""
        self._database.execute("REPLACE INTO statements VALUES (?, ?, ?)", (key, kind, text))

    def forget(self, key: bytes) -> None:
        """Delete everything about a key."""
        for table in ("keys", "numbers", "window", "statements"):
            self._database.execute(f"DELETE FROM {table} WHERE key = ?", (key,))  # noqa: S608 - our own names

    def expired(self, before_ms: int) -> dict[bytes, int]:
        """Delete the entries that expired before this time, and return how many each key had."""
        counts = dict(
            self._database.execute("SELECT key, count(*) FROM window WHERE expires_ms < ? GROUP BY key", (before_ms,))
        )
        if counts:
            self._database.execute("DELETE FROM window WHERE expires_ms < ?", (before_ms,))
        return counts

    def oldest(self, key: bytes, number: int) -> tuple[int, int]:
        """Delete the entries of a key with the earliest times; return how many, and the latest of these times."""
        chosen = "SELECT slot, time_ms FROM window WHERE key = ? ORDER BY time_ms LIMIT ?"
        rows: list[tuple[bytes, int]] = self._database.execute(chosen, (key, number)).fetchall()
        self._database.executemany("DELETE FROM window WHERE slot = ?", [(slot,) for slot, _ in rows])
        return len(rows), rows[-1][1] if rows else 0

    def trim_numbers(self, key: bytes, most: int) -> None:
        """Delete the numbers of those recipients of a key who were not heard of for longest."""
        chosen = "SELECT epoch, recipient FROM numbers WHERE key = ? ORDER BY last_ms DESC LIMIT -1 OFFSET ?"
        rows = self._database.execute(chosen, (key, most)).fetchall()
        self.drop_numbers((key, *row) for row in rows)

    def least_valuable(self, number: int) -> list[tuple[bytes, str]]:
        """Return (key, text) of keys that no operator has spoken about, those that could be missed first."""
        chosen = "SELECT key, text FROM keys WHERE NOT kept ORDER BY min(corroborated, 20), days, last_ms LIMIT ?"
        return self._database.execute(chosen, (number,)).fetchall()

    def remembered(self) -> int:
        """Return how many reports are in the window."""
        row: tuple[int | None] = self._database.execute("SELECT sum(remembered) FROM keys").fetchone()
        return row[0] or 0

    def most_remembered(self, number: int) -> list[Record]:
        """Return keys that could best do with fewer reports in the window: untrusted ones, and those with the most."""
        chosen = (
            "SELECT * FROM keys WHERE remembered > 0 "
            "ORDER BY kept OR (days >= 7 AND corroborated >= 20), remembered DESC LIMIT ?"
        )
        return list(map(Record, self._database.execute(chosen, (number,))))

    def forgettable(self) -> int:
        """Return how many keys there are that no operator has spoken about."""
        row: tuple[int] = self._database.execute("SELECT count(*) FROM keys WHERE NOT kept").fetchone()
        return row[0]


def _refuse_foreign(path: str) -> None:
    """Refuse what another user has put there, in a directory such as /tmp, for us to believe."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        raise KeyFileError(f"{path}: not a file of our own; remove it")
