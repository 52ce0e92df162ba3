"""sFlow counts, lengths, agents and sampled headers that lie: items 15 to 19, as of-decode shows them.

What each lie does to a single datagram is in tests/protocols/test_sflow_damage.py, and what packets of every kind say
in tests/protocols/test_headers.py.
"""

import struct

import pytest

from tests.hostile.builders import sflow
from tests.protocols.sflow_builders import GOOD, PACKET, address, datagram5, flow, opaque, raw, words
from tests.protocols.sflow_builders import record as a_record

ENDLESS = 0xFFFFFFFF
GATEWAY = address("192.0.2.1") + words(1, 2, 3)
ONLY = ("--only", "flow,counter,drop")
LENGTH = len(GOOD) - 8


def shown(done) -> list[tuple[str, object]]:
    """Type and source of the lines."""
    return [(line["type"], line.get("saddr")) for line in done.lines]


FLOW = ("flow", "192.0.2.1")


# --- 15. counts


@pytest.mark.parametrize(
    ("datagram", "lines", "reason"),
    [
        (datagram5(count=ENDLESS), 0, "4294967295 of 4294967295 samples are missing"),
        (datagram5(GOOD, count=ENDLESS), 1, "4294967294 of 4294967295 samples are missing"),
        (
            datagram5(flow(raw(PACKET), count=ENDLESS), GOOD),
            2,
            "sample 1 of 2: 4294967294 of 4294967295 records are missing",
        ),
        (
            datagram5(sflow.expanded_flow(raw(PACKET), count=ENDLESS), GOOD),
            2,
            "sample 1 of 2: 4294967294 of 4294967295 records are missing",
        ),
        (
            datagram5(sflow.counters(a_record(1, bytes(88)), count=ENDLESS), GOOD),
            2,
            "sample 1 of 2: 4294967294 of 4294967295 records are missing",
        ),
        (
            sflow.datagram4(sflow.flow4(1, sflow.raw4(PACKET)), count=ENDLESS),
            1,
            "4294967294 of 4294967295 samples are missing",
        ),
        (
            sflow.datagram4(sflow.flow4(1, sflow.raw4(PACKET), count=ENDLESS)),
            1,
            "sample 1 of 1: 4 octets promised, 0 there",
        ),
        (
            datagram5(flow(raw(PACKET), a_record(1003, GATEWAY + words(0, ENDLESS))), GOOD),
            2,
            "sample 1 of 2: record 0/1003: 17179869180 octets promised, 0 there",
        ),
        (
            datagram5(flow(raw(PACKET), a_record(1003, GATEWAY + words(1, 2, ENDLESS))), GOOD),
            2,
            "sample 1 of 2: record 0/1003: 17179869180 octets promised, 0 there",
        ),
        (
            datagram5(flow(raw(PACKET), a_record(1009, words(ENDLESS))), GOOD),
            2,
            None,
        ),
    ],
)
def test_counts_without_end(between, datagram, lines, reason):
    done = between(datagram, argv=ONLY)
    assert len(done.lines) == lines
    assert len(done.told) == 1
    if reason:
        assert done.reasons == [reason]


# --- 16. lengths of samples


@pytest.mark.parametrize("error", [-4, -3, -2, -1, 0, 1, 2, 3, 4])
def test_sample_lengths_a_little_wrong(between, error):
    """Brocade's are 4 too short, Huawei's 4 too long, some no multiple of 4: nothing is lost."""
    done = between(datagram5(flow(raw(PACKET), length=LENGTH + error), GOOD))
    assert shown(done) == [FLOW] * 2
    assert done.reasons in ([], [f"sample 1 of 2: {error} octets after the last record"])


def test_padding_after_a_sample(between):
    done = between(datagram5(flow(raw(PACKET), length=LENGTH + 8) + bytes(8), GOOD))
    assert (shown(done), done.told) == ([FLOW] * 2, [])


@pytest.mark.parametrize("length", [5000, 0x7FFFFFFF, ENDLESS])
def test_sample_lengths_beyond_the_datagram(between, length):
    done = between(datagram5(GOOD, flow(raw(PACKET), length=length)))
    assert (shown(done), done.reasons) == ([FLOW] * 2, [f"sample 2 of 2: {length} octets promised, {LENGTH} there"])
    done = between(datagram5(flow(raw(PACKET), length=length), GOOD))
    assert shown(done) == [FLOW] * 2
    assert all(reason.startswith("sample 1 of 2: ") for reason in done.reasons)


