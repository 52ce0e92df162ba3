"""pcapng: sections, interfaces, the kinds of packet block, time units, and lengths that lie."""

import struct

import capture_builders as build
import pytest

from overflowd_tools.capture.packet import MAX_CAPTURED, Packet
from overflowd_tools.capture.pcapng import PcapngReader
from overflowd_tools.errors import DecodeError

MICROSECONDS = build.SECOND * 10**6
STAMP = build.SECOND * 10**9
START = build.section() + build.interface()


def read(data: bytes) -> list:
    reader = PcapngReader()
    return reader.feed(data) + reader.close()


def shown(items: list) -> list:
    return [str(item) if isinstance(item, DecodeError) else item for item in items]


@pytest.mark.parametrize("order", ["<", ">"])
def test_packet_blocks(order):
    data = build.section(order) + build.interface(link=101, order=order)
    data += build.enhanced(b"first", MICROSECONDS + 1, order=order)
    data += build.obsolete(b"second!!", MICROSECONDS + 2, order=order)
    data += build.simple(b"third", order=order)
    assert read(data) == [
        Packet(1, STAMP + 1000, 101, b"first", 5),
        Packet(2, STAMP + 2000, 101, b"second!!", 8),
        Packet(3, 0, 101, b"third", 5),
    ]


def test_sections_have_their_own_order_and_interfaces():
    data = START + build.interface(link=113) + build.enhanced(b"a", number=1)
    data += build.section(">") + build.interface(link=228, order=">") + build.enhanced(b"b", order=">")
    data += build.enhanced(b"c", number=1, order=">")
    items = read(data)
    assert [(item.number, item.link_type, item.data) for item in items[:2]] == [
        (1, 113, b"a"),
        (2, 228, b"b"),
    ]
    assert shown(items[2:]) == ["packet 3: there is no interface 1"]


@pytest.mark.parametrize("length", [-1, 0, 88, 2**62])
def test_the_section_length_does_not_matter(length):
    data = build.section(length=length) + build.interface() + build.enhanced(b"a") + START + build.enhanced(b"b")
    assert [item.data for item in read(data)] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("resolution", "stamp", "expected_ns"),
    [
        (6, 1_000_001, 1_000_001_000),
        (0, 3, 3 * 10**9),
        (3, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (12, 1_500_000_000_000_999, 1_500_000_000_000),
        (127, 2**64 - 1, 0),
        (0x80, 7, 7 * 10**9),
        (0x80 | 10, 1536, 1_500_000_000),
        (0x80 | 32, 5 << 31, 2_500_000_000),
        (0xFF, 2**64 - 1, 0),
    ],
)
def test_time_resolution(resolution, stamp, expected_ns):
    options = build.option(2, b"eth0") + build.option(9, bytes([resolution])) + build.option(0, b"")
    data = build.section() + build.interface(options=options) + build.enhanced(b"x", stamp)
    assert [item.timestamp_ns for item in read(data)] == [expected_ns]


@pytest.mark.parametrize(("order", "seconds"), [("<", -5), (">", 3)])
def test_time_offset(order, seconds):
    options = build.option(14, struct.pack(order + "q", seconds), order)
    data = build.section(order) + build.interface(options=options, order=order)
    data += build.enhanced(b"x", MICROSECONDS, order=order)
    assert [item.timestamp_ns for item in read(data)] == [STAMP + seconds * 10**9]


@pytest.mark.parametrize(("resolution", "offset"), [(0, 0), (6, -(2**62)), (6, 2**62)])
def test_a_time_that_no_clock_shows_costs_the_time_and_not_the_packet(resolution, offset):
    options = build.option(9, bytes([resolution])) + build.option(14, struct.pack("<q", offset))
    data = build.section() + build.interface(options=options) + build.enhanced(b"x", 2**64 - 1)
    assert shown(read(data)) == [
        "packet 1: its time is not between 1970 and 2262 and counts as unknown",
        Packet(1, 0, 1, b"x", 1),
    ]


