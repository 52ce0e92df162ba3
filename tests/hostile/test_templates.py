"""Templates, options and lists that lie: items 7 to 13."""

import struct

import pytest

from tests.hostile import builders as build
from tests.hostile.builders import (
    FIELDS,
    OTHER,
    OTHER9,
    SECOND,
    TEMPLATE,
    TEMPLATE9,
    VARIABLE,
    basic_list,
    data,
    ipfix,
    netflow5,
    netflow9,
    never_came,
    options9,
    row,
    rows,
    template,
    template9,
    variable,
    withdrawal,
)


def record(number: int, count: int, *fields: tuple[int, int], scopes: int | None = None) -> bytes:
    """A template record whose count of fields, and of scopes, may lie."""
    head = struct.pack("!HH", number, count) + (b"" if scopes is None else struct.pack("!H", scopes))
    return head + b"".join(struct.pack("!HH", *field) for field in fields)


# --- 7. templates and records of nothing


@pytest.mark.parametrize(
    ("message", "hosts", "reasons"),
    [
        (ipfix(withdrawal(300), rows(8)), [], [never_came()]),
        (ipfix(TEMPLATE, rows(7), withdrawal(300), rows(8)), [7], [never_came()]),
        (netflow9(data(-1, record(300, 0)), rows(8)), [], [never_came(source="netflow9")]),
        (netflow9(TEMPLATE9, rows(7), data(-1, record(300, 0)), rows(8)), [7], [never_came(source="netflow9")]),
        (netflow9(options9(300, b"", b""), rows(8)), [], [never_came(source="netflow9")]),
        (
            ipfix(template(300, [(8, 0), (12, 0)]), rows(8)),
            [],
            ["template 300 is of records of 0 octets", never_came()],
        ),
        (
            netflow9(template9(300, [(8, 0), (12, 0)]), rows(8)),
            [],
            ["template 300 is of records of 0 octets", never_came(source="netflow9")],
        ),
        (
            ipfix(template(300, [(8, 0)], scopes=1), rows(8)),
            [],
            ["template 300 is of records of 0 octets", never_came()],
        ),
        (
            ipfix(template(300, [(8, 1), *[(12, 0)] * 5000]), rows(8)),
            [],
            ["template 300 has 5000 fields of no octets", never_came()],
        ),
    ],
)
def test_templates_without_fields_or_octets(between, message, hosts, reasons):
    done = between(message)
    assert (done.hosts, done.reasons) == (hosts, reasons)


def test_some_fields_of_no_octets(between):
    fields = [(8, 4), (371, 0), (12, 4), (1, 4), (27, 0)]
    done = between(ipfix(template(300, fields), rows(7, 8)), netflow9(template9(300, fields), rows(7, 8)))
    assert (done.hosts, done.told) == ([7, 8] * 2, [])
    assert {line["user"] for line in done.lines} == {""}


INTERFACE = struct.pack("!HH", 82, 4)


@pytest.mark.parametrize("scope", [0, 1, 3, 768])
def test_scopes_of_any_length(between, scope):
    """No octets are of Juniper's SRX."""
    options = options9(300, struct.pack("!HH", 1, scope), INTERFACE)
    done = between(netflow9(options, data(300, bytes(scope) + b"eth0"), OTHER9, rows(7, number=301)))
    assert (done.hosts, done.told) == ([7], [])


def test_a_scope_longer_than_its_record(between):
    options = options9(300, struct.pack("!HH", 1, 768), INTERFACE)
    done = between(netflow9(options, data(300, bytes(8) + b"eth0"), OTHER9, rows(7, number=301)))
    assert done.hosts == [7]


# --- 8. too many


@pytest.mark.parametrize("count", [4, 10_001, 65535])
@pytest.mark.parametrize("kind", ["ipfix", "netflow9"])
def test_more_fields_than_the_set_has(between, kind, count):
    body = record(300, count, *FIELDS)
    nine = kind == "netflow9"
    message = netflow9(data(-1, body), rows(8), OTHER9) if nine else ipfix(data(2, body), rows(8), OTHER)
    more = rows(7, number=301)
    done = between(message, netflow9(more) if nine else ipfix(more))
    assert done.hosts == [7]
    assert done.reasons == [f"template 300 of {count} fields is larger than its set", never_came(source=kind)]


