"""Captures and frames made by hand from the formats' own documents, to hold the readers against."""

import struct

SOURCE4, DESTINATION4 = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2])
SOURCE6, DESTINATION6 = (
    bytes.fromhex("20010db8" + "00" * 11 + "01"),
    bytes.fromhex("20010db8" + "00" * 11 + "02"),
)
PAYLOAD = b"an export datagram"
SECOND = 1_700_000_000
MACS = bytes.fromhex("020000000002020000000001")


def pcap(*packets: bytes, link=1, order="<", magic=0xA1B2C3D4, version=(2, 4), snaplen=65535, fraction=123_456):
    """A pcap file of whole packets, one second apart."""
    parts = [struct.pack(order + "IHHiIII", magic, *version, 0, 0, snaplen, link)]
    for number, data in enumerate(packets):
        parts.append(struct.pack(order + "IIII", SECOND + number, fraction, len(data), len(data)))
        parts.append(b"\xee" * 8 if magic == 0xA1B2CD34 else b"")
        parts.append(data)
    return b"".join(parts)


def option(code: int, value: bytes, order="<", length: int | None = None) -> bytes:
    return struct.pack(order + "HH", code, len(value) if length is None else length) + pad(value)


def pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def block(kind: int, body: bytes, order="<", closing: int | None = None) -> bytes:
    total = 12 + len(body)
    return (
        struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total if closing is None else closing)
    )


def ipfix(sets=b"", version=10, length=None, time=SECOND, sequence=0, domain=7) -> bytes:
    """An IPFIX message of these sets (RFC 7011 section 3.1)."""
    length = 16 + len(sets) if length is None else length
    return struct.pack(">HHIII", version, length, time, sequence, domain) + sets


def ipfix_set(content=b"", number=256, length=None) -> bytes:
    return struct.pack(">HH", number, 4 + len(content) if length is None else length) + content


def section(order="<", length=-1, version=(1, 0), options=b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, length) + options, order)


def interface(link=1, snaplen=0, options=b"", order="<") -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def enhanced(data: bytes, stamp=SECOND * 10**6, number=0, order="<", captured=None, original=None, options=b""):
    captured = len(data) if captured is None else captured
    original = captured if original is None else original
    head = struct.pack(order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, captured, original)
    return block(6, head + pad(data) + options, order)


def obsolete(data: bytes, stamp=SECOND * 10**6, number=0, order="<") -> bytes:
    head = struct.pack(order + "HHIIII", number, 7, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data))
    return block(2, head + pad(data), order)


def simple(data: bytes, original=None, order="<") -> bytes:
    return block(3, struct.pack(order + "I", len(data) if original is None else original) + pad(data), order)


def checksum(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = sum(struct.unpack(f">{len(pad2(data)) // 2}H", pad2(data)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pad2(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


def udp(payload=PAYLOAD, length=None, ports=(40_000, 2055)) -> bytes:
    return struct.pack(">HHHH", *ports, 8 + len(payload) if length is None else length, 0) + payload


def tcp(payload=b"", flags=0x12, offset=5, ports=(443, 50_000), sequence=1) -> bytes:
    options = b"\x01" * (offset * 4 - 20)
    return struct.pack(">HHIIBBHHH", *ports, sequence, 2, offset << 4, flags, 1024, 0, 0) + options + payload


def ipv4(body: bytes, protocol=17, tos=0, total=None, ihl=5, fragment=0, ident=7, version=4) -> bytes:
    header_length = ihl * 4
    head = struct.pack(
        ">BBHHHBBH4s4s",
        version << 4 | ihl,
        tos,
        header_length + len(body) if total is None else total,
        ident,
        fragment,
        64,
        protocol,
        0,
        SOURCE4,
        DESTINATION4,
    ) + b"\x01" * max(0, header_length - 20)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def ipv6(body: bytes, protocol=17, traffic_class=0, length=None) -> bytes:
    word = 6 << 28 | traffic_class << 20 | 0xBEEF
    length = len(body) if length is None else length
    return struct.pack(">IHBB16s16s", word, length, protocol, 64, SOURCE6, DESTINATION6) + body


def extension(following: int, size=8) -> bytes:
    """A hop-by-hop, routing or destination options header of `size` octets, filled with padding."""
    return bytes([following, size // 8 - 1]) + bytes(size - 2)


def fragment6(following: int, offset: int, more: bool, ident=99) -> bytes:
    return struct.pack(">BBHI", following, 0, offset | more, ident)


def ethernet(body: bytes, kind=0x0800, tags=()) -> bytes:
    wrapped = b"".join(struct.pack(">HH", tag, 100 + n) for n, tag in enumerate(tags))
    return MACS + wrapped + struct.pack(">H", kind) + body


def fragments4(body: bytes, size: int, **fields) -> list[bytes]:
    """The IPv4 packets, in order, that carry `body` in pieces of `size` octets."""
    packets = []
    for at in range(0, len(body), size):
        more = 0x2000 if at + size < len(body) else 0
        packets.append(ipv4(body[at : at + size], fragment=more | at // 8, **fields))
    return packets


def fragments6(body: bytes, size: int, ident=99, before=b"", protocol=17) -> list[bytes]:
    """As fragments4 for IPv6, with the extension header `before` (8 octets, or none) in front of each."""
    packets = []
    for at in range(0, len(body), size):
        head = fragment6(protocol, at, at + size < len(body), ident)
        packets.append(ipv6(before + head + body[at : at + size], protocol=0 if before else 44))
    return packets
