"""The steps by which the events of a keyring change what it knows.

What happens live and what the log says later go through the same steps, so that an index that is made from the log is
the one that was lost.
"""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import events
from overflowd_tools.trust.events import Event
from overflowd_tools.trust.index import Cache, Entry, Index, Lane, Series, new_lane
from overflowd_tools.trust.keys import PublicKey
from overflowd_tools.trust.reputation import DECISIONS, FIELDS, Numbers, Record

_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


class Replay:
    """Takes in events, and keeps what is to be written to the index until it is."""

    def __init__(self, index: Index, cache: Cache) -> None:
        self._index = index
        self._cache = cache
        self.changed: dict[bytes, Record] = {}
        self.numbers: dict[Series, tuple[Numbers, int]] = {}
        self.entries: dict[bytes, Entry] = {}
        self.statements: dict[tuple[bytes, str], bytes] = {}
        self.grown: set[bytes] = set()
        """Keys with a recipient that is new."""
        self.newcomers = False
        """Whether there is a key that was not known."""
        self.newest_ms = 0
        """The latest time of a report that was entered."""

    def apply(self, event: Event, place: int) -> None:
        """Take in the event of the line at this place of the log. Raises KeyFileError for one that is none."""
        action = _ACTIONS.get(event.text("event"))
        if not action:
            raise KeyFileError("no event of a keyring")
        action(self, event, place)

    def record(self, key: PublicKey) -> Record:
        """Return what is known about a key; what it does not know is a record of an unknown key."""
        record = self.changed.get(key.raw) or self._stored(key.raw)
        if record is None:
            record = Record()
            record.key, record.text = key.raw, key.text
            self._cache.records[key.raw] = record
            self._cache.whole.add(key.raw)
            self.newcomers = True
        return record

    def forget(self, keys: set[bytes]) -> None:
        """Drop keys and everything about them."""
        for key in keys:
            self._index.forget(key)
            self.changed.pop(key, None)
            self._cache.records.pop(key, None)
        _drop(self.numbers, lambda number, _: number[0] in keys)
        _drop(self._cache.lanes, lambda series, _: series[0] in keys)
        self._cache.whole -= keys
        _drop(self.statements, lambda pair, _: pair[0] in keys)
        _drop(self.entries, lambda _, entry: entry.key in keys)

    def _find(self, series: Series, seq: int, digest: bytes) -> tuple[bytes, Entry | None]:
        """Return the slot of a report, and what is there in the window.

        A number above all those in its lane cannot be there, and then nothing need be read.
        """
        key, epoch, to = series
        if not seq:
            slot = events.slot(key, to, epoch, seq, digest)
        else:
            lane = self._lane(series)
            slot = lane.start + seq.to_bytes(8, "big")
            if seq > lane.highest:
                lane.highest = seq
                return slot, None
        return slot, self.entries.get(slot) or self._index.entry(slot)

    def _stored(self, key: bytes) -> Record | None:
        cached = self._cache.records
        if key not in cached:
            cached[key] = self._index.record(key)
        return cached[key]

    def _lane(self, series: Series) -> Lane:
        lane = self._cache.lanes.get(series)
        if lane is None:
            lane = self._index.lane(series) if series[0] not in self._cache.whole else new_lane(series)
            self._cache.lanes[series] = lane
        return lane

    def _enter(self, record: Record, entry: Entry, at_ms: int) -> None:
        self.entries[entry.slot] = entry
        if self.newest_ms < entry.time_ms:
            self.newest_ms = max(self.newest_ms, min(entry.time_ms, at_ms))
        record.remembered += 1
        self.changed[record.key] = record

    def _arrived(self, record: Record, series: Series, seq: int, totals: tuple[int, int], at_ms: int) -> None:
        lane = self._lane(series)
        numbers = lane.numbers
        if not numbers:
            numbers = lane.numbers = Numbers()
            self.grown.add(record.key)
        record.contradictions += numbers.contradicted_by(seq, *totals)
        if more := numbers.arrived(seq, *totals):
            record.lost(more)
        self.numbers[series] = (numbers, at_ms)

    def _chain(self, record: Record, link: str) -> list[Record]:
        """Return a record and those that follow it by a link, each once."""
        chain = [record]
        while text := getattr(chain[-1], link):
            record = self.record(PublicKey.parse(text))
            if record in chain:
                break
            chain.append(record)
        return chain

    def _report(self, event: Event, place: int) -> None:
        contact, confirmed = event.text("contact"), event.octets("confirmed", 8)
        contradicted = min(event.integer("contradicted"), 1)
        totals = event.integer("packets"), event.integer("octets")
        record = self._kept(event, place)
        if record:
            at_ms = event.integer("at_ms")
            record.saw(at_ms, contact or record.contact, confirmed)
            record.contradictions += contradicted
            if seq := event.integer("seq"):
                self._arrived(record, (record.key, event.integer("epoch"), event.text("to")), seq, totals, at_ms)

    def _kept(self, event: Event, place: int) -> Record | None:
        """Take a report into the window, and return the record of its key; None if it is there already."""
        key, at_ms = event.key(), event.integer("at_ms")
        digest = event.octets("digest", events.DIGEST_OCTETS, needed=True)
        series = (key.raw, event.integer("epoch"), event.text("to"))
        slot, entry = self._find(series, event.integer("seq"), digest)
        if entry:
            return None
        times = event.integer("time_ms"), event.integer("expires_ms")
        record = self.record(key)
        entry = Entry(slot, digest, key.raw, *times, place, int(not event.integer("held")))
        self._enter(record, entry, at_ms)
        return record

    def _passed(self, event: Event, place: int) -> None:  # noqa: ARG002 - every action has this shape
        slot = event.octets("slot", events.SLOT_OCTETS, needed=True)
        entry = self.entries.get(slot) or self._index.entry(slot)
        if entry:
            self.entries[slot] = entry._replace(passed=1)

    def _decision(self, event: Event, place: int) -> None:  # noqa: ARG002
        decision, name = event.text("decision"), event.text("name")
        if decision not in DECISIONS:
            raise KeyFileError("decision is none that is known")
        self._operator(event).decide(decision, name)

    def _note(self, event: Event, place: int) -> None:  # noqa: ARG002
        text = event.text("note")
        self._operator(event).note = text

    def _operator(self, event: Event) -> Record:
        """Return the record that an operator speaks about, which is kept from then on."""
        record = self.record(event.key())
        record.kept = 1
        self.changed[record.key] = record
        return record

    def _evidence(self, event: Event, place: int) -> None:  # noqa: ARG002
        record, kept = self.record(event.key()), min(event.integer("kept"), 1)
        record.equivocated()
        record.kept = max(record.kept, kept)
        self.changed[record.key] = record
        if record.proofs == 1:
            reports = {"$schema": "overflowd-evidence/1", "reports": event.same("reports")}
            self.statements[record.key, "evidence"] = _compact(reports)

    def _contradiction(self, event: Event, place: int) -> None:  # noqa: ARG002
        record = self.record(event.key())
        record.contradictions += 1
        self.changed[record.key] = record

    def _announcement(self, event: Event, place: int) -> None:  # noqa: ARG002
        statement = event.part("statement")
        recovery, expires_ms = statement.text("recovery"), statement.integer("expires_ms")
        record = self._operator(event)
        record.recovery = record.recovery or recovery
        record.expires_ms = expires_ms
        self.statements[record.key, "announcement"] = event.json("statement")

    def _rotation(self, event: Event, place: int) -> None:  # noqa: ARG002
        statement = event.part("statement")
        times = statement.integer("time_ms"), statement.integer("until_ms")
        old, new = self.record(event.key("old")), self.record(event.key("new"))
        new.inherit(old, *times)
        for record in (old, new):
            record.kept = 1
            self.changed[record.key] = record
            self.statements[record.key, "rotation" if record is old else "origin"] = event.json("statement")

    def _revocation(self, event: Event, place: int) -> None:  # noqa: ARG002
        since_ms = max(event.part("statement").integer("since_ms"), 1)
        record = self._operator(event)
        chain = self._chain(record, "successor")
        record.revoked_ms = since_ms
        self.statements[record.key, "revocation"] = event.json("statement")
        # Whoever had the key from then on could name a successor.
        for before, after in pairwise(chain):
            if before.rotated_ms < since_ms:
                break
            after.decision = "distrusted"
            self.changed[after.key] = after

    def _forgotten(self, event: Event, place: int) -> None:  # noqa: ARG002
        texts = event.same("keys")
        if type(texts) is not list or not all(type(text) is str for text in texts):
            raise KeyFileError("keys is not a list of keys")
        self.forget({PublicKey.parse(text).raw for text in texts})

    def _snapshot(self, event: Event, place: int) -> None:  # noqa: ARG002
        """Take in all about a key as it was when the log was made shorter."""
        key = event.key("text")
        values = []
        for name, first in FIELDS.items():
            read: Callable[[str], Any] = event.text if type(first) is str else event.integer
            values.append(event.octets(name) if type(first) is bytes else read(name))
        record = Record(values)
        record.key, record.remembered = key.raw, 0
        if record.decision and record.decision not in DECISIONS:
            raise KeyFileError("decision is none that is known")
        self.changed[key.raw] = self._cache.records[key.raw] = record

    def _snapshot_numbers(self, event: Event, place: int) -> None:  # noqa: ARG002
        number = (event.key().raw, event.integer("epoch"), event.text("to"))
        numbers = Numbers(*(event.integer(name) for name in ("low", "high", "received", "packets", "octets")))
        self.numbers[number] = (numbers, event.integer("last_ms"))
        self._lane(number).numbers = numbers

    def _snapshot_statement(self, event: Event, place: int) -> None:  # noqa: ARG002
        self.statements[event.key().raw, event.text("kind")] = event.json("statement")


_ACTIONS: dict[str, Callable[[Replay, Event, int], Any]] = {
    "report": Replay._report,
    "kept": Replay._kept,
    "passed": Replay._passed,
    "decision": Replay._decision,
    "note": Replay._note,
    "evidence": Replay._evidence,
    "contradiction": Replay._contradiction,
    "announcement": Replay._announcement,
    "rotation": Replay._rotation,
    "revocation": Replay._revocation,
    "forgotten": Replay._forgotten,
    "key": Replay._snapshot,
    "numbers": Replay._snapshot_numbers,
    "statement": Replay._snapshot_statement,
}


def _drop(held: dict[_Name, _Value], condition: Callable[[_Name, _Value], bool]) -> None:
    for name in [name for name, value in held.items() if condition(name, value)]:
        del held[name]


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
