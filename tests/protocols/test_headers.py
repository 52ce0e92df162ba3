"""Sampled packets: every layer alone, packets in packets, and packets cut, lying or nested to do harm."""

import shutil
import subprocess

import capture_builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.protocols.headers import MAX_TUNNELS, address_text, decode_header
from tests.protocols import sflow_builders as build
from tests.protocols.sflow_builders import ethernet, gre, icmp, ipv4, ipv6, labels, shown, tcp, udp, words

MACS = {"smac": "02:00:00:00:00:01", "dmac": "02:00:00:00:00:02"}
ETHERNET4 = MACS | {"ethertype": 0x0800}
ADDRESSES4 = {"saddr": "192.0.2.1", "daddr": "198.51.100.2"}
REST4 = {"tos": 0xB8, "ttl": 63, "ip_id": 0x1234, "frag_off": 0, "frag_flags": 0x40}
UDP4 = ADDRESSES4 | REST4 | {"bcount": 28, "protocol": 17, "sport": 1024, "dport": 53}
TCP4 = ADDRESSES4 | REST4 | {"bcount": 40, "protocol": 6, "sport": 1025, "dport": 80, "flags": 0x112}
ADDRESSES6 = {"saddr": "2001:db8::1", "daddr": "2001:db8::2"}
REST6 = {"tos": 0x2E, "ttl": 62, "flow_label": 0x54321}
UDP6 = ADDRESSES6 | REST6 | {"bcount": 48, "protocol": 17, "sport": 1024, "dport": 53}
INNER = {"saddr": "10.0.0.1", "daddr": "10.0.0.2"}
LABEL = {"exp": 5, "ttl": 64}


def inner4(payload=None, **fields):
    return ipv4(udp() if payload is None else payload, saddr="10.0.0.1", daddr="10.0.0.2", **fields)


def decode(packet, protocol=1):
    return {name: shown(value) for name, value in decode_header(protocol, packet).items()}


def outer(payload, dport):
    length = 28 + len(payload)
    return UDP4 | {"bcount": length, "dport": dport}, udp(payload, dport=dport)


