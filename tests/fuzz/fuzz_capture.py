"""Any bytes give packets, messages and DecodeErrors, nothing else, however they are cut, in bounded memory."""

import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "capture"))

import capture_builders as build

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import MAX_CAPTURED, ExportMessage, IPPacket, Packet
from overflowd_tools.capture.plain import PlainRun
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.errors import DecodeError

MAX_BUFFERED = 1 << 20
MAX_FRAGMENTS = 1 << 14
LINK_TYPES = (0, 1, 9, 12, 50, 101, 104, 108, 113, 228, 229, 276)


def read(pieces: Iterable[bytes], *, runs: bool = False) -> list[Packet | ExportMessage | DecodeError]:
    reader = CaptureReader(runs=runs)
    items = []
    for piece in pieces:
        for item in reader.feed(piece):
            items += one_by_one(item) if isinstance(item, PlainRun) else [item]
        assert reader.buffered <= MAX_BUFFERED
        assert not (reader.finished and reader.buffered)
    items += reader.close()
    assert reader.finished
    assert reader.buffered == 0
    assert all(type(item) in {Packet, ExportMessage, DecodeError} for item in items)
    return items


def one_by_one(run: PlainRun) -> list[Packet]:
    return [run.packet(index) for index in range(len(run.datagrams))]


def check_packet(packet: Packet, fragments: Fragments) -> None:
    assert type(packet.data) is bytes
    assert len(packet.data) <= MAX_CAPTURED
    assert 0 <= packet.timestamp_ns < 1 << 63
    found = dissect(packet, fragments)
    assert 0 <= fragments.held_bytes <= MAX_FRAGMENTS
    if isinstance(found, IPPacket):
        assert type(found.payload) is bytes
        assert len(found.payload) <= max(len(packet.data), 65_535)
        assert found.missing >= 0
        assert len(found.source) == len(found.destination)
    else:
        assert found is None or type(found) is DecodeError


def one_input(data: bytes) -> None:
    items = read([data])
    cut = zlib.crc32(data) % (len(data) + 1)
    splits = [[data[:cut], data[cut:]], [data[at : at + 7] for at in range(0, len(data), 7)]]
    for pieces in ([data], *splits):
        assert [str(item) for item in read(pieces, runs=True)] == [str(item) for item in items]
    for pieces in splits:
        assert [str(item) for item in read(pieces)] == [str(item) for item in items]
    messages = [item for item in items if isinstance(item, ExportMessage)]
    assert b"".join(message.data for message in messages) == data[: sum(len(message.data) for message in messages)]
    assert [message.number for message in messages] == list(range(1, len(messages) + 1))
    packets = [item for item in items if isinstance(item, Packet)]
    numbers = [packet.number for packet in packets]
    assert numbers == sorted(set(numbers))
    assert sum(len(packet.data) for packet in packets) <= len(data)
    fragments = Fragments(max_bytes=MAX_FRAGMENTS, max_datagrams=4)
    for packet in packets:
        check_packet(packet, fragments)
        for link_type in LINK_TYPES:
            check_packet(packet._replace(link_type=link_type), fragments)
    fragments.close()
    assert fragments.held_bytes == 0


def seeds() -> Iterable[bytes]:
    datagram = build.udp(bytes(range(90)))
    bodies = [
        build.ipv4(build.udp()),
        build.ipv4(build.tcp(b"text", offset=7), 6, ihl=7),
        build.ipv4(b"\3\1" + bytes(8), 1),
        build.ipv6(build.extension(44) + build.fragment6(60, 0, False) + build.extension(17) + build.udp(), 0),
        build.ipv6(build.extension(51) + b"\x3a\4" + bytes(22) + b"\x80\0" + bytes(6), 43),
        *build.fragments4(datagram, 40),
        *build.fragments6(datagram, 40),
    ]
    frames = [build.ethernet(body, 0x86DD if body[0] >> 4 == 6 else 0x0800) for body in bodies]
    yield build.pcap(*frames)
    yield build.pcap(*bodies, link=101, order=">", magic=0xA1B23C4D)
    yield build.pcap(*(build.ethernet(body, tags=[0x88A8, 0x8100]) for body in bodies[:3]), magic=0xA1B2CD34)
    yield build.pcap(*(b"\xff\x03\0\x21" + body for body in bodies[:3]), link=9)
    yield build.pcap(*frames)[:-9]
    yield b"".join(build.ipfix(build.ipfix_set(bytes(size))) for size in (0, 8, 300))
    yield (
        build.section()
        + build.interface(options=build.option(9, b"\x09") + build.option(14, bytes(8)) + build.option(0, b""))
        + build.interface(link=101, snaplen=60)
        + b"".join(build.enhanced(frame, options=build.option(1, b"note")) for frame in frames[:2])
        + build.enhanced(bodies[0], number=1, original=900)
        + build.block(5, bytes(40))
        + build.obsolete(frames[3])
        + build.section(">")
        + build.interface(order=">")
        + build.simple(frames[0], order=">")
        + build.enhanced(frames[2], order=">")
    )
