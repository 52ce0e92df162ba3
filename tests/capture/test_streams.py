"""IPFIX over TCP: cut anywhere, out of order, repeated, begun in the middle, with gaps; and other protocols."""

import itertools
import random
import shutil
import struct
import subprocess

import capture_builders as build
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import IPPacket, Packet
from overflowd_tools.capture.streams import Streams

SYN, ACK = 2, 16
SECOND_NS = 10**9
NOW = build.SECOND * SECOND_NS
PORTS = (40_000, 4739)


def message(number: int, size: int = 40, **fields) -> bytes:
    return build.ipfix(build.ipfix_set(random.Random(number).randbytes(size)), sequence=number, **fields)


MESSAGES = [message(number, 30 + 170 * number) for number in range(9)]
WHOLE = b"".join(MESSAGES)


def packet(payload=b"", sequence=1, flags=ACK, ports=PORTS) -> IPPacket:
    body = build.tcp(payload, flags, ports=ports, sequence=sequence % 2**32)
    found = dissect(Packet(1, NOW, 101, build.ipv4(body, 6), 20 + len(body)), Fragments())
    assert isinstance(found, IPPacket)
    return found


def cut(data: bytes, first: int, *cuts: int) -> list[tuple[int, bytes]]:
    """Segments of a stream with their sequence numbers."""
    edges = sorted({0, len(data), *(at for at in cuts if 0 < at < len(data))})
    return [(first + start, data[start:end]) for start, end in itertools.pairwise(edges)]


def feed(streams: Streams, segments, now=NOW, ports=PORTS) -> list[bytes]:
    return [found for sequence, data in segments for found in streams.take(packet(data, sequence, ports=ports), now)]


def rest(streams: Streams) -> list[bytes]:
    found = [whole for source, port, whole in streams.close() if (source, port) == (build.SOURCE4, PORTS[0])]
    assert streams.held_bytes == 0
    return found


def begun(first=1, **limits) -> Streams:
    streams = Streams(**limits)
    assert streams.take(packet(b"", first - 1, SYN), NOW) == []
    return streams


@pytest.mark.parametrize("first", [1, 0, 2**31 - 100, 2**32 - 1, 2**32 - 700])
@pytest.mark.parametrize("size", [1, 3, 16, 100, 1460, 100_000])
def test_a_stream_cut_anywhere(first, size):
    streams = begun(first)
    assert feed(streams, cut(WHOLE, first, *range(0, len(WHOLE), size))) == MESSAGES
    assert rest(streams) == []
    assert streams.lost == 0


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20), st.randoms(use_true_random=False), st.integers(0, 2**32 - 1))
def test_segments_in_any_order_and_more_than_once(cuts, rng, first):
    segments = cut(WHOLE, first, *cuts) + cut(WHOLE, first, *(at + 5 for at in cuts[::2]))
    rng.shuffle(segments)
    streams = begun(first)
    assert feed(streams, segments) == MESSAGES
    assert streams.held_bytes == begun().held_bytes
    assert rest(streams) == []
    assert streams.lost == 0


def test_both_directions_and_two_connections_are_apart():
    streams = begun()
    other = (PORTS[0] + 1, PORTS[1])
    streams.take(packet(b"", 0, SYN, PORTS[::-1]), NOW)
    streams.take(packet(b"", 0, SYN, other), NOW)
    for at in range(0, len(WHOLE), 7):
        piece = [(1 + at, WHOLE[at : at + 7])]
        one = feed(streams, piece)
        assert feed(streams, piece, ports=PORTS[::-1]) == feed(streams, piece, ports=other) == one


@pytest.mark.parametrize("clock", [build.SECOND, 0, build.SECOND + 10 * 365 * 86_400])
@pytest.mark.parametrize("size", [len(MESSAGES[0]), len(MESSAGES[0]) + 4, len(MESSAGES[0]) + 16, len(WHOLE), 20])
def test_a_capture_that_begins_with_a_message(clock, size):
    """A segment that begins with one needs no clock of the capture to be believed."""
    streams = Streams()
    assert feed(streams, cut(WHOLE, 5, *range(0, len(WHOLE), size)), clock * SECOND_NS) == MESSAGES


