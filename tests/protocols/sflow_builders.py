"""sFlow datagrams and sampled packets made by hand from the specifications, and what lines they are to give."""

import ipaddress
import json
import socket
import struct

from overflowd_tools.protocols.lines import WRITTEN
from overflowd_tools.protocols.sflow import decode_sflow

SMAC = bytes.fromhex("020000000001")
DMAC = bytes.fromhex("020000000002")


def words(*numbers):
    return struct.pack(f"!{len(numbers)}I", *numbers)


def hyper(number):
    return struct.pack("!Q", number)


def packed(text):
    return ipaddress.ip_address(text).packed


def pad(octets):
    return octets + bytes(-len(octets) % 4)


def opaque(octets):
    return words(len(octets)) + pad(octets)


def address(text):
    octets = packed(text) if text else b""
    return words({0: 0, 4: 1, 16: 2}[len(octets)]) + octets


# Packets


def ethernet(payload=b"", ethertype=0x0800, tags=(), smac=SMAC, dmac=DMAC):
    """tags: (tpid, tci), outermost first."""
    layers = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return dmac + smac + layers + struct.pack("!H", ethertype) + payload


def ipv4(payload=b"", protocol=17, saddr="192.0.2.1", daddr="198.51.100.2", total=None, fragment=0x4000, options=b""):
    length = 20 + len(options)
    total = length + len(payload) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0xB8, total, 0x1234, fragment, 63, protocol, 0)
    return head + packed(saddr) + packed(daddr) + options + payload


def ipv6(payload=b"", protocol=17, saddr="2001:db8::1", daddr="2001:db8::2", length=None):
    length = len(payload) if length is None else length
    head = struct.pack("!IHBB", 6 << 28 | 0x2E << 20 | 0x54321, length, protocol, 62)
    return head + packed(saddr) + packed(daddr) + payload


def udp(payload=b"", sport=1024, dport=53):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def tcp(payload=b"", sport=1025, dport=80, flags=0x112):
    return struct.pack("!HHIIHHHH", sport, dport, 1, 2, 5 << 12 | flags, 512, 0, 0) + payload


def icmp(kind=3, code=1, payload=b""):
    return struct.pack("!BBHI", kind, code, 0, 0) + payload


def labels(*values):
    """One word of an MPLS stack a label, with traffic class 5 and time to live 64; the last has the bottom bit."""
    last = len(values) - 1
    return words(*(value << 12 | 5 << 9 | (number == last) << 8 | 64 for number, value in enumerate(values)))


def gre(payload, ethertype=0x0800, flags=0, fields=b""):
    return struct.pack("!HH", flags, ethertype) + fields + payload


def vxlan(payload, vni=0xABCDE):
    return words(0x08000000, vni << 8) + payload


