"""Any segments give whole messages, in bounded memory; how a good stream is cut changes nothing."""

import random
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "capture"))

import capture_builders as build

from overflowd_tools.capture.packet import IPPacket
from overflowd_tools.capture.streams import Streams

NOW = build.SECOND * 10**9
LIMIT = 1 << 15
SYN, ACK = 2, 16


def segment(sequence: int, payload: bytes, flags: int = ACK, port: int = 40_000) -> IPPacket:
    source, destination = build.SOURCE4, build.DESTINATION4
    return IPPacket(source, destination, 6, 0, 0, port, 4739, flags, None, payload, 0, sequence & 0xFFFFFFFF)


def stream(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Give the messages of a stream in segments of these sizes, and then of the last of them."""
    streams = Streams()
    found = streams.take(segment(0, b"", SYN), NOW)
    at = 0
    for size in sizes:
        found += streams.take(segment(1 + at, data[at : at + size]), NOW)
        at += size
    assert at >= len(data)
    return found


def hostile(data: bytes, rng: random.Random) -> None:
    """Cut the stream with overlaps and gaps, in any order, between other connections."""
    streams = Streams(max_bytes=LIMIT, max_streams=3)
    now = NOW
    first = rng.choice((0, 1, 1 << 31, (1 << 32) - 50))
    for _ in range(40):
        at = rng.randrange(len(data) + 1)
        now += rng.choice((0, 1, 11)) * 10**9
        flags = rng.choice((ACK, ACK, ACK, SYN))
        payload = data[at : at + rng.choice((1, 20, 300, 70_000))]
        for message in streams.take(segment(first + at, payload, flags, rng.randrange(1, 6)), now):
            assert message[:2] == b"\0\x0a"
            assert len(message) == int.from_bytes(message[2:4]) >= 16
        assert 0 <= streams.held_bytes <= LIMIT
    for _, _, message in streams.close():
        assert len(message) == int.from_bytes(message[2:4]) >= 16
    assert streams.held_bytes == 0


def one_input(data: bytes) -> None:
    rng = random.Random(zlib.crc32(data))
    whole = stream(data, [max(1, len(data))])
    position = 0
    for message in whole:
        position = data.index(message, position) + len(message)
    step = rng.randrange(1, 50)
    if data[:2] == b"\0\x0a" and len(data) >= 16 and whole and data.startswith(b"".join(whole)):
        pieces = [step] * (len(data) // step + 1)
        assert stream(data, pieces)[: len(whole)] == whole
    hostile(data, rng)


def seeds() -> Iterable[bytes]:
    def message(number: int, size: int) -> bytes:
        return build.ipfix(build.ipfix_set(bytes(range(size))), sequence=number)

    yield message(0, 4)
    yield b"".join(message(number, 20 * number) for number in range(6))
    yield message(0, 30)[7:] + message(1, 200) + bytes(5) + message(2, 8) + message(3, 8)
    yield build.ipfix(build.ipfix_set(bytes(12), 2) + build.ipfix_set(bytes(30), 256)) * 3
    yield b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n" * 3
