"""What records say: which element fills which field, where records end, and what is padding."""

import pytest

from overflowd_tools.protocols.elements import REVERSE, ElementTable
from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.layouts import variable_length
from tests.protocols.set_builders import SECOND, VARIABLE, data, send, send9, shown, template, template9, variable


def one(fields, octets: bytes) -> dict:
    """The members of a record of IPFIX, by itself."""
    [members] = shown(template(256, fields), data(256, octets))
    return members


NOW_MS = SECOND * 1000
IPV4, IPV6 = bytes((192, 0, 2, 1)), bytes.fromhex("20010db8") + bytes(11) + b"\1"
BOTH = [(8, 4), (12, 4), (27, 16), (28, 16)]


@pytest.mark.parametrize(
    ("fields", "octets", "members"),
    [
        # Of several elements for one field IANA's lowest number wins, wherever it stands.
        ([(231, 1), (1, 1)], b"\1\2", {"bcount": 2, "ie": {"initiatorOctets": 1}}),
        ([(243, 2), (58, 2)], b"\0\1\0\2", {"vlan": 2, "ie": {"dot1qVlanId": 1}}),
        ([(12236, 4, 9), (8, 4)], IPV4 + bytes(4), {"saddr": "0.0.0.0", "ie": {"9:clientIPv4Address": "192.0.2.1"}}),
        # The same element again: pairs in their order.
        (
            [(4, 1), (4, 1), (4, 1)],
            b"\1\2\3",
            {"protocol": 1, "ie": [["protocolIdentifier", 2], ["protocolIdentifier", 3]]},
        ),
        ([(2, 2), (1, 3)], b"\0\7\0\1\0", {"pcount": 7, "bcount": 256}),
        # What has another type than its field does not fill it.
        ([(1, 9)], b"\1" * 9, {"ie": {"octetDeltaCount": "01" * 9}}),
        ([(8, 5)], b"\1" * 5, {"ie": {"sourceIPv4Address": "01" * 5}}),
        ([(8, 0), (27, 16)], IPV6, {"saddr": "2001:db8::1"}),
        ([(56, 5)], b"\1" * 5, {"ie": {"sourceMacAddress": "01" * 5}}),
        ([(1, 0), (2, 1)], b"\1", {"pcount": 1}),
        ([(32, 2)], b"\x08\1", {"icmp_type": 8, "icmp_code": 1}),
        ([(32, 2), (176, 1)], b"\x08\1\3", {"icmp_type": 8, "icmp_code": 1, "ie": {"icmpTypeIPv4": 3}}),
        ([(176, 1), (139, 2)], b"\3\x80\0", {"icmp_type": 3, "ie": {"icmpTypeCodeIPv6": 0x8000}}),
        ([(4, 1), (11, 2)], b"\1\x08\1", {"protocol": 1, "dport": 0x801, "icmp_type": 8, "icmp_code": 1}),
        ([(4, 1), (11, 2)], b"\6\x08\1", {"protocol": 6, "dport": 0x801}),
        ([(4, 1), (11, 2), (176, 1)], b"\1\x08\1\3", {"protocol": 1, "dport": 0x801, "icmp_type": 3}),
        ([(139, 2, REVERSE)], b"\x80\0", {"r_icmp_type": 128, "r_icmp_code": 0}),
        (
            [(71, 3), (70, 3)],
            b"\0\0\x23\0\0\x1e",
            {"mpls": [{"label": 1, "exp": 7, "s": 0}, {"label": 2, "exp": 1, "s": 1}]},
        ),
        ([(71, 3)], b"\0\0\x23", {"ie": {"mplsLabelStackSection2": "000023"}}),
        (
            [(70, 2), (71, 3)],
            bytes(5),
            {"ie": {"mplsTopLabelStackSection": "0000", "mplsLabelStackSection2": "000000"}},
        ),
        ([(95, 4)], b"\3\0\0\x50", {"app_id": "3:80"}),
        ([(95, 5000)], b"\1" * 5000, {"ie": {"applicationId": "01" * 5000}}),
        ([(497, 32)], IPV6 * 2, {"srv6": {"list": ["2001:db8::1", "2001:db8::1"]}}),
        ([(497, 3)], b"\1\2\3", {"ie": {"srhSegmentIPv6ListSection": "010203"}}),
        (
            [(225, 4), (281, 16)],
            IPV4 + IPV6,
            {"nat": {"saddr": "192.0.2.1"}, "ie": {"postNATSourceIPv6Address": "2001:db8::1"}},
        ),
        ([(1, 1, REVERSE), (1, 1)], b"\1\2", {"r_bcount": 1, "bcount": 2}),
        ([(7, 2, REVERSE)], b"\1\2", {"r_sport": 258}),
        ([(5, 1), (210, 3)], b"\1abc", {"tos": 1}),
        ([(18, 2, 77), (600, 1)], b"\1\2\3", {"ie": {"77/18": "0102", "0/600": "03"}}),
        # Counters that stand in for those that are not sent.
        ([(352, 1)], b"\5", {"l2_bcount": 5, "bcount": 5}),
        (
            [(85, 1), (86, 1)],
            b"\5\6",
            {"bcount_total": 5, "pcount_total": 6, "bcount": 5, "pcount": 6, "counter": "total"},
        ),
        ([(85, 1), (1, 1)], b"\5\6", {"bcount_total": 5, "bcount": 6}),
        # Both versions of IP in one template: the one that is there.
        (
            BOTH,
            IPV4 * 2 + bytes(32),
            {
                "saddr": "192.0.2.1",
                "daddr": "192.0.2.1",
                "ie": {"sourceIPv6Address": "::", "destinationIPv6Address": "::"},
            },
        ),
        (
            BOTH,
            bytes(8) + IPV6 * 2,
            {
                "saddr": "2001:db8::1",
                "daddr": "2001:db8::1",
                "ie": {"sourceIPv4Address": "0.0.0.0", "destinationIPv4Address": "0.0.0.0"},
            },
        ),
        (
            [(60, 1), (8, 4), (27, 16)],
            b"\6" + IPV4 + bytes(16),
            {"ip_version": 6, "saddr": "::", "ie": {"sourceIPv4Address": "192.0.2.1"}},
        ),
        (
            [(60, 1), (27, 16), (8, 4)],
            b"\4" + IPV6 + IPV4,
            {"ip_version": 4, "saddr": "192.0.2.1", "ie": {"sourceIPv6Address": "2001:db8::1"}},
        ),
        (
            [(15, 4), (62, 16), (27, 16)],
            IPV4 + IPV6 * 2,
            {"nexthop": "2001:db8::1", "saddr": "2001:db8::1", "ie": {"ipNextHopIPv4Address": "192.0.2.1"}},
        ),
        ([(8, 4), (62, 16)], IPV4 + IPV6, {"saddr": "192.0.2.1", "nexthop": "2001:db8::1"}),
    ],
)
def test_members(fields, octets, members):
    found = one([*fields, (152, 8), (153, 8)], octets + NOW_MS.to_bytes(8) * 2)
    assert found == {**members, "start_ms": NOW_MS, "end_ms": NOW_MS}


