"""Plain packets, found by one look at each: nearly all that a collector of flow exports captures.

Plain is a whole UDP datagram over IPv4 without options, not a fragment, in an Ethernet frame that holds nothing else.
Such packets need no thought one by one; all others are for the reader of the format, and for link.py.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import repeat

from overflowd_tools.capture.link import ETHERNET
from overflowd_tools.capture.packet import Packet
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Literal, TypeAlias

# Lengths, captured and on the wire; EtherType, IP version and header length; total length; fragment, TTL and protocol;
# source; source port; UDP length. Before all of them the time, in two words.
_RECORD: Final = struct.Struct(">8xII12xIH2xI2x4s4xH2xH2x")
# All that is in _RECORD, and some more: lengths; EtherType to total length; fragment to protocol; source to UDP length.
_ALIKE: Final = "8x8s12x6s2x4s2x14s"
_ONE_ALIKE: Final = struct.Struct(_ALIKE)
DOZEN: Final = 12
"""So many packets alike are found by one look."""
_LAYOUTS_KEPT: Final = 64
_RECORD_HEADER: Final = 16
_HEADERS: Final = 14 + 20 + 8
_LONGEST: Final = 14 + 65_535
_IPV4_WITHOUT_OPTIONS: Final = 0x0800_45
_FRAGMENT_AND_PROTOCOL: Final = 0x3FFF_00FF
_UDP: Final = 17
_LENGTHS_KEPT: Final = 4096

Order: TypeAlias = 'Literal["little", "big"]'
Datagram = tuple[bytes, int, int, int]
"""Source address (4 octets) and port of a UDP datagram; where its payload starts and stops."""


Framed: TypeAlias = "Callable[[bytes, int, int], bool]"
"""(data, offset of the record, where its packet stops) -> whether what is around the record is as it should be."""


class Clock(NamedTuple):
    """How the two words of a time are laid out, and what makes Unix nanoseconds of them."""

    words: struct.Struct
    nanoseconds: Callable[[int, int], int]

    def at(self, data: bytes, offset: int) -> int:
        """Return the time of the record there."""
        return self.nanoseconds(*self.words.unpack_from(data, offset))


class PlainRun(NamedTuple):
    """Plain packets that follow each other in a capture.

    number: that of the first in the file. data: octets that hold all of them. datagrams: what is in them. alike: the
    index of a datagram, and how many from there on are of one source, port and length, and at equal distances: dozens.
    """

    number: int
    data: bytes
    datagrams: list[Datagram]
    alike: list[tuple[int, int]]
    clock: Clock

    def timestamp_ns(self, start: int) -> int:
        """Return when the packet came whose payload starts there: Unix nanoseconds."""
        return self.clock.at(self.data, start - _RECORD.size)

    def packet(self, index: int) -> Packet:
        """Return one of the packets as the readers without runs give it."""
        _, _, start, stop = self.datagrams[index]
        frame = self.data[start - _HEADERS : stop]
        return Packet(self.number + index, self.timestamp_ns(start), ETHERNET, frame, len(frame))


class PlainWalk:
    """Walks over the plain packets of a capture.

    A record here is a packet with the 16 octets of pcap before it: time and lengths. pcapng has the same ones.
    """

    def __init__(self, order: Order, gap: Callable[[int], int] = lambda _: 0) -> None:
        """Take the byte order of the lengths. gap: captured length -> octets from the end of a packet to a record."""
        self._lengths = _Lengths(order, gap)

    def walk(
        self, data: bytes, offset: int, framed: Framed | None = None
    ) -> tuple[list[Datagram], list[tuple[int, int]], int]:
        """Return the datagrams from `offset` on, those alike, and the offset of the first record that is not plain.

        A record that is not whole is not plain. Those alike are told as in PlainRun.
        """
        datagrams: list[Datagram] = []
        alike: list[tuple[int, int]] = []
        append, unpack, lengths = datagrams.append, _RECORD.unpack_from, self._lengths
        headers = _RECORD.size
        end = len(data)
        last = end - headers
        length = None
        while offset <= last:
            captured, original, network, total, transport, source, port, udp_length = unpack(data, offset)
            size, wanted_total, wanted_udp_length, gap = lengths[captured]
            stop = offset + size
            if (
                total != wanted_total
                or udp_length != wanted_udp_length
                or captured != original
                or network >> 8 != _IPV4_WITHOUT_OPTIONS
                or transport & _FRAGMENT_AND_PROTOCOL != _UDP
                or stop > end
                or (framed and not framed(data, offset, stop))
            ):
                break
            append((source, port, offset + headers, stop))
            if captured == length:
                offset = stop + gap
                continue
            length, distance = captured, size + gap
            if many := _count_alike(data, offset, stop, distance, framed):
                alike.append((len(datagrams), many))
                starts = range(offset + headers + distance, end, distance)
                datagrams += zip(repeat(source, many), repeat(port), starts, range(stop + distance, end + 1, distance))
            offset += (1 + many) * distance
        return datagrams, alike, offset


def _count_alike(data: bytes, offset: int, stop: int, distance: int, framed: Framed | None) -> int:
    """Return how many records follow a plain one, at this distance each, with the same octets where it matters.

    offset, stop: where the plain one begins, and where its packet stops. They are counted by the dozen.
    """
    first = _ONE_ALIKE.unpack_from(data, offset)
    count, reach = 0, DOZEN * distance
    while (
        offset + reach + distance <= len(data)
        and _ONE_ALIKE.unpack_from(data, offset + reach) == first  # or else most of them need not be looked at
        and _alike_reader(distance)(data, offset + distance) == first * DOZEN
        and not (framed and not all(framed(data, offset + n, stop + n) for n in range(distance, reach + 1, distance)))
    ):
        count += DOZEN
        offset += reach
        stop += reach
    return count


@lru_cache(maxsize=_LAYOUTS_KEPT)
def _alike_reader(distance: int) -> Callable[[bytes, int], tuple[bytes, ...]]:
    """Return what reads the octets that matter of a dozen records."""
    return struct.Struct(f"{_ALIKE}{distance - _ONE_ALIKE.size}x" * DOZEN).unpack_from


class _Lengths(dict[int, tuple[int, int, int, int]]):
    """Captured length, as read in network byte order -> octets with the 16, lengths in the headers of IP and UDP, gap.

    A layout of the struct module has one byte order, and only those 16 may have another than the frame.
    """

    def __init__(self, order: Order, gap: Callable[[int], int]) -> None:
        super().__init__()
        self._order: Final = order
        self._gap = gap

    def __missing__(self, captured: int) -> tuple[int, int, int, int]:
        length = int.from_bytes(captured.to_bytes(4), self._order)
        if not _HEADERS <= length <= _LONGEST:
            return 0, -1, -1, 0
        if len(self) >= _LENGTHS_KEPT:
            self.clear()
        lengths = self[captured] = (_RECORD_HEADER + length, length - 14, length - 34, self._gap(length))
        return lengths
