"""The table of information elements is what the registries say, and the user's own elements come beside it."""

import io
import os
import re
from collections import Counter
from pathlib import Path

import make_elements
import pytest

from overflowd_tools.errors import UsageError
from overflowd_tools.protocols.announced import SCOPE_ENTERPRISE
from overflowd_tools.protocols.elements import IANA, NETFLOW9, REVERSE, Element, ElementTable, Resolved
from overflowd_tools.protocols.values import TYPES

CORPORA = os.environ.get("OF_CORPORA")
STANDARD = ElementTable.standard()
BY_ENTERPRISE = {
    IANA: 502,
    9: 59,
    637: 3,
    2011: 2,
    5951: 121,
    6871: 240,
    6876: 23,
    8057: 140,
    16982: 50,
    39499: 202,
    NETFLOW9: 86,
    SCOPE_ENTERPRISE: 5,
}
FIELDS = """
    saddr daddr pcount bcount stime etime sport dport flags protocol tos start_ms end_ms agent sampler_id
    sampling_algo in_if out_if nexthop bgp_nexthop src_as dst_as prev_as next_as src_mask dst_mask vlan post_vlan cvlan
    post_cvlan smac dmac post_smac post_dmac ethertype ip_version icmp_type icmp_code tos_post dscp ttl ttl_min ttl_max
    ip_id frag_off frag_flags flow_label ext_hdrs len_min len_max mpls srv6.segments_left srv6.list srv6.tag srv6.flags
    direction fwd_status end_reason vrf_in vrf_out vrf_name app_id app_name nat.saddr nat.daddr nat.sport nat.dport
    nat.event nat.pool nat.block_start nat.block_end event ext_event user ssid flows pcount_total bcount_total
    post_pcount post_bcount l2_bcount dropped_pcount dropped_bcount r_pcount r_bcount biflow_dir
"""
KNOWN = [
    Element(0, 1, "octetDeltaCount", "unsigned64", "octets", "deltaCounter", "bcount"),
    Element(0, 2, "packetDeltaCount", "unsigned64", "packets", "deltaCounter", "pcount"),
    Element(0, 4, "protocolIdentifier", "unsigned8", "", "identifier", "protocol"),
    Element(0, 6, "tcpControlBits", "unsigned16", "", "flags", "flags"),
    Element(0, 9, "sourceIPv4PrefixLength", "unsigned8", "bits", "", "src_mask"),
    Element(0, 12, "destinationIPv4Address", "ipv4Address", "", "default", "daddr"),
    Element(0, 21, "flowEndSysUpTime", "unsigned32", "milliseconds", "", "etime"),
    Element(0, 22, "flowStartSysUpTime", "unsigned32", "milliseconds", "", "stime"),
    Element(0, 23, "postOctetDeltaCount", "unsigned64", "octets", "deltaCounter", "post_bcount"),
    Element(0, 27, "sourceIPv6Address", "ipv6Address", "", "default", "saddr"),
    Element(0, 57, "postDestinationMacAddress", "macAddress", "", "default", "post_dmac"),
    Element(0, 70, "mplsTopLabelStackSection", "octetArray", "", "default", "mpls"),
    Element(0, 85, "octetTotalCount", "unsigned64", "octets", "totalCounter", "bcount_total"),
    Element(0, 95, "applicationId", "octetArray", "", "default", "app_id"),
    Element(0, 129, "bgpPrevAdjacentAsNumber", "unsigned32", "", "identifier", "prev_as"),
    Element(0, 155, "flowEndMicroseconds", "dateTimeMicroseconds", "microseconds", "default", "end_ms"),
    Element(0, 160, "systemInitTimeMilliseconds", "dateTimeMilliseconds", "milliseconds", "default", ""),
    Element(0, 276, "dataRecordsReliability", "boolean", "", "default", ""),
    Element(0, 292, "subTemplateList", "subTemplateList", "", "list", ""),
    Element(0, 311, "samplingProbability", "float64", "", "quantity", ""),
    Element(0, 434, "mibObjectValueInteger", "signed32", "", "quantity", ""),
    Element(9, 12236, "clientIPv4Address", "ipv4Address", "", "identifier", "saddr"),
    Element(637, 93, "aluNatSubString", "string", "", "identifier", ""),
    Element(2011, 2, "egressGponGemPortId", "unsigned16", "", "identifier", ""),
    Element(6871, 500, "smallPacketCount", "unsigned32", "packets", "totalCounter", ""),
    Element(NETFLOW9, 33002, "firewallEventExtended", "unsigned16", "", "", "ext_event"),
    Element(NETFLOW9, 40001, "postNATSourceIPv4Address", "ipv4Address", "", "", "nat.saddr"),
    Element(SCOPE_ENTERPRISE, 2, "interface", "unsigned32", "", "", ""),
]


