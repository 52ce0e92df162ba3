"""The events of a keyring as lines of its log: how they are written, and how they are read with all due doubt."""

import json
import re
from hashlib import blake2b
from typing import Any, NamedTuple

from overflowd_tools.errors import KeyFileError
from overflowd_tools.trust.keys import PublicKey

DIGEST_OCTETS = 16
SLOT_OCTETS = DIGEST_OCTETS + 8
_MOST = 2**63 - 1
_MOST_NUMBER = 2**53 - 1
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Sighting(NamedTuple):
    """A genuine report, as far as a keyring must know it."""

    key: PublicKey
    signed: bytes
    text: bytes
    """The whole report as JSON on one line."""
    time_ms: int
    expires_ms: int | None
    to: str
    """The recipient's address, or nothing."""
    epoch: int
    seq: int
    """The number of the report; 0 for those of version 1, which have none."""
    contact: str = ""
    packets: int = 0
    octets: int = 0
    """The running totals of the recipient, 0 where the report has none."""
    confirmed: bytes = b""
    """8 octets that stand for the flow of our own that confirms it, or none."""
    contradicted: bool = False
    """Whether our own records, being complete, have no such flow."""

    def digest(self) -> bytes:
        """Return what stands for the signed bytes."""
        return blake2b(self.signed, digest_size=DIGEST_OCTETS).digest()


def slot(key: bytes, to: str, epoch: int, seq: int, digest: bytes) -> bytes:
    """Return what stands for the number of a report; no key may sign two reports with the same.

    The numbers to one recipient follow each other, so that the index writes few pages.
    """
    start = slots_start(key, to, epoch) if seq else blake2b(key + digest, digest_size=DIGEST_OCTETS).digest()
    return start + seq.to_bytes(8, "big")


def slots_start(key: bytes, to: str, epoch: int) -> bytes:
    """Return what the slots of all reports to one recipient begin with; the number of the report follows."""
    return blake2b(key + epoch.to_bytes(8, "big") + to.encode(), digest_size=DIGEST_OCTETS).digest()


def report_line(seen: Sighting, digest: bytes, at_ms: int, *, new_contact: bool, held: bool) -> bytes:
    """Return the line of a report that is entered; held tells that it was not passed on."""
    more = b""
    if new_contact:
        more += b',"contact":%s' % json.dumps(seen.contact).encode()
    if seen.packets:
        more += b',"packets":%d,"octets":%d' % (seen.packets, seen.octets)
    if seen.confirmed:
        more += b',"confirmed":"%s"' % seen.confirmed.hex().encode()
    if seen.contradicted:
        more += b',"contradicted":1'
    if held:
        more += b',"held":1'
    return (
        b'{"event":"report","at_ms":%d,"key":"%s","to":"%s","epoch":%d,"seq":%d,"time_ms":%d,"expires_ms":%d,'
        b'"digest":"%s"%s,"report":%s}\n'
    ) % (
        at_ms,
        seen.key.text.encode(),
        seen.to.encode(),
        seen.epoch,
        seen.seq,
        seen.time_ms,
        _MOST_NUMBER if seen.expires_ms is None else seen.expires_ms,
        digest.hex().encode(),
        more,
        seen.text,
    )


def line(event: str, **members: Any) -> bytes:
    """Return the line of any other event."""
    return json.dumps({"event": event, **members}, separators=(",", ":")).encode() + b"\n"


def read(text: bytes) -> "Event":
    """Return the event of a line. Raises KeyFileError."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        raise KeyFileError("not JSON") from None
    if type(members) is not dict:
        raise KeyFileError("not a JSON object")
    return Event(members)


class Event:
    """The members of a line of the log; every access checks the type. Raises KeyFileError."""

    __slots__ = ("members",)

    def __init__(self, members: dict[str, Any]) -> None:
        self.members = members

    def text(self, name: str) -> str:
        """Return a text; nothing if it is not there."""
        value = self.members.get(name, "")
        if type(value) is not str or _NOT_TEXT.search(value):
            raise KeyFileError(f"{name} is not a text")
        return value

    def integer(self, name: str) -> int:
        """Return an integer from 0 to 2^63-1; 0 if it is not there."""
        value = self.members.get(name, 0)
        if type(value) is not int or not 0 <= value <= _MOST:
            raise KeyFileError(f"{name} is not an integer from 0 to 2^63-1")
        return value

    def octets(self, name: str, size: int | None = None, *, needed: bool = False) -> bytes:
        """Return the octets of a hexadecimal text; nothing if it is not there and not needed."""
        try:
            value = bytes.fromhex(self.text(name))
        except ValueError:
            value = b"?"
        if (value or needed) and size is not None and len(value) != size:
            raise KeyFileError(f"{name} is not {size} octets in hexadecimal digits")
        return value

    def key(self, name: str = "key") -> PublicKey:
        """Return a public key."""
        return PublicKey.parse(self.text(name))

    def part(self, name: str) -> "Event":
        """Return a member that is an object."""
        value = self.members.get(name)
        if type(value) is not dict:
            raise KeyFileError(f"{name} is not an object")
        return Event(value)

    def json(self, name: str) -> bytes:
        """Return the JSON text of a member that is an object."""
        return json.dumps(self.part(name).members, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        )

    def same(self, name: str) -> Any:
        """Return a member of whatever type."""
        return self.members.get(name)