def extension(following, size=8):
    return bytes((following, size // 8 - 1)) + bytes(size - 2)


PLAIN = {
    "UDP": (ethernet(ipv4(udp())), ETHERNET4 | UDP4),
    "TCP": (ethernet(ipv4(tcp(), 6)), ETHERNET4 | TCP4),
    "options": (
        ethernet(ipv4(udp(), options=bytes(8))),
        ETHERNET4 | UDP4 | {"bcount": 36},
    ),
    "first fragment": (
        ethernet(ipv4(udp(), fragment=0x2000)),
        ETHERNET4 | UDP4 | {"frag_flags": 0x20},
    ),
    "later fragment": (
        ethernet(ipv4(udp(), fragment=0x2005)),
        ETHERNET4 | ADDRESSES4 | REST4 | {"bcount": 28, "protocol": 17, "frag_off": 5, "frag_flags": 0x20},
    ),
    "ICMP": (
        ethernet(ipv4(icmp(8, 0), 1)),
        ETHERNET4 | ADDRESSES4 | REST4 | {"bcount": 28, "protocol": 1, "icmp_type": 8, "icmp_code": 0},
    ),
    "SCTP": (ethernet(ipv4(udp(), 132)), ETHERNET4 | UDP4 | {"protocol": 132}),
    "ESP": (ethernet(ipv4(bytes(8), 50)), ETHERNET4 | ADDRESSES4 | REST4 | {"bcount": 28, "protocol": 50}),
    "IPv6": (ethernet(ipv6(udp()), 0x86DD), MACS | UDP6 | {"ethertype": 0x86DD}),
    "IPv6 extensions": (
        ethernet(
            ipv6(extension(43) + extension(60, 16) + extension(51) + bytes((17, 4)) + bytes(22) + udp(), 0), 0x86DD
        ),
        MACS | UDP6 | {"ethertype": 0x86DD, "bcount": 40 + 32 + 24 + 8},
    ),
    "IPv6 first fragment": (
        ethernet(ipv6(b"\x11\0\0\1" + words(99) + udp(), 44), 0x86DD),
        MACS | UDP6 | {"ethertype": 0x86DD, "bcount": 56, "ip_id": 99, "frag_off": 0, "frag_flags": 0x20},
    ),
    "IPv6 later fragment": (
        ethernet(ipv6(b"\x11\0\0\x18" + words(99) + bytes(8), 44), 0x86DD),
        MACS
        | ADDRESSES6
        | REST6
        | {"ethertype": 0x86DD, "bcount": 56, "protocol": 17, "ip_id": 99, "frag_off": 3, "frag_flags": 0},
    ),
    "IPv6 without more": (
        ethernet(ipv6(b"", 59), 0x86DD),
        MACS | ADDRESSES6 | REST6 | {"ethertype": 0x86DD, "bcount": 40, "protocol": 59},
    ),
    "jumbogram": (
        ethernet(ipv6(udp(), length=0), 0x86DD),
        MACS | ADDRESSES6 | REST6 | {"ethertype": 0x86DD, "protocol": 17, "sport": 1024, "dport": 53},
    ),
    "total length 0": (ethernet(ipv4(udp(), total=0)), {**ETHERNET4, **UDP4} | {"bcount": None}),
    "VLAN": (ethernet(ipv4(udp()), tags=[(0x8100, 0x6064)]), ETHERNET4 | UDP4 | {"vlan": 100, "vlan_prio": 3}),
    "QinQ": (
        ethernet(ipv4(udp()), tags=[(0x88A8, 200), (0x8100, 100), (0x9100, 7)]),
        ETHERNET4 | UDP4 | {"vlan": 200, "vlan_prio": 0, "vlans": [200, 100, 7]},
    ),
    "SNAP": (ethernet(b"\xaa\xaa\x03\0\0\0\x08\0" + ipv4(udp()), 46), ETHERNET4 | UDP4),
    "LLC": (ethernet(b"\x42\x42\x03" + bytes(35), 38), MACS),
    "ARP": (ethernet(bytes(28), 0x0806), MACS | {"ethertype": 0x0806}),
    "MPLS": (
        ethernet(labels(1000, 2000) + ipv4(udp()), 0x8847),
        MACS | UDP4 | {"ethertype": 0x8847, "mpls": [{"label": 1000, "s": 0} | LABEL, {"label": 2000, "s": 1} | LABEL]},
    ),
    "MPLS and IPv6": (
        ethernet(labels(2) + ipv6(udp()), 0x8848),
        MACS | UDP6 | {"ethertype": 0x8848, "mpls": [{"label": 2, "s": 1} | LABEL]},
    ),
    "PPPoE": (
        ethernet(b"\x11\0\x12\x34\0\x1e\0\x21" + ipv4(udp()), 0x8864),
        MACS | UDP4 | {"ethertype": 0x8864, "pppoe_session": 0x1234},
    ),
    "PPPoE, short protocol": (
        ethernet(b"\x11\0\x12\x34\0\x31\x57" + ipv6(udp()), 0x8864),
        MACS | UDP6 | {"ethertype": 0x8864, "pppoe_session": 0x1234},
    ),
}

OTHER_LINKS = {
    "PPP": (7, b"\xff\x03\0\x21" + ipv4(udp()), UDP4),
    "PPP with MPLS": (7, b"\x02\x81" + labels(3) + ipv4(udp()), UDP4 | {"mpls": [{"label": 3, "s": 1} | LABEL]}),
    "AAL5 IP": (10, ipv6(udp()), UDP6),
    "IPv4": (11, ipv4(tcp(), 6), TCP4),
    "IPv6": (12, ipv6(udp()), UDP6),
    "MPLS": (13, labels(3) + ipv4(udp()), UDP4 | {"mpls": [{"label": 3, "s": 1} | LABEL]}),
    "SONET with PPP": (14, b"\xff\x03\0\x21" + ipv4(udp()), UDP4),
    "SONET with Cisco HDLC": (14, b"\x0f\0\x08\0" + ipv4(udp()), UDP4),
    "FDDI": (4, ethernet(ipv4(udp())), {}),
}


@pytest.mark.parametrize(("packet", "expected"), PLAIN.values(), ids=PLAIN)
def test_plain(packet, expected):
    assert decode(packet) == {name: value for name, value in expected.items() if value is not None}


@pytest.mark.parametrize(("protocol", "packet", "expected"), OTHER_LINKS.values(), ids=OTHER_LINKS)
def test_other_links(protocol, packet, expected):
    assert decode(packet, protocol) == expected


UDP_INNER = UDP4 | INNER


def tunnelled(layer, protocol):
    return ipv4(layer, protocol), UDP_INNER, {"bcount": 20 + len(layer), "protocol": protocol}


IP_TUNNELS = {
    "IP in IP": (*tunnelled(inner4(), 4), {"type": "ipip"}),
    "IPv6 in IP": (ipv4(ipv6(udp()), 41), UDP6, {"bcount": 68, "protocol": 41}, {"type": "ipip"}),
    "MPLS in IP": (
        ipv4(labels(4) + inner4(), 137),
        UDP_INNER | {"mpls": [{"label": 4, "s": 1} | LABEL]},
        {"bcount": 52, "protocol": 137},
        {"type": "mpls"},
    ),
    "GRE": (*tunnelled(gre(inner4()), 47), {"type": "gre"}),
    "GRE with all": (
        *tunnelled(gre(inner4(), flags=0xB000, fields=words(0, 0xABCD, 5)), 47),
        {"type": "gre", "key": 0xABCD},
    ),
    "GRE with Ethernet": (
        ipv4(gre(ethernet(inner4()), 0x6558), 47),
        UDP_INNER | ETHERNET4,
        {"bcount": 66, "protocol": 47},
        {"type": "gre"},
    ),
}


@pytest.mark.parametrize(("packet", "inner", "carrier", "tunnel"), IP_TUNNELS.values(), ids=IP_TUNNELS)
def test_ip_tunnels(packet, inner, carrier, tunnel):
    assert decode(packet, 11) == inner | {"tunnel": tunnel, "outer": ADDRESSES4 | REST4 | carrier}


BRIDGED = ethernet(inner4(), tags=[(0x8100, 42)])
BRIDGED_MEMBERS = UDP_INNER | ETHERNET4 | {"vlan": 42, "vlan_prio": 0}
UDP_TUNNELS = {
    "VXLAN": (4789, build.vxlan(BRIDGED), BRIDGED_MEMBERS, {"type": "vxlan", "vni": 0xABCDE}),
    "VXLAN of Linux": (8472, build.vxlan(BRIDGED), BRIDGED_MEMBERS, {"type": "vxlan", "vni": 0xABCDE}),
    "Geneve": (6081, build.geneve(BRIDGED), BRIDGED_MEMBERS, {"type": "geneve", "vni": 0x12345}),
    "Geneve with options": (
        6081,
        build.geneve(inner4(), 0x0800, options=bytes(12)),
        UDP_INNER,
        {"type": "geneve", "vni": 0x12345},
    ),
    "GTP-U": (2152, build.gtp_u(inner4()), UDP_INNER, {"type": "gtp-u", "teid": 0xCAFE}),
    "GTP-U with IPv6": (2152, build.gtp_u(ipv6(udp())), UDP6, {"type": "gtp-u", "teid": 0xCAFE}),
    "GTP-U with sequence": (
        2152,
        build.gtp_u(inner4(), flags=0x32, fields=bytes(4)),
        UDP_INNER,
        {"type": "gtp-u", "teid": 0xCAFE},
    ),
    "GTP-U with extensions": (
        2152,
        build.gtp_u(inner4(), flags=0x34, fields=b"\0\0\0\x85" + b"\1\0\0\x85" + b"\2\0\0\0\0\0\0\0"),
        UDP_INNER,
        {"type": "gtp-u", "teid": 0xCAFE},
    ),
    "L2TP": (
        1701,
        b"\0\2\0\5\0\6\xff\x03\0\x21" + inner4(),
        UDP_INNER,
        {"type": "l2tp", "tunnel_id": 5, "session_id": 6},
    ),
    "L2TP with all": (
        1701,
        b"\x4a\2\0\x40\0\5\0\6\0\1\0\2\0\2\0\0\xff\x03\0\x21" + inner4(),
        UDP_INNER,
        {"type": "l2tp", "tunnel_id": 5, "session_id": 6},
    ),
}


@pytest.mark.parametrize(("port", "payload", "inner", "tunnel"), UDP_TUNNELS.values(), ids=UDP_TUNNELS)
def test_udp_tunnels(port, payload, inner, tunnel):
    members, packet = outer(payload, port)
    assert decode(ethernet(ipv4(packet))) == inner | {"tunnel": tunnel, "outer": ETHERNET4 | members}


def test_l2tp_is_known_by_either_port():
    packet = ipv4(udp(b"\0\2\0\5\0\6\xff\x03\0\x21" + inner4(), sport=1701, dport=40000))
    assert decode(packet, 11)["tunnel"]["type"] == "l2tp"


@pytest.mark.parametrize("control", [b"", bytes(4)], ids=["without control word", "with control word"])
@pytest.mark.parametrize("mac", [bytes(6), b"\x20" + bytes(5)])
def test_pseudowires(control, mac):
    frame = ethernet(inner4(), dmac=mac)
    decoded = decode(ethernet(labels(5) + control + frame, 0x8847))
    assert {name: decoded[name] for name in INNER} == INNER
    assert decoded["dmac"] == mac.hex(":")
    assert decoded["tunnel"] == {"type": "mpls"}
    assert decoded["outer"] == MACS | {"ethertype": 0x8847, "mpls": [{"label": 5, "s": 1} | LABEL]}


def test_what_hides_in_a_pseudowire_may_stay_unknown():
    decoded = decode(ethernet(labels(5) + bytes(40), 0x8847))
    assert decoded == MACS | {"ethertype": 0x8847, "mpls": [{"label": 5, "s": 1} | LABEL]}


def test_tunnels_in_tunnels():
    deepest = inner4(gre(inner4()), protocol=47)
    members, packet = outer(build.vxlan(ethernet(deepest)), 4789)
    assert decode(ipv4(packet), 11) == UDP_INNER | {
        "tunnel": {"type": "gre"},
        "outer": ETHERNET4
        | INNER
        | REST4
        | {
            "bcount": len(deepest),
            "protocol": 47,
            "tunnel": {"type": "vxlan", "vni": 0xABCDE},
            "outer": members,
        },
    }


def test_a_carrier_whose_load_cannot_be_read():
    members, packet = outer(build.vxlan(ethernet(bytes(28), 0x0806)), 4789)
    carried = {"type": "vxlan", "vni": 0xABCDE} | MACS | {"ethertype": 0x0806}
    assert decode(ipv4(packet), 11) == members | {"carries": carried}
    cut = ipv4(gre(ethernet(labels(9) + ethernet(bytes(28), 0x0800), 0x8847), 0x6558), 47)
    carries = decode(cut, 11)["carries"]
    assert carries["type"] == "gre"
    assert carries["carries"] == {"type": "mpls"} | ETHERNET4


NESTED = {
    "IP in IP": lambda packet: ipv4(packet, 4),
    "MPLS in IP": lambda packet: ipv4(labels(1) + packet, 137),
    "GRE": lambda packet: ipv4(gre(packet), 47),
    "VXLAN": lambda packet: ipv4(udp(build.vxlan(ethernet(packet)), dport=4789)),
    "Geneve": lambda packet: ipv4(udp(build.geneve(packet, 0x0800), dport=6081)),
    "GTP-U": lambda packet: ipv4(udp(build.gtp_u(packet), dport=2152)),
    "L2TP": lambda packet: ipv4(udp(b"\0\2\0\5\0\6\xff\x03\0\x21" + packet, dport=1701)),
    "pseudowire": lambda packet: ipv4(gre(labels(1) + bytes(4) + ethernet(packet), 0x8847), 47),
}


@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_depth_is_bounded(nest):
    packet = inner4()
    for _ in range(MAX_TUNNELS + 3):
        packet = nest(packet)
    decoded = decode(packet, 11)
    depth = 0
    while "outer" in decoded:
        decoded = decoded["outer"]
        depth += 1
    assert depth == MAX_TUNNELS


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_quoted_packets(kind):
    about = ipv4(udp(), saddr="10.0.0.1", daddr="10.0.0.2")
    decoded = decode(ipv4(icmp(kind, 1, about), 1), 11)
    assert decoded["quoted"] == UDP_INNER
    assert decoded["icmp_type"] == kind
    assert {name: decoded[name] for name in ADDRESSES4} == ADDRESSES4


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_quoted_packets_of_ipv6(kind):
    decoded = decode(ipv6(icmp(kind, 0, ipv6(tcp(), 6)), 58), 12)
    assert decoded["quoted"] == UDP6 | {"bcount": 60, "protocol": 6, "sport": 1025, "dport": 80, "flags": 0x112}


def test_quotations_are_not_gone_into():
    about = ipv4(icmp(3, 3, inner4()), 1)
    assert "quoted" not in decode(ipv4(icmp(3, 3, about), 1), 11)["quoted"]
    tunnel = decode(ipv4(icmp(3, 3, ipv4(inner4(), 4)), 1), 11)["quoted"]
    assert {name: tunnel[name] for name in ADDRESSES4} == ADDRESSES4
    assert "quoted" not in decode(ipv4(icmp(8, 0, inner4()), 1), 11)
    assert "quoted" not in decode(ipv4(icmp(3, 3, bytes(40)), 1), 11)


NONSENSE = {
    "header length 4": ipv4(udp(bytes(20))).replace(b"\x45", b"\x41", 1),
    "version 5": ipv4(udp(bytes(20))).replace(b"\x45", b"\x55", 1),
}


@pytest.mark.parametrize("packet", NONSENSE.values(), ids=NONSENSE)
def test_nonsense(packet):
    assert decode(packet, 11) == {}
    assert decode(packet, 12) == {}


def test_a_total_length_hides_what_is_behind_it():
    decoded = decode(ipv4(udp(), total=22), 11)
    assert decoded["bcount"] == 22
    assert "sport" not in decoded


STOPPED = {
    "source routes in GRE": (47, gre(inner4(), flags=0x4000)),
    "another version of GRE": (47, gre(inner4(), flags=1)),
    "GRE without its key": (47, gre(b"", flags=0x2000)),
    "no flag in VXLAN": (17, udp(words(0, 0) + BRIDGED, dport=4789)),
    "another version of Geneve": (17, udp(b"\x40" + build.geneve(BRIDGED)[1:], dport=6081)),
    "a control message of GTP": (17, udp(b"\x30\x01" + build.gtp_u(inner4())[2:], dport=2152)),
    "GTP prime": (17, udp(b"\x20" + build.gtp_u(inner4())[1:], dport=2152)),
    "empty extension of GTP": (17, udp(build.gtp_u(bytes(40), flags=0x34, fields=b"\0\0\0\x85"), dport=2152)),
    "a control message of L2TP": (17, udp(b"\xc8\2" + bytes(30), dport=1701)),
    "no offset in L2TP": (17, udp(b"\2\2" + bytes(6), dport=1701)),
    "short L2TP": (17, udp(b"\0\2" + bytes(2), dport=1701)),
}


@pytest.mark.parametrize(("protocol", "payload"), STOPPED.values(), ids=STOPPED)
def test_no_tunnel(protocol, payload):
    decoded = decode(ipv4(payload, protocol), 11)
    assert {name: decoded[name] for name in ADDRESSES4} == ADDRESSES4
    assert not decoded.keys() & {"tunnel", "outer", "carries"}


def test_unknown_protocols_in_known_tunnels():
    assert decode(ipv4(gre(bytes(40), 0x88BE), 47), 11)["carries"] == {"type": "gre"}
    assert "pppoe_session" not in decode(ethernet(b"\x21\0" + bytes(40), 0x8864))
    assert decode(b"\x80\x21" + bytes(40), 7) == {}
    assert decode(b"\x0f\0\x12\x34" + ipv4(udp()), 14) == {}


def test_stacks_without_end():
    decoded = decode(ethernet(words(*[1 << 12] * 400), 0x8847))
    assert len(decoded["mpls"]) == 16
    decoded = decode(ethernet(ipv4(udp()), tags=[(0x8100, number) for number in range(1, 400)]))
    assert decoded["vlans"] == list(range(1, 9))
    assert "saddr" not in decoded
    decoded = decode(ipv6(extension(0) * 200, 0), 12)
    assert "sport" not in decoded


KNOWN = [
    *(packet for packet, _ in PLAIN.values()),
    *(ethernet(packet) for packet, *_ in IP_TUNNELS.values()),
    *(ethernet(ipv4(udp(payload, dport=port))) for port, payload, *_ in UDP_TUNNELS.values()),
    ethernet(ipv4(icmp(3, 1, ipv4(udp())), 1)),
]
PSEUDOWIRE = ethernet(labels(5) + bytes(4) + ethernet(inner4()), 0x8847)  # tshark guesses otherwise
EVERY = [*KNOWN, PSEUDOWIRE, *(ethernet(ipv4(payload, protocol)) for protocol, payload in STOPPED.values())]


@pytest.mark.parametrize("packet", EVERY)
def test_cut_at_every_octet(packet):
    whole = decode(packet)
    for length in range(len(packet)):
        cut = decode(packet[:length])
        if "tunnel" not in whole and "tunnel" not in cut:
            known = cut.keys() - {"protocol", "quoted", "mpls", "vlans", "carries", "ethertype"}
            assert {name: cut[name] for name in known} == {name: whole[name] for name in known}


@pytest.mark.parametrize(("protocol", "packet"), [(link, packet) for link, packet, _ in OTHER_LINKS.values()])
def test_other_links_cut_at_every_octet(protocol, packet):
    whole = decode(packet, protocol)
    assert all(decode(packet[:length], protocol).keys() <= whole.keys() for length in range(len(packet)))


@given(st.integers(0, 20), st.binary(max_size=200))
def test_any_octets(protocol, octets):
    check(decode_header(protocol, octets))


@given(st.sampled_from(EVERY), st.data())
def test_damaged_packets(packet, data):
    octets = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    check(decode_header(1, bytes(octets)))


def check(members, depth=0):
    assert depth <= MAX_TUNNELS
    for name, value in members.items():
        if name in {"smac", "dmac"} and depth == 0:
            assert len(value) == 6
        elif name in {"saddr", "daddr"} and depth == 0:
            assert len(value) in {4, 16}
        elif name in {"outer", "quoted", "carries"}:
            check(value, depth + 1)
        else:
            assert isinstance(value, int | list | dict if depth == 0 else int | list | dict | str)


def test_addresses_are_text_in_their_canonical_form():
    assert address_text(bytes(4)) == "0.0.0.0"
    assert address_text(bytes(15) + b"\1") == "::1"


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_innermost_packets_against_tshark(tmp_path):
    packets = [
        packet for packet in KNOWN if "saddr" in decode_header(1, packet) and "quoted" not in decode_header(1, packet)
    ]
    path = tmp_path / "packets.pcap"
    path.write_bytes(capture_builders.pcap(*packets))
    fields = ("ip.src", "ipv6.src", "udp.srcport", "tcp.dstport", "ip.len", "ieee8021ad.id", "vlan.id")
    preferences = (
        "-o ip.defragment:FALSE -o ipv6.defragment:FALSE -d udp.port==8472,vxlan -E occurrence=a -E separator=|"
    )
    command = ["tshark", "-n", "-r", path, "-T", "fields", *preferences.split()]
    rows = subprocess.run(
        [*command, *(word for field in fields for word in ("-e", field))], capture_output=True, check=True, text=True
    ).stdout.splitlines()
    assert len(rows) == len(packets)
    for packet, row in zip(packets, rows, strict=True):
        ours = decode(packet)
        theirs = dict(zip(fields, (value.split(",") for value in row.split("|")), strict=True))
        addresses = theirs["ip.src"] if "." in ours["saddr"] else theirs["ipv6.src"]
        assert ours["saddr"] == addresses[-1], row
        if "bcount" not in ours:  # which tshark calls malformed
            continue
        if "." in ours["saddr"]:
            assert str(ours["bcount"]) == theirs["ip.len"][-1], row
        if ours["protocol"] == 17 and "sport" in ours:
            assert str(ours["sport"]) == theirs["udp.srcport"][-1], row
        if "flags" in ours:
            assert str(ours["dport"]) == theirs["tcp.dstport"][-1], row
        tags = [tag for name in ("ieee8021ad.id", "vlan.id") for tag in theirs[name] if tag]
        if "vlan" in ours and "outer" not in ours:
            assert [str(vlan) for vlan in ours.get("vlans", [ours["vlan"]])] == tags, row
