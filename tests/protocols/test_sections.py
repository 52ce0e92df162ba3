"""Sections of sampled packets in records (RFC 5476, RFC 7133): frames, IP packets and MPLS packets become flows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from overflowd_tools.protocols.elements import REVERSE
from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.netflow9 import How
from overflowd_tools.records import FlowWriter
from tests.protocols import sflow_builders as packets
from tests.protocols.set_builders import (
    HERE,
    SECOND,
    TABLE,
    VARIABLE,
    data,
    decode_ipfix,
    ipfix,
    send,
    send9,
    shown,
    template,
    template9,
    variable,
)

FRAME, IP, IP_PAYLOAD, LABELS, LABELS_PAYLOAD, FRAME9 = 315, 313, 314, 316, 317, 104
OFFSET, EXPORTED, FRAME_TYPE, FRAME_SIZE, OFFSET9, FRAME_SIZE9 = 409, 410, 408, 312, 102, 103
SECTIONS = (FRAME, FRAME9, IP, IP_PAYLOAD, LABELS, LABELS_PAYLOAD)
TIMES = {"start_ms": SECOND * 1000, "end_ms": SECOND * 1000, "time_src": "export"}

SEGMENT = packets.tcp(b"data")
PACKET = packets.ipv4(SEGMENT, 6)
ARP = packets.ethernet(bytes(28), 0x0806)
ADDRESSES = {"saddr": "192.0.2.1", "daddr": "198.51.100.2"}
KEYS = {**ADDRESSES, "protocol": 6, "sport": 1025, "dport": 80}
OF_IP = {**ADDRESSES, "protocol": 6, "tos": 0xB8, "ttl": 63, "ip_id": 0x1234, "frag_off": 0, "frag_flags": 0x40}
OF_PACKET = {**OF_IP, **KEYS, "pcount": 1, "bcount": len(PACKET), "flags": 0x112}
MACS = {"dmac": "02:00:00:00:00:02", "smac": "02:00:00:00:00:01"}
LABEL = {"label": 7, "exp": 5, "s": 1, "ttl": 64}


def decoded(*fields: tuple[int, bytes], variable_length: bool = False) -> tuple[dict, dict]:
    """The members of a record of these elements, without its times, and apart from them those in `ie`."""
    lengths = [(element, VARIABLE if variable_length else len(octets)) for element, octets in fields]
    content = b"".join(variable(octets) if variable_length else octets for _, octets in fields)
    [members] = shown(template(256, lengths), data(256, content))
    assert {name: members.pop(name) for name in TIMES} == TIMES
    return members, members.pop("ie", {})


def short(number: int) -> bytes:
    return number.to_bytes(2)


@pytest.mark.parametrize("variable_length", [False, True])
@pytest.mark.parametrize("element", [FRAME, FRAME9])
def test_frames(element, variable_length):
    frame = packets.ethernet(PACKET, tags=[(0x88A8, 0x2064), (0x8100, 231)])
    members, extra = decoded((element, frame), variable_length=variable_length)
    tags = {"ethertype": 0x0800, "vlan": 100, "vlan_prio": 1, "vlans": [100, 231]}
    assert members == {**OF_PACKET, **MACS, **tags}
    assert [*extra.values()] == [frame.hex()]


def test_netflow_9_has_them_too():
    frame = packets.ethernet(PACKET)
    [row] = send9(Exporters(), template9(256, [(FRAME9, len(frame))]), data(256, frame)).rows
    assert row.members.items() >= OF_PACKET.items()


def test_ip_packets():
    assert decoded((IP, PACKET))[0] == OF_PACKET
    members, _ = decoded((IP, packets.ipv6(SEGMENT, 6)))
    expected = {**OF_PACKET, "saddr": "2001:db8::1", "daddr": "2001:db8::2", "bcount": 64}
    expected |= {"tos": 0x2E, "ttl": 62, "flow_label": 0x54321}
    assert members == {
        name: value for name, value in expected.items() if name not in ("ip_id", "frag_off", "frag_flags")
    }


@pytest.mark.parametrize("options", [b"", b"\1" * 8])
def test_a_header_and_its_payload(options):
    packet = packets.ipv4(SEGMENT, 6, options=options)
    header = packet[: -len(SEGMENT)]
    expected = {**OF_PACKET, "bcount": len(packet)}
    assert decoded((IP, header), (IP_PAYLOAD, SEGMENT))[0] == expected
    assert decoded((IP_PAYLOAD, SEGMENT), (IP, header))[0] == expected
    packet6 = packets.ipv6(SEGMENT, 6)
    assert decoded((IP, packet6[:40]), (IP_PAYLOAD, SEGMENT))[0]["sport"] == 1025


def test_a_payload_that_does_not_follow_on_its_header():
    without_ports = {**OF_IP, "pcount": 1, "bcount": len(PACKET)}
    assert decoded((IP, PACKET[:19]), (IP_PAYLOAD, SEGMENT))[0] == {}
    assert decoded((IP, PACKET[:20] + b"\0"), (IP_PAYLOAD, SEGMENT))[0] == without_ports
    assert decoded((IP, PACKET[:20]))[0] == without_ports


def test_a_payload_by_the_protocol_of_its_record():
    segment = packets.udp()
    assert decoded((4, b"\x11"), (IP_PAYLOAD, segment))[0] == {"pcount": 1, "protocol": 17, "sport": 1024, "dport": 53}
    assert decoded((4, b"\x32"), (IP_PAYLOAD, segment))[0] == {"protocol": 50}
    assert decoded((IP_PAYLOAD, segment)) == ({}, {"ipPayloadPacketSection": segment.hex()})


def test_labels():
    stack = packets.labels(7)
    assert decoded((LABELS, stack + PACKET))[0] == {**OF_PACKET, "mpls": [LABEL]}
    assert decoded((LABELS, stack), (LABELS_PAYLOAD, PACKET))[0] == {**OF_PACKET, "mpls": [LABEL]}
    assert decoded((LABELS_PAYLOAD, PACKET))[0] == OF_PACKET
    assert decoded((LABELS_PAYLOAD, b"\x70abc"))[0] == {}
    assert decoded((LABELS, stack))[0] == {"mpls": [LABEL], "pcount": 1}
    # The rest of a stack that was cut is not in the payload, but the packet is.
    above = packets.labels(7, 8)[:4]
    assert decoded((LABELS, above), (LABELS_PAYLOAD, PACKET))[0] == {**OF_PACKET, "mpls": [{**LABEL, "s": 0}]}
    # An element of its own for the stack has its place.
    fields = [(70, b"\0\0\x91"), (LABELS, packets.labels(7) + PACKET)]
    assert decoded(*fields)[0] == {**OF_PACKET, "mpls": [{"label": 9, "exp": 0, "s": 1}]}


def test_the_section_with_addresses_decides():
    members, extra = decoded((FRAME, packets.ethernet(PACKET)), (IP, packets.ipv4(packets.udp())))
    assert members == {**OF_PACKET, **MACS, "ethertype": 0x0800}
    assert len(extra) == 2
    members, _ = decoded((FRAME, packets.ethernet(PACKET)[:14]), (IP, PACKET))
    assert members == {**OF_PACKET, **MACS, "ethertype": 0x0800}


def test_tunnels():
    inner = packets.ethernet(PACKET)
    carrier = packets.ipv4(packets.udp(packets.vxlan(inner), dport=4789), saddr="203.0.113.1", daddr="203.0.113.2")
    members, _ = decoded((FRAME, packets.ethernet(carrier)))
    assert members.items() >= {**KEYS, "tunnel": {"type": "vxlan", "vni": 0xABCDE}}.items()
    assert (members["outer"]["saddr"], members["outer"]["smac"]) == ("203.0.113.1", MACS["smac"])


def test_other_sections_than_the_beginning():
    frame, packet = packets.ethernet(PACKET), packets.ipv4(SEGMENT, 6, saddr="203.0.113.9")
    assert decoded((FRAME, frame), (OFFSET, short(14)))[0] == {}
    assert decoded((FRAME9, frame), (OFFSET9, short(1)))[0] == {}
    assert decoded((FRAME, frame), (OFFSET, short(0)))[0]["sport"] == 1025
    assert decoded((FRAME, frame), (OFFSET, b""))[0]["sport"] == 1025
    # The first offset is that of the first section, wherever it stands; more offsets than sections mean nothing.
    members, _ = decoded((OFFSET, short(3)), (FRAME, frame), (IP, packet))
    assert members["saddr"] == "203.0.113.9"
    members, _ = decoded((OFFSET, short(0)), (FRAME, frame), (OFFSET, short(3)), (IP, packet), (OFFSET, short(9)))
    assert members["saddr"] == "192.0.2.1"


def test_padding_of_sections():
    padded = packets.ipv4(packets.udp(), 17, total=0)[:20] + bytes(20)
    assert decoded((IP, padded))[0]["sport"] == 0
    assert "sport" not in decoded((IP, padded), (EXPORTED, short(20)))[0]
    # Of the second section, if there are two of these.
    assert "sport" not in decoded((FRAME, ARP), (IP, padded), (EXPORTED, short(42)), (EXPORTED, short(20)))[0]
    assert decoded((IP, padded), (EXPORTED, b"\xff" * 9))[0]["sport"] == 0


@pytest.mark.parametrize(
    ("kind", "is_read"), [(b"\0\0", True), (b"\0\1", True), (b"\1", True), (b"", True), (b"\0\2", False)]
)
def test_frames_that_are_not_of_ethernet_stay_octets(kind, is_read):
    members, extra = decoded((FRAME_TYPE, kind), (FRAME, packets.ethernet(PACKET)))
    assert members == ({**OF_PACKET, **MACS, "ethertype": 0x0800} if is_read else {})
    assert "dataLinkFrameSection" in extra


@pytest.mark.parametrize("size", [FRAME_SIZE, FRAME_SIZE9])
def test_octets(size):
    """Those of the IP packet, as in sFlow; without one, those of the frame."""
    told = (size, short(1514))
    assert decoded((FRAME, packets.ethernet(PACKET)), told)[0]["bcount"] == len(PACKET)
    assert decoded((FRAME, ARP), told)[0] == {**MACS, "ethertype": 0x0806, "pcount": 1, "bcount": 1514}
    assert decoded((FRAME, ARP))[0] == {**MACS, "ethertype": 0x0806, "pcount": 1}
    assert decoded((FRAME, b"short"), told)[0] == {}
    assert "bcount" not in decoded((FRAME, ARP), (size, b"\xff" * 9))[0]


def test_what_the_record_says_itself_stands():
    frame = packets.ethernet(PACKET, tags=[(0x8100, 231)])
    members, _ = decoded((FRAME, frame), (243, short(5)), (192, b"\1"), (1, b"\x63"), (2, b"\1"))
    assert members.items() >= {**KEYS, "vlan": 5, "ttl": 1, "bcount": 99, "pcount": 1}.items()


def test_a_record_about_other_traffic_takes_nothing():
    told = {"saddr": "203.0.113.1", "sport": 1025}
    assert decoded((FRAME, packets.ethernet(PACKET)), (8, bytes((203, 0, 113, 1))), (7, short(1025)))[0] == told


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([(2, b"\7")], {"pcount": 7}),
        ([(1, b"\7")], {"bcount": 7}),
        ([(86, b"\7")], {"pcount_total": 7, "pcount": 7, "counter": "total"}),
        ([(233, b"\3")], {"event": 3}),
        ([(230, b"\1")], {"nat": {"event": 1}}),
    ],
)
def test_flows_and_events_take_what_holds_for_all_their_packets(fields, told):
    """No counters are made up, and nothing that may have been otherwise in the next packet."""
    members, _ = decoded((IP, PACKET), *fields)
    assert members == {**KEYS, "tos": 0xB8, **told}


def test_other_translations_are_packets():
    members, _ = decoded((IP, PACKET), (225, bytes((203, 0, 113, 7))))
    assert members == {**OF_PACKET, "nat": {"saddr": "203.0.113.7"}}


def test_the_other_direction_is_not_read():
    [members] = shown(template(256, [(IP, len(PACKET), REVERSE), (4, 1)]), data(256, PACKET + b"\1"))
    assert members == {"protocol": 1, **TIMES, "ie": {"29305/313": PACKET.hex()}}


def test_sections_in_lists():
    inner = template(300, [(IP, len(PACKET)), (10, 1)])
    listed = variable(b"\3" + short(300) + PACKET + b"\5")
    [members] = shown(inner, template(256, [(292, VARIABLE)]), data(256, listed))
    [value] = members["ie"]["subTemplateList"]["values"]
    assert value == {**OF_PACKET, "in_if": 5, "ie": {"ipHeaderPacketSection": PACKET.hex()}}
    assert "pcount" not in members


def test_the_rate_is_that_of_the_selector():
    """As RFC 5476 section 6.5.2 has it: an option with the selector as its scope, told after the packets."""
    report = template(256, [(302, 4), (IP, len(PACKET))]) + data(256, bytes((0, 0, 0, 9)) + PACKET)
    selector = template(257, [(302, 4), (304, 2), (305, 4), (306, 4)], scopes=1)
    told = data(257, bytes((0, 0, 0, 9)) + short(1) + bytes((0, 0, 0, 1)) + bytes((0, 0, 3, 0xE7)))
    [_, row] = send(Exporters(), report, selector, told).rows
    assert row.members["sampling_rate"] == 1000


def lines(fields: list[tuple[int, bytes]], how: How) -> list[dict]:
    lengths = [(element, len(octets)) for element, octets in fields]
    sets = template(256, lengths), data(256, b"".join(octets for _, octets in fields))
    message = decode_ipfix(ipfix(*sets), Exporters(TABLE), HERE, how)
    assert message.problems == []
    return [json.loads(line) for line in FlowWriter().rows(message.rows)]


WHOLE = [packets.ethernet(PACKET), PACKET, packets.labels(7) + PACKET, packets.V6, SEGMENT]
octets_of_packets = some.binary(min_size=1, max_size=90) | some.sampled_from(WHOLE)


@given(
    some.lists(some.tuples(some.sampled_from(SECTIONS), octets_of_packets), min_size=1, max_size=3),
    some.lists(
        some.tuples(some.sampled_from([OFFSET, EXPORTED, FRAME_TYPE, FRAME_SIZE, 4, 1, 2, 8]), some.binary(max_size=9)),
        max_size=4,
    ),
)
def test_any_octets(sections, others):
    """Lines come of them, with all octets of the sections, and the same in batches."""
    fields = [*others, *sections, (1, b"\0\0\0\1"), (2, b"\0\0\0\1"), (152, bytes(8)), (153, bytes(8))]
    [line] = lines(fields, How())
    extra = line["ie"]
    values = [value for _, value in (extra.items() if isinstance(extra, dict) else extra)]
    for _, octets in sections:
        assert octets.hex() in values
    assert lines(fields, How(batches=True)) == [line]
