"""A keyring: what is known about the keys of those who report, in a log and an index of it.

FILE is the log, which is the truth; FILE.index is made from it, and made again when it is lost or does not fit. What is
judged within update() is in the log, and the log on the disk, when update() ends: only then may a report be passed on.
So a crash can lose a report that was entered and not yet passed on, but it never lets one pass twice.

Everything is bounded. Of keys that no operator has spoken about, those are forgotten first that were confirmed least,
on the fewest days, the longest time ago. A key that sends more reports than are remembered loses its own oldest ones;
from then on, what it made before them is refused, so that even then no replay passes.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import events
from overflowd_tools.trust.index import SUFFIXES, Cache, Index, Series
from overflowd_tools.trust.keys import PublicKey
from overflowd_tools.trust.log import Log
from overflowd_tools.trust.replay import Replay
from overflowd_tools.trust.reputation import FIELDS, Numbers, Record
from overflowd_tools.trust.update import Update


class Limits:
    """How much is remembered."""

    keys = 8192
    """Keys that no operator has spoken about."""
    window = 1 << 17
    """Reports of all keys that could come again."""
    window_of_key = 1 << 15
    recipients_of_key = 64
    recipients_of_trusted = 4096
    log = 1 << 26
    """Octets by which the log may grow beyond twice its size, before it is made shorter."""


_EVENTS_AT_ONCE = 10_000
_NARROWED_AT_ONCE = 1000
_SWEEP_MS = 10_000


class Keyring:
    """An open keyring. Raises KeyFileError for a file that cannot be used."""

    def __init__(self, path: str, told: Callable[[str], None], limits: type[Limits] = Limits) -> None:
        """Open a keyring, or make an empty one; told is given what had to be mended."""
        self._told = told
        self._limits = limits
        self._log = Log(path, told)
        self._index: Index | None = None
        self._cache = Cache()
        self._follows = ("", 0)
        self._shortest = 0
        self._remembered = 0
        self._swept_ms = 0

    def close(self) -> None:
        """Close the files."""
        if self._index:
            self._index.close()
            self._index = None
        self._log.close()

    @contextmanager
    def update(self, now_ms: int) -> Iterator[Update]:
        """Lock the keyring, for what it knows to be read and changed; at the end, all is on the disk.

        now_ms: Unix milliseconds. An exception in the meantime leaves the keyring as it was.
        """
        self._log.lock()
        try:
            index = self._take_up()
            index.begin()
            update = Update(index, self._log, self._cache, now_ms)
            try:
                yield update
                self._write(index, update)
            except BaseException:
                self._undo(index)
                raise
            if self._log.size > 2 * self._shortest + self._limits.log:
                self._shorten()
        except sqlite3.Error as error:
            self._delete_index()
            raise KeyFileError(f"{self._log.path}.index: {error}; it will be made again") from None
        finally:
            self._log.unlock()

    @contextmanager
    def reading(self) -> Iterator[Index]:
        """Lock the keyring for its index to be read."""
        self._log.lock()
        try:
            yield self._take_up()
        except sqlite3.Error as error:
            self._delete_index()
            raise KeyFileError(f"{self._log.path}.index: {error}; it will be made again") from None
        finally:
            self._log.unlock()

    def about(self, key: PublicKey) -> dict[str, Any] | None:
        """Return all that is known about a key, as an object of JSON; None for one that is not known."""
        with self.reading() as index:
            record = index.record(key.raw)
            if record is None:
                return None
            numbers = index.all_numbers(key.raw)
            proofs = {kind: json.loads(text) for kind, text in sorted(index.statements(key.raw).items())}
        recipients = len({number["to"] for number in numbers})
        return {**record.summary(), "recipients": recipients, "numbers": numbers, "statements": proofs}

    def check(self) -> int:
        """Make the index again from the log, and return how many events there are; told hears of bad lines."""
        self._log.lock()
        try:
            self._remake()
            return sum(1 for _ in self._log.lines(0)) - 1
        except sqlite3.Error as error:
            raise KeyFileError(f"{self._log.path}.index: {error}") from None
        finally:
            self._log.unlock()

    def _write(self, index: Index, update: Update) -> None:
        self._remembered += len(update.entries)
        self._store(index, update)
        self._keep_bounds(index, update)
        if update.lines:
            self._log.append(b"".join(update.lines))
        try:
            self._commit(index)
        except sqlite3.Error as error:
            # The log has it, so what was judged stands.
            self._told(f"{self._log.path}.index: {error}; it will be made again")
            self._delete_index()

    def _commit(self, index: Index) -> None:
        log = self._log
        index.commit(log.id, log.size, log.tail(log.size))
        self._follows = (log.id, log.size)
        self._cache.shrink()

    def _undo(self, index: Index) -> None:
        self._follows = ("", 0)
        with suppress(sqlite3.Error):
            index.rollback()

    # --- the index follows the log

    def _take_up(self) -> Index:
        """Return the index as the log has it now."""
        index = self._index
        if index and index.is_current() and self._follows == (self._log.id, self._log.size):
            return index
        self._drop_index()
        try:
            index = self._index = Index(f"{self._log.path}.index")
            log_id, place, tail = index.progress()
            fits = log_id == self._log.id and place <= self._log.size and tail == self._log.tail(place)
            if fits or not log_id:
                self._follow(index, place)
                return index
        except (sqlite3.Error, TypeError, ValueError, OverflowError):
            pass
        return self._remake()

    def _remake(self) -> Index:
        self._delete_index()
        index = self._index = Index(f"{self._log.path}.index")
        self._follow(index, 0)
        return index

    def _delete_index(self) -> None:
        self._drop_index()
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                os.unlink(f"{self._log.path}.index{suffix}")

    def _drop_index(self) -> None:
        if self._index:
            self._index.close()
            self._index = None
        self._cache = Cache()
        self._follows = ("", 0)

    def _follow(self, index: Index, place: int) -> None:
        """Apply what the log says from this place on."""
        index.begin()
        replay = Replay(index, self._cache)
        bad = 0
        for number, (offset, line) in enumerate(self._log.lines(place)):
            if not offset:
                continue  # the header
            try:
                replay.apply(events.read(line), offset)
            except KeyFileError as error:
                bad += 1
                if bad <= 10:
                    self._told(f"{self._log.path}: octet {offset}: {error}; passed over")
            if number % _EVENTS_AT_ONCE == _EVENTS_AT_ONCE - 1:
                self._store(index, replay)
                self._cache.shrink()
                replay = Replay(index, self._cache)
        self._store(index, replay)
        self._shortest = self._shortest or self._log.size
        self._remembered = index.remembered()
        self._commit(index)

    # --- bounds

    def _store(self, index: Index, replay: Replay) -> None:
        index.put_records(replay.changed.values())
        index.put_entries(replay.entries.values())
        self._store_numbers(index, replay)
        for (key, kind), text in replay.statements.items():
            index.put_statement(key, kind, text)
        self._bound_keys(index, replay)

    def _store_numbers(self, index: Index, replay: Replay) -> None:
        """Write the numbers of the recipients last heard of, of each key no more than are kept of it.

        What was written before of the others is deleted: it is true no more.
        """
        room: dict[bytes, int] = {}
        newest, others = [], []
        ordered = sorted(replay.numbers.items(), key=_last_ms)
        for series, (numbers, last_ms) in reversed(ordered):
            key = series[0]
            if key not in room:
                room[key] = self._recipients(replay.changed.get(key))
            room[key] -= 1
            if room[key] >= 0:
                newest.append((series, numbers, last_ms))
            else:
                others.append(series)
        index.put_numbers(newest)
        index.drop_numbers(others)

    def _recipients(self, record: Record | None) -> int:
        """Return how many recipients of a key are kept."""
        trusted = record and record.trusted
        return self._limits.recipients_of_trusted if trusted else self._limits.recipients_of_key

    def _bound_keys(self, index: Index, replay: Replay) -> None:
        """Keep every key that changed within its own bounds."""
        limits = self._limits
        for key in replay.grown:
            record = replay.changed.get(key)
            if record:
                index.trim_numbers(key, self._recipients(record))
        for record in replay.changed.values():
            excess = record.remembered - limits.window_of_key
            if excess > 0:
                self._narrow(index, record, excess + limits.window_of_key // 8)

    def _keep_bounds(self, index: Index, update: Update) -> None:
        """Drop what has expired, and what is most dispensable of what is too much."""
        if update.newest_ms >= self._swept_ms + _SWEEP_MS:
            self._sweep(index, update)
        limits = self._limits
        while self._remembered > limits.window and (records := index.most_remembered(_NARROWED_AT_ONCE)):
            for record in records:
                self._narrow(index, record, max(record.remembered // 2, 1))
                self._cache.records[record.key] = record
                if self._remembered <= limits.window:
                    break
        excess = index.forgettable() - limits.keys if update.newcomers else 0
        if excess > 0:
            forgotten = index.least_valuable(excess + limits.keys // 16)
            update.forget({key for key, _ in forgotten})
            self._remembered = index.remembered()
            update.lines.append(events.line("forgotten", keys=[text for _, text in forgotten]))

    def _sweep(self, index: Index, update: Update) -> None:
        """Drop what has expired by the time of the newest report; that takes a look at the whole window."""
        self._swept_ms = update.newest_ms
        fewer = []
        for key, number in index.expired(update.newest_ms).items():
            record = update.changed.get(key) or index.record(key)
            if record:
                record.remembered = max(record.remembered - number, 0)
                self._cache.records[key] = record
                fewer.append(record)
                self._remembered -= number
        index.put_records(fewer)

    def _narrow(self, index: Index, record: Record, number: int) -> None:
        """Drop the oldest reports of a key from the window; older ones are refused from then on."""
        dropped, latest_ms = index.oldest(record.key, number)
        record.remembered = max(record.remembered - dropped, 0) if dropped else 0
        record.floor_ms = max(record.floor_ms, latest_ms)
        self._remembered -= dropped
        index.put_records([record])

    # --- a shorter log

    def _shorten(self) -> None:
        """Write a log that says the same in fewer lines, and let the index point there."""
        index = self._take_up()
        moved: list[tuple[int, bytes]] = []
        try:
            self._log.replace(lambda place: self._lines(index, place, moved))
        except KeyFileError as error:
            self._told(f"{error}; the log could not be made shorter")
        else:
            index.begin()
            index.move_entries(moved)
            self._commit(index)
        self._shortest = self._log.size

    def _lines(self, index: Index, place: int, moved: list[tuple[int, bytes]]) -> Iterator[bytes]:
        """Yield the lines of a shorter log that begin at this place; moved gets the places and slots of reports."""
        for line in self._lines_of_keys(index):
            place += len(line)
            yield line
        for entry in index.entries():
            line = self._log.line_at(entry.place) + b"\n"
            if line.startswith(_REPORT):
                line = _KEPT + line[len(_REPORT) :]
            elif not line.startswith(_KEPT):
                continue
            if entry.passed and _HELD in line:
                line += events.line("passed", slot=entry.slot.hex())
            moved.append((place, entry.slot))
            place += len(line)
            yield line

    def _lines_of_keys(self, index: Index) -> Iterator[bytes]:
        for record in index.records():
            yield _snapshot(record)
            key = record.text
            for numbers in index.all_numbers(record.key):
                yield events.line("numbers", key=key, **numbers)
            for kind, text in index.statements(record.key).items():
                yield events.line("statement", key=key, kind=kind, statement=json.loads(text))


_REPORT, _KEPT, _HELD = b'{"event":"report",', b'{"event":"kept",', b',"held":1,'


def _last_ms(numbers: tuple[Series, tuple[Numbers, int]]) -> int:
    return numbers[1][1]


def _snapshot(record: Record) -> bytes:
    values = zip(FIELDS, record.values(), strict=True)
    return events.line("key", **{name: value.hex() if type(value) is bytes else value for name, value in values})
