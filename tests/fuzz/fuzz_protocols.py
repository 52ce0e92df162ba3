"""Any datagrams, one after the other to one decoder, give valid lines, problems or a DecodeError, and not too much.

An input is a sequence of datagrams, each after its length in two octets. As the decoder remembers templates, what a
datagram does may depend on those before it.
"""

import json
import struct
from collections.abc import Iterable

from overflowd_tools import template_file
from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.biflow import split_rows
from overflowd_tools.protocols.detect import Decoder
from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.lines import Decoded
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.records import FlowWriter
from tests.protocols import netflow_builders as netflow
from tests.protocols import set_builders as sets
from tests.protocols import sflow_builders as sflow

TABLE = ElementTable.standard()
ARRIVAL = (bytes((192, 0, 2, 1)), 2055, 1_700_000_000_000_000_000)
LINES_PER_OCTET = 2
OCTETS_PER_OCTET = 400
"""The shortest records are of one octet, and a line says also who sent it and when."""


def datagrams(data: bytes) -> Iterable[bytes]:
    while len(data) > 2:
        length = int.from_bytes(data[:2])
        yield data[2 : 2 + length]
        data = data[2 + length :]


def joined(*parts: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(part)) + part for part in parts)


def check_lines(lines: list[bytes]) -> int:
    for line in lines:
        assert line.startswith(b'{"type":"')
        assert line.endswith(b"}\n")
        assert line.count(b"\n") == 1
        members = json.loads(line, object_pairs_hook=unique)
        if "pcount" in members:
            assert list(members)[:2] == ["type", "pcount"]
        assert members["exporter"] == "192.0.2.1"
    return sum(map(len, lines))


def unique(members: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(members)) == len(members)
    return dict(members)


def decode_all(data: bytes, decoder: Decoder, writer: FlowWriter) -> int:
    """Return the octets of all lines."""
    written = 0
    for datagram in datagrams(data):
        try:
            decoded = decoder.decode(datagram, 0, ARRIVAL)
        except DecodeError as error:
            assert str(error).isprintable()  # noqa: PT017 - either end of the decoder is right
            continue
        if isinstance(decoded, FlowBatch):
            written += check_lines(writer.lines(decoded, *ARRIVAL))
        elif isinstance(decoded, Decoded):
            written += check_lines(writer.decoded(decoded, decoded.lines, *ARRIVAL))
        else:
            for message in decoded or ():
                rows = [*message.rows]
                assert all(problem.isprintable() for problem in message.problems)
                assert len(message.problems) <= len(datagram)
                written += check_lines(writer.rows(rows))
                check_lines(writer.rows(split_rows(rows, decoder.known().elements())))
    return written


def one_input(data: bytes) -> None:
    decoder = Decoder(table=lambda: TABLE, templates=True)
    written = decode_all(data, decoder, FlowWriter(envelope=True))
    assert written <= OCTETS_PER_OCTET * len(data) + 1000
    survey = Decoder(table=lambda: TABLE, survey=True)
    assert decode_all(data, survey, FlowWriter()) == 0
    again = Decoder(table=lambda: TABLE, sampled_octets=False, counters=False)
    again.take_survey(survey)
    decode_all(data, again, FlowWriter())
    kept = template_file.save(decoder.known(), 1_700_000_000)
    loaded = Decoder(table=lambda: TABLE)
    assert list(template_file.load("kept", kept, loaded.known(), 1_700_000_000)) == []


FIELDS9 = [*sets.KEYS, (21, 4), (22, 4), (1, 4), (2, 4), (34, 4)]
STRINGS = [(8, 4), (12, 4), (1, 8), (2, 3), (82, 0xFFFF), (6871, 2, 6871), (1, 8, 29305), (2, 4), (2, 4), (210, 3)]
TEXTS = bytes(8) + bytes(11) + b"\5eth0\x1b" + b"ab" + bytes(8) + bytes(8) + b"pad"


def seeds() -> Iterable[bytes]:
    yield joined(*(netflow.random_datagram(1, kind, 2) for kind in netflow.KINDS))
    yield joined(
        sets.netflow9(sets.template9(256, FIELDS9), sets.data(256, bytes(37) * 2), count=3),
        sets.netflow9(sets.data(256, bytes(range(37)) * 3), count=3, sequence=1),
    )
    options = sets.template(258, [(149, 4), (160, 8), (34, 4)], scopes=1)
    yield joined(
        sets.ipfix(sets.data(256, sets.flow())),
        sets.ipfix(sets.template(256, sets.FLOW), sets.data(256, sets.flow() * 2)),
        sets.ipfix(options, sets.data(258, bytes(16)), sets.data(256, sets.flow() + b"\0\0\0"), sequence=2),
        sets.ipfix(sets.template(256, []), sets.data(256, sets.flow()), sequence=4),
    )
    yield joined(sets.ipfix(sets.template(300, STRINGS), sets.data(300, TEXTS * 2)))
    lists = [(8, 4), (291, 0xFFFF), (293, 0xFFFF)]
    basic = b"\x0b" + b"\3\0\7\0\2" + b"\0\x35\0\x50\1\xbb"
    nested = b"\x11" + b"\4" + b"\1\2" + struct.pack("!HH", 302, 14) + bytes(10)
    records = sets.data(301, bytes(4) + basic + nested)
    yield joined(sets.ipfix(sets.template(302, [(8, 4), (12, 4), (7, 2)]), sets.template(301, lists), records))
    yield joined(sflow.WHOLE, sflow.datagram4(*sflow.OLD_SAMPLES), sflow.datagram5(sflow.GOOD))