@pytest.mark.parametrize("begin", [1, 15, 70, 500, 1000])
@pytest.mark.parametrize("size", [4, 100, 1000, 9000])
def test_a_capture_that_begins_inside_a_message(begin, size):
    streams = Streams()
    found = feed(streams, cut(WHOLE[begin:], 5, *range(0, len(WHOLE), size)))
    found += rest(streams)
    following = sum(WHOLE[begin:].endswith(b"".join(MESSAGES[number:])) for number in range(9))
    # An octet that may begin a header, alone at the end of a segment, is not enough to watch a connection for.
    assert following - (2 if size == 4 else 0) <= len(found) <= following
    assert found == MESSAGES[-len(found) :]
    assert streams.lost == 0


def test_inside_a_message_a_header_far_from_the_clock_is_not_believed():
    streams = Streams()
    assert feed(streams, [(5, WHOLE[10:])], NOW + 2 * 86_400 * SECOND_NS) == []
    assert streams.held_bytes == 0


@pytest.mark.parametrize(
    "damage",
    [
        build.ipfix(build.ipfix_set(bytes(30), 255)),
        build.ipfix(build.ipfix_set(bytes(30), 4)),
        build.ipfix(build.ipfix_set(bytes(30), length=3)),
        build.ipfix(build.ipfix_set(bytes(30), length=35)),
        build.ipfix(build.ipfix_set(bytes(30), length=33)),
        build.ipfix(build.ipfix_set(bytes(30)), version=9),
        build.ipfix(build.ipfix_set(bytes(30)), length=19),
        build.ipfix(build.ipfix_set(bytes(30)), length=49),
        build.ipfix(build.ipfix_set(bytes(30)), time=100),
        build.ipfix(build.ipfix_set(bytes(30))) + b"\0\x0b",
    ],
)
def test_a_message_that_nothing_vouches_for(damage):
    streams = Streams()
    assert feed(streams, [(5, damage)]) == []
    assert rest(streams) == []
    streams = Streams()
    assert feed(streams, [(5, damage + WHOLE)]) == MESSAGES


def test_what_one_connection_has_shown_holds_for_all_that_follows():
    odd = [build.ipfix(bytes(9)), build.ipfix(), message(1, time=0), build.ipfix(build.ipfix_set(bytes(30), 4))]
    for streams in (Streams(), begun()):
        assert feed(streams, [(1, MESSAGES[0] + b"".join(odd))]) == [MESSAGES[0], *odd]


@pytest.mark.parametrize("wait", [0, 9, 11])
def test_a_gap_is_waited_for_and_then_given_up(wait):
    streams = begun()
    segments = cut(WHOLE, 1, *range(0, len(WHOLE), 300))
    missing = segments.pop(2)
    found = feed(streams, segments)
    intact = [one for one in MESSAGES if WHOLE.index(one) + len(one) <= 600]
    assert found == intact
    later = streams.take(packet(b"", 1 + len(WHOLE)), NOW + wait * SECOND_NS)
    after = [one for one in MESSAGES if WHOLE.index(one) >= 900]
    if wait <= 10:
        assert later == []
        assert feed(streams, [missing]) == MESSAGES[len(intact) :]
        assert streams.lost == 0
    else:
        assert later == after
        assert feed(streams, [missing]) == []
        assert streams.lost == 1


def test_a_gap_is_given_up_when_too_much_waits_behind_it():
    streams = begun()
    long = [message(number, 1400) for number in range(400)]
    data = b"".join(long)
    segments = cut(data, 1, *range(0, len(data), 1420))
    del segments[3]
    found = []
    for segment in segments:
        found += feed(streams, [segment])
        assert streams.held_bytes < 300_000
    assert found == long[:3] + long[4:]
    assert streams.lost == 1


