"""Turns a NetFlow 5 capture into the same flows as NetFlow 9 or IPFIX, with a template every 50 datagrams."""

import struct
from pathlib import Path

from overflowd_tools.capture.link import udp_frame
from overflowd_tools.capture.packet import Packet
from overflowd_tools.capture.pcap import PcapReader, file_header, record
from overflowd_tools.protocols.detect import decode

_COMMON = ((8, 4), (12, 4), (15, 4), (10, 2), (14, 2), (2, 4), (1, 4))
_PORTS = ((7, 2), (11, 2), (6, 1), (4, 1), (5, 1), (16, 2), (17, 2), (9, 1), (13, 1))
NETFLOW9_FIELDS = (*_COMMON, (22, 4), (21, 4), *_PORTS)
IPFIX_FIELDS = (*_COMMON, (152, 8), (153, 8), *_PORTS)
_RECORD5 = struct.Struct("!12sHHIIIIHHxBBBHHBBxx")


def convert(source: Path, target: Path, version: int) -> int:
    """Write the whole NetFlow 5 datagrams of a capture as version 9 or 10; return the number of flows."""
    reader = PcapReader()
    flows = 0
    sequences: dict[int, int] = {}
    with target.open("wb") as file:
        file.write(file_header(1))
        for number, item in enumerate(reader.feed(source.read_bytes())):
            batch = decode(item.data[42:]) if isinstance(item, Packet) else None
            if batch is None:
                continue
            data = [_record(fields, batch, version) for fields in _RECORD5.iter_unpack(batch.records)]
            sets = _template(version) if number % 50 == 0 or batch.domain not in sequences else b""
            sets += struct.pack("!HH", 256, 4 + len(b"".join(data))) + b"".join(data)
            seconds = batch.export_ms // 1000
            sequence = sequences.get(batch.domain, 0)
            if version == 9:
                header = struct.pack("!HHIIII", 9, len(data), batch.uptime_ms, seconds, sequence, batch.domain)
            else:
                header = struct.pack("!HHIII", 10, 16 + len(sets), seconds, sequence, batch.domain)
            sequences[batch.domain] = sequence + (1 if version == 9 else len(data))
            payload = header + sets
            file.write(record(item.timestamp_ns, udp_frame(b"\xc0\0\2\1", 9500, b"\xc0\0\2\2", 2055, payload)))
            flows += len(data)
    return flows


def _template(version: int) -> bytes:
    fields = NETFLOW9_FIELDS if version == 9 else IPFIX_FIELDS
    body = struct.pack("!HH", 256, len(fields)) + b"".join(struct.pack("!HH", *field) for field in fields)
    return struct.pack("!HH", 0 if version == 9 else 2, 4 + len(body)) + body


def _record(fields: tuple, batch, version: int) -> bytes:
    addresses, in_if, out_if, packets, octets, first, last, sport, dport, *rest = fields
    if version == 9:
        times = struct.pack("!II", first, last)
    else:
        base = batch.export_ms - batch.uptime_ms
        times = struct.pack("!QQ", base + first, base + last)
    start = addresses + struct.pack("!HHII", in_if, out_if, packets, octets)
    return start + times + struct.pack("!HHBBBHHBB", sport, dport, *rest)