@pytest.mark.parametrize(("count", "told"), [(10_000, False), (10_001, True)])
def test_ten_thousand_fields_and_no_more(between, count, told):
    done = between(ipfix(data(2, record(300, count, *[(8, 1)] * count)), data(300, bytes(count)), OTHER))
    assert len(done.lines) == (not told)
    assert bool(done.told) == told


def test_records_of_more_than_64_kib(between):
    done = between(ipfix(template(300, [(8, 40_000), (12, 40_000)]), data(300, bytes(99)), OTHER, rows(7, number=301)))
    assert (done.hosts, done.reasons) == ([7], ["template 300 is of records of 80000 octets", never_came()])


# --- 9. one number for several templates


@pytest.mark.parametrize("number", [1, 4, 255])
@pytest.mark.parametrize("kind", ["ipfix", "netflow9"])
def test_templates_below_256(between, kind, number):
    nine = kind == "netflow9"
    bad = template9(number, FIELDS) if nine else template(number, FIELDS)
    done = between(netflow9(bad, OTHER9, rows(7, number=301)) if nine else ipfix(bad, OTHER, rows(7, number=301)))
    assert (done.hosts, done.reasons) == ([7], [f"template number {number} is below 256"])


@pytest.mark.parametrize(
    "bad", [record(255, 1, (8, 4)), record(256, 1, (8, 0)), record(257, 2, (8, 40000), (12, 40000))]
)
def test_good_templates_behind_a_bad_one_in_its_set(between, bad):
    done = between(ipfix(data(2, bad + record(301, 3, *FIELDS)), rows(7, number=301)))
    assert (done.hosts, len(done.told)) == ([7], 1)


SWAPPED = [(12, 4), (8, 4)]


@pytest.mark.parametrize("parts", [1, 4])
def test_a_number_used_again(between, parts):
    sets = (TEMPLATE, rows(7), template(300, SWAPPED), data(300, row(8)[:8]))
    done = between(ipfix(*sets)) if parts == 1 else between(*map(ipfix, sets))
    assert [(line["saddr"], line["daddr"]) for line in done.lines] == [
        ("10.0.0.7", "10.0.1.7"),
        ("10.0.1.8", "10.0.0.8"),
    ]
    assert done.told == []


@pytest.mark.parametrize("parts", [1, 5])
def test_options_and_data_share_their_numbers(between, parts):
    options = template(300, [(149, 4), (82, 4)], scopes=1)
    sets = (TEMPLATE, rows(7), options, data(300, bytes(4) + b"eth0"), TEMPLATE + rows(8))
    argv = ("--only", "flow,option")
    done = between(ipfix(*sets), argv=argv) if parts == 1 else between(*map(ipfix, sets), argv=argv)
    assert sorted(line["type"] for line in done.lines) == ["flow", "flow", "option"]
    assert [line["option"] for line in done.lines if "option" in line] == [{"interfaceName": "eth0"}]
    assert done.told == []


@pytest.mark.parametrize("kind", [2, 3])
def test_a_withdrawal_of_one_in_either_set(between, kind):
    done = between(ipfix(TEMPLATE, rows(7), withdrawal(300, kind), rows(8)), ipfix(OTHER, rows(9, number=301)))
    assert (done.hosts, done.reasons) == ([7, 9], [never_came()])


@pytest.mark.parametrize(("kind", "left"), [(2, [9]), (3, [7])])
def test_a_withdrawal_of_all_of_a_kind(between, kind, left):
    """2 is all templates, 3 all options templates (RFC 7011 section 8.1); this is not the domain of the witnesses."""
    options = template(301, [(8, 4), (12, 4), (1, 4)], scopes=1)
    first = ipfix(TEMPLATE, options, withdrawal(kind, kind), rows(7), rows(9, number=301), domain=2)
    done = between(first, argv=("--only", "flow,option"))
    shown = [line.get("saddr") or line["scope"]["sourceIPv4Address"] for line in done.lines]
    assert shown == [f"10.0.0.{host}" for host in left]
    assert done.told == [never_came(300 if kind == 2 else 301).replace("domain 1", "domain 2")]