def test_a_segment_that_comes_again_behind_a_gap_takes_no_room():
    streams = begun()
    later = cut(WHOLE, 1, 300)[1]
    feed(streams, [later])
    held = streams.held_bytes
    assert feed(streams, [later] * 1000) == []
    assert streams.held_bytes == held
    assert feed(streams, [(1, WHOLE[:300])]) == MESSAGES


def test_after_a_gap_the_clock_is_that_of_the_exporter():
    old = [message(number, 300, time=1_000_000_000 + number) for number in range(8)]
    data = b"".join(old)
    segments = cut(data, 1, 500, 900)
    streams = begun()
    assert feed(streams, [segments[0], segments[2]]) == old[:1]
    assert rest(streams) == old[3:]


def test_a_second_gap_is_waited_for_by_itself():
    streams = begun()
    segments = cut(WHOLE, 1, *range(0, len(WHOLE), 300))
    kept = [segments[n] for n in (0, 2, 3, 5, 6)]
    feed(streams, kept)
    assert feed(streams, [(len(WHOLE) + 1, b"")], NOW + 11 * SECOND_NS) == []
    assert streams.lost == 1
    feed(streams, [segments[4], *segments[7:]], NOW + 12 * SECOND_NS)
    assert streams.lost == 1
    assert rest(streams) == []


def test_what_is_saved_at_the_end():
    streams = begun()
    segments = cut(WHOLE, 1, *range(0, len(WHOLE), 300))
    del segments[2]
    assert feed(streams, segments[:-1]) == MESSAGES[:2]
    found = rest(streams)
    assert found == [one for one in MESSAGES[:-1] if WHOLE.index(one) >= 900]
    assert streams.lost == 2  # the gap, and the message in which the capture ends


def test_a_stream_whose_first_segment_is_missing():
    streams = begun()
    assert feed(streams, [(1 + len(MESSAGES[0]), WHOLE[len(MESSAGES[0]) :])]) == []
    assert rest(streams) == MESSAGES[1:]
    assert streams.lost == 0


def test_damage_inside_a_stream_is_skipped():
    broken = b"".join([*MESSAGES[:3], b"\0\x0a\0\x03" + bytes(50), *MESSAGES[3:5], bytes(9), *MESSAGES[5:]])
    for size in (1, 10, 5000):
        streams = begun()
        assert feed(streams, cut(broken, 1, *range(0, len(broken), size))) == MESSAGES
        assert streams.lost == 2


def test_a_new_connection_with_the_same_ports():
    streams = begun()
    assert feed(streams, [(1, WHOLE[:-3])]) == MESSAGES[:-1]
    streams.take(packet(b"", 900_000_000, SYN), NOW)
    assert streams.lost == 1
    assert feed(streams, [(900_000_001, WHOLE)]) == MESSAGES
    assert feed(streams, [(2_000_000_000, WHOLE)]) == MESSAGES  # its SYN was not captured
    assert streams.lost == 1


def test_a_syn_that_came_twice():
    streams = begun()
    assert feed(streams, [(1, WHOLE[:500])]) == MESSAGES[:2]
    assert streams.take(packet(b"", 0, SYN), NOW) == []
    assert feed(streams, [(501, WHOLE[500:])]) == MESSAGES[2:]
    assert streams.lost == 0


def test_data_in_the_syn():
    streams = Streams()
    assert streams.take(packet(WHOLE[:500], 0, SYN), NOW) == MESSAGES[:2]
    assert feed(streams, [(501, WHOLE[500:])]) == MESSAGES[2:]


@pytest.mark.parametrize(
    "text",
    [b"GET / HTTP/1.1\r\n" * 100, b"\0\x0a", b"\0\x0a\0\x40" + bytes(60), bytes(5000), b"\0", b"\x16\x03\x01" * 99],
)
@pytest.mark.parametrize("size", [1, 10, 1460])
def test_other_protocols_leave_nothing_behind(text, size):
    streams = begun()
    padded = text + b"x" * 100
    assert feed(streams, cut(padded, 1, *range(0, len(padded), size))) == []
    assert streams.held_bytes == 0
    assert feed(Streams(), cut(padded, 1, *range(0, len(padded), size))) == []
    assert rest(streams) == []
    assert streams.lost == 0