def test_counts():
    assert Counter(element.enterprise for element in STANDARD) == BY_ENTERPRISE
    assert max(element.id for element in STANDARD if element.enterprise == IANA) == 533


@pytest.mark.parametrize("element", KNOWN, ids=lambda element: element.name)
def test_known_elements(element):
    assert STANDARD.lookup(element.enterprise, element.id) == element


def test_every_row_is_an_element():
    rows = [line.split("\t") for line in make_elements.TABLE.read_text("ascii").splitlines() if line[0] != "#"]
    assert {len(row) for row in rows} == {7}
    assert len({tuple(row[:2]) for row in rows}) == len(rows) == sum(BY_ENTERPRISE.values())
    assert {row[3] for row in rows} <= TYPES
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_.-]*", row[2]) for row in rows)
    assert {row[6] for row in rows} == {*FIELDS.split(), ""}


def test_types_are_the_same_for_the_maker_and_the_decoder():
    assert set(make_elements.TYPES) == TYPES


def test_an_element_of_netflow9_alone():
    assert STANDARD.lookup(IANA, 33002) is None
    assert STANDARD.lookup(IANA, 33002, netflow9=True).name == "firewallEventExtended"
    assert STANDARD.lookup(IANA, 6660, netflow9=True).name == "EkinopsTcpConnectionSetupTime"
    assert STANDARD.lookup(IANA, 6660) is None


def test_netflow9_shares_the_elements_of_iana():
    assert STANDARD.lookup(IANA, 8, netflow9=True) is STANDARD.lookup(IANA, 8)
    assert STANDARD.lookup(9, 12236, netflow9=True) is STANDARD.lookup(9, 12236)


def test_large_netflow9_types_are_nobody_elses():
    table = ElementTable([Element(IANA, 40010, "impossible", "string")])
    assert table.lookup(IANA, 40010, netflow9=True) is None


@pytest.mark.parametrize(
    ("enterprise", "number", "name", "reverse"),
    [
        (IANA, 2, "packetDeltaCount", False),
        (REVERSE, 2, "packetDeltaCount", True),
        (REVERSE, 32000, None, True),
        (6871, 18, "payload", False),
        (6871, 0x4000 + 18, "payload", True),
        (6871, 0x4000 + 999, None, True),
        (9, 0x4000 + 1, None, False),
        (4242, 1, None, False),
    ],
)
def test_reverse_elements_are_resolved(enterprise, number, name, reverse):
    element, backwards = STANDARD.resolve(enterprise, number)
    assert (element and element.name, backwards) == (name, reverse)


