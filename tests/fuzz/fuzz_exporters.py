"""Streams of several exporters, some of them hostile: what they send never changes the lines of one that is honest.

An input is a sequence of datagrams, each after an octet that says whose it is and its length in two octets. Between
them come the datagrams of an exporter that sends good ones. The bounds of what is remembered are small here, so that
inputs reach them.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any
from unittest import mock

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import announced, exporters
from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.exporters import Batch, Exporters
from overflowd_tools.protocols.netflow9 import How, Message, ipfix_messages
from overflowd_tools.records import FlowWriter
from tests.protocols import set_builders as build
from tests.protocols.bounds import SMALL, assert_bounded
from tests.protocols.set_builders import decode_ipfix, decode_netflow9

TABLE = ElementTable.standard()
WRITER = FlowWriter(envelope=True)
HOSTILE = 4
MAX_FIELDS = 50
NOW = build.SECOND * 10**9

STRINGS = [(8, 4), (82, build.VARIABLE), (1, 8), (2, 3), (1, 8, 29305)]
TEXTS = bytes(4) + build.variable(b"eth0") + bytes(19)
FRAMES = [(315, build.VARIABLE), (312, 2), (10, 4)]
SAMPLERS = [(302, 2), (34, 4)]
LISTS = [(8, 4), (291, build.VARIABLE), (292, build.VARIABLE)]
LISTED = bytes(4) + build.variable(build.basic_list(7, 2, b"\0\x35\0\x50")) + build.variable(b"\4\1\0" + bytes(29))


def good() -> list[bytes]:
    """The datagrams of the honest exporter: of its protocols, with options, lists, and data before their template."""
    flows = build.data(256, build.flow(1) + build.flow(2))
    told = build.template(257, SAMPLERS, scopes=1), build.data(257, struct.pack("!HIHI", 1, 10, 2, 20))
    sampled = build.template(258, [*build.FLOW, (302, 2)])
    of_sampler = build.data(258, build.flow(3) + b"\0\2")
    fields9 = [*build.KEYS, (21, 4), (22, 4), (1, 4), (2, 4)]
    return [
        build.ipfix(build.template(256, build.FLOW), flows),
        build.ipfix(of_sampler, sequence=2),
        build.ipfix(sampled, *told, build.template(300, STRINGS), build.data(300, TEXTS), sequence=3),
        build.ipfix(flows, of_sampler, sequence=6),
        build.ipfix(build.template(301, LISTS), build.data(301, LISTED), sequence=12),
        build.netflow9(build.template9(256, fields9), build.data(256, bytes(range(29))), count=2),
        build.ipfix(build.withdrawal(300), flows, build.data(300, TEXTS), sequence=13),
        build.netflow9(build.data(256, bytes(range(58))), count=2, sequence=1),
    ]


GOOD = good()


def decode(datagram: bytes, address: int, known: Exporters) -> Iterator[Message]:
    """Decode a datagram; what is no message at all gives none."""
    arrival = bytes((192, 0, 2, address)), 2055, NOW
    try:
        if datagram[:2] == b"\0\x09":
            yield decode_netflow9(datagram, known, arrival, How(batches=True, templates=True))
        elif datagram[:2] == b"\0\x0a":
            for message in ipfix_messages(datagram):
                yield decode_ipfix(message, known, arrival, How(batches=True, templates=True))
    except DecodeError as error:
        assert str(error).isprintable()  # noqa: PT017 - no message is an answer too


def count(message: Message) -> int:
    """Return the number of records in a message."""
    flows = sum(row.flows.announced for row in message.rows if isinstance(row, Batch))
    return flows + sum(not isinstance(row, Batch) and row.type != "template" for row in message.rows)


def honest_lines(datagram: bytes, known: Exporters) -> list[dict[str, Any]]:
    """The lines, but for the order of members: it tells how many records there were of a template, of anyone."""
    return [json.loads(line) for message in decode(datagram, 99, known) for line in WRITER.rows(message.rows)]


def expected() -> list[list[dict[str, Any]]]:
    known = Exporters(TABLE)
    return [honest_lines(datagram, known) for datagram in GOOD]


EXPECTED = expected()


def hostile(data: bytes) -> list[tuple[int, bytes]]:
    """Take an input apart: whose each datagram is, and the datagram."""
    found = []
    while len(data) > 3:
        whose, length = data[0] % HOSTILE, int.from_bytes(data[1:3])
        found.append((whose, data[3 : 3 + length]))
        data = data[3 + length :]
    return found


def joined(*datagrams: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("!BH", whose, len(datagram)) + datagram for whose, datagram in datagrams)


def one_input(data: bytes) -> None:
    # Heard twice, an exporter is no newcomer any more.
    steps = [(GOOD[0], None), (GOOD[1], None), *zip_longest(GOOD[2:], hostile(data))]
    lines, octets, records = [], 0, 0
    with mock.patch.multiple(exporters, **SMALL), mock.patch.object(announced, "MAX_FIELDS", MAX_FIELDS):
        known = Exporters(TABLE)
        for good_one, bad_one in steps:
            if bad_one is not None:
                octets += len(bad_one[1])
                for message in decode(bad_one[1], bad_one[0], known):
                    records += count(message)
                    assert all(problem.isprintable() for problem in message.problems)
                    for line in WRITER.rows(message.rows):
                        assert json.loads(line)["exporter"] == f"192.0.2.{bad_one[0]}"
                assert records <= octets, "each octet is of one record at most"
            if good_one is not None:
                lines.append(honest_lines(good_one, known))
        assert_bounded(known, SMALL)
    assert lines == EXPECTED


def seeds() -> Iterable[bytes]:
    yield joined(*((number % HOSTILE, datagram) for number, datagram in enumerate(GOOD)))
    many = [build.ipfix(build.template(256 + n, [(n, 4), (n + 1, 4)] * 20), domain=n) for n in range(20)]
    yield joined(*((number % 3, datagram) for number, datagram in enumerate(many)))
    rates = struct.pack("!HI", 1, 10) * 20
    domains = [*range(8), 0, 8, 0, *range(9, 14), 0]
    told = [build.ipfix(build.template(257, SAMPLERS, scopes=1), build.data(257, rates), domain=n) for n in domains]
    yield joined(*((0, datagram) for datagram in told))
    changing = [
        *(build.template(256, build.FLOW), build.data(256, build.flow()), build.template(256, STRINGS)),
        *(build.data(256, TEXTS), build.withdrawal(256), build.data(256, TEXTS), build.withdrawal(2)),
        *(build.template(256, FRAMES), build.data(256, build.variable(bytes(60)) + bytes(6))),
        build.template(256, LISTS, scopes=1),
    ]
    yield joined(*((1, build.ipfix(each, domain=1)) for each in changing), (2, build.ipfix(*changing)))
    yield joined((3, build.ipfix(build.data(256, build.flow())) * 3), (3, build.ipfix(build.template(256, build.FLOW))))
