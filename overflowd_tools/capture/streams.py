"""IPFIX messages out of TCP connections in a capture (RFC 7011 section 10.4): bounded reassembly, without I/O.

Segments may come in any order and more than once; of octets that came twice the first count. Each direction of a
connection is a stream of its own. One that was captured from its beginning is IPFIX if it begins with a message
header; in any other, and after a gap, a header is believed only once its whole message proves it.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import OrderedDict

from overflowd_tools.capture.packet import IPPacket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

Key = tuple[bytes, int, bytes, int]
"""Source and its port, destination and its port."""

_SYN: Final = 0x02
_WINDOW: Final = 1 << 22  # further away from what is expected, it is another connection
_GAP_OCTETS: Final = 1 << 18
_SEGMENT_COST: Final = 512  # octets of memory that keeping a segment takes besides its data
_STREAM_COST: Final = 1024

_VERSION: Final = b"\x00\x0a"
_HEADER: Final = struct.Struct("!HHIII")
_SET: Final = struct.Struct("!HH")
_FIRST_SET_END: Final = _HEADER.size + _SET.size
_SETS_LOOKED_AT: Final = 16
_TEMPLATE_SETS: Final = (2, 3)
_FIRST_DATA_SET: Final = 256
_YEAR_1990, _YEAR_2100 = 631_152_000, 4_102_444_800
_DAY_S: Final = 86_400


class _Stream:
    """One direction of a connection: the octets in order that no message has taken yet, and those beyond a gap."""

    __slots__ = ("buffer", "clock_s", "gap_ns", "known", "later", "next", "start", "synced", "waiting")

    def __init__(self, sequence: int, clock_s: int, *, synced: bool) -> None:
        self.start = sequence
        self.next = sequence  # of the octet after the buffer; counts on beyond 32 bits
        self.buffer = bytearray()
        self.later: list[tuple[int, bytes]] = []  # sorted
        self.waiting = 0  # octets of memory that they take
        self.gap_ns = 0  # since when they wait
        self.synced = synced  # the buffer begins with a message
        self.known: bool | None = None  # whether it is IPFIX
        self.clock_s = clock_s  # a time that those of export are near to

    @property
    def cost(self) -> int:
        """Octets of memory held."""
        return _STREAM_COST + len(self.buffer) + self.waiting

    def place(self, sequence: int) -> int:
        """Return a sequence number as one that counts on: the nearest to what is expected next."""
        return self.next + ((sequence - self.next + 0x80000000 & 0xFFFFFFFF) - 0x80000000)

    def add(self, place: int, data: bytes, now_ns: int) -> None:
        """Take a segment: at the end of the buffer, or aside if something before it is missing."""
        if place > self.next:
            if not self.later:
                self.gap_ns = now_ns
            segment = (place, data)
            at = bisect_left(self.later, segment)
            if self.later[at : at + 1] != [segment]:
                self.later.insert(at, segment)
                self.waiting += _SEGMENT_COST + len(data)
            return
        self._append(place, data)
        self._join()

    def skip_gap(self, now_ns: int) -> None:
        """Give up the octets before the first segment that was put aside."""
        self.gap_ns = now_ns
        self.buffer.clear()
        self.synced = False
        self.next = self.later[0][0]
        self._join()

    def _join(self) -> None:
        joined = 0
        for place, data in self.later:
            if place > self.next:
                break
            self._append(place, data)
            self.waiting -= _SEGMENT_COST + len(data)
            joined += 1
        del self.later[:joined]

    def _append(self, place: int, data: bytes) -> None:
        new = data[self.next - place :]
        self.buffer += new
        self.next += len(new)


class Streams:
    """The TCP streams that are IPFIX, or may turn out to be.

    `lost` counts how often octets of IPFIX had to be skipped: they were not captured, made no sense, or were pushed
    out by the limits. A gap is given up after `timeout_ns` of capture time, or when 256 KiB wait behind it.
    """

    def __init__(self, max_bytes: int = 4 << 20, max_streams: int = 256, timeout_ns: int = 10_000_000_000) -> None:
        self.lost = 0
        self.held_bytes = 0
        self._max_bytes = max_bytes
        self._max_streams = max_streams
        self._timeout_ns = timeout_ns
        # Apart, so that a flood of connections cannot push out those that are IPFIX.
        self._known: OrderedDict[Key, _Stream] = OrderedDict()
        self._candidates: OrderedDict[Key, _Stream] = OrderedDict()

    def take(self, packet: IPPacket, timestamp_ns: int) -> list[bytes]:
        """Take a TCP packet and return the messages that it completes; they come from its source and port."""
        source_port, destination_port, sequence = packet.source_port, packet.destination_port, packet.tcp_sequence
        if sequence is None or source_port is None or destination_port is None:
            return []
        key = (packet.source, source_port, packet.destination, destination_port)
        stream = self._forget(key)
        payload = packet.payload
        if (packet.tcp_flags or 0) & _SYN:
            sequence += 1
            stream = self._begin(stream, sequence, timestamp_ns)
        elif stream is None:
            if _VERSION not in payload:
                return []
            stream = _Stream(sequence, timestamp_ns // 1_000_000_000, synced=False)
        place = stream.place(sequence)
        if abs(place - stream.next) > _WINDOW:
            self._lose(stream)
            stream = _Stream(sequence, stream.clock_s, synced=False)
            place = sequence
        if payload:
            stream.add(place, payload, timestamp_ns)
        messages = self._messages(stream)
        while stream.later and self._is_lost(stream, timestamp_ns):
            self._lose(stream)
            stream.skip_gap(timestamp_ns)
            messages += self._messages(stream)
        self._remember(key, stream)
        return messages

    def close(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield what can be saved at the end of the input: source, port and message; and forget all streams."""
        for key, stream in (*self._known.items(), *self._candidates.items()):
            while stream.later:
                self._lose(stream)
                stream.skip_gap(0)
                for message in self._messages(stream):
                    yield key[0], key[1], message
            if stream.buffer:
                self._lose(stream)
        self._known.clear()
        self._candidates.clear()
        self.held_bytes = 0

    def _begin(self, old: _Stream | None, sequence: int, now_ns: int) -> _Stream:
        """Return the stream of a SYN, which may be sent again; one that had the same ports ends with it."""
        if old is not None:
            if old.start == sequence:
                return old
            self._lose(old)
        return _Stream(sequence, now_ns // 1_000_000_000, synced=True)

    def _is_lost(self, stream: _Stream, now_ns: int) -> bool:
        return now_ns - stream.gap_ns > self._timeout_ns or stream.waiting > _GAP_OCTETS

    def _lose(self, stream: _Stream) -> None:
        if stream.known and (stream.buffer or stream.later):
            self.lost += 1

    def _forget(self, key: Key) -> _Stream | None:
        """Take a stream out of the tables, to be put back at their end."""
        stream = self._known.pop(key, None) or self._candidates.pop(key, None)
        if stream is not None:
            self.held_bytes -= stream.cost
        return stream

    def _remember(self, key: Key, stream: _Stream) -> None:
        if not (stream.known or stream.synced or len(stream.buffer) > 1):
            return
        table = self._known if stream.known else self._candidates
        table[key] = stream
        self.held_bytes += stream.cost
        while len(table) > self._max_streams:
            self._push_out(table)
        while self.held_bytes > self._max_bytes:
            self._push_out(self._candidates or self._known)

    def _push_out(self, table: OrderedDict[Key, _Stream]) -> None:
        _, stream = table.popitem(last=False)
        self.held_bytes -= stream.cost
        self._lose(stream)

    def _messages(self, stream: _Stream) -> list[bytes]:
        """Return the whole messages at the beginning of a stream, without them in it."""
        messages: list[bytes] = []
        buffer = stream.buffer
        while stream.synced or _search(stream):
            stream.known = stream.known or _is_start(buffer)
            if stream.known is None:
                break
            if not stream.known:
                stream.synced = False
                buffer.clear()
                break
            if len(buffer) < _HEADER.size:
                break
            version, length, export_s, _, _ = _HEADER.unpack_from(buffer)
            if version != _VERSION[1] or length < _HEADER.size:
                self._lose(stream)
                stream.synced = False
                continue
            stream.clock_s = export_s
            if len(buffer) < length:
                break
            messages.append(bytes(buffer[:length]))
            del buffer[:length]
        return messages


def _search(stream: _Stream) -> bool:
    """Drop what comes before the first message that is believed; return whether it is there."""
    buffer = stream.buffer
    at = 0
    while (at := buffer.find(_VERSION, at)) >= 0:
        verdict = _verdict(buffer, at, stream.clock_s)
        if verdict is None:
            break
        if verdict:
            stream.synced = True
            break
        at += 1
    if at < 0:
        at = len(buffer) - buffer.endswith(_VERSION[:1])
    del buffer[:at]
    return stream.synced


def _is_start(data: bytearray) -> bool | None:
    """Tell whether a stream begins as IPFIX does, by its first header and set; None if they are not there yet."""
    if not data.startswith(_VERSION[: len(data)]):
        return False
    if len(data) < _HEADER.size:
        return None
    _, length, export_s, _, _ = _HEADER.unpack_from(data)
    if length < _HEADER.size or not _YEAR_1990 <= export_s < _YEAR_2100:
        return False
    if len(data) < min(length, _FIRST_SET_END):
        return None
    return length == _HEADER.size or _set_length(data, _HEADER.size, length) is not None


def _set_length(data: bytearray, at: int, end: int) -> int | None:
    """Return the length of the set that begins somewhere in a message, None if none can."""
    if at + _SET.size > end:
        return None
    number: int
    length: int
    number, length = _SET.unpack_from(data, at)
    known = number in _TEMPLATE_SETS or number >= _FIRST_DATA_SET
    return length if known and _SET.size <= length <= end - at else None


def _verdict(buffer: bytearray, at: int, clock_s: int) -> bool | None:
    """Tell whether a message is what begins somewhere in a stream: None if it goes on beyond what is there.

    Its time of export must be near the clock, which only one that begins with the octets at hand (with a segment, as
    exporters send them) may lack; its sets must fill it, and another message follow it, if anything does.
    """
    if len(buffer) < at + _FIRST_SET_END:
        return None
    _, length, export_s, _, _ = _HEADER.unpack_from(buffer, at)
    credible = abs(export_s - clock_s) <= _DAY_S or (at == 0 and _YEAR_1990 <= export_s < _YEAR_2100)
    if not credible or length < _FIRST_SET_END:
        return False
    end = at + length
    place = at + _HEADER.size
    for _ in range(_SETS_LOOKED_AT):
        if place == end or (place + _SET.size > len(buffer) and place + _SET.size <= end):
            break
        size = _set_length(buffer, place, end)
        if size is None:
            return False
        place += size
    if len(buffer) < end:
        return None
    following = buffer[end : end + len(_VERSION)]
    return _VERSION.startswith(following)