def test_options_after_the_end_of_options_are_not_read():
    options = build.option(0, b"") + build.option(9, b"\x09")
    data = build.section() + build.interface(options=options) + build.enhanced(b"x", 1)
    assert read(data)[0].timestamp_ns == 1000


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (build.option(9, b"\x09", length=200), "option 9 of an interface is longer than its block"),
        (build.option(2, b"name", length=0xFFFF), "option 2 of an interface is longer than its block"),
        (build.option(9, b"\x09\x09"), "option 9 of an interface has 2 bytes"),
        (build.option(14, b"\0\0\0\0"), "option 14 of an interface has 4 bytes"),
    ],
)
def test_broken_options_cost_the_interface_and_no_other(options, reason):
    data = START + build.interface(options=options) + build.enhanced(b"a", number=1) + build.enhanced(b"b")
    assert shown(read(data)) == [
        f"packet 1: {reason}",
        "packet 1: there is no interface 1",
        Packet(2, STAMP, 1, b"b", 1),
    ]


def test_options_of_packets_and_sections_may_lie():
    lie = build.option(1, b"note", length=0xFFFF)
    data = build.section(options=lie) + build.interface() + build.enhanced(b"abc", options=lie)
    assert [item.data for item in read(data)] == [b"abc"]


@pytest.mark.parametrize(
    ("snaplen", "original", "data", "expected"),
    [(0, 5, b"abcde", b"abcde"), (4, 9, b"abcd", b"abcd"), (64, 2, b"ab", b"ab"), (0, 900, b"abcd", b"abcd")],
    ids=["unlimited", "cut", "shorter", "lying"],
)
def test_simple_packets_know_their_length_from_the_snapshot_length(snaplen, original, data, expected):
    (packet,) = read(build.section() + build.interface(snaplen=snaplen) + build.simple(data, original))
    assert (packet.data, packet.original_length) == (expected, original)
    whole = len(expected) == original
    assert packet.note == ("" if whole else f"cut by the snapshot length: {len(expected)} of {original} bytes")


def test_enhanced_packet_cut_by_the_snapshot_length():
    (packet,) = read(START + build.enhanced(b"abc", original=1500))
    assert packet.note == "cut by the snapshot length: 3 of 1500 bytes"


@pytest.mark.parametrize("kind", [4, 5, 9, 10, 0xBAD, 0x40000BAD, 0xFFFFFFFF])
@pytest.mark.parametrize("size", [0, 4, 5000])
def test_other_blocks_are_passed_over(kind, size):
    data = START + build.block(kind, bytes(size)) + build.enhanced(b"a") + build.block(kind, bytes(size))
    assert read(data) == [Packet(1, STAMP, 1, b"a", 1)]


def test_a_block_that_nobody_reads_is_not_kept():
    reader = PcapngReader()
    most = 0
    data = START + build.block(10, bytes(3 << 20)) + build.enhanced(b"a")
    items = []
    for at in range(0, len(data), 4096):
        items += reader.feed(data[at : at + 4096])
        most = max(most, reader.buffered)
    assert [item.data for item in items] == [b"a"]
    assert most < 64


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (struct.pack("<III", 6, 0, 0), "a block of type 6 cannot be 0 bytes long"),
        (struct.pack("<III", 10, 8, 8), "a block of type 10 cannot be 8 bytes long"),
        (struct.pack("<III", 10, 13, 8), "a block of type 10 cannot be 13 bytes long"),
        (struct.pack("<III", 6, 28, 8), "a block of type 6 cannot be 28 bytes long"),
        (struct.pack("<III", 1, 16, 8), "a block of type 1 cannot be 16 bytes long"),
        (struct.pack("<III", 6, (1 << 20) + 4, 8), "a block of type 6 cannot be 1048580 bytes long"),
        (struct.pack("<III", 10, (16 << 20) + 4, 8), "a block of type 10 cannot be 16777220 bytes long"),
        (struct.pack("<III", 10, 0xFFFFFFFC, 8), "a block of type 10 cannot be 4294967292 bytes long"),
        (build.block(10, bytes(8), closing=24), "a block is 20 bytes long at its start and 24 at its end"),
        (
            build.block(6, bytes(32), closing=0),
            "a block is 44 bytes long at its start and 0 at its end",
        ),
        (struct.pack("<III", 0x0A0D0D0A, 28, 7) + bytes(16), "a section without a byte-order magic"),
        (build.section(version=(2, 0)), "pcapng version 2.0 is not supported"),
        (build.section(version=(1, 1)), "pcapng version 1.1 is not supported"),
    ],
)
def test_damage_to_the_framing_ends_the_reading(block, reason):
    reader = PcapngReader()
    items = reader.feed(START + build.enhanced(b"good") + block + build.enhanced(b"lost"))
    assert shown(items) == [Packet(1, STAMP, 1, b"good", 4), f"packet 2: {reason}"]
    assert reader.finished
    assert reader.feed(START) == reader.close() == []
    assert reader.buffered == 0


