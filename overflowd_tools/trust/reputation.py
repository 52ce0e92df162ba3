"""What is known about a key, and the state that follows from it: pure functions of what happened.

States, from the worst to the best:
revoked     the key itself, or its recovery key, said that it must not be used any more
distrusted  the operator said so, or the key signed two reports with one number
unknown     never heard of, or on one day only
seen        reports on two days, or one that our own records confirm
known       reports on 7 days, 20 of them confirmed, and no equivocation; or the operator trusts it
pinned      the operator knows whose it is
Numbers alone never raise a state, since a forger can make any number of reports.
"""

from collections.abc import Iterable
from typing import Any

STATES = ("revoked", "distrusted", "unknown", "seen", "known", "pinned")
RANK = {state: rank for rank, state in enumerate(STATES)}
DECISIONS = {"trusted": "known", "pinned": "pinned", "distrusted": "distrusted"}
"""What an operator decides about a key, and the state that follows."""

KNOWN_DAYS = 7
KNOWN_CORROBORATED = 20
SEEN_DAYS = 2
CONFIRMED_FLOWS = 32
"""So many of our own flows are remembered for a key: none of these counts again."""
MOST = 2**53 - 1

_DAY_MS = 86_400_000

FIELDS: dict[str, Any] = {
    "key": b"",  # the 32 octets
    "text": "",  # its RW... text, as it was first seen
    "first_ms": 0,
    "last_ms": 0,
    "last_day": 0,  # days since 1970
    "days": 0,
    "reports": 0,
    "corroborated": 0,
    "confirmed": b"",  # digests of 8 octets of our own flows, the newest last
    "missing": 0,
    "contradictions": 0,
    "proofs": 0,  # of equivocation
    "decision": "",
    "name": "",
    "note": "",
    "contact": "",
    "contacts": 0,  # how often the contact was a new one
    "recovery": "",
    "expires_ms": 0,
    "predecessor": "",
    "successor": "",
    "rotated_ms": 0,
    "until_ms": 0,
    "revoked_ms": 0,
    "kept": 0,  # an operator has spoken about it, so it is never forgotten
    "remembered": 0,  # reports in the window of replays
    "floor_ms": 0,  # older reports may have been in the window once
}
"""The fields of a record, and what they are at first. Integers of 0 in times mean: not."""


