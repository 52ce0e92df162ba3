"""Classic pcap files: a reader that is fed bytes, and two pure functions that write.

Layout as in draft-ietf-opsawg-pcap; limits as in libpcap.
"""

from __future__ import annotations

import struct

from overflowd_tools.capture.link import ETHERNET
from overflowd_tools.capture.packet import (
    MAX_CAPTURED,
    Item,
    Packet,
    PacketReader,
    cut_by_end,
    cut_by_snapshot,
    over_limit,
)
from overflowd_tools.capture.plain import Clock, PlainRun, PlainWalk
from overflowd_tools.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

_FILE_HEADER: Final = "IHHiIII"  # magic, version (2), time zone, accuracy, snapshot length, link type
_FILE_HEADER_LENGTH: Final = 24
_MICROSECONDS: Final = 0xA1B2C3D4
_NANOSECONDS: Final = 0xA1B23C4D
# Written by an old patched libpcap of Linux: each record header has 8 octets more, of no use here.
_MODIFIED: Final = 0xA1B2CD34

_MAGICS: Final = (_MICROSECONDS, _NANOSECONDS, _MODIFIED)
_ORDERS: Final[tuple[Literal["little"], Literal["big"]]] = ("little", "big")
MAGICS: Final = frozenset(magic.to_bytes(4, order) for magic in _MAGICS for order in _ORDERS)


class PcapReader(PacketReader):
    """Reads pcap in either byte order, with micro- or nanoseconds, and with the modified record header."""

    def __init__(self, *, runs: bool = False) -> None:
        """Give packets one by one, or plain ones as runs (plain.py)."""
        super().__init__()
        self._runs = runs
        self._plain: PlainWalk | None = None
        self._record: struct.Struct | None = None
        self._nanoseconds = 1000
        self._link_type = 0

    def _parse(self, data: bytes, offset: int, items: list[Item]) -> int:
        record = self._record
        if record is None:
            if len(data) < _FILE_HEADER_LENGTH:
                self._need = _FILE_HEADER_LENGTH
                return 0
            try:
                record = self._record = self._parse_header(data)
            except DecodeError as error:
                self.finished = True
                items.append(error.with_traceback(None))
                return 0
            offset = _FILE_HEADER_LENGTH
        unpack, header_length = record.unpack_from, record.size
        number, nanoseconds, link_type = self._number, self._nanoseconds, self._link_type
        append, new, plain = items.append, tuple.__new__, self._plain
        end = len(data)
        self._need = header_length
        while True:
            if plain:
                datagrams, alike, offset = plain.walk(data, offset)
                if datagrams:
                    append(PlainRun(number + 1, data, datagrams, alike, self._clock))
                    number += len(datagrams)
            start = offset + header_length
            if start > end:
                break
            seconds, fraction, captured, original = unpack(data, offset)
            if captured > MAX_CAPTURED:
                self._number = number
                append(self._stop(over_limit(captured)))
                break
            stop = start + captured
            if stop > end:
                self._need = stop - offset
                break
            number += 1
            stamp = seconds * 1_000_000_000 + fraction * nanoseconds
            note = "" if captured >= original else cut_by_snapshot(captured, original)
            # What Packet() does, in a third of the time.
            append(new(Packet, (number, stamp, link_type, data[start:stop], original, note)))
            offset = stop
        self._number = number
        return offset

    def _parse_header(self, data: bytes) -> struct.Struct:
        """Read the file header and return the layout of the records; raise DecodeError if it is no good."""
        order = "<" if data[3] == 0xA1 else ">"
        magic, major, minor, _, _, _, link = struct.unpack_from(order + _FILE_HEADER, data)
        if magic not in _MAGICS:
            raise DecodeError("not a pcap capture")
        # Before 2.3, long ago, the two lengths of a record were the other way round.
        if major != 2 or minor not in {3, 4}:
            raise DecodeError(f"pcap version {major}.{minor} is not supported")
        self._nanoseconds = 1 if magic == _NANOSECONDS else 1000
        self._link_type = link & 0x03FFFFFF  # the bits above tell of a frame check sequence
        if self._runs and self._link_type == ETHERNET and magic != _MODIFIED:
            self._plain = PlainWalk("little" if order == "<" else "big")
            self._clock = Clock(struct.Struct(order + "II"), self._stamp)
        return struct.Struct(order + ("IIII8x" if magic == _MODIFIED else "IIII"))

    def _parse_cut(self, data: bytes, items: list[Item]) -> None:
        if self._record is None:
            items.append(DecodeError(f"the file ends inside its header: {len(data)} of {_FILE_HEADER_LENGTH} bytes"))
        elif 0 < len(data) < self._record.size:
            items.append(self._complain(f"the file ends inside its header: {len(data)} of {self._record.size} bytes"))
        elif data:
            seconds, fraction, captured, original = self._record.unpack_from(data)
            kept = data[self._record.size :]
            self._number += 1
            note = cut_by_end(len(kept), max(captured, original))
            stamp = self._stamp(seconds, fraction)
            items.append(Packet(self._number, stamp, self._link_type, kept, original, note))

    def _stamp(self, seconds: int, fraction: int) -> int:
        """Return the Unix nanoseconds of a time."""
        return seconds * 1_000_000_000 + fraction * self._nanoseconds


def file_header(link_type: int, snaplen: int = MAX_CAPTURED) -> bytes:
    """Return the 24 octets that begin a pcap file of microseconds, in little-endian order."""
    return struct.pack("<" + _FILE_HEADER, _MICROSECONDS, 2, 4, 0, 0, snaplen, link_type)


def record(timestamp_ns: int, frame: bytes) -> bytes:
    """Return the pcap record of a whole frame seen at Unix time `timestamp_ns`, in whole microseconds."""
    seconds, rest = divmod(timestamp_ns, 1_000_000_000)
    return struct.pack("<IIII", seconds, rest // 1000, len(frame), len(frame)) + frame
