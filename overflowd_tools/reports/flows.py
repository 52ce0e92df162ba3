"""What a report takes from a flow record (overflowd-record(5)): these fields, checked, and nothing else."""

import re
from functools import lru_cache
from typing import Any

from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical
from overflowd_tools.reports.report import FLOW_FIELDS, ROLES, SAMPLING_FIELDS, address, check_why, integers

AGGREGATED = "netflow8"
"""The source whose flows are sums over networks."""
SOURCE = "([A-Za-z][A-Za-z_-]{0,30})([0-9]{0,3})"
"""Pattern of the names of sources: what exports, and its version."""
CERTAIN = 10**12
"""The probability 1, in parts per trillion."""

Facts = tuple[bytes, tuple[bytes, bytes], int, int, bytes, bytes, bytes]
"""What a report says of a flow: flowdata in the canonical form; its ends in the order of ROLES; the packets and the
octets that it stands for; and p_ppt, sampling_rate and why as members of metadata, each with a comma before it, or
empty."""

_source = re.compile(SOURCE).fullmatch
_SOURCE_NAMES = {"netflow": "Netflow", "ipfix": "IPFIX", "sflow": "sFlow", "packet": "Packet"}


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the flow record of a line, or None for a line of another type. Raises RecordError.

    The type of a flow may be missing; reports of both versions are no flows.
    """
    record = canonical.loads(line)
    kind = record.get("type")
    is_flow = kind == "flow" or (kind is None and "$schema" not in record and "flowdata" not in record)
    return record if is_flow else None


def facts(flow: dict[str, Any]) -> Facts:
    """Return what a report says of a flow; what is absent in its record is absent there.

    Raises RecordError for a flow without addresses, and for values that a report cannot carry.
    """
    import orjson

    data = flow_data(flow, FLOW_FIELDS)
    text = orjson.dumps({"data": data, **sourcetype(flow)}, option=orjson.OPT_SORT_KEYS)
    given = integers(flow, SAMPLING_FIELDS)
    probability = rate = why = b""
    if "p_ppt" in given:
        probability = b',"p_ppt":%d' % given["p_ppt"]
    if "sampling_rate" in given:
        rate = b',"sampling_rate":%d' % given["sampling_rate"]
    if "why" in flow:
        check_why(flow["why"])
        why = b',"why":%s' % orjson.dumps(flow["why"])
    packets, octets = stands_for(
        data.get("pcount", 0), data.get("bcount", 0), given.get("sampling_rate", 1), given.get("p_ppt", CERTAIN)
    )
    return text, (data["saddr"].encode(), data["daddr"].encode()), packets, octets, probability, rate, why


def stands_for(packets: int, octets: int, sampling_rate: int, p_ppt: int) -> tuple[int, int]:
    """Return the packets and octets that a flow with these counts stands for.

    As for the draw, it has at least one packet. Counts are multiplied by the sampling rate and divided by the
    probability (Horvitz, Thompson), and rounded to the nearest integer, halves up, so that every reader of the reports
    comes to the same sum.
    """
    if p_ppt == CERTAIN:
        return (packets or 1) * sampling_rate, octets * sampling_rate
    return _estimate(packets or 1, sampling_rate, p_ppt), _estimate(octets, sampling_rate, p_ppt)


def _estimate(counted: int, sampling_rate: int, p_ppt: int) -> int:
    return (2 * counted * sampling_rate * CERTAIN + p_ppt) // (2 * p_ppt)


def flow_data(flow: dict[str, Any], fields: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Pick the addresses (made canonical) and the given fields, where it has them, out of a flow record.

    Raises RecordError for a flow without addresses, for one of NetFlow 8, whose addresses are those of networks, and
    for a field that is not an integer within its range.
    """
    if flow.get("source") == AGGREGATED:
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
    parts = _source(source)
    if not parts:
        raise RecordError("source is not a name such as netflow5")
    kind, version = parts.groups()
    if kind == "ipfix":
        version = "10"
    named: dict[str, Any] = {"type": _SOURCE_NAMES.get(kind, kind)}
    if version:
        named["version"] = int(version)
    return named
