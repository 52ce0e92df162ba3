"""NetFlow 1, 5, 6 and 7 made by hand from Cisco's tables, and a plain decoder to hold the fast one against.

The decoder is written field by field from the same tables and shares nothing with the program but the names.
"""

import ipaddress
import random
import struct

SECOND = 1_700_000_000
UPTIME = 1_000_000

_FIRST_FIELDS = [
    ("saddr", "4s"),
    ("daddr", "4s"),
    ("nexthop", "4s"),
    ("in_if", "H"),
    ("out_if", "H"),
    ("pcount", "I"),
    ("bcount", "I"),
    ("stime", "I"),
    ("etime", "I"),
    ("sport", "H"),
    ("dport", "H"),
]
_ROUTING = [("src_as", "H"), ("dst_as", "H"), ("src_mask", "B"), ("dst_mask", "B")]
_NETFLOW5 = [*_FIRST_FIELDS, ("", "x"), ("flags", "B"), ("protocol", "B"), ("tos", "B"), *_ROUTING]
LAYOUTS = {
    "netflow1": [*_FIRST_FIELDS, ("", "2x"), ("protocol", "B"), ("tos", "B"), ("flags", "B"), ("", "7x")],
    "netflow1 long": [*_FIRST_FIELDS, ("", "2x"), ("protocol", "B"), ("tos", "B"), ("flags", "B"), ("", "11x")],
    "netflow5": [*_NETFLOW5, ("", "2x")],
    "netflow6": [*_NETFLOW5, ("in_encaps", "B"), ("out_encaps", "B"), ("peer_nexthop", "4s")],
    "netflow7": [
        *_FIRST_FIELDS,
        ("v7_flags", "B"),
        ("flags", "B"),
        ("protocol", "B"),
        ("tos", "B"),
        *_ROUTING,
        ("v7_flags2", "H"),
        ("router_sc", "4s"),
    ],
}
RECORD_LENGTHS = {"netflow1": 48, "netflow1 long": 52, "netflow5": 48, "netflow6": 52, "netflow7": 52}
HEADER_LENGTHS = {"netflow1": 16, "netflow1 long": 16, "netflow5": 24, "netflow6": 24, "netflow7": 24}
KINDS = list(LAYOUTS)


def record(kind: str = "netflow5", **values) -> bytes:
    """One record; a field that is not given is 0, addresses are text."""
    octets = b""
    for name, code in LAYOUTS[kind]:
        if not name:
            octets += struct.pack(code)
        elif code == "4s":
            octets += ipaddress.IPv4Address(values.pop(name, "0.0.0.0")).packed
        else:
            octets += struct.pack(">" + code, values.pop(name, 0))
    assert not values, f"{kind} has no {values}"
    assert len(octets) == RECORD_LENGTHS[kind]
    return octets


def header(
    kind="netflow5", count=1, uptime=UPTIME, seconds=SECOND, nanoseconds=0, sequence=0, engine=(0, 0), sampling=0
) -> bytes:
    version = int(kind[7])
    start = struct.pack(">HHIII", version, count, uptime, seconds, nanoseconds)
    if version == 1:
        return start
    start += struct.pack(">I", sequence)
    return start + (bytes(4) if version == 7 else struct.pack(">BBH", *engine, sampling))


def datagram(*records: bytes, kind="netflow5", count=None, **fields) -> bytes:
    return header(kind, len(records) if count is None else count, **fields) + b"".join(records)


def random_datagram(seed: int, kind: str, count: int, **fields) -> bytes:
    """Records of random octets; only the padding is zero, as it is in practice."""
    octets = random.Random(seed).randbytes
    form = ">" + "".join(code for _, code in LAYOUTS[kind])
    records = []
    for _ in range(count):
        whole = struct.unpack(form, octets(RECORD_LENGTHS[kind]))
        records.append(struct.pack(form, *whole))
    return datagram(*records, kind=kind, **fields)


def expected_flows(kind: str, whole: bytes, exporter: str) -> list[dict]:
    """What the flow lines of a datagram, whose records all are there, must say without the envelope."""
    version, count, uptime, seconds, nanoseconds = struct.unpack(">HHIII", whole[:16])
    assert version == int(kind[7])
    export_ms = seconds * 1000
    if nanoseconds < 10**9:
        export_ms += nanoseconds // 10**6
    common = {"type": "flow", "source": kind[:8], "exporter": exporter, "domain": 0, "export_ms": export_ms}
    if version in {5, 6}:
        engine_type, engine_id, sampling = struct.unpack(">BBH", whole[20:24])
        common["domain"] = engine_type * 256 + engine_id
        interval = sampling % 2**14
        if version == 5 and interval > 1:
            common["sampling_rate"] = interval
    flows = []
    offset = HEADER_LENGTHS[kind]
    for _ in range(count):
        flow = dict(common)
        for name, code in LAYOUTS[kind]:
            size = struct.calcsize(">" + code)
            octets = whole[offset : offset + size]
            assert len(octets) == size
            offset += size
            if code == "4s":
                flow[name] = str(ipaddress.IPv4Address(octets))
            elif name:
                flow[name] = int.from_bytes(octets, "big")
        flow["start_ms"] = export_ms - signed32(uptime - flow["stime"])
        flow["end_ms"] = export_ms - signed32(uptime - flow["etime"])
        if flow["end_ms"] < flow["start_ms"] or abs(flow["start_ms"] - export_ms) > 24 * 3600 * 1000:
            flow["time_suspect"] = True
        if flow["protocol"] == 1 or (flow["protocol"] == 58 and flow["dport"] >= 256):
            flow["icmp_type"], flow["icmp_code"] = divmod(flow["dport"], 256)
        flows.append(flow)
    return flows


def signed32(difference: int) -> int:
    """The difference of two 32-bit clocks that wrap: the one of the two candidates that is nearer."""
    difference %= 2**32
    return difference - 2**32 if difference >= 2**31 else difference
