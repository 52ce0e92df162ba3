"""How reports are made from flow records: which of their fields go in, to whom, and under which number."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical
from overflowd_tools.reports.report import (
    CLASS,
    FLOW_FIELDS,
    INFO,
    ROLES,
    SAMPLING_FIELDS,
    SCHEMA,
    address,
    check_contact,
    check_why,
    integers,
    with_signature,
)
from overflowd_tools.reports.serials import Serials, estimate
from overflowd_tools.trust.keys import PublicKey

MAX_SIGNED = 1000
"""Most octets to be signed: with what the datagram form adds, at most 199, they stay within its 1200."""

_SORTED = orjson.OPT_SORT_KEYS
_INFO = INFO.encode()
_METADATA = b'{"class":"%s","epoch":' % CLASS.encode()
_SOURCE = re.compile("([A-Za-z][A-Za-z_-]{0,30})([0-9]{0,3})")
_SOURCE_NAMES = {"netflow": "Netflow", "ipfix": "IPFIX", "sflow": "sFlow", "packet": "Packet"}


class Contact:
    """Whom to talk to about a report. Raises RecordError for texts that no report may carry."""

    __slots__ = ("email", "identity")

    def __init__(self, email: str, identity: str) -> None:
        self.email = email
        self.identity = identity
        canonical.encode(self.members())
        check_contact(self.members())

    def members(self) -> dict[str, Any]:
        """Return the contact as it stands in a report."""
        return {"email": self.email, "identity": self.identity}


class Writer:
    """Makes the bytes to be signed from flow records, one report for each recipient."""

    def __init__(
        self,
        key: PublicKey,
        contact: Contact,
        roles: Iterable[str],
        lifetime_ms: int,
        serials: Serials | None = None,
    ) -> None:
        """Take the key that will sign, and the ends of the flow that get a report.

        roles: of "src" and "dst"; without any, there is one report, addressed to nobody. serials: the numbers to
        go on with, by default new ones.
        """
        self._start = b'{"$schema":"%s","contact":%s,"flowdata":' % (
            SCHEMA.encode(),
            canonical.encode(contact.members()),
        )
        self._end = b'},"signature":{"key":"%s"}}' % key.text.encode()
        self._roles = [(role.encode(), ROLES[role]) for role in roles]
        self._lifetime_ms = lifetime_ms
        self._serials = serials or Serials()

    def bodies(self, flow: dict[str, Any], now_ms: int) -> list[bytes]:
        """Return the signed bytes of each report on this flow; complete() makes reports of them.

        flow: a flow record (overflowd-record(5)); what is absent there is absent in the report.
        Raises RecordError for a flow without addresses, and for values that a report cannot carry.
        """
        data = flow_data(flow, FLOW_FIELDS)
        flowdata = {"data": data, **sourcetype(flow)}
        probability, rate, why, stands_for = _sampling(flow, data)
        start = b'%s%s,"metadata":%s' % (self._start, orjson.dumps(flowdata, option=_SORTED), _METADATA)
        middle = b',"expires_ms":%d,"info":"%s"%s' % (now_ms + self._lifetime_ms, _INFO, probability)
        if not self._roles:
            epoch, seq, *_ = self._serials.next("")
            return [self._whole(start, b'%d%s%s,"seq":%d,"time_ms":%d' % (epoch, middle, rate, seq, now_ms), b"", why)]
        bodies = []
        for role, name in self._roles:
            recipient = data[name]
            epoch, seq, packets, octets = self._serials.next(recipient, *stands_for)
            numbers = (epoch, middle, role, rate, seq, now_ms, recipient.encode())
            metadata = b'%d%s,"role":"%s"%s,"seq":%d,"time_ms":%d,"to":"%s"' % numbers
            total = b',"total":{"octets":%d,"packets":%d,"reports":%d}' % (octets, packets, seq)
            bodies.append(self._whole(start, metadata, total, why))
        return bodies

    def complete(self, body: bytes, signature: bytes) -> bytes:
        """Return the line of a report, without newline, from its signed bytes and the 64-octet signature."""
        return with_signature(body, signature)

    def _whole(self, start: bytes, metadata: bytes, total: bytes, why: bytes) -> bytes:
        """Put a report together, without what may be left out where there is no room for it."""
        for optional in (total + why, total, b""):
            body = b"".join((start, metadata, optional, self._end))
            if len(body) <= MAX_SIGNED:
                return body
        raise RecordError(f"the report would be longer than {MAX_SIGNED} octets")


def flow_data(flow: dict[str, Any], fields: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Pick the addresses (made canonical) and the given fields, where it has them, out of a flow record.

    Raises RecordError for a flow without addresses, for one of NetFlow 8, whose addresses are those of networks, and
    for a field that is not an integer within its range.
    """
    if flow.get("source") == "netflow8":
        raise RecordError("an aggregate of flows has no ends to report to")
    data: dict[str, Any] = integers(flow, fields)
    for name in ROLES.values():
        data[name] = address(flow, name)
    return data


def sourcetype(flow: dict[str, Any]) -> dict[str, Any]:
    """Return the member sourcetype for the `source` of a flow, if it has one: netflow5 is Netflow, version 5.

    Raises RecordError for a source that is no such name.
    """
    if "source" not in flow:
        return {}
    source = flow["source"]
    return {"sourcetype": _sourcetype(source if type(source) is str else "")}


@lru_cache(maxsize=64)
def _sourcetype(source: str) -> dict[str, Any]:
    parts = _SOURCE.fullmatch(source)
    if not parts:
        raise RecordError("source is not a name such as netflow5")
    kind, version = parts.groups()
    if kind == "ipfix":
        version = "10"
    named: dict[str, Any] = {"type": _SOURCE_NAMES.get(kind, kind)}
    if version:
        named["version"] = int(version)
    return named


def _sampling(flow: dict[str, Any], data: dict[str, Any]) -> tuple[bytes, bytes, bytes, tuple[int, int]]:
    """Return what tells for how many packets one report stands, and why this flow was chosen, as members of metadata.

    These are p_ppt, sampling_rate and why, and then, as numbers, the packets and octets that the flow stands for. As
    for the draw, it has at least one packet.
    """
    given = integers(flow, SAMPLING_FIELDS)
    probability = rate = why = b""
    if "p_ppt" in given:
        probability = b',"p_ppt":%d' % given["p_ppt"]
    if "sampling_rate" in given:
        rate = b',"sampling_rate":%d' % given["sampling_rate"]
    if "why" in flow:
        check_why(flow["why"])
        why = b',"why":%s' % orjson.dumps(flow["why"])
    factors = given.get("sampling_rate", 1), given.get("p_ppt", 10**12)
    return (
        probability,
        rate,
        why,
        (estimate(data.get("pcount") or 1, *factors), estimate(data.get("bcount", 0), *factors)),
    )