@pytest.mark.parametrize(
    ("enterprise", "number", "netflow9", "key"),
    [
        (IANA, 8, False, "sourceIPv4Address"),
        (IANA, 8, True, "sourceIPv4Address"),
        (IANA, 32000, False, "0/32000"),
        (IANA, 32000, True, "0/32000"),
        (IANA, 33002, True, "v9:firewallEventExtended"),
        (IANA, 40010, True, "v9/40010"),
        (6871, 18, False, "6871:payload"),
        (6871, 16402, False, "6871/16402"),
        (REVERSE, 2, False, "29305/2"),
        (4294967295, 1, False, "4294967295/1"),
        (SCOPE_ENTERPRISE, 1, True, "scope:system"),
        (SCOPE_ENTERPRISE, 9, True, "scope/9"),
    ],
)
def test_keys(enterprise, number, netflow9, key):
    assert STANDARD.key(enterprise, number, netflow9=netflow9) == key


def test_no_two_elements_share_a_key():
    keys = Counter(STANDARD.key(element.enterprise, element.id) for element in STANDARD)
    assert max(keys.values()) == 1


# The user's own elements


def added(text: str) -> ElementTable:
    table = ElementTable.standard()
    table.add(io.StringIO(text), "mine.tsv")
    return table


def test_columns_parted_by_tabs():
    table = added("# mine\n\n4242\t7\tqueueDepth\tunsigned16\tpackets\tquantity\t\r\n4242\t8\tcolour\tstring\n")
    assert table.lookup(4242, 7) == Element(4242, 7, "queueDepth", "unsigned16", "packets", "quantity", "")
    assert table.lookup(4242, 8) == Element(4242, 8, "colour", "string")
    assert table.key(4242, 8) == "4242:colour"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("queueDepth(4242/7)<unsigned16>[2]", Element(4242, 7, "queueDepth", "unsigned16")),
        ("colour(4242/8)<string>[v]", Element(4242, 8, "colour", "string")),
        ("colour(4242/8)<string>[65535]", Element(4242, 8, "colour", "string")),
        ("colour(4242/8)<string>", Element(4242, 8, "colour", "string")),
        ("ours(32000)<boolean>[1]", Element(IANA, 32000, "ours", "boolean")),
        ("newest(v9/65535)<float32>[4]", Element(NETFLOW9, 65535, "newest", "float32")),
    ],
)
def test_iespec(line, expected):
    assert added(line).lookup(expected.enterprise, expected.id) == expected


def test_an_element_may_fill_a_field_of_its_kind():
    assert added("4242\t7\tpackets\tunsigned32\t\t\tpcount\n").lookup(4242, 7).field == "pcount"
    assert added("4242\t7\tfrom\tipv6Address\t\t\tsaddr\n").lookup(4242, 7).field == "saddr"


def test_what_a_line_leaves_out_stays():
    table = added("octets(1)<unsigned32>[4]\n0\t2\tpackets\tunsigned32\tframes\n0\t4\tprotocol\tunsigned8\t\t\t\n")
    assert table.lookup(0, 1) == Element(0, 1, "octets", "unsigned32", "octets", "deltaCounter", "bcount")
    assert table.lookup(0, 2) == Element(0, 2, "packets", "unsigned32", "frames", "deltaCounter", "pcount")
    assert table.lookup(0, 4) == Element(0, 4, "protocol", "unsigned8")


def test_a_field_does_not_stay_with_a_type_of_another_kind():
    assert added("octets(1)<string>[v]").lookup(0, 1).field == ""


def test_the_whole_table_may_be_given_again():
    table = added(make_elements.TABLE.read_text())
    assert list(table) == list(STANDARD)


def test_a_name_that_was_given_up_is_free():
    table = added("octets(1)<unsigned64>\noctetDeltaCount(32000)<unsigned64>\n")
    assert table.key(0, 1) == "octets"
    assert table.key(0, 32000) == "octetDeltaCount"


def test_the_standard_table_stays_as_it_was():
    added("octets(1)<unsigned64>")
    assert ElementTable.standard().key(0, 1) == "octetDeltaCount"