def test_version_1_2_is_read():
    assert len(read(build.section(version=(1, 2)) + build.interface() + build.enhanced(b"a"))) == 1


@pytest.mark.parametrize(
    ("captured", "reason"),
    [
        (9, "the captured length 9 is over the 8 bytes of its block"),
        (MAX_CAPTURED + 1, "the captured length 262145 is over the limit of 262144 bytes"),
        (0xFFFFFFFF, "the captured length 4294967295 is over the limit of 262144 bytes"),
    ],
)
def test_a_packet_longer_than_its_block_costs_that_packet(captured, reason):
    data = START + build.enhanced(b"12345678", captured=captured) + build.enhanced(b"good")
    assert shown(read(data)) == [f"packet 1: {reason}", Packet(2, STAMP, 1, b"good", 4)]


@pytest.mark.parametrize("packet", [build.enhanced(b"a"), build.obsolete(b"a"), build.simple(b"a")])
def test_a_packet_before_any_interface_costs_that_packet(packet):
    data = build.section() + packet + build.interface() + build.enhanced(b"good")
    assert shown(read(data)) == ["packet 1: there is no interface 0", Packet(2, STAMP, 1, b"good", 4)]


def test_interfaces_without_end():
    reader = PcapngReader()
    items = reader.feed(build.section() + build.interface() * 10_001 + build.enhanced(b"a"))
    assert shown(items) == ["packet 1: more than 10000 interfaces"]
    assert reader.finished


@pytest.mark.parametrize("last", [build.enhanced(b"second"), build.obsolete(b"second"), build.simple(b"second")])
def test_cut_at_every_byte(last):
    data = START + build.enhanced(b"first") + last
    expected = read(data)[1]
    before = len(data) - len(last)
    header = 12 if len(last) == 24 else 28
    for cut in range(1, len(last)):
        items = shown(read(data[: before + cut]))
        assert items[0].data == b"first"
        kept = cut - header
        if kept < 0:
            assert items[1:] == ["packet 2: the file ends inside a block"]
        elif kept < 6:
            note = f"cut at the end of the file: {kept} of 6 bytes"
            assert items[1:] == [expected._replace(data=b"second"[:kept], note=note)]
        else:
            assert items[1:] == [expected, "packet 2: the file ends inside its block, after its data"]


def test_a_cut_packet_may_be_bad_besides():
    cut = build.enhanced(b"second", number=9)[:-6]
    assert shown(read(START + cut)) == ["packet 1: there is no interface 9"]


@pytest.mark.parametrize("cut", [1, 4, 8, 11, 13, 19])
def test_cut_in_a_block_that_is_no_packet(cut):
    assert shown(read(START + build.block(10, bytes(8))[:cut])) == ["packet 1: the file ends inside a block"]
    assert shown(read(START[:cut])) == ["packet 1: the file ends inside a block"]


def test_a_section_without_packets_is_fine():
    assert read(build.section()) == read(START) == []


def test_one_byte_at_a_time():
    data = START + build.block(10, b"secret__") + build.enhanced(b"first") + build.section(">")
    data += build.interface(order=">", link=276) + build.obsolete(b"second", order=">")
    reader = PcapngReader()
    items = [item for byte in data for item in reader.feed(bytes([byte]))] + reader.close()
    assert shown(items) == shown(read(data))
    assert [item.data for item in items] == [b"first", b"second"]
