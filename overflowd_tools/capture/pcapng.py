"""pcapng files, fed as bytes: sections, interfaces and the three kinds of block that carry a packet.

Layout as in draft-ietf-opsawg-pcapng; limits as in libpcap. Every block begins with its type and total
length and ends with that length again. Blocks of no use here are passed over without being kept.
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
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SECTION_HEADER: Final = b"\x0a\x0d\x0d\x0a"  # reads the same in either byte order
_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_OBSOLETE_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
# The octets before the options or the packet data of each block that is read.
_HEADER_LENGTHS: Final = {
    _SECTION: 24,
    _INTERFACE: 16,
    _OBSOLETE_PACKET: 28,
    _SIMPLE_PACKET: 12,
    _ENHANCED_PACKET: 28,
}
_PACKETS: Final = (_OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET)

_BEFORE_TIME: Final = 12  # octets of an enhanced packet block: type, length, interface

_MAX_BLOCK: Final = 16 << 20
_MAX_KEPT: Final = 1 << 20  # of a block that must be held until it is whole
_MAX_INTERFACES: Final = 10_000

_OPTION_END: Final = 0
_OPTION_TSRESOL: Final = 9
_OPTION_TSOFFSET: Final = 14

_TIME_LIMIT: Final = 1 << 63  # nanoseconds: the year 2262


def _closing(length: int) -> int:
    """Return the octets from the end of a packet, which is so long, to that of its block, if it has no options."""
    return -length % 4 + 4


class _Layout:
    """The fixed parts of the blocks in one byte order."""

    def __init__(self, order: str) -> None:
        self.block = struct.Struct(order + "II")
        self.enhanced = struct.Struct(order + "III")
        self.plain = PlainWalk("little" if order == "<" else "big", lambda captured: _closing(captured) + _BEFORE_TIME)
        self.length = struct.Struct(order + "I")
        self.version = struct.Struct(order + "12xHH")
        self.interface = struct.Struct(order + "8xH2xI")
        self.option = struct.Struct(order + "HH")
        self.time_offset = struct.Struct(order + "q")
        self.simple = struct.Struct(order + "8xI")
        self.packet = {
            _ENHANCED_PACKET: struct.Struct(order + "8xIIIII"),
            _OBSOLETE_PACKET: struct.Struct(order + "8xH2xIIII"),
        }


_LAYOUTS: Final = {b"\x4d\x3c\x2b\x1a": _Layout("<"), b"\x1a\x2b\x3c\x4d": _Layout(">")}


class _Interface(NamedTuple):
    """What a packet block needs of its interface."""

    link_type: int
    snaplen: int
    multiplier: int = 1000
    divisor: int = 1
    offset_ns: int = 0

    def nanoseconds(self, high: int, low: int) -> int:
        """Return the nanoseconds of a time of two words."""
        return (high << 32 | low) * self.multiplier // self.divisor + self.offset_ns


class PcapngReader(PacketReader):
    """Reads pcapng: any number of sections, each of its own byte order, and of interfaces."""

    def __init__(self, *, runs: bool = False) -> None:
        """Give packets one by one, or plain ones as runs (plain.py)."""
        super().__init__()
        self._need = 12
        self._runs = runs
        self._layout = _LAYOUTS[b"\x4d\x3c\x2b\x1a"]
        self._interfaces: list[_Interface | None] = []  # None keeps the number of one that is unreadable
        self._passing = 0  # total length of the block that is being passed over
        self._passing_left = 0  # octets of it before its closing length

    def _parse(self, data: bytes, offset: int, items: list[Item]) -> int:
        while True:
            if self._runs and not self._passing:
                before, offset = offset, self._take_plain(data, offset, items)
                if offset > before:
                    continue
            try:
                consumed = self._parse_block(data, offset, items)
            except DecodeError as error:
                items.append(error.with_traceback(None))
                break
            if consumed == 0:
                break
            offset += consumed
        return offset

    def _take_plain(self, data: bytes, offset: int, items: list[Item]) -> int:
        """Take the plain packets of one interface in the blocks that come next; return where they end."""
        layout = self._layout
        if len(data) - offset < _HEADER_LENGTHS[_ENHANCED_PACKET]:
            return offset
        kind, _, number = layout.enhanced.unpack_from(data, offset)
        interface = self._interfaces[number] if number < len(self._interfaces) else None
        if kind != _ENHANCED_PACKET or interface is None or interface.link_type != ETHERNET:
            return offset
        clock = Clock(layout.block, interface.nanoseconds)

        def framed(data: bytes, time_at: int, stop: int) -> bool:
            block = time_at - _BEFORE_TIME
            total = stop - block + _closing(stop - block)
            if layout.enhanced.unpack_from(data, block) != (_ENHANCED_PACKET, total, number):
                return False
            return (
                data.startswith(data[block + 4 : block + 8], block + total - 4)
                and 0 <= clock.at(data, time_at) < _TIME_LIMIT
            )

        datagrams, alike, end = layout.plain.walk(data, offset + _BEFORE_TIME, framed)
        if datagrams:
            items.append(PlainRun(self._number + 1, data, datagrams, alike, clock))
            self._number += len(datagrams)
        return end - _BEFORE_TIME

    def _parse_block(self, data: bytes, offset: int, items: list[Item]) -> int:
        """Return the octets used up, 0 if more are needed; raise DecodeError where there is no going on."""
        if self._passing:
            return self._pass_over(data, offset)
        left = len(data) - offset
        self._need = 12
        if left < 12:
            return 0
        if data.startswith(SECTION_HEADER, offset):
            layout = _LAYOUTS.get(data[offset + 8 : offset + 12])
            if layout is None:
                raise self._stop("a section without a byte-order magic")
            self._layout = layout
        kind: int
        total: int
        kind, total = self._layout.block.unpack_from(data, offset)
        header_length = _HEADER_LENGTHS.get(kind)
        shortest, longest = (header_length + 4, _MAX_KEPT) if header_length else (12, _MAX_BLOCK)
        if total % 4 or not shortest <= total <= longest:
            raise self._stop(f"a block of type {kind} cannot be {total} bytes long")
        if header_length is None:
            self._passing = total
            self._passing_left = total - 12
            return 8
        if left < total:
            self._need = total
            return 0
        self._check_closing(data, offset + total - 4, total)
        if kind == _SECTION:
            self._parse_section(data, offset)
        elif kind == _INTERFACE:
            self._parse_interface(data, offset, total, items)
        else:
            self._parse_packet(kind, data, offset, total - header_length - 4, items)
        return total

    def _pass_over(self, data: bytes, offset: int) -> int:
        """Return the octets used up of a block that nobody reads, 0 if its closing length is not whole."""
        left = len(data) - offset
        if self._passing_left:
            step = min(left, self._passing_left)
            self._passing_left -= step
            self._need = 1
            return step
        if left < 4:
            self._need = 4
            return 0
        self._check_closing(data, offset, self._passing)
        self._passing = 0
        return 4

    def _check_closing(self, data: bytes, offset: int, total: int) -> None:
        (closing,) = self._layout.length.unpack_from(data, offset)
        if closing != total:
            raise self._stop(f"a block is {total} bytes long at its start and {closing} at its end")

    def _parse_section(self, data: bytes, offset: int) -> None:
        major, minor = self._layout.version.unpack_from(data, offset)
        # Some writers have used 1.2 for what is 1.0.
        if major != 1 or minor not in {0, 2}:
            raise self._stop(f"pcapng version {major}.{minor} is not supported")
        self._interfaces.clear()

    def _parse_interface(self, data: bytes, offset: int, total: int, items: list[Item]) -> None:
        if len(self._interfaces) == _MAX_INTERFACES:
            raise self._stop(f"more than {_MAX_INTERFACES} interfaces")
        interface = _Interface(*self._layout.interface.unpack_from(data, offset))
        try:
            self._interfaces.append(self._parse_options(interface, data[offset + 16 : offset + total - 4]))
        except DecodeError as error:
            self._interfaces.append(None)
            items.append(self._complain(str(error)))

    def _parse_options(self, interface: _Interface, options: bytes) -> _Interface:
        """Return the interface with the time unit its options name; raise DecodeError if they are broken."""
        offset = 0
        while offset + 4 <= len(options):
            code, length = self._layout.option.unpack_from(options, offset)
            if code == _OPTION_END:
                break
            value = options[offset + 4 : offset + 4 + length]
            if len(value) < length:
                raise DecodeError(f"option {code} of an interface is longer than its block")
            if code == _OPTION_TSRESOL and length == 1:
                multiplier, divisor = _time_unit(value[0])
                interface = interface._replace(multiplier=multiplier, divisor=divisor)
            elif code == _OPTION_TSOFFSET and length == 8:
                (seconds,) = self._layout.time_offset.unpack(value)
                interface = interface._replace(offset_ns=seconds * 1_000_000_000)
            elif code in {_OPTION_TSRESOL, _OPTION_TSOFFSET}:
                raise DecodeError(f"option {code} of an interface has {length} bytes")
            offset += 4 + (length + 3 & ~3)
        return interface

    def _parse_packet(self, kind: int, data: bytes, offset: int, room: int, items: list[Item]) -> None:
        """Read a packet block that has `room` octets after its header; the file may end before they do."""
        if kind == _SIMPLE_PACKET:
            (original,) = self._layout.simple.unpack_from(data, offset)
            number, high, low, captured = 0, 0, 0, original
        else:
            number, high, low, captured, original = self._layout.packet[kind].unpack_from(data, offset)
        interface = self._interfaces[number] if number < len(self._interfaces) else None
        if interface is None:
            items.append(self._skip(f"there is no interface {number}"))
            return
        link_type, snaplen = interface.link_type, interface.snaplen
        if kind == _SIMPLE_PACKET:  # has no time, and a captured length only by implication
            captured = min(original, snaplen or original, room)
            stamp = 0
        else:
            stamp = interface.nanoseconds(high, low)
        if captured > MAX_CAPTURED:
            items.append(self._skip(over_limit(captured)))
            return
        if captured > room:
            items.append(self._skip(f"the captured length {captured} is over the {room} bytes of its block"))
            return
        if not 0 <= stamp < _TIME_LIMIT:
            items.append(self._complain("its time is not between 1970 and 2262 and counts as unknown"))
            stamp = 0
        start = offset + _HEADER_LENGTHS[kind]
        kept = data[start : start + captured]
        if len(kept) < captured:
            note = cut_by_end(len(kept), max(captured, original))
        else:
            note = cut_by_snapshot(captured, original)
        self._number += 1
        items.append(Packet(self._number, stamp, link_type, kept, original, note))

    def _skip(self, reason: str) -> DecodeError:
        """Return the complaint about a packet that is there but unreadable; it keeps its number."""
        complaint = self._complain(reason)
        self._number += 1
        return complaint

    def _parse_cut(self, data: bytes, items: list[Item]) -> None:
        if not data and not self._passing:
            return
        kind, total = self._layout.block.unpack_from(data) if len(data) >= 8 else (0, 0)
        header_length = _HEADER_LENGTHS.get(kind, 0)
        if kind not in _PACKETS or len(data) < header_length:
            items.append(self._complain("the file ends inside a block"))
            return
        self._parse_packet(kind, data, 0, total - header_length - 4, items)
        last = items[-1]
        if isinstance(last, Packet) and last.note == cut_by_snapshot(len(last.data), last.original_length):
            reason = "the file ends inside its block, after its data"
            items.append(DecodeError(f"packet {self._number}: {reason}"))


def _time_unit(resolution: int) -> tuple[int, int]:
    """Return multiplier and divisor that turn a count of if_tsresol units into nanoseconds."""
    exponent = resolution & 0x7F
    if resolution & 0x80:
        return 1_000_000_000, 1 << exponent
    return (10 ** (9 - exponent), 1) if exponent <= 9 else (1, 10 ** (exponent - 9))