@pytest.mark.parametrize(
    "message", [ipfix(withdrawal(777), TEMPLATE, rows(7)), netflow9(data(-1, record(2, 0)), TEMPLATE9, rows(7))]
)
def test_a_withdrawal_of_what_nobody_knows(between, message):
    done = between(message)
    assert (done.hosts, done.told) == ([7], [])


@pytest.mark.parametrize("bad", [record(300, 1, (8, 0)), record(300, 99, (8, 4)), record(300, 1, (8, 4))[:-1]])
def test_a_bad_template_ends_the_one_before(between, bad):
    """Its exporter reads the data that follow by the new one; the old one would make up flows."""
    done = between(ipfix(TEMPLATE, rows(7)), ipfix(data(2, bad), rows(8)))
    assert (done.hosts, len(done.told)) == ([7], 2)
    assert done.told[1] == never_came()


# --- 10. lengths of records and options


@pytest.mark.parametrize("octets", [1, 2, 3])
def test_remainders_of_some_octets(between, octets):
    """nfdump's CVE-2019-14459."""
    rest = bytes(range(1, 1 + octets))
    sets = (TEMPLATE, data(300, row(7) + bytes(octets)), data(2, OTHER[4:] + rest), rows(8, number=301))
    done = between(ipfix(*sets), netflow9(TEMPLATE9, data(-1, OTHER9[4:] + rest), rows(9, number=301)))
    assert (done.hosts, done.told) == ([7, 8, 9], [])
    done = between(
        netflow9(options9(300, struct.pack("!HH", 1, 4), INTERFACE), data(1, rest), OTHER9, rows(7, number=301))
    )
    assert (done.hosts, done.told) == ([7], [])