def test_what_is_no_segment():
    streams = Streams()
    whole = packet(WHOLE)
    for field in ("tcp_sequence", "source_port", "destination_port"):
        assert streams.take(whole._replace(**{field: None}), NOW) == []
    assert streams.take(whole._replace(tcp_flags=None), NOW) == MESSAGES


def test_a_flood_of_connections_does_not_push_out_one_of_ipfix():
    streams = begun(max_streams=4, max_bytes=8192)
    assert feed(streams, [(1, WHOLE[:500])]) == MESSAGES[:2]
    for port in range(3000):
        streams.take(packet(b"", 0, SYN, (port + 1, 80)), NOW)
        assert streams.held_bytes <= 8192
    assert feed(streams, [(501, WHOLE[500:])]) == MESSAGES[2:]


def test_octets_of_who_knows_what_are_pushed_out_first():
    streams = begun(max_bytes=40_000)
    assert feed(streams, [(1, WHOLE[:500])]) == MESSAGES[:2]
    maybe = build.ipfix(build.ipfix_set(bytes(10), length=60_000), length=60_016)
    assert feed(streams, [(1, maybe)], ports=(7, 7)) == []
    for at in range(40):
        assert feed(streams, [(1 + len(maybe) + 1400 * at, bytes(1400))], ports=(7, 7)) == []
        assert streams.held_bytes <= 40_000
    assert feed(streams, [(501, WHOLE[500:])]) == MESSAGES[2:]
    assert streams.lost == 0


def test_the_oldest_streams_are_pushed_out():
    streams = Streams(max_streams=4)
    for port in range(1, 11):
        streams.take(packet(b"", 0, SYN, (port, 4739)), NOW)
        assert feed(streams, [(1, WHOLE[:500])], ports=(port, 4739)) == MESSAGES[:2]
    assert streams.lost == 6
    assert list(streams.close()) == []
    assert streams.lost == 10
    small = begun(max_bytes=3000)
    assert feed(small, [(1, MESSAGES[0]), (1 + 3000, bytes(3000))]) == MESSAGES[:1]
    assert (small.held_bytes, small.lost) == (0, 1)


def test_headers_within_headers_take_linear_time():
    """Each candidate promises a long message, and none keeps the promise."""
    bomb = b"".join(struct.pack(">HHIIIHH", 10, 60_010, build.SECOND, 0, 0, 256, 20) for _ in range(10_000))
    streams = Streams()
    assert feed(streams, cut(bomb, 1, *range(0, len(bomb), 1400))) == []
    assert streams.held_bytes <= 70_000


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
@pytest.mark.parametrize("seed", range(3))
def test_tshark_sees_the_same_messages(seed):
    rng = random.Random(seed)
    template = build.ipfix(build.ipfix_set(struct.pack(">HHHH", 256, 1, 1, 4), 2), sequence=0)
    messages = [template] + [message(number, rng.randrange(4, 2000, 4)) for number in range(1, 40)]
    data = b"".join(messages)
    segments = cut(data, 1, *(rng.randrange(len(data)) for _ in range(30)))
    for at in range(0, len(segments) - 2, 5):  # reordered and sent again, but the last
        segments[at : at + 2] = [segments[at + 1], segments[at], segments[at + 1]]
    bodies = [build.tcp(b"", SYN, ports=PORTS, sequence=0)]
    bodies += [build.tcp(piece, ACK, ports=PORTS, sequence=first) for first, piece in segments]
    capture = build.pcap(*(build.ethernet(build.ipv4(body, 6)) for body in bodies))
    done = subprocess.run(
        ["tshark", "-n", "-r", "-", "-o", "tcp.reassemble_out_of_order:TRUE", "-T", "fields", "-e", "cflow.sequence"],
        input=capture,
        capture_output=True,
        check=True,
    )
    seen = [int(number) for number in done.stdout.decode().replace(",", "\n").split()]
    streams = begun()
    found = feed(streams, segments)
    assert found == messages
    assert seen == [int.from_bytes(one[8:12]) for one in found]
