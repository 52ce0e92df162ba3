"""Files, link layers, fragments, copies, UDP and TCP: items 20 to 22, beside what tests/capture holds."""

import random
import struct

import capture_builders as layers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from overflowd_tools.protocols.sequence import Stream
from tests.hostile.builders import (
    FIELDS9,
    FLOW,
    SECOND,
    data,
    flow,
    flow9,
    frame,
    ipfix,
    netflow5,
    netflow9,
    pcap,
    record,
    sflow,
    template,
    template9,
)

GOOD = record(frame(netflow5(9)))
EXPORTS = {
    "netflow9": netflow9(template9(300, FIELDS9), *(data(300, flow9(host)) for host in range(1, 6)), count=6),
    "ipfix": ipfix(template(300, FLOW), *(data(300, flow(host)) for host in range(1, 6))),
    "sflow5": sflow.datagram5(*[sflow.GOOD] * 5),
}


# --- 20. files


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize("end", ["snapshot", "file"])
def test_wherever_a_datagram_of_sets_or_samples_is_cut(decode, kind, end):
    """What is there is decoded, that something is missing is told, and the packets beside it are whole.

    NetFlow 1 to 8, and the lengths that are told: tests/commands/test_decode.py.
    """
    whole = frame(EXPORTS[kind])
    everything = decode(pcap(record(whole))).lines
    assert len(everything) == 5
    seen = set()
    for kept in range(42 + 20, len(whole), 5):
        cut = record(whole[:kept], original=len(whole))
        if end == "file":
            cut = record(whole)[: 16 + kept]
        done = decode(pcap(GOOD, cut, *([GOOD] if end == "snapshot" else [])))
        good = [line for line in done.lines if line["source"] == "netflow5"]
        rest = [line for line in done.lines if line["source"] != "netflow5"]
        seen.add(len(rest))
        assert len(good) == (2 if end == "snapshot" else 1)
        complete = rest if rest == everything[: len(rest)] else rest[:-1]
        assert complete == everything[: len(complete)]
        assert 1 <= len(done.told) <= 4
        assert all(line.startswith("in: packet 2: ") for line in done.told)
    assert seen >= set(range(1, 5))


def test_a_cut_between_two_sets(decode):
    """Nothing in the octets that are there says that there were more."""
    whole = frame(EXPORTS["netflow9"])
    last = len(data(300, flow9()))
    done = decode(pcap(record(whole[:-last], original=len(whole)), GOOD))
    assert (done.hosts, done.told) == ([1, 2, 3, 4, 9], [f"in: packet 1: the last {last} octets are missing"])


@pytest.mark.parametrize("order", [">", "<"])
def test_packets_of_no_octets(decode, order):
    empty = struct.pack(order + "IIII", SECOND, 0, 0, 0)
    whole = struct.pack(order + "IIII", SECOND, 0, 0, 60)
    good = GOOD if order == "<" else struct.pack(">IIII", *struct.unpack("<IIII", GOOD[:16])) + GOOD[16:]
    header = pcap() if order == "<" else struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    done = decode(header + good + empty + whole + good)
    assert done.hosts == [9, 9]
    assert done.told == [f"in: packet {number}: the link-layer header is cut short" for number in (2, 3)]


@pytest.mark.parametrize("captured", [262_145, 1 << 31, (1 << 32) - 1])
def test_packets_longer_than_any(decode, captured):
    """What comes after has no beginning any more."""
    done = decode(pcap(GOOD, struct.pack("<IIII", SECOND, 0, captured, captured) + bytes(100), GOOD))
    assert done.hosts == [9]
    assert done.told == [f"in: packet 2: the captured length {captured} is over the limit of 262144 bytes"]


@pytest.mark.parametrize("kept", [1, 8, 15])
def test_a_file_that_ends_in_the_header_of_a_packet(decode, kept):
    done = decode(pcap(GOOD, GOOD[:kept]))
    assert (done.hosts, done.told) == ([9], [f"in: packet 2: the file ends inside its header: {kept} of 16 bytes"])