@pytest.mark.parametrize(("element", "name", "length"), [(1, "octetDeltaCount", 64), (10, "ingressInterface", 1000)])
def test_fields_longer_than_their_type(between, element, name, length):
    """pmacct#934: as many octets as were sent are shown, not those that there is room for."""
    octets = bytes(range(1, 65)) * (length // 64) + bytes(length % 64)
    done = between(ipfix(template(300, [(element, length), (8, 4)]), data(300, octets + row()[:4])))
    assert (done.hosts, done.told) == ([7], [])
    assert done.lines[0]["ie"] == {name: octets.hex()}


@pytest.mark.parametrize(
    "lengths", [(3, 4), (4, 5), (5, 4), (4, 65532), (65535, 65535), (768, 4), (4, 65535), (65532, 8), (8, 4)]
)
def test_lengths_of_options_that_lie(between, lengths):
    """FastNetMon's CVE-2026-48682 to 48684."""
    bad = options9(300, struct.pack("!HH", 1, 4), INTERFACE, lengths)
    done = between(netflow9(bad, OTHER9, rows(7, number=301)))
    assert (done.hosts, done.reasons) == ([7], ["options template 300 does not fit its set"])


@pytest.mark.parametrize("scopes", [0, 3, 65535])
def test_scopes_that_cannot_be(between, scopes):
    done = between(ipfix(data(3, record(300, 2, (149, 4), (82, 4), scopes=scopes)), OTHER, rows(7, number=301)))
    assert done.hosts == [7]
    assert done.reasons == [f"options template 300 has 2 fields, of them {scopes} scopes"]


def test_options_templates_cut_short(between):
    done = between(
        ipfix(data(3, record(300, 2, (149, 4), scopes=1)), data(3, record(302, 2)), OTHER, rows(7, number=301))
    )
    assert done.hosts == [7]
    assert done.reasons == ["template 300 of 2 fields is larger than its set", "options template 302 is cut short"]


def test_options_records_cut_short(between):
    options = ipfix(template(300, [(149, 4), (82, 4)], scopes=1), data(300, bytes(4) + b"eth"))
    done = between(options, ipfix(OTHER, rows(7, number=301)), argv=("--only", "flow,option"))
    assert done.hosts == [7]


# --- 11. numbers of elements and enterprises


def test_netflow9_with_fields_of_variable_length(between):
    fields = [(8, 4), (82, VARIABLE), (1, 4)]
    done = between(netflow9(template9(300, fields), data(300, row()[:4] + variable(b"eth0") + row()[8:])))
    assert (done.hosts, done.told) == ([7], [])
    assert done.lines[0]["ie"] == {"interfaceName": "eth0"}


def test_numbers_of_netflow9_above_32767_have_no_enterprise(between):
    fields = [(8, 4), (33000, 12), (40000, 4), (1, 4)]
    done = between(netflow9(template9(300, fields), data(300, row()[:4] + bytes(12) + b"bob\0" + row()[8:])))
    assert (done.hosts, done.told) == ([7], [])
    assert done.lines[0]["user"] == "bob"
    assert done.lines[0]["ie"] == {"v9:ingressAclId": "00" * 12}


def test_enterprises_at_the_ends_of_their_range(between):
    fields = [(8, 4), (12, 4, 0), (1, 4, 0xFFFFFFFF)]
    done = between(ipfix(template(300, fields), rows(7)))
    assert (done.hosts, done.told) == ([7], [])
    assert done.lines[0]["daddr"] == "10.0.1.7"
    assert done.lines[0]["ie"] == {"4294967295/1": "00000007"}


# --- 12. variable length and lists

USER = [(371, VARIABLE), (4, 1)]


@pytest.mark.parametrize(
    ("rest", "reasons"),
    [
        (b"\x03xx", ["userName of 3 octets reaches beyond its set"]),
        (b"\xfexx", ["userName of 254 octets reaches beyond its set"]),
        (b"\xff\1", ["the length of a field of variable length is cut short"]),
        (b"\xff\xff\xff" + b"z" * 50, ["userName of 65535 octets reaches beyond its set"]),
        (b"\xff\0\x03xx", ["userName of 3 octets reaches beyond its set"]),
        (variable(b"c", long=True) + b"\7", []),
        (variable(b"") + b"\7", []),
    ],
)
def test_variable_lengths(between, rest, reasons):
    content = variable(b"ab") + b"\6"
    done = between(ipfix(template(300, USER), data(300, content + rest), data(300, content)))
    names = [line["user"] for line in done.lines]
    assert (names[0], names[-1], done.reasons) == ("ab", "ab", reasons)
    assert len(names) == 2 + (not reasons)


@pytest.mark.parametrize("octets", range(4))
def test_a_last_field_of_variable_length_before_padding(between, octets):
    name = b"abcd"[: 4 - octets] + b"xy"
    content = b"\6" + variable(name) + bytes(octets)
    assert len(content) % 4 == 0
    done = between(ipfix(template(300, USER[::-1]), data(300, content), data(300, content)))
    assert ([line["user"] for line in done.lines], done.told) == ([name.decode()] * 2, [])


def nested(depth: int) -> bytes:
    octets = basic_list(4, 1, b"\6")
    for _ in range(depth):
        octets = basic_list(291, VARIABLE, variable(octets))
    return octets


LISTED = struct.pack("!BHHH", 3, 777, 16, 0) + row()


@pytest.mark.parametrize(
    ("element", "octets", "is_read"),
    [
        (291, basic_list(4, 1, b""), True),
        (291, basic_list(371, VARIABLE, variable(b"a") + variable(b"b")), True),
        (291, basic_list(371, VARIABLE, variable(b"a") + b"\5x"), False),
        (291, basic_list(371, VARIABLE, b"\xff\xff\xff"), False),
        (291, basic_list(1, 65535, b"\4abcd"), True),
        (291, basic_list(1, 0, b"abcd"), False),
        (291, basic_list(1, 4, b"abc"), False),
        (291, b"", False),
        (291, b"\3\0\4", False),
        (291, b"\3\x80\4\0\1\0\0", False),
        (291, nested(10), True),
        (291, nested(200), True),
        (292, LISTED[:3] + row(), False),
        (292, b"\3", False),
        (293, LISTED, False),
        (293, b"\3" + struct.pack("!HH", 777, 0) + row(), False),
        (293, b"\3" + struct.pack("!HH", 777, 65535) + row(), False),
    ],
)
def test_lists_that_lie(between, element, octets, is_read):
    """What cannot be read, be it too deep, is shown as octets; nothing of it is missing, and its record goes on."""
    fields = [(element, VARIABLE), (8, 4)]
    done = between(ipfix(template(300, fields), data(300, variable(octets) + row()[:4]), rows()))
    assert (done.hosts, done.told) == ([7], [])
    ((_, value),) = done.lines[0]["ie"].items()
    assert isinstance(value, dict) == is_read
    if not is_read:
        assert value == octets.hex()


def test_lists_of_lists_are_read_four_deep(between):
    done = between(ipfix(template(300, [(291, VARIABLE)]), data(300, variable(nested(10)))), argv=("--only", "flow"))
    value = done.lines[0]["ie"]["basicList"]
    for _ in range(3):
        (value,) = value["values"]
    assert value["values"] == [nested(6).hex()]


# --- 13. in another order than by the book


def test_data_before_their_template(between):
    """In the same datagram, or in one before it."""
    done = between(
        ipfix(rows(5), TEMPLATE),
        netflow9(rows(6), TEMPLATE9),
        ipfix(rows(7, number=301), sequence=1),
        ipfix(OTHER, sequence=2),
        netflow9(rows(8, number=301), sequence=1),
        netflow9(OTHER9, sequence=2),
    )
    assert (done.hosts, done.told) == ([5, 6, 7, 8], [])


def test_the_first_template_that_comes_is_taken(between):
    swapped = template(300, [*SWAPPED, (1, 4)])
    done = between(ipfix(rows(7)), ipfix(swapped), ipfix(TEMPLATE), ipfix(rows(8)))
    assert ([line["saddr"] for line in done.lines], done.told) == (["10.0.1.7", "10.0.0.8"], [])


@pytest.mark.parametrize(
    ("domain", "source", "port"), [(2, build.EXPORTER, 4739), (1, "192.0.2.66", 4739), (1, build.EXPORTER, 9)]
)
def test_templates_of_others(decode, domain, source, port):
    """Another domain, another exporter, or another port of it: none of them says what these data mean."""
    frames = [
        build.frame(ipfix(TEMPLATE, domain=domain), source, port),
        build.frame(ipfix(rows(7)), build.EXPORTER, 4739),
        build.frame(netflow5(5)),
    ]
    done = decode(build.pcap(*map(build.record, frames)))
    assert (done.hosts, done.told) == ([5], [never_came()])


def test_templates_do_not_cross_protocols(between):
    done = between(netflow9(TEMPLATE9), ipfix(rows(7)))
    assert (done.hosts, done.told) == ([], [never_came()])


def test_a_missing_template_is_told_once(between):
    done = between(*[ipfix(rows(7))] * 50, *[ipfix(rows(7, number=301))] * 50)
    assert (done.lines, done.told) == ([], [never_came(sets=50), never_came(301, sets=50)])


def test_sequence_numbers_that_begin_anew(decode):
    """An exporter that was started again has lost nothing, and keeps its templates."""
    messages = [ipfix(rows(7), sequence=number) for number in (100_001, 100_002, 0, 1)]
    capture = build.capture(ipfix(TEMPLATE, rows(7), sequence=100_000), *messages)
    done = decode(capture, "--only", "flow,stats")
    *flows, stats = done.lines
    assert (len(flows), done.told) == (5, [])
    assert not any("seq_lost" in line for line in flows)
    assert (stats["lost"], stats["restarted"], stats["reordered"]) == (0, 1, 0)


def test_sys_uptime_that_begins_anew(between):
    """Its templates are kept (RFC 3954 section 9 would have them dropped): line cards have clocks of their own."""
    fields = [(8, 4), (22, 4), (21, 4)]

    def message(uptime: int, content: bytes) -> bytes:
        return struct.pack("!HHIIII", 9, 1, uptime, SECOND, 0, 2) + content

    content = data(300, bytes((10, 0, 0, 7)) + struct.pack("!II", 1000, 2000))
    done = between(message(5_000_000, template9(300, fields) + content), message(3000, content))
    assert [SECOND * 1000 - line["end_ms"] for line in done.lines] == [4_998_000, 1000]
    assert done.told == []