@pytest.mark.parametrize("length", [0, 4, 8, 28, 31])
def test_sample_lengths_below_a_sample(between, length):
    """The next sample begins where the length says; nothing sensible may be there, but nobody else is the worse."""
    done = between(datagram5(flow(raw(PACKET), length=length), GOOD), argv=ONLY)
    assert 1 <= len(done.told) <= 6
    assert len(done.lines) <= 2


# --- 17. lengths of records, formats, headers


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (a_record(1001, bytes(8)), "record 0/1001: 4 octets promised, 0 there"),
        (a_record(1, b""), "record 0/1: 16 octets promised, 0 there"),
        (a_record(2, bytes(8)), "record 0/2: 6 octets promised, 4 there"),
        (a_record(1002, words(9, 0)), "record 0/1002: address of type 9"),
        (a_record(1004, words(4, ENDLESS) + b"user"), "record 0/1004: 4294967295 octets promised, 4 there"),
    ],
)
def test_records_shorter_than_their_structure(between, bad, reason):
    """They are kept as octets, and the records after them are read."""
    done = between(datagram5(flow(bad, raw(PACKET)), GOOD))
    assert shown(done) == [FLOW] * 2
    assert done.lines[0]["records"][0][1] == bad[8 : 8 + int.from_bytes(bad[4:8])].hex()
    assert len(done.told) == 1
    assert done.reasons == [f"sample 1 of 2: {reason}"]


@pytest.mark.parametrize("octets", [b"", b"a", b"abcd", bytes(400)])
def test_records_and_samples_of_who_knows_whom(between, octets):
    unknown = 4300 << 12 | 77
    record = a_record(unknown, octets + bytes(-len(octets) % 4), len(octets))
    done = between(datagram5(flow(record, raw(PACKET)), sflow.sample(unknown, bytes(8)), GOOD), argv=ONLY)
    assert (shown(done), done.told) == ([FLOW, ("counter", None), FLOW], [])
    assert done.lines[0]["records"] == [["4300/77", octets.hex()]]
    assert done.lines[1]["records"] == [["4300/77", "00" * 8]]


@pytest.mark.parametrize("length", [85, 5000, ENDLESS])
def test_header_lengths_beyond_their_record(between, length):
    done = between(datagram5(flow(raw(PACKET, length=length)), GOOD))
    assert shown(done) == [FLOW] * 2
    there = 84 if length > 84 else length
    assert done.reasons == [f"sample 1 of 2: record 0/1: {length} octets of header promised, {there} there"]


INNER = sflow.ipv4(sflow.udp(bytes(8)), saddr="10.0.0.7")
INNER6 = sflow.ipv6(sflow.udp(bytes(8)), saddr="2001:db8::7")


@pytest.mark.parametrize(
    ("protocol", "packet", "source"),
    [
        (11, INNER, "10.0.0.7"),
        (12, INNER6, "2001:db8::7"),
        (13, sflow.labels(5) + INNER, "10.0.0.7"),
        (7, b"\0\x21" + INNER, "10.0.0.7"),
        (2, bytes(30), None),
        (99, INNER, None),
        (0, INNER, None),
        (ENDLESS, INNER, None),
        (11, INNER6, None),
        (12, INNER, None),
    ],
)
def test_header_protocols(between, protocol, packet, source):
    """What is not known, and what it is not, are shown as octets."""
    done = between(datagram5(flow(raw(packet, protocol=protocol)), GOOD))
    assert (shown(done), done.told) == ([("flow", source), FLOW], [])
    assert done.lines[0]["hdr_proto"] == protocol
    assert ("header" in done.lines[0]) == (source is None)


@pytest.mark.parametrize(("frame", "stripped"), [(60, 61), (100, 1262), (100, ENDLESS), (0, 4), (ENDLESS, 0)])
def test_absurd_lengths_of_frames(between, frame, stripped):
    """Where there is an IP header it says how long the packet is; else there is no length that makes sense."""
    arp = sflow.ethernet(bytes(28), 0x0806)
    done = between(
        datagram5(
            flow(raw(PACKET, frame=frame, stripped=stripped)), flow(raw(arp, frame=frame, stripped=stripped)), GOOD
        )
    )
    first, second, third = done.lines
    assert (first["bcount"], first["frame_len"], first["stripped"]) == (68, frame, stripped)
    assert second["bcount"] == frame
    assert third["bcount"] == 68
    assert done.told == []


