"""One change of a keyring, from when its log is locked to when what was decided is written.

What happens live and what the log says later go through the same steps, so that an index that is made from the log is
the one that was lost.
"""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import events
from overflowd_tools.trust.events import Event, Sighting
from overflowd_tools.trust.index import Cache, Entry, Index, Lane, Series, new_lane
from overflowd_tools.trust.keys import PublicKey
from overflowd_tools.trust.log import Log
from overflowd_tools.trust.reputation import DECISIONS, FIELDS, STATES, Numbers, Record, why_too_low

_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


class Verdict(NamedTuple):
    """What a keyring makes of a report."""

    state: str
    """The state of its key before this report."""
    reason: str | None
    """Why it is not to be passed on, or None. What stands before a colon is the kind of reason."""


_PASSED = {state: Verdict(state, None) for state in STATES}


class Update:
    """Judges reports and takes in decisions; keeps what is to be written until it is."""

    def __init__(self, index: Index, log: Log, cache: Cache, now_ms: int) -> None:
        self._index = index
        self._log = log
        self._cache = cache
        self._now_ms = now_ms
        self.lines: list[bytes] = []
        """What is to be appended to the log."""
        self._place = log.size
        self._line_at: dict[int, bytes] = {}
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

    # --- what the commands ask for

    def judge(self, seen: Sighting, required: str, settled: str = "", *, enter: bool = True) -> Verdict:
        """Say whether a genuine report of a key whose state is at least the required one is to be passed on.

        settled: the state that counts, whatever the keyring has found. The report is entered, unless enter is
        false, whether it is passed on or not; but it is entered only once.
        """
        record = self.record(seen.key)
        reason = record.why_void(seen.time_ms)
        if reason:
            return Verdict(record.state, reason)
        state = settled or record.standing
        reason = why_too_low(state, required)
        if state == "distrusted" or not enter:
            return Verdict(state, reason)
        digest = seen.digest()
        slot, entry = self._find((record.key, seen.epoch, seen.to), seen.seq, digest)
        if entry is None and seen.time_ms <= record.floor_ms:
            return Verdict(state, "too old: a replay of it could not be told, since this key sends so many")
        if entry is None:
            self._append_report(record, seen, slot, digest, held=reason is not None)
        elif entry.digest != digest:
            reason = self._prove(record, seen, entry)
        elif entry.passed:
            reason = "duplicate: it was passed on before"
        elif not reason:
            self._append("passed", slot=slot.hex())
        return Verdict(state, reason) if reason else _PASSED[state]

    def decide(self, key: PublicKey, decision: str, name: str = "") -> None:
        """Take in what the operator decides about a key."""
        self._append("decision", at_ms=self._now_ms, key=key.text, decision=decision, name=name)

    def note(self, key: PublicKey, text: str) -> None:
        """Keep the operator's remark about a key."""
        self._append("note", at_ms=self._now_ms, key=key.text, note=text)

    def prove(self, key: PublicKey, first: bytes, second: bytes) -> None:
        """Take in two genuine reports with one number, which prove that this key equivocates."""
        if not self.record(key).proofs:
            self._append(
                "evidence", at_ms=self._now_ms, key=key.text, reports=[json.loads(first), json.loads(second)], kept=1
            )

    def announce(self, key: PublicKey, members: dict[str, Any]) -> None:
        """Take in an announcement of a key, whose signature is good. Raises KeyFileError."""
        record = self.record(key)
        recovery = members.get("recovery", "")
        if record.recovery and recovery != record.recovery:
            raise KeyFileError("another recovery key was announced before, and that one stays")
        before = self.statements.get((key.raw, "announcement")) or self._index.statements(key.raw).get("announcement")
        if before and json.loads(before)["time_ms"] >= members["time_ms"]:
            return
        self._append("announcement", at_ms=self._now_ms, key=key.text, statement=members)

    def rotate(self, old: PublicKey, new: PublicKey, members: dict[str, Any]) -> None:
        """Take in that one key follows another, signed by both. Raises KeyFileError."""
        record, successor = self.record(old), self.record(new)
        if record.successor == new.text:
            return
        if record.revoked_ms:
            raise KeyFileError("the old key is revoked, so what it says about a new one counts nothing")
        if successor.revoked_ms:
            raise KeyFileError("the new key is revoked")
        if record.successor:
            raise KeyFileError(f"the old key named another successor before: {record.successor}")
        if successor.predecessor or self._follows(old, new):
            raise KeyFileError("the new key has a predecessor already")
        self._append("rotation", at_ms=self._now_ms, old=old.text, new=new.text, statement=members)

    def revoke(self, key: PublicKey, recovery: PublicKey | None, members: dict[str, Any]) -> None:
        """Take in a revocation, signed by the key itself or by this recovery key. Raises KeyFileError."""
        record = self.record(key)
        if recovery and (not record.recovery or PublicKey.parse(record.recovery) != recovery):
            raise KeyFileError("it is signed by a key that was not announced before as the recovery key")
        if not record.revoked_ms or max(members["since_ms"], 1) < record.revoked_ms:
            self._append("revocation", at_ms=self._now_ms, key=key.text, statement=members)

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

    def numbers_of(self, seen: Sighting) -> Numbers | None:
        """Return the numbers that this recipient got in this epoch, with this report."""
        return self._lane((seen.key.raw, seen.epoch, seen.to)).numbers

    # --- what follows from an event, live or read from the log

    def apply(self, event: Event, place: int) -> None:
        """Take in the event of the line at this place of the log. Raises KeyFileError for one that is none."""
        action = _ACTIONS.get(event.text("event"))
        if not action:
            raise KeyFileError("no event of a keyring")
        action(self, event, place)

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

    def _append(self, event: str, **members: Any) -> None:
        line = events.line(event, **members)
        self.apply(events.read(line), self._place)
        self._add(line)

    def _add(self, line: bytes) -> None:
        self.lines.append(line)
        self._line_at[self._place] = line
        self._place += len(line)

    def _append_report(self, record: Record, seen: Sighting, slot: bytes, digest: bytes, *, held: bool) -> None:
        new_contact = bool(seen.contact) and seen.contact != record.contact
        line = events.report_line(seen, digest, self._now_ms, new_contact=new_contact, held=held)
        expires_ms = 2**53 - 1 if seen.expires_ms is None else seen.expires_ms
        entry = Entry(slot, digest, record.key, seen.time_ms, expires_ms, self._place, int(not held))
        self._enter(record, entry, self._now_ms)
        record.saw(self._now_ms, seen.contact or record.contact, seen.confirmed)
        record.contradictions += seen.contradicted
        if seen.seq:
            series, totals = (record.key, seen.epoch, seen.to), (seen.packets, seen.octets)
            self._arrived(record, series, seen.seq, totals, self._now_ms)
        self._add(line)

    def _prove(self, record: Record, seen: Sighting, entry: Entry) -> str:
        """Keep both reports that have one number, the first from the log, and say so."""
        line = self._line_at.get(entry.place) or self._log.line_at(entry.place)
        try:
            first = events.read(line)
            first.json("report")
        except KeyFileError:
            self._append("contradiction", at_ms=self._now_ms, key=record.text)
            return "contradiction: this key signed another report with the same number, which the log has lost"
        reports = [first.same("report"), json.loads(seen.text)]
        self._append("evidence", at_ms=self._now_ms, key=record.text, reports=reports)
        return "equivocation: this key signed another report with the same number; both are kept as evidence"

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

    def _follows(self, key: PublicKey, other: PublicKey) -> bool:
        """Tell whether a key came from another by rotations."""
        return any(record.key == other.raw for record in self._chain(self.record(key), "predecessor"))

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


_ACTIONS: dict[str, Callable[[Update, Event, int], Any]] = {
    "report": Update._report,
    "kept": Update._kept,
    "passed": Update._passed,
    "decision": Update._decision,
    "note": Update._note,
    "evidence": Update._evidence,
    "contradiction": Update._contradiction,
    "announcement": Update._announcement,
    "rotation": Update._rotation,
    "revocation": Update._revocation,
    "forgotten": Update._forgotten,
    "key": Update._snapshot,
    "numbers": Update._snapshot_numbers,
    "statement": Update._snapshot_statement,
}


def _drop(held: dict[_Name, _Value], condition: Callable[[_Name, _Value], bool]) -> None:
    for name in [name for name, value in held.items() if condition(name, value)]:
        del held[name]


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
