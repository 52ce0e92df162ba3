"""One change of a keyring, from when its log is locked to when what was decided is written."""

import json
from typing import Any, NamedTuple

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust import events
from overflowd_tools.trust.events import Sighting
from overflowd_tools.trust.index import Cache, Entry, Index
from overflowd_tools.trust.keys import PublicKey
from overflowd_tools.trust.log import Log
from overflowd_tools.trust.replay import Replay
from overflowd_tools.trust.reputation import STATES, Numbers, Record, why_too_low


class Verdict(NamedTuple):
    """What a keyring makes of a report."""

    state: str
    """The state of its key before this report."""
    reason: str | None
    """Why it is not to be passed on, or None. What stands before a colon is the kind of reason."""


_PASSED = {state: Verdict(state, None) for state in STATES}


class Update(Replay):
    """Judges reports and takes in decisions; keeps what is to be written until it is."""

    def __init__(self, index: Index, log: Log, cache: Cache, now_ms: int) -> None:
        super().__init__(index, cache)
        self._log = log
        self._now_ms = now_ms
        self.lines: list[bytes] = []
        """What is to be appended to the log."""
        self._place = log.size
        self._line_at: dict[int, bytes] = {}

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

    def numbers_of(self, seen: Sighting) -> Numbers | None:
        """Return the numbers that this recipient got in this epoch, with this report."""
        return self._lane((seen.key.raw, seen.epoch, seen.to)).numbers

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

    def _follows(self, key: PublicKey, other: PublicKey) -> bool:
        """Tell whether a key came from another by rotations."""
        return any(record.key == other.raw for record in self._chain(self.record(key), "predecessor"))