@pytest.mark.parametrize(
    ("octets", "expected_length"),
    [(b"\0", (0, 1)), (b"\5", (5, 1)), (b"\xfe", (254, 1)), (b"\xff\0\1", (1, 3)), (b"\xff\xff\xff", (65535, 3))],
)
def test_variable_length(octets, expected_length):
    assert variable_length(octets, 0) == expected_length


@pytest.mark.parametrize(
    ("content", "flows", "problem"),
    [
        (variable(b"ab") + b"\1" + variable(b"") + b"\2", 2, ""),
        (variable(b"x", long=True) + b"\1", 1, ""),
        (variable(b"y" * 300) + b"\1", 1, ""),
        # Three zeroes that fill up four octets are padding; four, or three that do not, are records.
        (variable(b"abc") + b"\1" + bytes(3), 1, ""),
        (variable(b"abc") + b"\1" + bytes(4), 3, ""),
        (variable(b"ab") + b"\1" + bytes(2), 2, ""),
        (bytes(2), 1, ""),
        (bytes(3), 1, ""),
        (b"", 0, ""),
        (variable(b"ab") + b"\1" + b"\5x", 1, "octets reaches beyond its set"),
        (variable(b"ab") + b"\1" + b"\xff\xff", 1, "cut short"),
        (b"\xff\xff\xff" + b"z" * 90, 0, "65535 octets reaches beyond its set"),
        (b"\7", 0, "the last 1 octets of a data set are less than a record"),
        (b"\0", 0, ""),
    ],
)
def test_records_of_variable_length(content, flows, problem):
    message = send(Exporters(), template(256, [(371, VARIABLE), (4, 1)]), data(256, content))
    assert len(message.rows) == flows
    assert problem in "".join(message.problems)
    assert bool(problem) == bool(message.problems)


def test_a_field_of_variable_length_that_begins_beyond_its_set():
    message = send(Exporters(), template(256, [(371, VARIABLE), (371, VARIABLE)]), data(256, b"\1a"))
    assert message.problems == ["a field of variable length begins beyond its set"]


