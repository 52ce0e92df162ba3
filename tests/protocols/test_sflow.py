"""sFlow 5: headers, flow samples the short way and the long, interfaces, drops."""

import pytest

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import sflow
from overflowd_tools.protocols.sflow import decode_sflow
from overflowd_tools.protocols.sflow_common import PackedShape
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
    V6,
    datagram4,
    datagram5,
    ethernet,
    extended,
    flow,
    ipv4,
    ipv6,
    members,
    one,
    opaque,
    raw,
    record,
    tcp,
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


TAGGED = ethernet(ipv4(tcp(flags=0x12), 6), tags=[(0x8100, 0x600A)])
V6_TCP = ethernet(ipv6(tcp(flags=0x12), 6), 0x86DD, tags=[(0x8100, 10)])
COMMON = {
    "alone": (raw(PACKET),),
    "tag": (raw(TAGGED),),
    "IPv6": (raw(V6),),
    "IPv6, TCP and tag": (raw(V6_TCP),),
    "TCP": (raw(ethernet(ipv4(tcp(flags=0x12), 6))),),
    "switch": (raw(PACKET), build.switch()),
    "switch and the same tag": (raw(TAGGED), build.switch()),
    "switch first": (build.switch(), raw(TAGGED)),
    "router": (raw(PACKET), build.router()),
    "switch, router": (build.router(), raw(V6), build.switch()),
    "padded": (raw(PACKET + bytes(3)), build.switch()),
}
UNCOMMON = {
    "switch and another tag": (raw(TAGGED), build.switch(11, 0, 12, 0)),
    "another record": (raw(PACKET), record(1027, words(5))),
    "another record first": (record(1027, words(5)), raw(PACKET)),
    "two headers": (raw(PACKET), raw(PACKET)),
    "two switches": (raw(PACKET), build.switch(), build.switch()),
    "two switches first": (build.switch(), build.switch(), raw(PACKET)),
    "two routers": (raw(PACKET), build.router(), build.router()),
    "IPv6 router": (raw(PACKET), build.router("2001:db8::9")),
    "no header": (build.switch(), build.router()),
    "options": (raw(ethernet(ipv4(udp(bytes(40)), options=bytes(4)))),),
    "fragment": (raw(ethernet(ipv4(udp(bytes(40)), fragment=0x2000))),),
    "ICMP": (raw(ethernet(ipv4(build.icmp(payload=bytes(40)), 1))),),
    "tunnel": (raw(ethernet(ipv4(udp(build.vxlan(PACKET), dport=4789)))),),
    "tunnel's source port": (raw(ethernet(ipv4(udp(bytes(40), sport=1701)))),),
    "ARP": (raw(ethernet(bytes(60), 0x0806)),),
    "short header": (raw(ethernet(ipv4(udp()))),),
    "short header of IPv6": (raw(ethernet(ipv6(udp()), 0x86DD)),),
    "another link": (raw(ipv4(udp(bytes(60))), protocol=11),),
    "version 5": (raw(ethernet(b"\x55" + bytes(70))),),
    "version 5 in IPv6": (raw(ethernet(b"\x55" + bytes(90), 0x86DD)),),
    "short TCP": (raw(ethernet(ipv4(tcp(bytes(20)), 6, total=30))),),
    "flags in two octets": (raw(ethernet(ipv4(tcp(), 6))),),
    "short UDP": (raw(ethernet(ipv4(udp(bytes(40)), total=25))),),
    "record after the end": (raw(PACKET), record(1001, words(1, 2, 3, 4), 999)),
    "header too long for its record": (raw(PACKET, length=200),),
}


@pytest.mark.parametrize("make", [build.flow, build.expanded_flow])
@pytest.mark.parametrize("records", [*COMMON.values(), *UNCOMMON.values()], ids=[*COMMON, *UNCOMMON])
def test_the_short_way_says_the_same(records, make, monkeypatch):
    datagram = datagram5(make(*records), make(raw(PACKET)))
    short = decode_sflow(datagram)
    monkeypatch.setattr(sflow, "common_sample", lambda *_, **__: None)
    long = decode_sflow(datagram)
    assert [members(line) for line in short.lines] == [members(line) for line in long.lines]
    kinds = [dict(zip(line.shape.names, line.shape.kinds, strict=True)) for line in short.lines]
    assert kinds == [dict(zip(line.shape.names, line.shape.kinds, strict=True)) for line in long.lines]
    assert short.problems == long.problems


@pytest.mark.parametrize("make", [build.flow, build.expanded_flow])
@pytest.mark.parametrize("records", COMMON.values(), ids=COMMON)
def test_the_short_way_is_taken(records, make, monkeypatch):
    monkeypatch.setattr(sflow, "_read_sample", None)
    assert len(decode_sflow(datagram5(make(*records))).lines) == 1


@pytest.mark.parametrize("make", [build.flow, build.expanded_flow])
@pytest.mark.parametrize("records", [*COMMON.values(), *UNCOMMON.values()], ids=[*COMMON, *UNCOMMON])
def test_packed_samples_say_the_same_but_the_header(records, make):
    datagram = datagram5(make(raw(PACKET)), make(*records), make(*records), build.drop(raw(PACKET)), make(raw(PACKET)))
    whole, packed = decode_sflow(datagram), decode_sflow(datagram, headers=False)
    expected = [members(line) for line in whole.lines]
    for line in expected:
        if "saddr" in line:
            line.pop("header", None)
    assert list(unpacked(packed.lines)) == expected
    assert packed._replace(lines=[]) == whole._replace(lines=[])


@pytest.mark.parametrize("records", COMMON.values(), ids=COMMON)
def test_common_samples_are_packed(records):
    other = flow(raw(V6), build.switch(), build.router())
    packed = decode_sflow(datagram5(flow(*records), flow(*records), other, flow(*records)), headers=False).lines
    assert [line.type for line in packed] == ["flow"] * len(packed)
    assert all(isinstance(line.shape, PackedShape) for line in packed)
    assert len(packed) == (3 if records is not COMMON["switch, router"] else 1)
    assert len(list(unpacked(packed))) == 4


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
    first, second = decode_sflow(datagram5(flow(raw(PACKET)), flow(raw(ethernet(ipv4(udp(bytes(50)))))))).lines
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