def test_names_for_reverse_elements():
    """python-ipfix lists them one by one; what they mean is known all the same."""
    table = added("reverseOctetDeltaCount(29305/1)<unsigned64>[8]\nbackThen(29305/32000)<string>[v]\n")
    assert table.resolve(REVERSE, 1) == Resolved(STANDARD.lookup(IANA, 1), True)
    assert table.key(REVERSE, 1) == "29305:reverseOctetDeltaCount"
    assert table.resolve(REVERSE, 32000) == Resolved(Element(REVERSE, 32000, "backThen", "string"), True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("hello", "neither columns parted by tabs nor name(enterprise/id)<type>"),
        ("a(1/2)<string>[x]", "neither columns"),
        ("a(1/2)<string>[2", "neither columns"),
        ("a(1/2/3)<string>", "neither columns"),
        ("1\t2\ta", "3 columns, where 4 to 7 are expected"),
        ("1\t2\ta\tstring\t\t\t\tb", "8 columns"),
        ("x\t2\ta\tstring", "enterprise 'x' is no number from 0 to 4294967295"),
        ("4294967296\t2\ta\tstring", "enterprise '4294967296' is no number"),
        ("-1\t2\ta\tstring", "enterprise '-1' is no number"),
        ("1\t\ta\tstring", "element '' is no number from 0 to 32767"),
        ("1\t32768\ta\tstring", "element '32768' is no number from 0 to 32767"),
        ("v9\t65536\ta\tstring", "element '65536' is no number from 0 to 65535"),
        ("1\t\N{ARABIC-INDIC DIGIT TWO}\ta\tstring", "is no number"),
        (f"1\t{'9' * 5000}\ta\tstring", "is no number"),
        ('1\t2\ta"b\tstring', "'a\"b' is no name"),
        ("1\t2\ta:b\tstring", "'a:b' is no name"),
        ("1\t2\ta/b\tstring", "'a/b' is no name"),
        ("1\t2\t\tstring", "'' is no name"),
        ("1\t2\t\x1b[31m\tstring", r"'\x1b[31m' is no name"),
        (f"1\t2\t{'a' * 200}\tstring", "is no name"),
        ("1\t2\ta\tunsigned128", "'unsigned128' is no type; types are basicList, boolean,"),
        ("1\t2\ta\tstring\t\t\tcolour", "colour is not a field that an element of type string can fill"),
        ("1\t2\ta\tstring\t\t\tpcount", "pcount is not a field that an element of type string can fill"),
        ("1\t2\tB\tstring\n1\t3\tB\tstring", "line 4: the name B is taken by another element of that enterprise"),
        ("octetDeltaCount(32000)<unsigned64>", "the name octetDeltaCount is taken"),
    ],
)
def test_bad_lines_are_named(line, reason):
    with pytest.raises(UsageError, match=re.escape(reason)) as raised:
        added(f"# a comment\n\n{line}\n")
    assert re.match(r"mine\.tsv: line [34]: ", str(raised.value))


# The registries


def test_the_maker_refuses_what_is_no_element():
    with pytest.raises(SystemExit, match="not an element"):
        make_elements.add({}, [make_elements.Row("0", 1, "a", "int")])


def test_the_maker_refuses_contradictions():
    rows: dict = {}
    make_elements.add(rows, [make_elements.Row("0", 1, "a", "string")])
    for row in (make_elements.Row("0", 1, "b", "string"), make_elements.Row("v9", 1, "a", "float32")):
        with pytest.raises(SystemExit, match="contradiction"):
            make_elements.add(rows, [row])


@pytest.mark.skipif(not CORPORA, reason="OF_CORPORA is not set")
def test_the_table_is_what_the_registries_say():
    assert make_elements.make(Path(CORPORA)) == make_elements.TABLE.read_text()


@pytest.mark.skipif(not CORPORA, reason="OF_CORPORA is not set")
def test_the_maker_writes_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["make_elements.py", CORPORA, str(tmp_path / "new.tsv")])
    assert make_elements.main() == 0
    assert (tmp_path / "new.tsv").read_bytes() == make_elements.TABLE.read_bytes()