class Record:
    """Everything that is known about one key; the fields are those of FIELDS."""

    __slots__ = tuple(FIELDS)

    key: bytes
    text: str
    first_ms: int
    last_ms: int
    last_day: int
    days: int
    reports: int
    corroborated: int
    confirmed: bytes
    missing: int
    contradictions: int
    proofs: int
    decision: str
    name: str
    note: str
    contact: str
    contacts: int
    recovery: str
    expires_ms: int
    predecessor: str
    successor: str
    rotated_ms: int
    until_ms: int
    revoked_ms: int
    kept: int
    remembered: int
    floor_ms: int

    def __init__(self, values: Iterable[Any] = FIELDS.values()) -> None:
        for name, value in zip(FIELDS, values, strict=True):
            setattr(self, name, value)

    def values(self) -> tuple[Any, ...]:
        """Return the fields in the order of FIELDS."""
        return tuple(getattr(self, name) for name in FIELDS)

    @property
    def state(self) -> str:
        """The state of the key, one of STATES."""
        return "revoked" if self.revoked_ms else self._unrevoked

    @property
    def standing(self) -> str:
        """The state that counts for a report that is not void; what a revoked key signed before is at most seen."""
        state = self._unrevoked
        return "seen" if self.revoked_ms and RANK[state] > RANK["seen"] else state

    @property
    def _unrevoked(self) -> str:
        if self.decision:
            return DECISIONS[self.decision]
        if not self.proofs and self.days >= KNOWN_DAYS and self.corroborated >= KNOWN_CORROBORATED:
            return "known"
        return "seen" if self.days >= SEEN_DAYS or self.corroborated else "unknown"

    def summary(self) -> dict[str, Any]:
        """Return what people and programs want to know about the key, as members of a JSON object."""
        always = ("first_ms", "last_ms", "days", "reports", "corroborated", "missing", "contradictions", "proofs")
        sometimes = ("decision", "name", "note", "contact", "recovery", "expires_ms", "predecessor", "successor")
        more = (*sometimes, "until_ms", "revoked_ms")
        given = {name: getattr(self, name) for name in more if getattr(self, name)}
        return {"key": self.text, "state": self.state, **{name: getattr(self, name) for name in always}, **given}

    @property
    def trusted(self) -> bool:
        """Whether the key is known or pinned."""
        return RANK[self.state] >= RANK["known"]

    def why_void(self, time_ms: int) -> str | None:
        """Return why a report that this key made at this time says nothing, or None."""
        if self.revoked_ms and time_ms >= self.revoked_ms:
            return "revoked key"
        if self.until_ms and time_ms >= self.until_ms:
            return f"replaced key: {self.successor} is the new one"
        if self.expires_ms and time_ms >= self.expires_ms:
            return "expired key"
        return None

    def saw(self, at_ms: int, contact: str, confirmed: bytes) -> None:
        """Count a new report.

        at_ms: when it was entered, by our own clock. contact: whom it names. confirmed: 8 octets that stand for
        the flow of our own that confirms it, or none; one flow confirms one report of a key.
        """
        if not self.reports:
            self.first_ms = self.first_ms or at_ms
        self.reports += 1
        self.last_ms = at_ms
        day = at_ms // _DAY_MS
        # A day before the last one is not counted, since clocks of several processes differ; but neither must a clock
        # that once ran years ahead stop the count for ever.
        if day > self.last_day or day < self.last_day - 1:
            self.last_day = day
            self.days += 1
        if contact != self.contact:
            self.contact = contact
            self.contacts += 1
        if confirmed and not self._has_confirmed(confirmed):
            self.corroborated += 1
            self.confirmed = (self.confirmed + confirmed)[-8 * CONFIRMED_FLOWS :]

    def _has_confirmed(self, digest: bytes) -> bool:
        known = self.confirmed
        return any(known[place : place + 8] == digest for place in range(0, len(known), 8))

    def lost(self, more: int) -> None:
        """Change the number of reports that never arrived."""
        self.missing = min(max(self.missing + more, 0), MOST)

    def equivocated(self) -> None:
        """Take in the proof that this key signed two reports with one number."""
        self.proofs += 1
        self.contradictions += 1
        self.decision = "distrusted"

    def decide(self, decision: str, name: str) -> None:
        """Take in what the operator decided: one of DECISIONS, and for a pinned key whose it is."""
        self.decision = decision
        self.name = name or self.name
        self.kept = 1

    def inherit(self, old: "Record", time_ms: int, until_ms: int) -> None:
        """Make this key the successor of another: it stands where the old one stood."""
        old.successor, old.rotated_ms, old.until_ms = self.text, time_ms, until_ms
        self.predecessor = old.text
        self.first_ms = old.first_ms or self.first_ms
        self.days = max(self.days, old.days)
        self.last_day = max(self.last_day, old.last_day)
        self.corroborated = min(self.corroborated + old.corroborated, MOST)
        self.proofs += old.proofs
        self.decision = self.decision or old.decision
        self.name = self.name or old.name
        self.kept = max(self.kept, old.kept)


def why_too_low(state: str, required: str) -> str | None:
    """Return why a state is not good enough where another is asked for, or None."""
    if state == "distrusted":
        return "distrusted key"
    if RANK[state] < RANK[required]:
        return f"{state} key, where one that is {required} is asked for"
    return None


class Numbers:
    """The numbers of the reports of one key to one recipient in one epoch, and the running totals of the last one."""

    __slots__ = ("high", "low", "octets", "packets", "received")

    def __init__(self, low: int = 0, high: int = 0, received: int = 0, packets: int = 0, octets: int = 0) -> None:
        self.low = low
        self.high = high
        self.received = received
        self.packets = packets
        self.octets = octets

    @property
    def missing(self) -> int:
        """How many numbers between the lowest and the highest have not arrived.

        What was sent before the lowest is not counted: we may not have listened then.
        """
        return max(self.high - self.low + 1 - self.received, 0) if self.received else 0

    def contradicted_by(self, number: int, packets: int, octets: int) -> bool:
        """Tell whether a report with these running totals, 0 if it has none, makes them go back."""
        if not packets or not self.packets:
            return False
        later = number > self.high
        return (
            packets < self.packets or octets < self.octets if later else packets > self.packets or octets > self.octets
        )

    def arrived(self, number: int, packets: int = 0, octets: int = 0) -> int:
        """Take in a number that is new, and return by how much more is missing (less than 0: a gap was filled)."""
        if not self.received:
            self.low = self.high = number
            more = 0
        else:
            more = max(number - self.high, self.low - number, 0) - 1
        if number >= self.high:
            self.high, self.packets, self.octets = number, packets, octets
        elif number < self.low:
            self.low = number
        self.received += 1
        return more
