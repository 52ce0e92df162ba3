"""NetFlow 9 and IPFIX messages made by hand (RFC 3954 section 5, RFC 7011 section 3), and exporters to hear them."""

import struct
from collections.abc import Iterable
from typing import Any

from overflowd_tools.protocols import netflow9 as decoders
from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.netflow9 import AS_SENT, How, Message

Fields = Iterable[tuple[int, ...]]
SECOND = 1_792_540_800
HERE = (b"\xc0\0\2\1", 4739, 0)
VARIABLE = 65535
TABLE = ElementTable.standard()
KEYS = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1)]
FLOW = [*KEYS, (1, 4), (2, 4), (152, 8), (153, 8)]


def record(number: int, fields: Fields, *, scopes: int = 0, count: int | None = None) -> bytes:
    """A template record of IPFIX; fields are (element, length) or (element, length, enterprise)."""
    fields = list(fields)
    body = struct.pack("!HH", number, len(fields) if count is None else count)
    body += struct.pack("!H", scopes) if scopes else b""
    for element, length, *enterprise in fields:
        body += struct.pack("!HH", element | (0x8000 if enterprise else 0), length)
        body += b"".join(struct.pack("!I", pen) for pen in enterprise)
    return body


def template(number: int, fields: Fields, *, scopes: int = 0, kind: int = 0) -> bytes:
    """An IPFIX template set, or options template set."""
    return data(kind or (3 if scopes else 2), record(number, fields, scopes=scopes))


def withdrawal(number: int, kind: int = 2) -> bytes:
    """A set that withdraws a template."""
    return data(kind, record(number, []))


def template9(number: int, fields: Fields) -> bytes:
    """A NetFlow 9 template set."""
    return template(number, fields, kind=-1)


def options9(number: int, scopes: Fields, fields: Fields) -> bytes:
    """An options template FlowSet of NetFlow 9."""
    pairs = [b"".join(struct.pack("!HH", *field) for field in part) for part in (scopes, fields)]
    return data(1, struct.pack("!HHH", number, *map(len, pairs)) + b"".join(pairs))


def data(number: int, content: bytes) -> bytes:
    """A set; -1 for its number is 0."""
    return struct.pack("!HH", max(number, 0), 4 + len(content)) + content


def variable(octets: bytes, *, long: bool = False) -> bytes:
    """A field of variable length (RFC 7011 section 7)."""
    if len(octets) < 255 and not long:
        return bytes([len(octets)]) + octets
    return b"\xff" + struct.pack("!H", len(octets)) + octets


def basic_list(element: int, length: int, content: bytes, *, semantic: int = 3, enterprise: int | None = None) -> bytes:
    """A basicList (RFC 6313 section 4.5.1)."""
    number = element | (0x8000 if enterprise is not None else 0)
    pen = struct.pack("!I", enterprise) if enterprise is not None else b""
    return struct.pack("!BHH", semantic, number, length) + pen + content


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


def whole(message: Message) -> Message:
    """A message whose rows are all there, in a list, and all problems with them."""
    return message._replace(rows=[*message.rows])


def decode_ipfix(*arguments: Any) -> Message:
    return whole(decoders.decode_ipfix(*arguments))


def decode_netflow9(*arguments: Any) -> Message:
    return whole(decoders.decode_netflow9(*arguments))


def send(exporters: Exporters, *sets: bytes, source: tuple[bytes, int, int] = HERE, **header: int) -> Message:
    """Let a message of IPFIX be heard."""
    return decode_ipfix(ipfix(*sets, **header), exporters, source)


def send9(exporters: Exporters, *sets: bytes, source: tuple[bytes, int, int] = HERE, **header: int) -> Message:
    """Let a datagram of NetFlow 9 be heard."""
    return decode_netflow9(netflow9(*sets, **header), exporters, source)


def shown(*sets: bytes, exporters: Exporters | None = None, how: How = AS_SENT) -> list[dict]:
    """The members of the rows of one message of IPFIX."""
    return [row.members for row in decode_ipfix(ipfix(*sets), exporters or Exporters(TABLE), HERE, how).rows]