def test_a_file_that_grows(decode):
    """What is there is read, without waiting; what is cut at the moment is told, and whole in the next run."""
    capture = pcap(*[GOOD] * 4)
    first = decode(capture[: -len(GOOD) - 20])
    assert (len(first.lines), len(first.told)) == (2, 1)
    second = decode(capture)
    assert (second.lines[:2], len(second.lines), second.told) == (first.lines, 4, [])


def test_sections_and_interfaces_of_all_kinds_in_one_file(decode):
    """Each section has its byte order, each interface its clock and its link type; one of them is not read."""
    export = frame(netflow5(9))
    raw = export[14:]
    first = [layers.section(), layers.interface(), layers.interface(link=147), layers.interface(link=101)]
    first += [layers.enhanced(export), layers.enhanced(raw, number=1), layers.enhanced(raw, number=2)]
    first += [layers.block(0xBAD, bytes(40)), layers.obsolete(export), layers.simple(export)]
    resolution = layers.option(9, b"\x94", ">")
    second = [layers.section(">"), layers.interface(order=">", options=resolution), layers.enhanced(export, order=">")]
    done = decode(b"".join(first + second))
    assert done.hosts == [9] * 5
    assert done.told == ["in: packet 2: link type 147 is not supported"]


# --- 21. link types


@pytest.mark.parametrize("link", [105, 117, 127, 137, 138, 142, 147, 162, 192, 239, 65535])
def test_link_types_that_are_not_read(decode, link):
    """802.11, PFLOG, radiotap, Juniper's, users' own: told by their number, ten times and not more."""
    done = decode(pcap(*[GOOD] * 30, link=link))
    assert done.lines == []
    assert done.told[:10] == [f"in: packet {number}: link type {link} is not supported" for number in range(1, 11)]
    assert done.told[10:] == ["no flow export in 30 packets", "20 more not shown: link type # is not supported"]


WRAPPED = [
    (0, b"\2\0\0\0"),
    (0, b"\0\0\0\2"),
    (9, b"\0\x21"),
    (12, b""),
    (14, b""),
    (50, b"\xff\3\0\x21"),
    (101, b""),
    (104, b"\x0f\0\x08\0"),
    (108, b"\0\0\0\2"),
    (113, bytes(14) + b"\x08\0"),
    (228, b""),
    (276, b"\x08\0" + bytes(18)),
]


@pytest.mark.parametrize(("link", "head"), WRAPPED)
def test_link_types_that_are_read(decode, link, head):
    """Ethernet, VLAN, IPv6 and every way of cutting them: tests/capture/test_link.py."""
    good = head + frame(netflow5(9))[14:]
    done = decode(pcap(record(good), record(head[:1]), record(good[:-60]), record(good), link=link))
    assert (done.hosts[0], done.hosts[-1]) == (9, 9)
    assert len(done.told) >= 1
    assert not [line for line in done.told if "packet 1:" in line or "packet 4:" in line]


# --- 22. fragments, copies, UDP, TCP


def large(kind: str) -> bytes:
    """An export of 100 flows, larger than a packet may be."""
    records = [flow9() if kind == "netflow9" else flow()] * 100
    if kind == "netflow9":
        return netflow9(template9(300, FIELDS9), data(300, b"".join(records)), count=101)
    return ipfix(template(300, FLOW), data(300, b"".join(records)))


