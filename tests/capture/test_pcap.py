"""pcap: both byte orders, both time units, cut and lying records, and what the writers write."""

import struct

import capture_builders as build
import pytest

from overflowd_tools.capture.packet import MAX_CAPTURED, Packet
from overflowd_tools.capture.pcap import PcapReader, file_header, record
from overflowd_tools.errors import DecodeError

STAMP = build.SECOND * 10**9


def read(data: bytes) -> list:
    reader = PcapReader()
    return reader.feed(data) + reader.close()


def texts(items: list) -> list[str]:
    assert all(isinstance(item, DecodeError) for item in items)
    return [str(item) for item in items]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "fraction_ns"),
    [(0xA1B2C3D4, 123_456_000), (0xA1B23C4D, 123_456), (0xA1B2CD34, 123_456_000)],
    ids=["micro", "nano", "modified"],
)
def test_magics(order, magic, fraction_ns):
    assert read(build.pcap(b"first", b"", b"third!", order=order, magic=magic, link=113)) == [
        Packet(1, STAMP + fraction_ns, 113, b"first", 5),
        Packet(2, STAMP + 10**9 + fraction_ns, 113, b"", 0),
        Packet(3, STAMP + 2 * 10**9 + fraction_ns, 113, b"third!", 6),
    ]


def test_the_bits_above_the_link_type_are_no_part_of_it():
    assert read(build.pcap(b"x", link=0x5400_0001))[0].link_type == 1


def test_header_alone_is_a_capture_of_no_packets():
    assert read(build.pcap()) == []


@pytest.mark.parametrize("version", [(1, 2), (2, 2), (2, 5), (543, 0)])
def test_other_versions_are_refused(version):
    reader = PcapReader()
    items = reader.feed(build.pcap(b"x", version=version))
    assert texts(items) == [f"pcap version {version[0]}.{version[1]} is not supported"]
    assert reader.finished
    assert reader.feed(b"more") == reader.close() == []
    assert reader.buffered == 0


def test_version_2_3_is_read():
    assert read(build.pcap(b"x", version=(2, 3)))[0].data == b"x"


def test_other_magic_is_refused():
    assert texts(read(bytes(24))) == ["not a pcap capture"]


def test_snapshot_length():
    data = build.pcap() + struct.pack("<IIII", 1, 2, 4, 1458) + b"abcd"
    assert read(data) == [Packet(1, 10**9 + 2000, 1, b"abcd", 1458, "cut by the snapshot length: 4 of 1458 bytes")]


def test_original_length_below_the_captured_one_is_kept_as_it_is():
    data = build.pcap() + struct.pack("<IIII", 1, 2, 4, 3) + b"abcd"
    assert read(data) == [Packet(1, 10**9 + 2000, 1, b"abcd", 3)]


def test_a_fraction_of_more_than_a_second_is_added():
    assert read(build.pcap(b"x", fraction=4_294_967_295))[0].timestamp_ns == STAMP + 4_294_967_295_000


def test_cut_at_every_byte():
    whole = build.pcap(b"first", b"second", magic=0xA1B23C4D)
    first, second = read(whole)
    starts = [24, 24 + 16 + 5, len(whole)]
    for cut in range(len(whole)):
        items = read(whole[:cut])
        if cut < 24:
            assert texts(items) == [f"the file ends inside its header: {cut} of 24 bytes"]
            continue
        number = 1 if cut < starts[1] else 2
        before = [first][: number - 1]
        left = cut - starts[number - 1]
        packet = (first, second)[number - 1]
        kept = left - 16
        if left == 0:
            assert items == before
        elif kept < 0:
            assert items[:-1] == before
            assert texts(items[-1:]) == [f"packet {number}: the file ends inside its header: {left} of 16 bytes"]
        else:
            note = f"cut at the end of the file: {kept} of {len(packet.data)} bytes"
            assert items == [*before, packet._replace(data=packet.data[:kept], note=note)]


def test_cut_twice_names_the_length_on_the_wire():
    (packet,) = read(build.pcap() + struct.pack("<IIII", 1, 2, 96, 1458) + b"abcd")
    assert packet.note == "cut at the end of the file: 4 of 1458 bytes"


@pytest.mark.parametrize("captured", [MAX_CAPTURED + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_length_bomb_ends_the_reading_at_once(captured):
    reader = PcapReader()
    items = reader.feed(build.pcap(b"good") + struct.pack("<IIII", 1, 2, captured, captured) + b"rest")
    assert items[0].data == b"good"
    assert texts(items[1:]) == [f"packet 2: the captured length {captured} is over the limit of 262144 bytes"]
    assert reader.finished
    assert reader.buffered == 0
    assert reader.feed(build.pcap(b"x")) == reader.close() == []


def test_the_longest_packet():
    data = bytes(MAX_CAPTURED)
    assert read(build.pcap(data))[0].data == data


def test_one_byte_at_a_time():
    whole = build.pcap(b"first", b"second")
    reader = PcapReader()
    items, most = [], 0
    for byte in whole:
        items += reader.feed(bytes([byte]))
        most = max(most, reader.buffered)
    assert items + reader.close() == read(whole)
    assert most < 24


def test_written_packets_are_read_back():
    data = file_header(101) + record(STAMP + 999_999_999, b"one") + record(0, b"")
    assert read(data) == [Packet(1, STAMP + 999_999_000, 101, b"one", 3), Packet(2, 0, 101, b"", 0)]


def test_written_header_is_that_of_tcpdump():
    assert file_header(1).hex() == "d4c3b2a1020004000000000000000000" + "0000040001000000"
    assert file_header(1, snaplen=96)[16:20] == bytes([96, 0, 0, 0])
