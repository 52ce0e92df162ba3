"""Runs of plain packets hold what the careful way finds, whatever the capture and however it is cut."""

import os
import struct
from pathlib import Path

import capture_builders as build
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import IPPacket
from overflowd_tools.capture.plain import DOZEN, PlainRun
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.errors import DecodeError

PLAIN = build.ethernet(build.ipv4(build.udp()))
LONGEST = build.ethernet(build.ipv4(build.udp(bytes(65_507))))

NOT_PLAIN = {
    "empty": b"",
    "no UDP length": PLAIN[:41],
    "padding": PLAIN + bytes(2),
    "cut": PLAIN[:-1],
    "VLAN": build.ethernet(build.ipv4(build.udp()), tags=[0x8100]),
    "ARP": build.ethernet(build.ipv4(build.udp()), kind=0x0806),
    "IPv6": build.ethernet(build.ipv6(build.udp()), 0x86DD),
    "IP options": build.ethernet(build.ipv4(build.udp(), ihl=6)),
    "IP version": build.ethernet(build.ipv4(build.udp(), version=6)),
    "IP length": build.ethernet(build.ipv4(build.udp(), total=20)),
    "IP length of nothing": build.ethernet(build.ipv4(build.udp(), total=0)),
    "first fragment": build.ethernet(build.ipv4(build.udp(), fragment=0x2000)),
    "last fragment": build.ethernet(build.ipv4(build.udp(), fragment=1)),
    "TCP": build.ethernet(build.ipv4(build.tcp(), 6)),
    "UDP length": build.ethernet(build.ipv4(build.udp(length=20))),
    "UDP length of nothing": build.ethernet(build.ipv4(build.udp(length=0))),
    "UDP length beyond": build.ethernet(build.ipv4(build.udp(length=1000))),
}
STILL_PLAIN = {
    "type of service": build.ethernet(build.ipv4(build.udp(), tos=0xB8)),
    "do not fragment": build.ethernet(build.ipv4(build.udp(), fragment=0x4000)),
    "reserved bit": build.ethernet(build.ipv4(build.udp(), fragment=0x8000)),
    "no payload": build.ethernet(build.ipv4(build.udp(b""))),
    "longest": LONGEST,
    "ports": build.ethernet(build.ipv4(build.udp(ports=(0, 65535)))),
}


def read(pieces, *, runs):
    """Read a capture in these pieces, and hold every run against the careful way."""
    reader = CaptureReader(runs=runs)
    items = [item for piece in pieces for item in reader.feed(piece)] + reader.close()
    whole = []
    for item in items:
        if isinstance(item, PlainRun):
            assert item.datagrams
            check_alike(item)
            whole += (checked_packet(item, index) for index in range(len(item.datagrams)))
        else:
            whole.append(item)
    return [str(item) if isinstance(item, DecodeError) else item for item in whole], items


def check_alike(run):
    for first, many in run.alike:
        assert many % DOZEN == 0
        ((_, _, start, stop), (_, _, second, _), *_) = alike = run.datagrams[first : first + many]
        distance = second - start
        starts, stops = range(start, len(run.data), distance), range(stop, len(run.data) + 1, distance)
        sources, ports = [run.datagrams[first][0]] * many, [run.datagrams[first][1]] * many
        assert alike == list(zip(sources, ports, starts, stops, strict=False))


def checked_packet(run, index):
    source, port, start, stop = run.datagrams[index]
    packet = run.packet(index)
    found = dissect(packet, Fragments())
    assert isinstance(found, IPPacket)
    assert (found.protocol, found.missing, packet.note) == (17, 0, "")
    assert (found.source, found.source_port, found.payload) == (source, port, run.data[start:stop])
    assert run.timestamp_ns(start) == packet.timestamp_ns
    return packet


def same(data, cuts=()):
    """Hold the quick way against the careful one, cut at these places; return what the quick one gives of the whole."""
    careful, _ = read([data], runs=False)
    ends = sorted(cut % (len(data) + 1) for cut in cuts)
    pieces = [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]
    assert read(pieces, runs=True)[0] == careful
    quick, items = read([data], runs=True)
    assert quick == careful
    return items


