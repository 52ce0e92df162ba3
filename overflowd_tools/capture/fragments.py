"""Reassembly of IPv4 and IPv6 fragments within bounds of memory and of capture time.

Pieces may come in any order and more than once. Pieces that overlap without being the same discard the
whole datagram: RFC 5722 demands it for IPv6, and for IPv4 (where RFC 791 lets the last win and systems
differ) it is the one choice with which nobody can make us see another payload than the receiver saw.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict

from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Final

_MAX_PAYLOAD: Final = 65_535
_PIECE_COST: Final = 512  # octets of memory that keeping a piece takes besides its data
_REMEMBERED: Final = 4096  # digests of the pieces of finished datagrams


class Fragment(NamedTuple):
    """A piece of a datagram, or a whole one: that is the piece at offset 0 after which no more come.

    `key` tells datagrams apart. `offset` is in octets. `complete` is false when the capture did not keep all
    of the data. The header fields are those of the packet that carried the piece.
    """

    key: Hashable
    offset: int
    more: bool
    data: bytes
    complete: bool
    protocol: int
    tos: int
    header_length: int


class _Datagram:
    """Pieces that wait for others; not a dataclass, for the time that importing those takes."""

    __slots__ = ("held", "length", "offsets", "pieces", "spoiled", "started_ns")

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.offsets: list[int] = []  # sorted, as `pieces` is
        self.pieces: list[Fragment] = []
        self.length: int | None = None  # known once the last piece came
        self.held = 0  # octets of payload
        self.spoiled = False  # given up and counted; stays to swallow the rest of its pieces


class Fragments:
    """Datagrams of which some pieces are still missing.

    `lost` counts the datagrams given up: pieces that never came within `timeout_ns` of capture time, pushed
    out by the limits, overlapping, beyond 65,535 octets, misshapen, or cut by the snapshot length.
    """

    def __init__(self, max_bytes: int = 4 << 20, max_datagrams: int = 256, timeout_ns: int = 30_000_000_000) -> None:
        self.lost = 0
        self.held_bytes = 0
        self._max_bytes = max_bytes
        self._max_datagrams = max_datagrams
        self._timeout_ns = timeout_ns
        self._waiting: OrderedDict[Hashable, _Datagram] = OrderedDict()
        self._remembered: OrderedDict[int, None] = OrderedDict()

    def add(self, fragment: Fragment, timestamp_ns: int) -> Fragment | None:
        """Take a piece seen at `timestamp_ns`; return the whole datagram if this was the last one missing.

        The header fields of a whole datagram are those of its first piece.
        """
        self._expire(timestamp_ns)
        # A mirror port may show every packet twice: late copies must not begin a datagram that never ends.
        if _digest(fragment) in self._remembered:
            return None
        datagram = self._waiting.get(fragment.key)
        if datagram is None:
            datagram = self._waiting[fragment.key] = _Datagram(timestamp_ns)
        if not datagram.spoiled:
            if not self._insert(datagram, fragment):
                self._spoil(datagram)
            elif datagram.held == datagram.length:
                return self._finish(fragment.key, datagram)
        while len(self._waiting) > self._max_datagrams or self.held_bytes > self._max_bytes:
            self._drop_oldest()
        return None

    def close(self) -> None:
        """Count as lost what is still incomplete at the end of the input, and forget it."""
        while self._waiting:
            self._drop_oldest()

    def _insert(self, datagram: _Datagram, fragment: Fragment) -> bool:
        """Put a piece in its place; return False if it contradicts the others or cannot be a piece at all."""
        size = len(fragment.data)
        end = fragment.offset + size
        misshapen = size == 0 or (fragment.more and size % 8)
        if misshapen or not fragment.complete or end > _MAX_PAYLOAD:
            return False
        offsets, pieces = datagram.offsets, datagram.pieces
        place = bisect_left(offsets, fragment.offset)
        before = pieces[place - 1] if place > 0 else None
        after = pieces[place] if place < len(pieces) else None
        if after and _digest(after) == _digest(fragment):
            return True
        # Nothing may reach into the next piece, and only the one with the highest offset may be the last.
        if before and (before.offset + len(before.data) > fragment.offset or not before.more):
            return False
        if after and (end > after.offset or not fragment.more):
            return False
        if not fragment.more:
            datagram.length = end
        offsets.insert(place, fragment.offset)
        pieces.insert(place, fragment)
        datagram.held += size
        self.held_bytes += size + _PIECE_COST
        return True

    def _finish(self, key: Hashable, datagram: _Datagram) -> Fragment:
        del self._waiting[key]
        self._release(datagram)
        for piece in datagram.pieces:
            self._remembered[_digest(piece)] = None
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        data = b"".join([piece.data for piece in datagram.pieces])
        return datagram.pieces[0]._replace(data=data, more=False)

    def _spoil(self, datagram: _Datagram) -> None:
        self._release(datagram)
        datagram.pieces.clear()
        datagram.offsets.clear()
        datagram.held = 0
        datagram.spoiled = True
        self.lost += 1

    def _release(self, datagram: _Datagram) -> None:
        self.held_bytes -= datagram.held + _PIECE_COST * len(datagram.pieces)

    def _expire(self, now_ns: int) -> None:
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if now_ns - oldest.started_ns <= self._timeout_ns:
                break
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, datagram = self._waiting.popitem(last=False)
        if not datagram.spoiled:
            self._release(datagram)
            self.lost += 1


def _digest(fragment: Fragment) -> int:
    return hash((fragment.key, fragment.offset, fragment.more, fragment.data))
