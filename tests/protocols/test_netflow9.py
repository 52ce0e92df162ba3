"""Messages of sets, in wire order: templates that come, change and go, data before and after them, and broken ones."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import netflow9 as module
from overflowd_tools.protocols.exporters import Batch, Exporters
from overflowd_tools.protocols.netflow9 import How, ipfix_messages
from tests.protocols.set_builders import (
    FLOW,
    HERE,
    SECOND,
    TABLE,
    VARIABLE,
    data,
    decode_ipfix,
    decode_netflow9,
    flow,
    ipfix,
    netflow9,
    options9,
    send,
    send9,
    template,
    template9,
    variable,
    withdrawal,
)

PORTS = template(256, [(7, 2)])
FIRST = data(256, b"\0\1")


def members(message) -> list[dict]:
    """The members of the rows, without the time of export, which stands in for their times."""
    return [
        {name: value for name, value in row.members.items() if name not in ("start_ms", "end_ms", "time_src")}
        for row in message.rows
    ]


def kinds(message) -> list[str]:
    return [row.type for row in message.rows]


# Headers


@pytest.mark.parametrize("size", range(20))
def test_netflow_9_headers_cut_short(size):
    with pytest.raises(DecodeError, match=f"NetFlow 9 header cut short: {size} of 20 octets"):
        decode_netflow9(netflow9()[:size], Exporters(), HERE)


@pytest.mark.parametrize("size", range(16))
def test_ipfix_headers_cut_short(size):
    with pytest.raises(DecodeError, match=f"IPFIX header cut short: {size} of 16 octets"):
        decode_ipfix(ipfix()[:size], Exporters(), HERE)


def test_what_the_header_says():
    message = send9(Exporters(), sequence=7, domain=3, count=0)
    export = message.export
    assert (export.source, export.exporter, export.port, export.domain) == ("netflow9", HERE[0], 4739, 3)
    assert (export.export_ms, export.uptime_ms, export.envelope) == (SECOND * 1000, 1_000_000, {"seq": 7})
    message = send(Exporters(), sequence=8, domain=4, source=(HERE[0], 1, 99))
    export = message.export
    assert (export.source, export.domain, export.uptime_ms, export.envelope) == ("ipfix", 4, None, {"seq": 8})
    assert (message.rows, message.problems, message.unknown, export.received_ns) == ([], [], [], 99)


def test_netflow_9_counts_promise_nothing():
    """Neither a count that lies nor one of 0 changes what is read (Sghazzawi#5, ipfixcol2#87)."""
    for count in (0, 1, 65535):
        assert members(send9(Exporters(), template9(256, [(7, 2)]), data(256, b"\0\1\0\2"), count=count)) == [
            {"sport": 1},
            {"sport": 2},
        ]


@pytest.mark.parametrize("length", [0, 15, 16, 30, 65535])
def test_an_ipfix_length_that_lies(length):
    whole = ipfix(PORTS, FIRST)
    message = decode_ipfix(whole[:2] + struct.pack("!H", length) + whole[4:], Exporters(), HERE)
    assert members(message) == [{"sport": 1}]
    assert message.problems == [f"IPFIX message that calls itself {length} octets long, and has {len(whole)}"]


def test_several_messages_in_a_datagram():
    one, other = ipfix(PORTS, FIRST), ipfix(data(256, b"\0\2"), sequence=1)
    assert list(ipfix_messages(one + other)) == [one, other]
    assert list(ipfix_messages(one + b"\0\x09" + other)) == [one + b"\0\x09" + other]
    assert list(ipfix_messages(one + bytes(3))) == [one + bytes(3)]
    assert list(ipfix_messages(b"")) == []
    assert list(ipfix_messages(one[:9])) == [one[:9]]


@given(some.binary(max_size=99), some.binary(max_size=99))
def test_messages_of_any_octets(before, after):
    octets = before + b"\0\x0a\0\x11" + after
    found = list(ipfix_messages(octets))
    assert b"".join(found) == octets
    assert all(found)


# Sets


def test_sets_of_unknown_kinds():
    known = data(256, b"\0\5")
    assert send(Exporters(), data(-1, b"\1"), data(1, b""), data(4, b""), data(255, b""), PORTS, known).problems == [
        *(f"set of unknown kind {number}" for number in (0, 1, 4, 255)),
    ]
    assert send9(Exporters(), data(2, b""), data(3, b"")).problems == ["set of unknown kind 2", "set of unknown kind 3"]


def test_what_comes_before_a_broken_set_is_read():
    message = send(Exporters(), PORTS, FIRST, b"\1\0\0\3", FIRST)
    assert members(message) == [{"sport": 1}]
    assert message.problems == ["set of impossible length 3"]


def test_a_set_beyond_its_message():
    message = send(Exporters(), PORTS, b"\1\0\0\x63\0\1\0\2\0")
    assert members(message) == [{"sport": 1}, {"sport": 2}]
    assert message.problems == ["set of 99 octets where 9 are left"]


def test_zeroes_after_the_last_set():
    message = send(Exporters(), PORTS, FIRST, bytes(1300))
    assert (members(message), message.problems) == ([{"sport": 1}], [])


# Templates that come, change and go


def test_redefinition_in_wire_order():
    other = template(256, [(11, 2)])
    message = send(Exporters(), PORTS, FIRST, other, FIRST, PORTS, FIRST)
    assert members(message) == [{"sport": 1}, {"dport": 1}, {"sport": 1}]


def test_redefinition_in_netflow_9():
    message = send9(Exporters(), template9(256, [(7, 2)]), FIRST, template9(256, [(7, 1)]), FIRST)
    assert members(message) == [{"sport": 1}, {"sport": 0}, {"sport": 1}]


def test_a_number_that_goes_over_to_options_and_back():
    options = template(256, [(149, 1), (82, 1)], scopes=1)
    message = send(Exporters(), PORTS, FIRST, options, data(256, b"\1x"), PORTS, FIRST)
    assert kinds(message) == ["option", "flow", "flow"]


@pytest.mark.parametrize(
    ("sets", "flows", "kept"),
    [
        ([withdrawal(256)], 0, {257, 300, 301}),
        ([withdrawal(256, 3)], 0, {257, 300, 301}),
        ([withdrawal(2)], 0, {300, 301}),
        ([withdrawal(3, 3)], 1, {256, 257}),
        ([withdrawal(3)], 1, {256, 257}),
        ([withdrawal(2, 3)], 0, {300, 301}),
        ([withdrawal(999)], 1, {256, 257, 300, 301}),
        ([withdrawal(300)], 1, {256, 257, 301}),
        ([withdrawal(256), withdrawal(256)], 0, {257, 300, 301}),
        ([data(2, struct.pack("!HHHH", 256, 0, 257, 0))], 0, {300, 301}),
        ([data(2, struct.pack("!HHHH", 2, 0, 3, 0))], 0, set()),
        ([withdrawal(256), PORTS], 1, {256, 257, 300, 301}),
        ([data(2, struct.pack("!HH", 256, 0) + PORTS[4:])], 1, {256, 257, 300, 301}),
    ],
)
def test_withdrawals(sets, flows, kept):
    """Of one, of all of a kind, of some that is not there; and definition, withdrawal and data in one message."""
    exporters = Exporters()
    options = [template(number, [(149, 1), (82, 1)], scopes=1) for number in (300, 301)]
    message = send(exporters, PORTS, template(257, [(7, 2)]), *options, *sets, FIRST)
    assert len(message.rows) == flows
    [(_, session)] = exporters.sessions()
    assert set(session.layouts) == kept
    assert message.problems == []
    assert message.unknown == ([] if flows else [256])


def test_withdrawals_of_netflow_9():
    """It has none; a template without fields is no template, and what it had stands for is not known any more."""
    exporters = Exporters()
    message = send9(exporters, template9(256, [(7, 2)]), template9(257, [(7, 2)]), withdrawal(256, -1), FIRST)
    assert (message.rows, message.unknown) == ([], [256])
    [(_, session)] = exporters.sessions()
    assert set(session.layouts) == {257}


@pytest.mark.parametrize(
    "bad",
    [
        template(256, [(7, 0)]),
        data(2, struct.pack("!HHHH", 256, 9, 7, 2)),
        data(3, struct.pack("!HHHHH", 256, 1, 5, 7, 2)),
    ],
)
def test_a_template_that_cannot_be_takes_the_old_one_with_it(bad):
    """Or data would be read by one that holds no more (go-ipfix#383)."""
    exporters = Exporters()
    send(exporters, PORTS)
    message = send(exporters, bad, FIRST)
    assert message.rows == []
    assert len(message.problems) == 1
    assert message.unknown == [256]


def test_templates_before_a_broken_one_are_learned():
    broken = data(2, PORTS[4:] + struct.pack("!HH", 300, 77))
    assert members(send(Exporters(), broken, FIRST)) == [{"sport": 1}]


def test_lines_of_templates():
    exporters = Exporters()
    how = How(templates=True)

    def told(*sets: bytes) -> list[tuple[str, int]]:
        message = decode_ipfix(ipfix(*sets), exporters, HERE, how)
        return [(row.members["event"], row.members["template"]) for row in message.rows if row.type == "template"]

    assert told(PORTS, FIRST) == [("learned", 256)]
    assert told(PORTS) == []
    assert told(template(256, [(7, 1)])) == [("learned", 256)]
    assert told(withdrawal(999), withdrawal(256)) == [("withdrawn", 256)]
    assert told(template(256, [(7, 0)])) == []


# Data before their template


def test_data_before_their_template_in_one_message():
    message = send(Exporters(), FIRST, data(256, b"\0\2"), PORTS, data(256, b"\0\3"))
    assert members(message) == [{"sport": 1}, {"sport": 2}, {"sport": 3}]
    assert message.unknown == [256]


@pytest.mark.parametrize("of_netflow9", [False, True])
def test_data_before_their_template(of_netflow9):
    """With the header that they came with."""
    exporters = Exporters()
    if of_netflow9:
        assert send9(exporters, FIRST, sequence=5).rows == []
        message = send9(exporters, template9(256, [(7, 2)]), sequence=6)
    else:
        assert send(exporters, FIRST, sequence=5, seconds=SECOND - 9).rows == []
        message = send(exporters, PORTS, sequence=6)
        assert message.rows[0].export.export_ms == SECOND * 1000 - 9000
    assert members(message) == [{"sport": 1}]
    assert message.rows[0].export.envelope == {"seq": 5}
    assert list(exporters.waiting()) == []


def test_options_before_their_template():
    exporters = Exporters()
    send(exporters, data(257, b"\1\x40"))
    told = template(257, [(149, 1), (34, 1)], scopes=1)
    rows = send(exporters, told, template(256, [(2, 1)]), data(256, b"\1")).rows
    assert rows[0].type == "option"
    assert rows[1].members["sampling_rate"] == 64


def test_what_waits_is_read_by_the_first_template_that_comes():
    exporters = Exporters()
    send(exporters, FIRST)
    other = template(256, [(11, 2)])
    assert members(send(exporters, PORTS, other, FIRST)) == [{"sport": 1}, {"dport": 1}]


@pytest.mark.parametrize("gone", [withdrawal(256), template(256, [(7, 0)])])
def test_a_withdrawal_drops_what_waits(gone):
    exporters = Exporters()
    send(exporters, FIRST)
    assert send(exporters, gone, PORTS).rows == []


def test_a_template_of_someone_else_does_not_help():
    exporters = Exporters()
    assert send(exporters, FIRST).unknown == [256]
    for other in ((b"\xc0\0\2\2", 4739, 0), (HERE[0], 4740, 0)):
        assert send(exporters, PORTS, source=other).rows == []
    assert send(exporters, PORTS, domain=2).rows == []
    assert send9(exporters, template9(256, [(7, 2)])).rows == []
    assert len(list(exporters.waiting())) == 1
    assert members(send(exporters, PORTS)) == [{"sport": 1}]


def test_a_template_that_is_missed_is_told_once():
    exporters = Exporters()
    told = [send(exporters, data(number, b"\0\1")).unknown for number in (256, 256, 257, 256)]
    assert told == [[256], [], [257], []]
    assert send(exporters, FIRST, domain=2).unknown == [256]


def test_no_room_for_what_waits():
    exporters = Exporters()
    problems = [each for _ in range(30) for each in send(exporters, data(256, bytes(60_000))).problems]
    assert len(problems) == 30 - 17
    assert "no room" in problems[0]


# Records


def test_netflow_9_types_from_32768_on():
    """They are types of its own, with no enterprise after them: those of Cisco's firewalls."""
    fields = [(8, 4), (233, 1), (33002, 2), (40000, 4)]
    message = send9(Exporters(), template9(256, fields), data(256, b"\xc0\0\2\7\3\3\xe9bob\0"))
    assert members(message) == [{"saddr": "192.0.2.7", "event": 3, "ext_event": 1001, "user": "bob"}]


def test_variable_length_is_for_netflow_9_too():
    message = send9(Exporters(), template9(256, [(82, VARIABLE), (7, 2)]), data(256, variable(b"eth0") + b"\0\1"))
    assert members(message) == [{"sport": 1, "ie": {"interfaceName": "eth0"}}]


@pytest.mark.parametrize(
    ("fields", "octets", "expected"),
    [
        (
            [(230, 1), (225, 4), (227, 2)],
            b"\4\xc0\0\2\7\0\x50",
            {"nat": {"event": 4, "saddr": "192.0.2.7", "sport": 80}},
        ),
        ([(233, 1), (8, 4)], b"\1\xc0\0\2\7", {"event": 1, "saddr": "192.0.2.7"}),
        ([(233, 1), (231, 4), (232, 4)], b"\2" + struct.pack("!II", 7, 9), {"event": 2, "bcount": 7, "r_bcount": 9}),
        ([(361, 2), (362, 2), (230, 1)], b"\0\1\0\2\x10", {"nat": {"event": 16, "block_start": 1, "block_end": 2}}),
    ],
)
def test_events_have_the_counters_that_they_have(fields, octets, expected):
    message = send(Exporters(), template(256, fields), data(256, octets))
    assert members(message) == [expected]


def test_records_that_no_one_can_read_at_once(monkeypatch):
    monkeypatch.setattr(module, "MAX_RECORDS", 100)
    tiny = template(256, [(4, 1)])
    message = send(Exporters(), tiny, data(256, bytes(60)), data(256, bytes(60)), data(256, bytes(40)))
    assert len(message.rows) == 60
    assert message.problems == ["more than 100 records at once"]


def test_broken_records_are_told_once():
    strings = template(256, [(82, VARIABLE), (4, 1)])
    message = send(Exporters(), strings, data(256, variable(b"a") + b"\1" + b"\x63b"))
    assert len(message.rows) == 1
    assert message.problems == ["interfaceName of 99 octets reaches beyond its set"]
    told = template(256, [(149, 1), (82, VARIABLE)], scopes=1)
    message = send(Exporters(), told, data(256, b"\1" + variable(b"a") + b"\1\x63b"))
    assert (kinds(message), len(message.problems)) == (["option"], 1)


def test_options_come_before_the_flows_of_their_message():
    told = options9(257, [(1, 4)], [(34, 4)])
    message = send9(Exporters(), template9(256, [(7, 2)]), FIRST, told, data(257, bytes(8)))
    assert kinds(message) == ["option", "flow"]


# Batches and surveys


def test_batches():
    exporters = Exporters()
    how = How(batches=True)
    text = template(257, [(82, VARIABLE)]), data(257, b"\3eth")
    sets = template(256, FLOW), data(256, flow(1) + flow(2)), *text
    rows = decode_ipfix(ipfix(*sets), exporters, HERE, how).rows
    assert [type(row) is Batch for row in rows] == [True, False]
    rows = decode_ipfix(ipfix(data(256, flow(3)), data(256, flow(4)), sequence=9), exporters, HERE, how).rows
    assert [row.flows.lost for row in rows] == [6, 0]
    rows = decode_ipfix(ipfix(data(257, b"\3eth"), data(256, flow(4)), sequence=15), exporters, HERE, how).rows
    assert rows[0].members["seq_lost"] == 4
    assert rows[1].flows.lost == 0


def test_a_survey_learns_and_shows_nothing():
    exporters = Exporters()
    told = template(257, [(149, 1), (34, 1)], scopes=1)
    message = decode_ipfix(ipfix(PORTS, FIRST, told, data(257, b"\1\x40")), exporters, HERE, How(survey=True))
    assert message.rows == []
    [(_, session)] = exporters.sessions()
    assert set(session.layouts) == {256, 257}
    assert session.options.rate({}, 256) == 64


@settings(max_examples=200)
@given(
    some.lists(
        some.tuples(
            some.sampled_from([0, 1, 2, 3, 4, 256, 257, 300]),
            some.binary(max_size=30)
            | some.sampled_from([PORTS[4:], template(257, FLOW)[4:], withdrawal(2)[4:], flow(), bytes(4)]),
        ),
        max_size=8,
    ),
    some.binary(max_size=6),
)
def test_any_sets(pairs, rest):
    """Rows and problems come of anything, the same with batches, and no set is read twice."""
    body = [data(number or -1, content) for number, content in pairs]
    for decode, whole in ((decode_ipfix, ipfix(*body, rest)), (decode_netflow9, netflow9(*body, rest))):
        message = decode(whole, Exporters(TABLE), HERE)
        assert all(problem.isprintable() for problem in message.problems)
        assert len(message.rows) <= len(whole)
        batches = decode(whole, Exporters(TABLE), HERE, How(batches=True))
        count = sum(
            len(row.flows.records) // row.flows.template.length if type(row) is Batch else 1 for row in batches.rows
        )
        assert (count, batches.problems, batches.unknown) == (len(message.rows), message.problems, message.unknown)