@pytest.mark.parametrize(
    ("fields", "octets", "members"),
    [
        # The first of several is told by start_ms, and a clock that cannot be one by none.
        (
            [(152, 8), (152, 8)],
            (NOW_MS - 1).to_bytes(8) + (NOW_MS - 2).to_bytes(8),
            {"flowStartMilliseconds": NOW_MS - 2},
        ),
        ([(152, 9), (152, 8)], b"\1" * 9 + (NOW_MS - 1).to_bytes(8), {"flowStartMilliseconds": "01" * 9}),
        ([(152, 0), (150, 4)], (SECOND - 1).to_bytes(4), {}),
    ],
)
def test_clocks_that_come_twice(fields, octets, members):
    found = one(fields, octets)
    assert found.get("ie", {}) == members
    assert found["start_ms"] in (NOW_MS - 1, NOW_MS - 1000)


def test_more_of_sys_uptime_than_wraps():
    """NX-OS sends 64 bits (nfdump#80): 32 of them are its sysUptime, and all are shown."""
    found = one([(22, 8), (21, 8)], ((1 << 40) + 5).to_bytes(8) + (7).to_bytes(8))
    assert (found["stime"], found["etime"], found["ie"]) == (5, 7, {"flowStartSysUpTime": (1 << 40) + 5})


def test_an_observation_is_told_by_start_and_end():
    found = one([(323, 8)], (NOW_MS - 3).to_bytes(8))
    assert found == {"start_ms": NOW_MS - 3, "end_ms": NOW_MS - 3}


@pytest.mark.parametrize(
    ("kind", "field", "octets", "expected"),
    [
        ("dateTimeMilliseconds", "start_ms", (NOW_MS - 5).to_bytes(8), {"start_ms": NOW_MS - 5, "end_ms": NOW_MS - 5}),
        ("dateTimeSeconds", "end_ms", (SECOND - 5).to_bytes(4), {"start_ms": NOW_MS - 5000, "end_ms": NOW_MS - 5000}),
        ("unsigned32", "stime", b"\0\0\0\7", {"stime": 7, "start_ms": NOW_MS, "end_ms": NOW_MS, "time_src": "export"}),
    ],
)
def test_clocks_of_the_users_own(kind, field, octets, expected):
    table = ElementTable.standard()
    table.add([f"99\t5\tmyClock\t{kind}\t\t\t{field}"], "mine")
    message = send(Exporters(table), template(256, [(5, len(octets), 99)]), data(256, octets))
    assert [row.members for row in message.rows] == [expected]


@pytest.mark.parametrize("padding", [0, 1, 3, 11])
def test_what_is_shorter_than_a_record_is_padding(padding):
    sets = [template(256, [(8, 4), (1, 8)]), data(256, bytes(24 + padding))]
    assert (len(send(Exporters(), *sets).rows), send(Exporters(), *sets).problems) == (2, [])


@pytest.mark.parametrize("padding", [1, 3, 11])
def test_padding_that_is_not_zero_is_told_once(padding):
    """RFC 7011 section 3.3.1; NetFlow 9 says nothing of what it is of."""
    exporters = Exporters()
    sets = [template(256, [(8, 4), (1, 8)]), data(256, bytes(24) + b"x" * padding)]
    message = send(exporters, *sets, sets[1])
    told = f"the last {padding} octets of a data set of template 256 are padding that is not zero"
    assert (len(message.rows), message.problems) == (4, [told])
    assert send(exporters, *sets).problems == []
    assert send9(exporters, template9(256, [(8, 4), (1, 8)]), sets[1]).problems == []


def test_a_part_of_a_record_is_told():
    """But not where the message ends in its set: that is told already."""
    sets = [template9(256, [(8, 4), (1, 8)]), data(256, b"x" * 11)]
    less = "the last 11 octets of a data set are less than a record of template 256"
    assert send9(Exporters(), *sets, *sets).problems == [less] * 2
    assert send9(Exporters(), *sets, sets[1][:-3]).problems == [less, "set of 15 octets where 12 are left"]
    assert send(Exporters(), template(256, [(371, VARIABLE), (8, 4)]), data(256, b"\1\1\1")).problems == [
        "the last 3 octets of a data set are less than a record of template 256"
    ]


def test_a_set_that_is_nearly_all_zeroes_takes_no_time():
    """Whether the rest is padding is not asked anew for every record."""
    content = bytes(19_996) + b"\0\0\0\1"
    message = send(Exporters(), template(256, [(371, VARIABLE), (4, 1)]), data(256, content))
    assert len(message.rows) == 10_000


def test_a_record_of_zeroes_is_one():
    """An interface of number 0 and no name is told like any other; padding is shorter than a record."""
    told = template(256, [(10, 4), (82, VARIABLE)], scopes=1)
    rows = shown(told, data(256, b"\0\0\0\1" + variable(b"eth1") + bytes(4) + variable(b"") + bytes(2)))
    assert [row["option"] for row in rows] == [{"interfaceName": "eth1"}, {"interfaceName": ""}]