# --- 18. agents, interfaces, kinds of samples


@pytest.mark.parametrize(("agent", "text"), [("2001:db8::9", "2001:db8::9"), ("203.0.113.200", "203.0.113.200")])
def test_agents_are_not_exporters(between, agent, text):
    done = between(datagram5(GOOD, agent=agent, sub_agent=9))
    (line,) = done.lines
    assert (line["exporter"], line["agent"], line["domain"], done.told) == ("192.0.2.1", text, 9, [])


@pytest.mark.parametrize("kind", [0, 3, 4, ENDLESS])
def test_agents_of_unknown_kind_are_no_sflow(between, kind):
    """Four octets of version and four of kind are all that sFlow is known by."""
    done = between(words(5, kind) + bytes(16) + words(1, 2, 3, 1) + GOOD)
    assert (done.lines, done.told, done.counts["other_packets"]) == ([], [], 1)


@pytest.mark.parametrize("version", [0, 1, 3, 6, ENDLESS])
def test_versions_that_there_are_not(between, version):
    done = between(words(version, 1) + bytes(40))
    assert (done.lines, done.told, done.counts["other_packets"]) == ([], [], 1)


def test_interfaces_of_expanded_samples(between):
    odd = sflow.expanded_flow(raw(PACKET), source=(ENDLESS, ENDLESS), in_if=(ENDLESS, ENDLESS), out_if=(2, ENDLESS))
    done = between(datagram5(odd, sflow.expanded_flow(raw(PACKET), in_if=(1, 258), out_if=(2, 9)), GOOD))
    assert (shown(done), done.told) == ([FLOW] * 3, [])
    assert (done.lines[0]["in_if_format"], done.lines[1]["in_if_format"]) == (ENDLESS, 1)


def test_datagrams_without_flows(between):
    counters = datagram5(sflow.counters(a_record(1, bytes(88))), sflow.sample(4300 << 12 | 5, b"abcd"))
    done = between(counters, datagram5(sflow.drop(raw(PACKET))), datagram5())
    assert (done.lines, done.told, done.counts["other_packets"]) == ([], [], 0)
    done = between(counters, datagram5(sflow.drop(raw(PACKET))), argv=ONLY)
    assert ([line["type"] for line in done.lines], done.told) == (["counter", "counter", "drop"], [])


def test_text_in_sflow(between):
    """What was said of values in item 14 holds here too."""
    user = words(3) + opaque(b"\x1b[31m\n\0") + words(106) + opaque(b"\xff\xfe")
    done = between(datagram5(flow(raw(PACKET), a_record(1004, user), a_record(1038, opaque(b"a\nb"))), GOOD))
    assert (shown(done), done.told) == ([FLOW] * 2, [])


# --- 19. sampled headers

ETHERNET, IPV4, UDP = sflow.ethernet, sflow.ipv4, sflow.udp
FRAME = ETHERNET(INNER)


def ipip(depth: int) -> bytes:
    packet = INNER
    for _ in range(depth):
        packet = IPV4(packet, 4)
    return packet


