"""Structured data of IPFIX (RFC 6313): lists of elements, of records, of lists; and lists that lie."""

import struct

import pytest

from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.lists import MAX_DEPTH, MAX_ELEMENTS
from tests.protocols.set_builders import VARIABLE, basic_list, data, send, shown, template, variable

BASIC, SUB, MULTI = 291, 292, 293
INNER = template(300, [(7, 2), (152, 8), (153, 8), (21, 4)])
RECORD = struct.pack("!HQQI", 80, 5000, 7000, 9)
READ = {
    "sport": 80,
    "etime": 9,
    "ie": {"flowStartMilliseconds": 5000, "flowEndMilliseconds": 7000},
}
"""A record in a list: nobody works out its start_ms and end_ms, so its times are shown as they are."""


def one(element: int, octets: bytes):
    """A list as it is shown."""
    [members] = shown(INNER, template(256, [(element, VARIABLE)]), data(256, variable(octets)))
    [(_, value)] = members["ie"].items()
    return value


def sub(content: bytes, *, number: int = 300, semantic: int = 4) -> bytes:
    return struct.pack("!BH", semantic, number) + content


def block(content: bytes, *, number: int = 300, length: int | None = None) -> bytes:
    return struct.pack("!HH", number, 4 + len(content) if length is None else length) + content


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (basic_list(7, 2, b"\0\1\0\2"), {"semantic": "allOf", "element": "sourceTransportPort", "values": [1, 2]}),
        (basic_list(7, 2, b"", semantic=0), {"semantic": "noneOf", "element": "sourceTransportPort", "values": []}),
        (
            basic_list(371, VARIABLE, variable(b"ab") + variable(b"c", long=True), semantic=255),
            {"semantic": "undefined", "element": "userName", "values": ["ab", "c"]},
        ),
        (
            basic_list(5, 1, b"\7\x08", enterprise=77, semantic=9),
            {"semantic": 9, "element": "77/5", "values": ["07", "08"]},
        ),
    ],
)
def test_basic_lists(octets, expected):
    assert one(BASIC, octets) == expected


def test_lists_of_records():
    expected = {"template": 300, "values": [READ, READ]}
    assert one(SUB, sub(RECORD * 2)) == {"semantic": "ordered", **expected}
    assert one(SUB, sub(b"")) == {"semantic": "ordered", "template": 300, "values": []}
    lists = [expected, {"template": 300, "values": [READ]}]
    assert one(MULTI, b"\1" + block(RECORD * 2) + block(RECORD)) == {"semantic": "exactlyOneOf", "lists": lists}
    assert one(MULTI, b"\1") == {"semantic": "exactlyOneOf", "lists": []}


def test_lists_in_lists():
    octets = basic_list(BASIC, VARIABLE, variable(basic_list(4, 1, b"\6")) * 2)
    inner = {"semantic": "allOf", "element": "protocolIdentifier", "values": [6]}
    assert one(BASIC, octets) == {"semantic": "allOf", "element": "basicList", "values": [inner, inner]}


@pytest.mark.parametrize(
    ("element", "octets"),
    [
        (BASIC, b""),
        (BASIC, b"\3\0"),
        (BASIC, basic_list(7, 2, b"\0\1\0")),
        (BASIC, basic_list(7, 0, b"\0\1")),
        (BASIC, basic_list(371, VARIABLE, b"\5ab")),
        (BASIC, basic_list(371, VARIABLE, b"\xff\xff")),
        (BASIC, basic_list(5, 1, b"", enterprise=77)[:-1]),
        (SUB, b"\4\1"),
        (SUB, sub(RECORD, number=299)),
        (SUB, sub(RECORD + b"x")),
        (MULTI, b""),
        (MULTI, b"\1" + block(RECORD, length=3)),
        (MULTI, b"\1" + block(RECORD, length=0)),
        (MULTI, b"\1" + block(RECORD, length=500)),
        (MULTI, b"\1" + block(RECORD, number=2)),
        (MULTI, b"\1" + block(RECORD) + b"\1\2"),
    ],
)
def test_what_cannot_be_read_is_shown_as_it_is(element, octets):
    assert one(element, octets) == octets.hex()


def depth_of(value) -> int:
    return 1 + depth_of(value["values"][0]) if isinstance(value, dict) and value["values"] else 0


def test_depth_is_bounded():
    octets = basic_list(4, 1, b"\6")
    for _ in range(50):
        octets = basic_list(BASIC, VARIABLE, variable(octets))
    value = one(BASIC, octets)
    assert depth_of(value) == MAX_DEPTH
    assert octets.hex().endswith(str(value["values"][0]["values"][0]["values"][0]["values"][0]))


def test_a_template_that_has_itself_in_a_list():
    octets = b""
    for _ in range(50):
        octets = variable(sub(octets, number=256))
    exporters = Exporters()
    message = send(exporters, template(256, [(SUB, VARIABLE)]), data(256, octets))
    assert len(message.rows) == 1
    assert str(message.rows[0].members).count("'template': 256") == MAX_DEPTH


def test_elements_are_counted():
    assert len(one(BASIC, basic_list(4, 1, b"\6" * MAX_ELEMENTS))["values"]) == MAX_ELEMENTS
    too_many = basic_list(4, 1, b"\6" * (MAX_ELEMENTS + 1))
    assert one(BASIC, too_many) == too_many.hex()
    inner = variable(basic_list(4, 1, b"\6" * 1000))
    value = one(BASIC, basic_list(BASIC, VARIABLE, inner * 3))
    assert [len(each["values"]) for each in value["values"]] == [1000] * 3
    many = basic_list(BASIC, VARIABLE, inner * 6)
    assert one(BASIC, many) == many.hex()


def test_the_next_list_begins_to_count_anew():
    octets = variable(basic_list(4, 1, b"\6" * 3000))
    rows = shown(template(256, [(BASIC, VARIABLE), (BASIC, VARIABLE)]), data(256, octets * 4))
    assert [[len(value["values"]) for _, value in members["ie"]] for members in rows] == [[3000, 3000]] * 2


def test_lists_know_the_templates_of_their_own_session():
    exporters = Exporters()
    send(exporters, INNER, source=(b"\xc0\0\2\2", 1, 0))
    send(exporters, INNER, domain=9)
    listed = data(256, variable(sub(RECORD)))
    [row] = send(exporters, template(256, [(SUB, VARIABLE)]), listed).rows
    assert row.members["ie"] == {"subTemplateList": sub(RECORD).hex()}