def pcapng(*frames, order="<"):
    blocks = [build.enhanced(frame, order=order) for frame in frames]
    return build.section(order) + build.interface(order=order) + b"".join(blocks)


FORMATS = {
    "little": build.pcap,
    "big": lambda *frames: build.pcap(*frames, order=">"),
    "nano": lambda *frames: build.pcap(*frames, magic=0xA1B23C4D),
    "nano big": lambda *frames: build.pcap(*frames, order=">", magic=0xA1B23C4D),
    "pcapng": pcapng,
    "pcapng big": lambda *frames: pcapng(*frames, order=">"),
}


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_plain_packets_come_in_one_run(form):
    (run,) = same(form(*STILL_PLAIN.values(), PLAIN), range(50, 2000, 97))
    assert run.number == 1
    assert [len(run.data[start:stop]) for _, _, start, stop in run.datagrams] == [18, 18, 18, 0, 65_507, 18, 18]


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("frame", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_all_else_is_for_the_careful_way(form, frame):
    items = same(form(PLAIN, PLAIN, frame, PLAIN), [100, 250])
    assert [type(item).__name__ for item in items] == ["PlainRun", "Packet", "PlainRun"]
    assert [item.number for item in items] == [1, 3, 4]


@pytest.mark.parametrize(
    "capture",
    [
        build.pcap(PLAIN, link=101),
        build.pcap(PLAIN, magic=0xA1B2CD34),
        build.section() + build.interface(link=101) + build.enhanced(PLAIN),
        build.section() + build.interface() + build.simple(PLAIN) + build.obsolete(PLAIN),
        build.section() + build.interface() + build.enhanced(PLAIN, options=build.option(1, b"note")),
        build.section() + build.interface() + build.enhanced(PLAIN, original=len(PLAIN) + 1),
        build.section() + build.interface() + build.enhanced(PLAIN, original=len(PLAIN) - 1),
        build.section() + build.interface() + build.enhanced(PLAIN, stamp=2**63),
        build.section() + build.interface() + build.enhanced(PLAIN, number=1),
        build.section() + build.interface(options=build.option(9, b"xy")) + build.enhanced(PLAIN),
        build.section() + build.interface() + build.enhanced(PLAIN)[:-4] + bytes(4),
        build.section() + build.interface() + build.block(5, bytes(28) + PLAIN),
    ],
)
def test_no_run_at_all(capture):
    assert not any(isinstance(item, PlainRun) for item in same(capture, [40, 90]))


def test_runs_of_several_interfaces_and_sections():
    seconds = build.option(9, b"\0") + build.option(0, b"")
    items = same(
        build.section()
        + build.interface()
        + build.interface(options=seconds)
        + build.enhanced(PLAIN)
        + build.enhanced(PLAIN)
        + build.enhanced(PLAIN, stamp=build.SECOND, number=1)
        + build.block(5, bytes(60))
        + build.enhanced(PLAIN, stamp=2**62, number=1)
        + build.enhanced(PLAIN)
        + build.section(">")
        + build.interface(order=">")
        + build.enhanced(PLAIN, order=">"),
        range(20, 2000, 31),
    )
    assert [getattr(item, "number", "bad") for item in items] == [1, 3, "bad", 4, 5, 6]
    assert items[1].timestamp_ns(items[1].datagrams[0][2]) == build.SECOND * 10**9


def test_time_of_a_packet():
    (run,) = same(build.pcap(PLAIN, PLAIN, fraction=999_999))
    start = run.datagrams[1][2]
    assert run.timestamp_ns(start) == (build.SECOND + 1) * 10**9 + 999_999_000


def test_more_lengths_than_are_remembered():
    frames = [build.ethernet(build.ipv4(build.udp(bytes(length)))) for length in range(4200)]
    (run,) = read([build.pcap(*frames)], runs=True)[1]
    assert [stop - start for _, _, start, stop in run.datagrams] == list(range(4200))


def varied(payload, number):
    """A plain packet that differs from others of this payload where that does not matter."""
    return build.ethernet(build.ipv4(build.udp(payload), ident=number))


DOZENS = [varied(bytes([number] * 30), number) for number in range(2 * DOZEN + 5)]
OTHERS = [PLAIN, *(build.ethernet(build.ipv4(build.udp(bytes(length)))) for length in (29, 31))]


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("before", [[], [PLAIN], OTHERS, NOT_PLAIN["VLAN"]])
def test_packets_alike_are_told(form, before):
    before = before if isinstance(before, list) else [before]
    run = same(form(*before, *DOZENS, PLAIN), [700, 1300])[-1]
    assert len(run.datagrams) in (len(before) + len(DOZENS) + 1, len(DOZENS) + 1)
    assert run.alike == [(len(run.datagrams) - len(DOZENS), 2 * DOZEN)]


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("number", [3, 2 * DOZEN])
def test_one_among_packets_alike(form, number):
    """Any octet of a record, whatever it changes: it is a time, an address, a length, or makes another packet of it."""
    data = bytearray(form(*DOZENS))
    record = (len(data) - len(form())) // len(DOZENS)
    for at in range(len(form()) + number * record - 8, len(form()) + (number + 1) * record):
        for change in (1, 0x80):
            damaged = bytearray(data)
            damaged[at] ^= change
            same(bytes(damaged), [1500])


FRAMES = st.sampled_from([PLAIN] * 10 + [*NOT_PLAIN.values(), *STILL_PLAIN.values()]) | st.binary(max_size=80)
CUTS = st.lists(st.integers(0, 2**20), max_size=6)


@st.composite
def damaged(draw):
    """Draw a capture of some frames, of which a few octets may be others."""
    form = draw(st.sampled_from(list(FORMATS.values())))
    frames = draw(st.lists(FRAMES, max_size=8))
    if draw(st.booleans()):
        frames[draw(st.integers(0, len(frames))) :] = DOZENS[: draw(st.integers(0, len(DOZENS)))] + frames[:2]
    data = bytearray(form(*frames))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(4, len(data) - 1))
        data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(4, len(data)))] if draw(st.booleans()) else data)


