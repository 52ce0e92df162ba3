"""Reports, version 1: what overflowd printed in 2016.

    {"flowdata": .., "metadata": .., "signature": {"key": 64 hexadecimal digits, "signature": ..}}

The signature is the base64 of what NaCl calls a signed message: 64 octets, and then the signed text, which is
the JSON of the rest of the report. So the data are there twice, and must agree. overflowd itself printed not
JSON but Python's repr of the report, as its README shows; such lines are read too.
"""

import binascii
import json
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import orjson

from overflowd_tools.errors import KeyFileError, RecordError
from overflowd_tools.reports import canonical, flows, report, writer
from overflowd_tools.trust.keys import SIGNATURE_SIZE, PublicKey

_UPTIME = (0, (1 << 32) - 1)
FLOW_FIELDS = {name: report.FLOW_FIELDS[name] for name in report.FLOW_FIELDS if not name.endswith("_ms")} | {
    "stime": _UPTIME,
    "etime": _UPTIME,
}
"""The integers of a flow in a report, and their ranges; saddr and daddr go with them, nothing else."""

_DATA = frozenset({*FLOW_FIELDS, *report.ROLES.values()})
_MEMBERS = frozenset({"flowdata", "metadata", "signature"})
_QUOTED = re.compile(rb"'[^']*'|\"[^\"]*\"")


class Writer:
    """Makes the texts to be signed from flow records: one report a flow, since none names a recipient."""

    def __init__(self, key: PublicKey, contact: writer.Contact) -> None:
        self._key = key
        self._contact = contact

    def bodies_of(self, line: bytes, now_ms: int) -> list[bytes] | None:
        """Return the same as bodies() for the flow of a line, or None for a line of another type.

        Raises RecordError as bodies() does, and for a line that is no JSON object.
        """
        flow = flows.parse(line)
        return None if flow is None else self.bodies(flow, now_ms)

    def bodies(self, flow: dict[str, Any], now_ms: int) -> list[bytes]:
        """Return the text to be signed; complete() makes a report of it.

        flow: a flow record (overflowd-record(5)). Raises RecordError for a flow without addresses, and for
        values that a report cannot carry.
        """
        body = {
            "flowdata": {"data": flows.flow_data(flow, FLOW_FIELDS), **flows.sourcetype(flow)},
            "metadata": {"info": report.INFO, "class": report.CLASS, "time": now_ms / 1000},
            "contact": self._contact.members(),
        }
        return [json.dumps(body).encode()]

    def complete(self, body: bytes, signature: bytes) -> bytes:
        """Return the line of a report, without newline, from its text and the 64-octet signature."""
        return _text(orjson.loads(body), self._key, body, signature)


def read(line: bytes) -> report.Report:
    """Read the line of a report, JSON or Python's repr. Raises RecordError with the reason why it is none."""
    return from_members(loads(line))


def loads(line: bytes) -> dict[str, Any]:
    """Return the object of a line, in JSON or in Python's repr. Raises RecordError for anything else.

    Of Python's, dictionaries, lists, numbers and strings without escapes are read, which is all that reports
    of 2016 have: they turn into JSON by changing the quotes. What then is no JSON was no such repr either.
    """
    if not line.lstrip().startswith(b"{'"):
        return canonical.loads(line)
    if b"\\" in line:
        raise RecordError("Python text with an escape in it")
    return canonical.loads(_QUOTED.sub(_requoted, line))


def is_original(members: dict[str, Any]) -> bool:
    """Tell whether a parsed line has the members of a report of version 1."""
    return members.keys() >= _MEMBERS and "$schema" not in members


def from_members(members: dict[str, Any]) -> report.Report:
    """Take the parsed line of a report; a member `verified` proves nothing and is left out.

    What the result says comes from the signed text alone. Raises RecordError with the reason why it is none.
    """
    try:
        key, signature, signed = _signature(report.member_object(members, "signature"))
        inner = canonical.loads(signed)
        _check(inner)
    except RecordError as error:
        raise RecordError(f"not a report: {error}") from None
    if inner != {name: member for name, member in members.items() if name not in ("signature", "verified")}:
        raise RecordError("the signed text says something else than the rest of the report")
    time_ms = round(inner["metadata"]["time"] * 1000)
    text = _text(inner, key, signed, signature)
    contact = report.written_contact(inner["contact"]) if "contact" in inner else ""
    return report.Report(1, key, signed, signature, time_ms, None, (), text, contact=contact)


def _text(body: dict[str, Any], key: PublicKey, signed: bytes, signature: bytes) -> bytes:
    message = binascii.b2a_base64(signature + signed, newline=False).decode()
    whole = {**body, "signature": {"key": key.raw.hex(), "signature": message}}
    return orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)


def _requoted(string: re.Match[bytes]) -> bytes:
    return b'"%s"' % string[0][1:-1].replace(b'"', b'\\"')


def _signature(part: dict[str, Any]) -> tuple[PublicKey, bytes, bytes]:
    """Return the key, the signature and the signed text."""
    if part.keys() != {"key", "signature"} or type(part["key"]) is not str:
        raise RecordError("signature does not have the members key and signature")
    message = report.from_base64(part["signature"])
    return _public_key(part["key"]), message[:SIGNATURE_SIZE], message[SIGNATURE_SIZE:]


@lru_cache(maxsize=256)
def _public_key(text: str) -> PublicKey:
    try:
        return PublicKey.from_hex(text)
    except KeyFileError as error:
        raise RecordError(f"signature.key: {error}") from None


def _check(body: dict[str, Any]) -> None:
    """Check the layout of the signed text: these members and no others, so that all of it is known."""
    _refuse_unknown(body, ("flowdata", "metadata", "contact"))
    flowdata = report.member_object(body, "flowdata")
    _refuse_unknown(flowdata, ("data", "sourcetype"))
    data = report.member_object(flowdata, "data")
    _refuse_unknown(data, _DATA)
    report.check_flow_data(data, FLOW_FIELDS)
    report.check_sourcetype(flowdata)
    _refuse_unknown(flowdata.get("sourcetype", {}), ("type", "version"))
    metadata = report.member_object(body, "metadata")
    _refuse_unknown(metadata, ("class", "info", "time"))
    report.check_class(metadata)
    time = metadata.get("time", -1)
    if type(time) not in (int, float) or not 0 <= time < 1 << 40:
        raise RecordError("time is not a number of seconds since 1970")
    if "contact" in body:
        contact = report.member_object(body, "contact")
        _refuse_unknown(contact, ("email", "identity"))
        report.check_contact(contact)
    canonical.encode({name: body[name] for name in body if name != "metadata"})


def _refuse_unknown(part: dict[str, Any], known: Collection[str]) -> None:
    unknown = part.keys() - set(known)
    if unknown:
        raise RecordError(f"unknown member {min(unknown)!a}")
