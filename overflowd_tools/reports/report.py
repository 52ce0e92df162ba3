"""Reports, version 2: their layout, and how they are read and judged (overflowd-report(5)).

A report says: this network saw this flow. It goes to one end of the flow, and names that end inside the
signed bytes, which are the canonical form of everything but `signature.signature` and `signature.batch`.
"""

import binascii
import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.reports import batch, canonical, patterns
from overflowd_tools.trust.keys import SIGNATURE_SIZE, PublicKey

SCHEMA = "overflowd-report/2"
CLASS, INFO = "INFORMATIONAL", "FLOWSEEN"
CLOCK_SKEW_MS = 120_000
"""How far in the future the time of a report may lie: clocks differ."""
ROLES = {"src": "saddr", "dst": "daddr"}
"""The ends of a flow as `role` names them, and the field with the address of each."""

_COUNT = (0, canonical.MAX_INTEGER)
_TIME = (-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
_UINT8, _UINT16 = (0, (1 << 8) - 1), (0, (1 << 16) - 1)
FLOW_FIELDS = {
    "bcount": _COUNT,
    "dport": _UINT16,
    "end_ms": _TIME,
    "flags": _UINT16,
    "pcount": _COUNT,
    "protocol": _UINT8,
    "sport": _UINT16,
    "start_ms": _TIME,
    "tos": _UINT8,
}
"""The integers of a flow in a report, and their ranges; saddr and daddr go with them, nothing else."""
FLOW_NAMES = ("saddr", "daddr", "sport", "dport", "protocol")
"""What makes two flows the same one."""
UNKNOWN = b"-"
"""Stands for what a report does not have."""
SAMPLING_FIELDS = {"p_ppt": (1, 10**12), "sampling_rate": (1, canonical.MAX_INTEGER)}
"""What tells a receiver for how many packets one report stands."""

TOTAL_FIELDS = dict.fromkeys(("octets", "packets", "reports"), _COUNT)
"""What the reports to one recipient in one epoch, up to this one, stand for."""

_REQUIRED_METADATA = {"epoch": _COUNT, "expires_ms": _COUNT, "seq": _COUNT, "time_ms": _COUNT}
_METADATA_FIELDS = _REQUIRED_METADATA | SAMPLING_FIELDS
_SOURCETYPE_FIELDS = {"version": _UINT16}
_MEMBERS = frozenset({"$schema", "contact", "flowdata", "metadata", "signature"})
_SIGNATURE_MEMBERS = frozenset({"key", "signature"})
_KEY_OCTETS = len(b'"key":"') + 56 + len(b'"}}')
_CONTACT_OCTETS = 64
_MAX_RULES = 16
_is_ipv4 = re.compile(patterns.IPV4.decode()).fullmatch
_RULE_ID = re.compile("[!-~]{1,32}")


class Report(NamedTuple):
    """A report that was read, and whose layout is right. verify() tells whether it is genuine."""

    version: int
    key: PublicKey
    signed: bytes
    """The bytes that the signature is about, or in a batch those of the leaf."""
    signature: bytes
    """The 64 octets; none in a batch, where the proof has those of the root: no datagram carries them."""
    time_ms: int
    expires_ms: int | None
    ends: tuple[bytes, ...]
    """Role, then what FLOW_NAMES says, as they are written in the text, or UNKNOWN; none in version 1."""
    text: bytes
    """The whole report as canonical JSON, without a newline."""
    proof: batch.Proof | None = None
    """What a report of a batch has instead of a signature of its own."""
    contact: str = ""
    """Whom it names, as "Example Net <noc@example.net>"; or nothing."""
    numbers: tuple[bytes, ...] = (b"0",) * 4
    """Epoch and seq, and the packets and octets of its running totals, as they are written; 0 for what is absent."""

    @property
    def to(self) -> str | None:
        """The address of the recipient."""
        if not self.ends or self.ends[0] == UNKNOWN:
            return None
        return self.ends[1 if self.ends[0] == b"src" else 2].decode()

    @property
    def flow(self) -> bytes:
        """The same for all reports on one flow to one end of it; nothing in version 1."""
        return b" ".join(self.ends)

    @property
    def members(self) -> dict[str, Any]:
        """Return the whole report, parsed anew each time."""
        return canonical.loads(self.text)

    def verify(self, accepted: Collection[PublicKey] = ()) -> None:
        """Check that the key is one of those accepted (none given: any), and that it signed this report.

        Raises RecordError: "wrong key", "bad signature".
        """
        if accepted and self.key not in accepted:
            raise RecordError(f"wrong key: {self.key.text}")
        good = self.proof.verify(self.key, self.signed) if self.proof else self.key.verify(self.signed, self.signature)
        if not good:
            raise RecordError("bad signature")

    def check_time(self, now_ms: int, *, ignore_expiry: bool = False) -> None:
        """Check the times of the report against now, in Unix milliseconds. Raises RecordError."""
        if self.time_ms > now_ms + CLOCK_SKEW_MS:
            raise RecordError("from the future: its time is more than 120 seconds ahead")
        if self.expires_ms is not None and self.expires_ms < now_ms and not ignore_expiry:
            raise RecordError("expired")

    def with_verified(self, now_ms: int) -> bytes:
        """Return the text with the unsigned member `verified`: who signed, and when that was checked."""
        note = b',"verified":{"format":%d,"key":"%s","time_ms":%d}}'
        return self.text[:-1] + note % (self.version, self.key.text.encode(), now_ms)


def read(line: bytes) -> Report:
    """Read the line of a report in any spelling (re-spaced, keys in another order, other escapes).

    Raises RecordError with the reason why it is none.
    """
    return from_members(canonical.loads(line), line)


def from_members(members: dict[str, Any], line: bytes) -> Report:
    """Take over what canonical.loads() made of the line of a report, less the member `verified`.

    Raises RecordError with the reason why it is none.
    """
    members.pop("verified", None)
    parsed = _parsed(members)
    report = _report(members, signable(members), *parsed)
    if report.text != line:
        canonical.check_unique(line)
    return report


def from_signed(signed: bytes, signature: bytes) -> Report:
    """Take the signed bytes and the signature of a report apart, as the datagram form has them.

    Raises RecordError with the reason why it is none; bytes that are not in canonical form are refused.
    """
    members = canonical.decode(signed)
    inside = members.get("signature")
    if type(inside) is not dict or inside.keys() != {"key"}:
        raise RecordError("not a report: its signature has not the member key alone")
    inside["signature"] = binascii.b2a_base64(signature, newline=False).decode()
    return _report(members, signed, *_parsed(members))


def _report(
    members: dict[str, Any], signed: bytes, key: PublicKey, signature: bytes, proof: batch.Proof | None
) -> Report:
    data, metadata = members["flowdata"]["data"], members["metadata"]
    times = metadata["time_ms"], metadata["expires_ms"]
    parts = (metadata.get("role"), *(data.get(name) for name in FLOW_NAMES))
    ends = tuple(UNKNOWN if part is None else str(part).encode() for part in parts)
    total = metadata.get("total", {})
    numbers = tuple(
        b"%d" % number
        for number in (metadata["epoch"], metadata["seq"], total.get("packets", 0), total.get("octets", 0))
    )
    text = with_proof(signed, proof) if proof else with_signature(signed, signature)
    return Report(2, key, signed, signature, *times, ends, text, proof, written_contact(members["contact"]), numbers)


def written_contact(contact: dict[str, Any]) -> str:
    """Return the contact of a report of either version as people write one."""
    return f"{contact['identity']} <{contact['email']}>"


def signable(members: dict[str, Any]) -> bytes:
    """Return the bytes that the signature of this report is about. Raises RecordError as canonical.encode."""
    return canonical.encode({**members, "signature": {"key": members["signature"]["key"]}})


def with_signature(signed: bytes, signature: bytes) -> bytes:
    """Return the text of a report: its signed bytes with the 64-octet signature put in, where it sorts."""
    encoded = binascii.b2a_base64(signature, newline=False)
    return b"".join((signed[:-2], b',"signature":"', encoded, b'"}}'))


def with_proof(signed: bytes, proof: batch.Proof) -> bytes:
    """Return the text of a report of a batch: its signed bytes with the proof and the signature put in."""
    return with_proofs([signed], [proof])[0]


def with_proofs(bodies: Sequence[bytes], proofs: Sequence[batch.Proof]) -> list[bytes]:
    """Return the texts of reports of one batch, which have one signature: see with_proof()."""
    signature = binascii.b2a_base64(proofs[0].signature, newline=False)
    return [
        b'%s"batch":{"count":%d,"index":%d,"path":"%s"},%s,"signature":"%s"}}'
        % (
            signed[:-_KEY_OCTETS],
            count,
            index,
            binascii.b2a_base64(path, newline=False),
            signed[-_KEY_OCTETS:-2],
            signature,
        )
        for signed, (count, index, path, _) in zip(bodies, proofs, strict=True)
    ]


def check(report: dict[str, Any]) -> None:
    """Check the layout: members, types, ranges, addresses, and `to` against the flow.

    Members that are not known are no fault inside contact, flowdata and metadata, where later writers may add
    some. Raises RecordError. Not looked at: the signature itself, the times, the profile of canonical.
    """
    _parsed(report)


def _parsed(report: dict[str, Any]) -> tuple[PublicKey, bytes, batch.Proof | None]:
    """Check the layout, and return the key, and the signature or the proof of a batch."""
    try:
        if report.get("$schema") != SCHEMA:
            raise RecordError(f'"$schema" is not "{SCHEMA}"')
        if report.keys() != _MEMBERS:
            raise RecordError(f"its members are not {', '.join(sorted(_MEMBERS))}")
        check_contact(member_object(report, "contact"))
        flowdata = member_object(report, "flowdata")
        data = member_object(flowdata, "data")
        check_flow_data(data, FLOW_FIELDS)
        check_sourcetype(flowdata)
        metadata = member_object(report, "metadata")
        _check_metadata(metadata)
        _check_recipient(metadata, data)
        return _parsed_signature(member_object(report, "signature"))
    except RecordError as error:
        raise RecordError(f"not a report: {error}") from None


def check_contact(contact: dict[str, Any]) -> None:
    """Check the contact of a report of either version. Raises RecordError."""
    for name in ("email", "identity"):
        value = contact.get(name)
        if type(value) is not str or not 0 < len(value.encode("utf-8", "replace")) <= _CONTACT_OCTETS:
            raise RecordError(f"{name} is not a text of 1 to {_CONTACT_OCTETS} octets")
    if "@" not in contact["email"][1:-1]:
        raise RecordError("email has no @ inside")


def check_class(metadata: dict[str, Any]) -> None:
    """Check the class and the info of a report of either version. Raises RecordError."""
    if metadata.get("class") != CLASS or metadata.get("info") != INFO:
        raise RecordError(f"class and info are not {CLASS} and {INFO}")


def check_flow_data(data: dict[str, Any], fields: dict[str, tuple[int, int]]) -> None:
    """Check the addresses, and those of the fields that are there, of either version. Raises RecordError."""
    for name in ROLES.values():
        if address(data, name) != data[name]:
            raise RecordError(f"{name} is not in the canonical form of addresses")
    integers(data, fields)


def check_sourcetype(flowdata: dict[str, Any]) -> None:
    """Check the source type, if there is one, of a report of either version. Raises RecordError."""
    if "sourcetype" not in flowdata:
        return
    sourcetype = member_object(flowdata, "sourcetype")
    kind = sourcetype.get("type")
    if type(kind) is not str or not 0 < len(kind) <= 32:
        raise RecordError("sourcetype.type is not a text of 1 to 32 characters")
    integers(sourcetype, _SOURCETYPE_FIELDS)


def integers(part: dict[str, Any], fields: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Return those of the fields that are there (and not null): integers in their ranges. Raises RecordError."""
    found = {}
    get = part.get
    for name, (least, most) in fields.items():
        if (value := get(name)) is not None:
            if type(value) is not int or not least <= value <= most:
                raise RecordError(_why_not(name, value, least, most))
            found[name] = value
    return found


def _why_not(name: str, value: Any, least: int, most: int) -> str:
    if type(value) in (int, float) and value > canonical.MAX_INTEGER:
        return f"{name} is beyond 2^53-1, which a report cannot carry"
    return f"{name} is not an integer from {least} to {most}"


def check_why(why: object) -> None:
    """Check a list of ids of sampling rules. Raises RecordError."""
    if not isinstance(why, list) or len(why) > _MAX_RULES:
        raise RecordError(f"why is not a list of up to {_MAX_RULES} rule ids")
    for rule in why:
        if not isinstance(rule, str) or not _RULE_ID.fullmatch(rule):
            raise RecordError("why has a rule id that is not 1 to 32 printable ASCII characters")


def address(part: dict[str, Any], name: str) -> str:
    """Return the address of this name in the one form that reports use: what inet_ntop(3) writes (RFC 5952).

    Raises RecordError if there is none, or something else.
    """
    text = part.get(name)
    if type(text) is not str:
        raise RecordError(f"no {name}" if text is None else f"{name} is not an address")
    if _is_ipv4(text):  # canonical as it is
        return text
    try:
        return canonical_address(text)
    except (OSError, ValueError):
        raise RecordError(f"{name} is not an address") from None


@lru_cache(maxsize=4096)
def canonical_address(text: str) -> str:
    """Return an address as inet_ntop(3) writes it. Raises OSError or ValueError for a text that is none."""
    from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

    family = AF_INET6 if ":" in text else AF_INET
    return inet_ntop(family, inet_pton(family, text))


def is_canonical_address(text: bytes) -> bool:
    """Tell whether a text is an address as inet_ntop(3) writes it."""
    try:
        return canonical_address(text.decode()) == text.decode()
    except (OSError, ValueError):
        return False


def member_object(part: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the member of this name, which is an object. Raises RecordError if it is not."""
    value = part.get(name)
    if type(value) is not dict:
        raise RecordError(f"{name} is not an object")
    return value


def from_base64(text: object) -> bytes:
    """Return the bytes of the base64 text of a signature (RFC 4648 section 4). Raises RecordError.

    They are encoded again, lest characters that decoders skip, or bits that they drop, give one report two
    texts.
    """
    try:
        data = binascii.a2b_base64(text) if type(text) is str else b""
    except ValueError:
        data = b""
    if not data or binascii.b2a_base64(data, newline=False).decode() != text:
        raise RecordError("signature.signature is not base64")
    return data


def _check_metadata(metadata: dict[str, Any]) -> None:
    check_class(metadata)
    for name in _REQUIRED_METADATA:
        if metadata.get(name) is None:
            raise RecordError(f"no {name}")
    integers(metadata, _METADATA_FIELDS)
    if "total" in metadata and len(integers(member_object(metadata, "total"), TOTAL_FIELDS)) < len(TOTAL_FIELDS):
        raise RecordError(f"total does not have the members {', '.join(TOTAL_FIELDS)}")
    if "why" in metadata:
        check_why(metadata["why"])


def _check_recipient(metadata: dict[str, Any], data: dict[str, Any]) -> None:
    """Check that `to` is the end of the flow that `role` says; with neither, the report is to nobody."""
    if "role" not in metadata and "to" not in metadata:
        return
    role, to = metadata.get("role"), metadata.get("to")
    if to not in (data["saddr"], data["daddr"]):
        raise RecordError("to is not an endpoint of the flow")
    if role not in ("src", "dst"):
        raise RecordError("role is not src or dst")
    if to != data[ROLES[role]]:
        raise RecordError(f"to is not the {ROLES[role]}, which role {role} stands for")


def _parsed_signature(signature: dict[str, Any]) -> tuple[PublicKey, bytes, batch.Proof | None]:
    if signature.keys() - {"batch"} != _SIGNATURE_MEMBERS:
        raise RecordError("signature does not have the members key and signature")
    if type(signature["key"]) is not str:
        raise RecordError("signature.key is not a text")
    try:
        key = PublicKey.parse(signature["key"])
    except KeyFileError as error:
        raise RecordError(f"signature.key: {error}") from None
    octets = from_base64(signature["signature"])
    if len(octets) != SIGNATURE_SIZE:
        raise RecordError(f"signature.signature is not of {SIGNATURE_SIZE} octets")
    if "batch" in signature:
        return key, b"", batch.read(member_object(signature, "batch"), octets)
    return key, octets, None