@given(damaged(), CUTS)
@settings(max_examples=300, deadline=None)
def test_the_same_packets_and_complaints(data, cuts):
    same(data, cuts)


@given(st.sampled_from(list(FORMATS)), st.integers(0, 57), st.integers(0, 255))
def test_any_octet_of_the_headers(name, at, octet):
    data = bytearray(FORMATS[name](PLAIN, PLAIN, PLAIN))
    record = len(data) // 3 if "pcapng" in name else 24 + 16 + len(PLAIN)
    data[record + at] = octet
    same(bytes(data), [record + 30])


@pytest.mark.parametrize("length", [0, 41, 65_550, 2**18, 2**18 + 1, 2**32 - 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_hostile_lengths(length, order):
    head, rest = build.pcap(PLAIN, PLAIN, order=order)[:32], build.pcap(PLAIN, PLAIN, order=order)[40:]
    same(head + struct.pack(order + "II", length, length) + rest, [30, 60])


ROOT = Path(os.environ.get("OF_CORPORA", "/nonexistent"))
MAGICS = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a")


def is_capture(path):
    with path.open("rb") as file:
        return file.read(4) in MAGICS


CAPTURES = [path for path in ROOT.rglob("*") if path.is_file() and is_capture(path)]


@pytest.mark.skipif(not CAPTURES, reason="OF_CORPORA is not set")
def test_the_corpora():
    plain = others = 0
    for path in CAPTURES:
        items = same(path.read_bytes(), range(1000, 2**20, 65_536))
        plain += sum(len(item.datagrams) for item in items if isinstance(item, PlainRun))
        others += sum(not isinstance(item, PlainRun) for item in items)
    assert plain > others > 0
