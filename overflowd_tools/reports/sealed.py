"""Sealed reports: the line and the datagram in which an encrypted report travels (overflowd-report(5)).

What a box holds is for trust.sealing. The line shows no more than what delivery needs to know, and the datagram
is "OFX1", the hint and the box.
"""

import binascii
import re
from typing import Any, NamedTuple

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical
from overflowd_tools.reports.report import address, integers

SCHEMA = "overflowd-sealed/1"
MAGIC = b"OFX1"
HINT_OCTETS = 4
MAX_DATAGRAM = 1200
SMALLEST_BOX = 48 + 64
"""Octets: what the box itself adds, and one block of padded contents."""

_FAMILY = "overflowd-sealed/"
_HINT = re.compile("[0-9a-f]{8}")
_FLOW = re.compile("[0-9A-Za-z_-]{1,64}")
_EXPIRY = {"expires_ms": (0, canonical.MAX_INTEGER)}
_plain = re.compile(
    rb'\{"\$schema":"overflowd-sealed/1"(?:,"expires_ms":(?P<expires_ms>0|[1-9][0-9]{0,14}))?'
    rb'(?:,"flow":"(?P<flow>[0-9A-Za-z_-]{1,64})")?,"hint":"(?P<hint>[0-9a-f]{8})"'
    rb',"sealed":"(?P<sealed>[0-9A-Za-z+/=]++)"(?:,"to":"(?P<to>[0-9a-f.:]+)")?\}'
).fullmatch
"""A line as of-seal writes it, which need not be parsed."""


class Sealed(NamedTuple):
    """A sealed report. All but the box is a claim that nobody signed."""

    hint: bytes
    """The first 4 octets of the SHA-256 digest of the key that opens it."""
    box: bytes
    to: str | None = None
    """The address of the recipient."""
    expires_ms: int | None = None
    flow: bytes = b""
    """The same for all reports of one of-seal on one flow to one end of it; tells nothing else."""

    def line(self) -> bytes:
        """Return the sealed report as a line of canonical JSON, without a newline."""
        expires = b"" if self.expires_ms is None else b',"expires_ms":%d' % self.expires_ms
        flow = b',"flow":"%s"' % self.flow if self.flow else b""
        to = b"" if self.to is None else b',"to":"%s"' % self.to.encode()
        hint, box = self.hint.hex().encode(), binascii.b2a_base64(self.box, newline=False)
        # None of these texts has a character that JSON would escape.
        return b'{"$schema":"overflowd-sealed/1"%s%s,"hint":"%s","sealed":"%s"%s}' % (expires, flow, hint, box, to)

    def datagram(self) -> bytes:
        """Return the datagram form. Raises RecordError for more than 1200 octets."""
        if len(MAGIC) + HINT_OCTETS + len(self.box) > MAX_DATAGRAM:
            raise RecordError(f"over the {MAX_DATAGRAM} bytes of a datagram")
        return MAGIC + self.hint + self.box

    def check_time(self, now_ms: int) -> None:
        """Check the claimed end against now, in Unix milliseconds. Raises RecordError."""
        if self.expires_ms is not None and self.expires_ms < now_ms:
            raise RecordError("expired")


def read_line(line: bytes) -> Sealed | None:
    """Return the sealed report of a line in any spelling, or None for a line of another type.

    Members that are not known are no fault. Raises RecordError with the reason why a line is neither.
    """
    members = _plain_members(line) or canonical.loads(line)
    schema = members.get("$schema")
    if type(schema) is not str or not schema.startswith(_FAMILY):
        return None
    if schema != SCHEMA:
        raise RecordError(f'not a sealed report: "$schema" is not "{SCHEMA}"')
    try:
        return _parsed(members)
    except RecordError as error:
        raise RecordError(f"not a sealed report: {error}") from None


def _plain_members(line: bytes) -> dict[str, Any] | None:
    plain = _plain(line)
    if not plain:
        return None
    members: dict[str, Any] = {name: text.decode() for name, text in plain.groupdict().items() if text}
    if "expires_ms" in members:
        members["expires_ms"] = int(members["expires_ms"])
    return {"$schema": SCHEMA, **members}


def _parsed(members: dict[str, Any]) -> Sealed:
    hint, flow = members.get("hint"), members.get("flow")
    if type(hint) is not str or not _HINT.fullmatch(hint):
        raise RecordError("hint is not 8 hexadecimal digits")
    to = address(members, "to") if members.get("to") is not None else None
    if to != members.get("to"):
        raise RecordError("to is not in the canonical form of addresses")
    if flow is not None and (type(flow) is not str or not _FLOW.fullmatch(flow)):
        raise RecordError("flow is not a text of 1 to 64 letters, digits, - and _")
    box = _octets(members.get("sealed"))
    expires_ms = integers(members, _EXPIRY).get("expires_ms")
    return Sealed(bytes.fromhex(hint), box, to, expires_ms, flow.encode() if flow else b"")


def unpack(datagram: bytes) -> Sealed:
    """Return the sealed report in a datagram. Raises RecordError for any other form."""
    box = datagram[len(MAGIC) + HINT_OCTETS :]
    if not datagram.startswith(MAGIC) or len(datagram) > MAX_DATAGRAM or len(box) < SMALLEST_BOX:
        raise RecordError("not a sealed datagram")
    return Sealed(datagram[len(MAGIC) : len(MAGIC) + HINT_OCTETS], box)


def _octets(text: object) -> bytes:
    """Return the box of a base64 text. Encoded again, so that no two texts stand for one box. Raises RecordError."""
    try:
        data = binascii.a2b_base64(text) if type(text) is str else b""
    except ValueError:
        data = b""
    if binascii.b2a_base64(data, newline=False).decode() != text:
        raise RecordError("sealed is not base64")
    if len(data) < SMALLEST_BOX:
        raise RecordError(f"cut: its box has {len(data)} octets, and none is under {SMALLEST_BOX}")
    return data
