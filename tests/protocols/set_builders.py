"""NetFlow 9 and IPFIX messages made by hand (RFC 3954 section 5, RFC 7011 section 3)."""

import struct

SECOND = 1_792_540_800
KEYS = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1)]
FLOW = [*KEYS, (1, 4), (2, 4), (152, 8), (153, 8)]


def template(number: int, fields: list[tuple[int, ...]], *, scopes: int = 0, kind: int = 0) -> bytes:
    """An IPFIX template set, or options template set; fields are (element, length) or (element, length, enterprise)."""
    body = struct.pack("!HH", number, len(fields)) + (struct.pack("!H", scopes) if scopes else b"")
    for element, length, *enterprise in fields:
        body += struct.pack("!HH", element | (0x8000 if enterprise else 0), length)
        body += b"".join(struct.pack("!I", pen) for pen in enterprise)
    return data(kind or (3 if scopes else 2), body)


def template9(number: int, fields: list[tuple[int, int]]) -> bytes:
    """A NetFlow 9 template set."""
    return template(number, fields, kind=-1)


def data(number: int, content: bytes) -> bytes:
    """A set; -1 for its number is 0."""
    return struct.pack("!HH", max(number, 0), 4 + len(content)) + content


def flow(host: int = 1, *, packets: int = 2, octets: int = 120) -> bytes:
    """A record of FLOW."""
    addresses = bytes((198, 51, 100, host, 203, 0, 113, host))
    times = struct.pack("!QQ", SECOND * 1000 - 2000, SECOND * 1000 - 1000)
    return addresses + struct.pack("!HHBII", 1000 + host, 80, 6, octets, packets) + times


def ipfix(*sets: bytes, sequence: int = 0, domain: int = 1, seconds: int = SECOND) -> bytes:
    """A message of IPFIX."""
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), seconds, sequence, domain) + body


def netflow9(*sets: bytes, count: int = 1, sequence: int = 0, domain: int = 1) -> bytes:
    """A datagram of NetFlow 9 from an exporter whose sysUptime is 1000 s."""
    return struct.pack("!HHIIII", 9, count, 1_000_000, SECOND, sequence, domain) + b"".join(sets)


def capture(*datagrams: bytes, source: str = "192.0.2.1", port: int = 4739) -> bytes:
    """A capture of these datagrams, one a second."""
    from tests.make_data import datagram

    packets = [datagram(source, port, payload) for payload in datagrams]
    records = [
        struct.pack("<IIII", SECOND + 8 + number, 0, len(packet), len(packet)) + packet
        for number, packet in enumerate(packets)
    ]
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + b"".join(records)