INNERMOST = [
    ("vlans", ETHERNET(INNER, tags=[(0x8100, 1), (0x88A8, 2), (0x9100, 3), (0x8100, 4), (0x8100, 5)]), True),
    ("802.3", ETHERNET(b"\x42\x42\x03" + bytes(40), 43), False),
    ("snap", ETHERNET(b"\xaa\xaa\x03\0\0\0\x08\0" + INNER, len(INNER) + 8), True),
    ("mpls", ETHERNET(sflow.labels(1, 2) + INNER, 0x8847), True),
    ("mpls without end", ETHERNET(words(*[5 << 12] * 30), 0x8847), False),
    ("pseudowire", ETHERNET(sflow.labels(5) + bytes(4) + FRAME, 0x8847), True),
    ("pppoe", ETHERNET(b"\x11\0\0\1\0\x26\0\x21" + INNER, 0x8864), True),
    ("gre with all", ETHERNET(IPV4(sflow.gre(INNER, flags=0xB000, fields=bytes(4) + words(77, 1)), 47)), True),
    ("vxlan", ETHERNET(IPV4(UDP(sflow.vxlan(FRAME), dport=4789))), True),
    ("vxlan of linux", ETHERNET(IPV4(UDP(sflow.vxlan(FRAME), dport=8472))), True),
    ("geneve", ETHERNET(IPV4(UDP(sflow.geneve(FRAME, options=bytes(16)), dport=6081))), True),
    ("gtp-u", ETHERNET(IPV4(UDP(sflow.gtp_u(INNER), dport=2152))), True),
    ("ipip", ETHERNET(ipip(7)), True),
    ("ipip without end", ETHERNET(ipip(100)), None),
    ("ihl 4", ETHERNET(b"\x44" + INNER[1:]), False),
    ("ihl 15", ETHERNET(b"\x4f" + INNER[1:]), None),
    ("short total", ETHERNET(IPV4(UDP(b"x"), saddr="10.0.0.7", total=10)), None),
    ("no total", ETHERNET(IPV4(UDP(b"x"), saddr="10.0.0.7", total=0)), None),
    ("long total", ETHERNET(IPV4(UDP(b"x"), saddr="10.0.0.7", total=65535)), True),
    ("udp 0", ETHERNET(IPV4(struct.pack("!HHHH", 1, 2, 0, 0) + b"abc", saddr="10.0.0.7")), True),
    ("udp 4", ETHERNET(IPV4(struct.pack("!HHHH", 1, 2, 4, 0) + b"abc", saddr="10.0.0.7")), True),
    ("udp 65535", ETHERNET(IPV4(struct.pack("!HHHH", 1, 2, 65535, 0) + b"abc", saddr="10.0.0.7")), True),
    ("fragment", ETHERNET(IPV4(UDP(bytes(16)), saddr="10.0.0.7", fragment=0x2010)), True),
    ("extensions without end", ETHERNET(sflow.ipv6(bytes(8) * 60, 0, saddr="2001:db8::7"), 0x86DD), True),
    ("unknown next header", ETHERNET(sflow.ipv6(bytes(16), 253, saddr="2001:db8::7"), 0x86DD), True),
    ("ah", ETHERNET(sflow.ipv6(b"\x11\4" + bytes(22) + UDP(), 51, saddr="2001:db8::7"), 0x86DD), True),
    ("esp", ETHERNET(sflow.ipv6(bytes(40), 50, saddr="2001:db8::7"), 0x86DD), True),
    ("cut gre", ETHERNET(IPV4(struct.pack("!HH", 0xB000, 0x800) + bytes(3), 47, saddr="10.0.0.7")), True),
    ("lying geneve", ETHERNET(IPV4(UDP(b"\x3f" + sflow.geneve(FRAME)[1:], dport=6081), saddr="10.0.0.7")), True),
]
"""Name, packet, and whether its innermost source is found: None where only no harm is asked for."""


def depth(line: dict) -> int:
    return 1 + depth(line["outer"]) if "outer" in line else 0


@pytest.mark.parametrize(("packet", "found"), [pytest.param(*rest, id=name) for name, *rest in INNERMOST])
def test_sampled_headers(between, packet, found):
    done = between(datagram5(flow(raw(packet)), GOOD))
    first, second = done.lines
    assert (second["saddr"], done.told) == ("192.0.2.1", [])
    assert depth(first) <= 8
    if found is not None:
        assert (first.get("saddr", "").endswith((".7", ":7"))) == found
    if not found:
        assert found is None or "header" in first


def test_ports_only_in_the_first_fragment(between):
    packets = [ETHERNET(IPV4(UDP(bytes(16)), fragment=fragment)) for fragment in (0x2000, 0x2010, 0x0010)]
    done = between(datagram5(*(flow(raw(packet)) for packet in packets)))
    assert ([line.get("dport") for line in done.lines], done.told) == ([53, None, None], [])


@pytest.mark.parametrize("packet", [pytest.param(packet, id=name) for name, packet, _ in INNERMOST[::4]])
def test_sampled_headers_cut_anywhere(between, packet):
    """One datagram has them all, cut at every octet; no cut reaches the next sample."""
    cuts = [flow(raw(packet[:length], frame=len(packet) + 4)) for length in range(min(len(packet), 200))]
    done = between(datagram5(*cuts, GOOD))
    assert (len(done.lines), done.lines[-1]["bcount"], done.told) == (len(cuts) + 1, 68, [])