@pytest.mark.parametrize("kind", ["netflow9", "ipfix"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("lost", [False, True])
def test_exports_in_fragments(decode, kind, version, lost):
    """In any order, each of them twice; or one of them never."""
    body = layers.udp(large(kind))
    cut = layers.fragments4 if version == 4 else layers.fragments6
    pieces = [layers.ethernet(piece, 0x0800 if version == 4 else 0x86DD) for piece in cut(body, 1448)]
    assert len(pieces) >= 3
    sent = pieces[:1] + pieces[2:] if lost else pieces * 2
    random.Random(4).shuffle(sent)
    done = decode(pcap(GOOD, *map(record, sent), GOOD))
    assert len(done.lines) == (2 if lost else 102)
    assert done.told == (["in: 1 fragmented datagrams incomplete"] if lost else [])


def test_copies_are_shown_and_hide_no_loss(decode):
    """A mirror port shows each packet twice. Who wants one of them asks for --envelope, and compares seq."""
    sequences = (0, 1, 2, 5, 6)
    packets = [record(frame(netflow5(9, sequence=sequence))) for sequence in sequences for _ in range(2)]
    done = decode(pcap(*packets), "--only", "flow,stats")
    *flows, stats = done.lines
    assert (len(flows), done.told) == (10, [])
    assert (stats["lost"], stats["reordered"], stats["restarted"]) == (2, 5, 0)
    assert [line.get("seq_lost", 0) for line in flows] == [0, 0, 0, 0, 0, 0, 2, 0, 0, 0]


@given(some.lists(some.integers(0, 5), max_size=60), some.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_losses_among_copies_and_late_messages(copies, rng):
    """Lost is what never came, whatever came more than once, or a little late; the numbers begin anew meanwhile."""
    late = [(number + rng.choice((0, 0, 3)), number) for number, times in enumerate(copies) for _ in range(times)]
    stream = Stream()
    for number in (-1, *(number for _, number in sorted(late)), len(copies)):
        stream.records(number - 10 & 0xFFFFFFFF, 1)
    assert (stream.lost, stream.restarted) == (copies.count(0), 0)


@pytest.mark.parametrize(
    ("length", "hosts", "told"),
    [(0, [5, 6], 0), (7, [], 1), (8, [], 0), (80, [5], 1), (128, [5, 6], 0), (4000, [5, 6], 0)],
)
def test_udp_lengths(decode, length, hosts, told):
    """0 is left to the network card; below 8 is none; less or more than is there is told where flows are missing."""
    datagram = layers.udp(netflow5(5, 6), length=length)
    done = decode(pcap(GOOD, record(layers.ethernet(layers.ipv4(datagram))), GOOD))
    assert (done.hosts, len(done.told)) == ([9, *hosts, 9], told)


def test_a_udp_length_beyond_what_is_there(decode):
    datagram = layers.udp(EXPORTS["netflow9"], length=4000)
    done = decode(pcap(record(layers.ethernet(layers.ipv4(datagram)))))
    missing = 4000 - 8 - len(EXPORTS["netflow9"])
    assert (done.hosts, done.told) == ([1, 2, 3, 4, 5], [f"in: packet 1: the last {missing} octets are missing"])


@pytest.mark.parametrize("checksum", [0, 1, 0xFFFF])
def test_udp_checksums_are_not_looked_at(decode, checksum):
    """Captures on the sending host have none that is right: the network card makes it."""
    export = frame(netflow5(9))
    done = decode(pcap(record(export[:40] + struct.pack("!H", checksum) + export[42:])))
    assert (done.hosts, done.told) == ([9], [])


def segments(octets: bytes, size: int, **more) -> list[bytes]:
    """TCP packets of a connection."""
    packets = [layers.tcp(flags=2, sequence=999, **more)]
    packets += [
        layers.tcp(octets[at : at + size], flags=0x10, sequence=1000 + at, **more) for at in range(0, len(octets), size)
    ]
    return [record(layers.ethernet(layers.ipv4(packet, 6))) for packet in packets]


@pytest.mark.parametrize("size", [10, 100, 1400])
def test_ipfix_in_tcp_in_any_order_and_more_than_once(decode, size):
    messages = [ipfix(template(300, FLOW), data(300, flow(1) + flow(2))), ipfix(data(300, flow(3)), sequence=2)]
    first, *rest = segments(b"".join(messages), size)
    rest = rest + rest[::2]
    random.Random(5).shuffle(rest)
    done = decode(pcap(GOOD, first, *rest, GOOD))
    assert (sorted(done.hosts), done.told) == ([1, 2, 3, 9, 9], [])


def test_ipfix_in_tcp_with_a_gap(decode):
    messages = [ipfix(template(300, FLOW), data(300, flow(1)))]
    messages += [ipfix(data(300, flow(host)), sequence=host - 1) for host in range(2, 30)]
    packets = segments(b"".join(messages), 100)
    done = decode(pcap(GOOD, *packets[:4], *packets[5:], GOOD))
    lost = set(range(1, 30)) - set(done.hosts)
    assert 1 <= len(lost) <= 5
    assert done.told == ["in: 1 gaps in TCP streams of IPFIX"]
