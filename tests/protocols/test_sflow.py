"""sFlow 5: headers, flow samples the short way and the long, interfaces, drops."""

import pytest

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.sflow import decode_sflow
from overflowd_tools.protocols.sflow_records import DROP_REASONS
from tests.protocols import sflow_builders as build
from tests.protocols.sflow_builders import (
    FLOW,
    HEADER,
    IP4,
    PACKET,
    PACKET_MEMBERS,
    SAMPLING,
    SWITCH,
    TAGGED,
    datagram4,
    datagram5,
    ethernet,
    extended,
    flow,
    ipv4,
    one,
    opaque,
    raw,
    record,
    udp,
    unpacked,
    words,
)


def test_header():
    decoded = decode_sflow(datagram5())
    assert decoded == ("sflow5", 7, {"agent": "192.0.2.99"}, {"seq": 1000, "uptime_ms": 123456}, [], [])
    assert decode_sflow(datagram5(agent="2001:db8::99")).head == {"agent": "2001:db8::99"}
    assert decode_sflow(datagram5(agent=None)).head == {}
    assert decode_sflow(datagram4(version=2)).source == "sflow2"
    assert decode_sflow(datagram4()) == ("sflow4", 0, {"agent": "192.0.2.99"}, decoded.envelope, [], [])


@pytest.mark.parametrize("agent", [None, "192.0.2.99", "2001:db8::99"])
@pytest.mark.parametrize("version", [2, 4, 5])
def test_a_cut_header_is_refused(agent, version):
    whole = datagram5(agent=agent) if version == 5 else datagram4(version=version, agent=agent)
    assert decode_sflow(whole).problems == []
    for length in range(len(whole)):
        with pytest.raises(DecodeError, match="cut short"):
            decode_sflow(whole[:length])


@pytest.mark.parametrize("start", [(1, 1), (3, 1), (6, 1), (5, 3), (0x10005, 1)])
def test_other_versions_and_addresses_are_refused(start):
    with pytest.raises(DecodeError, match="not sFlow"):
        decode_sflow(words(*start) + bytes(100))


def test_flow():
    assert one(datagram5(flow(raw(PACKET)))) == FLOW | PACKET_MEMBERS | HEADER


def test_headers_that_could_not_be_read_stay():
    def line(*records):
        return next(unpacked(decode_sflow(datagram5(flow(*records)), headers=False).lines))

    assert "header" not in line(raw(PACKET))
    assert "header" not in line(raw(ethernet(ipv4(build.icmp(), 1))))
    assert line(raw(ethernet(bytes(46), 0x0806)))["header"] == ethernet(bytes(46), 0x0806).hex()
    assert line(raw(b"whatever", protocol=6), record(3, IP4))["header"] == b"whatever".hex()


def test_vlans():
    assert extended(raw(TAGGED))["vlan"] == 10
    assert extended(raw(TAGGED), build.switch()).items() >= SWITCH.items()
    other = extended(raw(TAGGED), build.switch(11, 0, 12, 0))
    assert (other["vlan"], other["post_vlan"], other["vlans"]) == (11, 12, [10])
    double = ethernet(ipv4(udp()), tags=[(0x88A8, 10), (0x8100, 30)])
    assert extended(raw(double), build.switch())["vlans"] == [10, 30]


def test_shapes_are_shared():
    arp = ethernet(bytes(46), 0x0806)
    first, second = decode_sflow(datagram5(flow(raw(arp)), flow(raw(arp)))).lines
    assert first.shape is second.shape


INTERFACES = {
    (3, 0): {"in_if": 3, "out_if": 0},
    (0x3FFFFFFF, 0x3FFFFFFF): {"in_internal": True, "out_internal": True},
    (3, 0x40000102): {"in_if": 3, "drop_reason": 258, "drop_reason_name": "acl"},
    (3, 0x40003FFF): {"in_if": 3, "drop_reason": 0x3FFF},
    (3, 0x80000007): {"in_if": 3, "out_ifs": 7},
    (3, 0x80000000): {"in_if": 3, "out_ifs": 0},
    (0x40000005, 0xC0000006): {"in_if": 5, "in_if_format": 1, "out_if": 6, "out_if_format": 3},
}


@pytest.mark.parametrize(("interfaces", "expected"), INTERFACES.items())
def test_interfaces(interfaces, expected):
    in_if, out_if = interfaces
    assert one(datagram5(flow(in_if=in_if, out_if=out_if))) == {"pcount": 1} | SAMPLING | expected
    split = {"in_if": divmod(in_if, 1 << 30), "out_if": divmod(out_if, 1 << 30)}
    assert one(datagram5(build.expanded_flow(**split))) == {"pcount": 1} | SAMPLING | expected


def test_expanded_interfaces_have_32_bits():
    line = one(datagram5(build.expanded_flow(in_if=(0, 0xFFFFFFFF), out_if=(0, 0xFFFFFFFE))))
    assert line == {"pcount": 1} | SAMPLING | {"in_internal": True, "out_if": 0xFFFFFFFE}


def test_data_sources():
    assert one(datagram5(flow(source=0x01000064)))["source_class"] == 1
    line = one(datagram5(build.expanded_flow(raw(PACKET), source=(2, 0x5000000))))
    assert (line["source_class"], line["source_id"]) == (2, 0x5000000)
    assert "source_class" not in one(datagram5(flow(source=5)))


ARP = ethernet(bytes(46), 0x0806)


@pytest.mark.parametrize(("frame", "stripped", "octets"), [(64, 4, 60), (64, 1262, 64), (64, 64, 64), (64, 0, 64)])
def test_octets_of_what_is_not_ip(frame, stripped, octets):
    assert extended(raw(ARP, frame=frame, stripped=stripped))["bcount"] == octets


def test_headers_of_unknown_protocols():
    assert extended(raw(b"whatever", protocol=6)) == {
        "bcount": 8,
        "hdr_proto": 6,
        "frame_len": 12,
        "stripped": 4,
        "header": b"whatever".hex(),
    }


def test_drops():
    line = one(datagram5(build.drop(raw(PACKET), record(1037, words(5) + opaque(b"a") + words(1)))))
    assert line == PACKET_MEMBERS | HEADER | {
        "pcount": 1,
        "sample_seq": 99,
        "source_id": 3,
        "drops": 11,
        "in_if": 5,
        "out_if": 6,
        "drop_reason": 258,
        "drop_reason_name": "acl",
        "acl": {"number": 5, "name": "a", "direction": 1},
    }
    assert decode_sflow(datagram5(build.drop())).lines[0].type == "drop"
    assert "drop_reason_name" not in one(datagram5(build.drop(reason=100)))


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, "net_unreachable"),
        (15, "precedence_cutoff"),
        (256, "unknown"),
        (303, "split_horizon"),
        (372, "bgp_flowspec"),
    ],
)
def test_drop_reasons(number, name):
    assert DROP_REASONS[number] == name