def geneve(payload, ethertype=0x6558, vni=0x12345, options=b""):
    return struct.pack("!BBHI", len(options) // 4, 0, ethertype, vni << 8) + options + payload


def gtp_u(payload, teid=0xCAFE, flags=0x30, fields=b""):
    return struct.pack("!BBHI", flags, 255, len(fields) + len(payload), teid) + fields + payload


# Version 5


def header5(count, agent="192.0.2.99", sub_agent=7, sequence=1000, uptime=123456):
    return words(5) + address(agent) + words(sub_agent, sequence, uptime, count)


def datagram5(*samples, count=None, **fields):
    return header5(len(samples) if count is None else count, **fields) + b"".join(samples)


def sample(kind, body, length=None):
    return words(kind, len(body) if length is None else length) + body


def record(kind, body, length=None):
    return words(kind, len(body) if length is None else length) + body


def raw(packet, protocol=1, frame=None, stripped=4, length=None):
    """A sampled_header."""
    frame = len(packet) + stripped if frame is None else frame
    return record(1, words(protocol, frame, stripped, len(packet) if length is None else length) + pad(packet))


def switch(*numbers):
    return record(1001, words(*(numbers or (10, 1, 20, 2))))


def router(nexthop="203.0.113.9", src=24, dst=16):
    return record(1002, address(nexthop) + words(src, dst))


def flow(*records, count=None, source=3, in_if=3, out_if=4, length=None):
    body = words(77, source, 512, 51200, 9, in_if, out_if, len(records) if count is None else count)
    return sample(1, body + b"".join(records), length)


def expanded_flow(*records, source=(0, 3), in_if=(0, 3), out_if=(0, 4), count=None):
    body = words(77, *source, 512, 51200, 9, *in_if, *out_if, len(records) if count is None else count)
    return sample(3, body + b"".join(records))


def counters(*records, source=3, count=None):
    return sample(2, words(88, source, len(records) if count is None else count) + b"".join(records))


def expanded_counters(*records, source=(0, 0x2000003)):
    return sample(4, words(88, *source, len(records)) + b"".join(records))


def drop(*records, reason=258):
    return sample(5, words(99, 0, 3, 11, 5, 6, reason, len(records)) + b"".join(records))


# Versions 2 and 4


def datagram4(*samples, version=4, agent="192.0.2.99", count=None):
    count = len(samples) if count is None else count
    return words(version) + address(agent) + words(1000, 123456, count) + b"".join(samples)


def flow4(packet_type, packet, *extended, in_if=3, out_if=4, count=None):
    """extended: (type, octets)."""
    body = words(1, 77, 3, 512, 51200, 9, in_if, out_if, packet_type) + packet
    body += words(len(extended) if count is None else count)
    return body + b"".join(words(kind) + octets for kind, octets in extended)


def raw4(packet, frame=None):
    return words(1, len(packet) if frame is None else frame, len(packet)) + pad(packet)


def counters4(kind, body):
    return words(2, 88, 3, 30, kind) + body


# Reading lines


def members(line):
    """A line as its names and values, bytes as text."""
    return {name: shown(value) for name, value in zip(line.shape.names, line.values, strict=True)}


def unpacked(lines):
    """The members of lines, and of all for which those stand that are written already."""
    for line in lines:
        if line.shape is WRITTEN:
            (texts,) = line.values
            for text in texts:
                assert text.endswith(b"}\n")
                yield {"pcount": 1} | json.loads(b"{" + text[1:])
        else:
            yield members(line)


def shown(value):
    if not isinstance(value, bytes):
        return value
    if len(value) == 6:
        return value.hex(":")
    family = {4: socket.AF_INET, 16: socket.AF_INET6}.get(len(value))
    return value.hex() if family is None else socket.inet_ntop(family, value)


# A flow sample of a packet, and its members

SAMPLING = {"sample_seq": 77, "source_id": 3, "sampling_rate": 512, "sample_pool": 51200, "drops": 9}
FLOW = {"pcount": 1} | SAMPLING | {"in_if": 3, "out_if": 4}
PACKET = ethernet(ipv4(udp(bytes(40))))
PACKET_MEMBERS = {
    "saddr": "192.0.2.1",
    "daddr": "198.51.100.2",
    "bcount": 68,
    "sport": 1024,
    "dport": 53,
    "protocol": 17,
    "tos": 0xB8,
    "ttl": 63,
    "ip_id": 0x1234,
    "frag_off": 0,
    "frag_flags": 0x40,
    "smac": "02:00:00:00:00:01",
    "dmac": "02:00:00:00:00:02",
    "ethertype": 0x0800,
}
HEADER = {"hdr_proto": 1, "frame_len": 86, "stripped": 4, "header": PACKET.hex()}
SWITCH = {"vlan": 10, "vlan_prio": 1, "post_vlan": 20, "post_vlan_prio": 2}


TAGGED = ethernet(ipv4(tcp(flags=0x12), 6), tags=[(0x8100, 0x600A)])
V6 = ethernet(ipv6(udp(bytes(40))), 0x86DD)
IP_FIELDS = {"bcount": 60, "protocol": 6, "sport": 1, "dport": 2, "flags": 18, "tos": 8}
IP4 = words(60, 6) + packed("192.0.2.1") + packed("192.0.2.2") + words(1, 2, 18, 8)
IP4_FIELDS = IP_FIELDS | {"saddr": "192.0.2.1", "daddr": "192.0.2.2"}
IP6 = words(60, 6) + packed("2001:db8::1") + packed("2001:db8::2") + words(1, 2, 18, 8)
IP6_FIELDS = IP_FIELDS | {"saddr": "2001:db8::1", "daddr": "2001:db8::2"}

GOOD = flow(raw(PACKET))
GOOD_MEMBERS = FLOW | PACKET_MEMBERS | HEADER


def lines_and_problems(datagram):
    decoded = decode_sflow(datagram)
    return list(unpacked(decoded.lines)), decoded.problems


# Datagrams with something of everything

GATEWAY = address("203.0.113.1") + words(1, 2, 3, 2, 2, 2, 65001, 65002, 2, 1, 65003, 2, 7, 8, 100)
EXTENDED4 = (
    (1, words(10, 1, 20, 2)),
    (2, address("203.0.113.9") + words(24, 16)),
    (3, words(1, 2, 3) + words(1, 2, 2, 65001, 65002) + words(1, 7, 100)),
    (4, opaque(b"me") + opaque(b"you")),
    (5, words(1) + opaque(b"/x")),
)
WHOLE = datagram5(
    flow(switch(), raw(PACKET), router()),
    counters(record(1005, opaque(b"eth0"))),
    drop(raw(PACKET), record(1038, opaque(b"f"))),
    expanded_flow(raw(V6), record(1003, GATEWAY)),
    sample(4300 << 12 | 1002, bytes(8)),
)
OLD_SAMPLES = (
    flow4(1, raw4(PACKET), *EXTENDED4[:2]),
    flow4(2, IP4),
    counters4(7, words(10) + hyper(5) + words(1, 2, 3, 4)),
)


def one(datagram, problems=()):
    """The members of the only line of a datagram."""
    decoded = decode_sflow(datagram)
    assert decoded.problems == list(problems)
    (line,) = unpacked(decoded.lines)
    return line


def extended(*records):
    """What records alone add to a flow."""
    return {name: value for name, value in one(datagram5(flow(*records))).items() if name not in FLOW}
