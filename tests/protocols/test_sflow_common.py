"""The quick way of the commonest samples says what the careful one does, whatever comes, in bounded memory."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import sflow, sflow_common, sflow_texts
from overflowd_tools.protocols.lines import WRITTEN
from overflowd_tools.protocols.sflow import decode_sflow
from overflowd_tools.records import FlowWriter
from tests.protocols import sflow_builders as build
from tests.protocols.sflow_builders import (
    PACKET,
    SWITCH,
    TAGGED,
    V6,
    WHOLE,
    datagram5,
    ethernet,
    extended,
    flow,
    ipv4,
    ipv6,
    raw,
    record,
    router,
    switch,
    tcp,
    udp,
    unpacked,
    words,
)

V6_TCP = ethernet(ipv6(tcp(flags=0x12), 6), 0x86DD, tags=[(0x8100, 10)])
COMMON = {
    "alone": (raw(PACKET),),
    "tag": (raw(TAGGED),),
    "IPv6": (raw(V6),),
    "IPv6, TCP and tag": (raw(V6_TCP),),
    "TCP": (raw(ethernet(ipv4(tcp(flags=0x12), 6))),),
    "switch": (raw(PACKET), switch()),
    "switch and the same tag": (raw(TAGGED), switch()),
    "switch first": (switch(), raw(TAGGED)),
    "router": (raw(PACKET), router()),
    "router first": (router(), raw(PACKET)),
    "switch, router": (router(), raw(V6), switch()),
    "all first": (switch(), router(), raw(PACKET)),
    "all last": (raw(PACKET), router(), switch()),
    "padded": (raw(PACKET + bytes(3)), switch()),
}
UNCOMMON = {
    "switch and another tag": (raw(TAGGED), switch(11, 0, 12, 0)),
    "another record": (raw(PACKET), record(1027, words(5))),
    "another record first": (record(1027, words(5)), raw(PACKET)),
    "another record of the same size": (raw(PACKET), record(1003, bytes(16))),
    "a router of the size of a switch and 8": (raw(PACKET), record(1002, bytes(24))),
    "two headers": (raw(PACKET), raw(PACKET)),
    "two switches": (raw(PACKET), switch(), switch()),
    "two switches around": (switch(), raw(PACKET), switch(5, 6, 7, 8)),
    "two switches first": (switch(), switch(), raw(PACKET)),
    "three records first": (switch(), router(), switch(), raw(PACKET)),
    "two routers": (raw(PACKET), router(), router()),
    "IPv6 router": (raw(PACKET), router("2001:db8::9")),
    "router of a strange type": (raw(PACKET), record(1002, words(0x101, 1, 2, 3))),
    "router of no type": (raw(PACKET), record(1002, words(0, 1, 2, 3))),
    "no header": (switch(), router()),
    "options": (raw(ethernet(ipv4(udp(bytes(40)), options=bytes(4)))),),
    "fragment": (raw(ethernet(ipv4(udp(bytes(40)), fragment=0x2000))),),
    "ICMP": (raw(ethernet(ipv4(build.icmp(payload=bytes(40)), 1))),),
    "tunnel": (raw(ethernet(ipv4(udp(build.vxlan(PACKET), dport=4789)))),),
    "tunnel's source port": (raw(ethernet(ipv4(udp(bytes(40), sport=1701)))),),
    "ARP": (raw(ethernet(bytes(60), 0x0806)),),
    "two tags": (raw(ethernet(ipv4(udp(bytes(40))), tags=[(0x8100, 1), (0x8100, 2)])),),
    "a service tag": (raw(ethernet(ipv4(udp(bytes(40))), tags=[(0x88A8, 1)])),),
    "short header": (raw(ethernet(ipv4(udp()))),),
    "short header of IPv6": (raw(ethernet(ipv6(udp()), 0x86DD)),),
    "another link": (raw(ipv4(udp(bytes(60))), protocol=11),),
    "version 5": (raw(ethernet(b"\x55" + bytes(70))),),
    "version 5 in IPv6": (raw(ethernet(b"\x55" + bytes(90), 0x86DD)),),
    "short TCP": (raw(ethernet(ipv4(tcp(bytes(20)), 6, total=30))),),
    "short TCP in IPv6": (raw(ethernet(ipv6(tcp(bytes(20)), 6, length=19), 0x86DD)),),
    "flags in two octets": (raw(ethernet(ipv4(tcp(), 6))),),
    "short UDP": (raw(ethernet(ipv4(udp(bytes(40)), total=25))),),
    "jumbogram": (raw(ethernet(ipv6(udp(bytes(40)), length=0), 0x86DD)),),
    "record after the end": (raw(PACKET), record(1001, words(1, 2, 3, 4), 999)),
    "header too long for its record": (raw(PACKET, length=200),),
    "header too short for its record": (raw(PACKET, length=len(PACKET) - 8),),
}
MAKERS = [build.flow, build.expanded_flow]
FORMS = [{"headers": True}, {"headers": False}]


def careful(datagram, **how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sflow, "common_samples", lambda *_, **__: None)
        return decode_sflow(datagram, **how)


def check(datagram):
    """Both ways say the same, and the quick one no more of it with headers than without but those."""
    for how in FORMS:
        try:
            slow = careful(datagram, **how)
        except DecodeError:
            return
        quick = decode_sflow(datagram, **how)
        assert list(unpacked(quick.lines)) == list(unpacked(slow.lines))
        assert quick._replace(lines=[]) == slow._replace(lines=[])


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("records", [*COMMON.values(), *UNCOMMON.values()], ids=[*COMMON, *UNCOMMON])
def test_both_ways_say_the_same(records, make):
    check(datagram5(make(*records), make(raw(PACKET)), build.drop(raw(PACKET)), make(*records), build.counters()))


@pytest.mark.parametrize("how", FORMS)
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("records", COMMON.values(), ids=COMMON)
def test_the_quick_way_is_taken(records, make, how):
    other = make(raw(V6), switch(), router())
    (line,) = decode_sflow(datagram5(make(*records), make(*records), other, make(*records)), **how).lines
    assert (line.type, line.shape) == ("flow", WRITTEN)
    assert len(line.values[0]) == 4


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("records", UNCOMMON.values(), ids=UNCOMMON)
def test_the_quick_way_is_not_taken(records, make):
    first, *_ = decode_sflow(datagram5(make(*records), make(raw(PACKET)))).lines
    assert first.shape is not WRITTEN


def test_interfaces_and_sources_of_other_kinds():
    strange = (0x3FFFFFFF, 0x40000102, 0x80000007, 0xC0000006)
    for interface in strange:
        check(datagram5(flow(raw(PACKET), in_if=interface), flow(raw(PACKET), out_if=interface)))
    pairs = [(0, 0x3FFFFFFF), (0, 0xFFFFFFFF), (1, 258), (2, 7), (3, 6), (0, 0x3FFFFFFE), (0, 0x40000000)]
    for pair in pairs:
        check(datagram5(build.expanded_flow(raw(PACKET), in_if=pair), build.expanded_flow(raw(PACKET), out_if=pair)))
    check(datagram5(flow(raw(PACKET), source=0x1000003), build.expanded_flow(raw(PACKET), source=(1, 3))))
    check(datagram5(build.expanded_flow(raw(PACKET), source=(0, 0xFFFFFFFF))))


@pytest.mark.parametrize("change", [-100, -24, -8, -4, -1, 1, 3, 4, 8, 24, 1 << 31])
def test_lengths_that_lie(change):
    for good in (flow(raw(PACKET)), flow(raw(PACKET), switch()), flow(switch(), raw(PACKET), router())):
        for at in (4, 44):  # of the sample, and of the first record
            length = int.from_bytes(good[at : at + 4], "big") + change & 0xFFFFFFFF
            lying = good[:at] + words(length) + good[at + 4 :]
            check(datagram5(lying, good))
            check(datagram5(good, lying))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 0xFFFFFFFF])
def test_counts_of_records_that_lie(count):
    check(datagram5(flow(raw(PACKET), switch(), count=count), flow(raw(PACKET))))
    check(datagram5(build.expanded_flow(switch(), raw(V6), count=count)))


EVERYTHING = datagram5(
    flow(raw(PACKET), switch()),
    build.expanded_flow(switch(), raw(V6_TCP), router()),
    flow(raw(TAGGED)),
    build.counters(record(1005, build.opaque(b"eth0"))),
    build.expanded_flow(raw(V6)),
)


def test_cut_anywhere():
    for length in range(28, len(EVERYTHING)):
        check(EVERYTHING[:length])


@pytest.mark.parametrize("value", [0, 1, 3, 0x40, 0x80, 0xFF])
def test_any_octet_changed(value):
    for at in range(28, len(EVERYTHING)):
        check(EVERYTHING[:at] + bytes([value]) + EVERYTHING[at + 1 :])


@given(st.data())
def test_many_octets_changed(data):
    octets = bytearray(data.draw(st.sampled_from([EVERYTHING, WHOLE])))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(24, len(octets) - 1))
        octets[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(octets) // 2, len(octets)))
    check(bytes(octets[:cut]))


PORTS = st.integers(0, 0xFFFF)
NUMBERS = st.integers(0, 0xFFFFFFFF)
INTERFACES = st.one_of(st.integers(0, 0x3FFFFFFE), NUMBERS)
ADDRESSES4, ADDRESSES6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)


@st.composite
def samples(draw):
    transport = draw(st.sampled_from([6, 17]))
    payload = bytes(draw(st.integers(0, 60)))
    sport, dport = draw(PORTS), draw(PORTS)
    segment = udp(payload, sport, dport) if transport == 17 else tcp(payload, sport, dport, draw(st.integers(0, 0x1FF)))
    if draw(st.booleans()):
        ethertype, packet = 0x86DD, ipv6(segment, transport, draw(ADDRESSES6), draw(ADDRESSES6))
    else:
        fragment = draw(st.sampled_from([0, 0x4000, 0x4000, 0x2000, 0x8000]))
        packet = ipv4(segment, transport, draw(ADDRESSES4), draw(ADDRESSES4), fragment=fragment)
        ethertype = 0x0800
    vlan = draw(st.sampled_from([10, 0x600A]))
    tags = draw(st.sampled_from([(), (), ((0x8100, vlan),)]))
    frame = ethernet(packet, ethertype, tags, draw(st.binary(min_size=6, max_size=6)))
    records = [raw(frame[: draw(st.integers(60, 128))], frame=draw(NUMBERS), stripped=draw(st.sampled_from([0, 4])))]
    if draw(st.booleans()):
        records.append(switch(draw(st.sampled_from([10, 11])), draw(NUMBERS), draw(NUMBERS), draw(NUMBERS)))
    if draw(st.booleans()):
        records.append(router(draw(ADDRESSES4), draw(NUMBERS), draw(NUMBERS)))
    records = draw(st.permutations(records))
    if draw(st.booleans()):
        return flow(*records, source=draw(NUMBERS), in_if=draw(INTERFACES), out_if=draw(INTERFACES))
    interfaces = st.tuples(st.sampled_from([0, 0, 0, 2]), NUMBERS)
    return build.expanded_flow(*records, in_if=draw(interfaces), out_if=draw(interfaces))


@given(st.lists(samples(), min_size=1, max_size=4))
def test_random_samples(chosen):
    check(datagram5(*chosen))


def tables():
    shared = [value for value in sflow_texts.SHARED.values() if isinstance(value, sflow_texts._Table)]
    by_form = [*sflow_texts.SOURCES.values(), *sflow_texts.SAMPLINGS.values(), *sflow_texts.ETHERNETS.values()]
    return shared + by_form + [table for tables in sflow_texts.BESIDES.values() for table in tables.values()]


def test_tables_are_bounded(monkeypatch):
    monkeypatch.setattr(sflow_texts, "_KEPT", 8)
    for table in tables():
        table.clear()
    for number in range(100):
        smac = number.to_bytes(6, "big")
        packet = ethernet(ipv6(udp(bytes(40)), saddr=f"2001:db8::{number:x}"), 0x86DD, smac=smac)
        check(datagram5(flow(raw(packet), switch(number), source=number, in_if=number)))
        check(datagram5(flow(raw(ethernet(ipv4(udp(bytes(40)), saddr=f"192.0.{number}.1"), smac=smac)))))
        check(datagram5(flow(record(number, bytes(28) + PACKET[12:]))))
    assert 1 < max(map(len, tables())) <= 8
    assert len(sflow_common._runs) <= 2 * 3 * 2 * 2 * 2
    assert all(len(runs) <= 2 for runs in sflow_common._plain_runs.values())


ORDER = """
sample_seq sample_pool bcount ip_id saddr daddr sport dport tos protocol source_id sampling_rate drops in_if out_if
hdr_proto frame_len stripped dmac smac ethertype frag_flags frag_off ttl vlan vlan_prio post_vlan post_vlan_prio
"""
ORDER_WITH_HEADER = """
sample_seq source_id sampling_rate sample_pool drops in_if out_if hdr_proto frame_len stripped dmac smac ethertype tos
flow_label bcount protocol ttl saddr daddr sport dport flags vlan vlan_prio nexthop src_mask dst_mask header
"""


def test_the_order_of_members_stays():
    def order(*records, headers):
        (line,) = decode_sflow(datagram5(flow(*records)), headers=headers).lines
        return list(json.loads(b"{" + line.values[0][0][1:]))

    assert order(raw(PACKET), switch(), headers=False) == ORDER.split()
    assert order(raw(V6_TCP), router(), headers=True) == ORDER_WITH_HEADER.split()


def test_whole_lines():
    decoded = decode_sflow(datagram5(flow(raw(PACKET)), build.counters(), flow(raw(V6))), headers=False)
    chosen = [line for line in decoded.lines if line.type == "flow"]
    first, second = FlowWriter().decoded(decoded, chosen, bytes([192, 0, 2, 1]), 6343, 1_700_000_000_123_456_789)
    assert first.startswith(b'{"type":"flow","pcount":1,"source":"sflow5","exporter":"192.0.2.1","domain":7,"agent":')
    assert json.loads(first)["saddr"] == "192.0.2.1"
    assert json.loads(second)["saddr"] == "2001:db8::1"
    assert json.loads(second)["start_ms"] == 1_700_000_000_123


def test_tags_and_switches():
    assert extended(raw(TAGGED), switch()).items() >= SWITCH.items()
    assert extended(raw(TAGGED))["vlan_prio"] == 3
