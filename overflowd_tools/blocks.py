"""Octets as they are read, cut into blocks of whole lines where they lie.

All of an input goes through one buffer: memory that was in use a moment ago is in the processor's cache, and nothing
is copied but the start of a line that is not whole yet.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_LIMIT = 1 << 20


class Block:
    """Whole lines: the octets from start to end of a buffer, which are there until the next block is asked for."""

    __slots__ = ("end", "octets", "start")

    def __init__(self, octets: bytes | bytearray, start: int, end: int) -> None:
        self.octets = octets
        self.start = start
        self.end = end

    def __bytes__(self) -> bytes:
        return bytes(memoryview(self.octets)[self.start : self.end])


OVERLONG = Block(b"", 0, 0)
"""Stands in a sequence of blocks for one line longer than LINE_LIMIT octets, itself dropped; told by identity."""


class LineCutter:
    """The buffer, and how much of it is the start of a line."""

    def __init__(self, size: int) -> None:
        """size: octets that are added at a time, at most."""
        self._size = size
        self._octets = bytearray(LINE_LIMIT + 1 + size)
        self._view = memoryview(self._octets)
        self._held = 0  # octets of the line that is not whole; one more than LINE_LIMIT says that it is too long

    def room(self) -> memoryview:
        """Return where the next octets belong."""
        return self._view[self._held : self._held + self._size]

    def copy(self, data: bytes) -> Iterator[int]:
        """Write data into room() in as many parts as it takes, and yield the size of each, to be cut at once."""
        for at in range(0, len(data), self._size):
            part = data[at : at + self._size]
            self.room()[: len(part)] = part
            yield len(part)

    def cut(self, count: int) -> Iterator[Block]:
        """Yield the lines that are whole now that so many octets were written into room()."""
        octets, have = self._octets, self._held + count
        end = octets.rfind(b"\n", self._held, have) + 1
        start = at = 0
        while end - at > LINE_LIMIT + 1:  # else there is no room for a line that is too long
            newline = octets.rfind(b"\n", at, at + LINE_LIMIT + 1)
            if newline < 0:
                if start < at:
                    yield Block(octets, start, at)
                yield OVERLONG
                newline = octets.find(b"\n", at + LINE_LIMIT + 1)
                start = newline + 1
            at = newline + 1
        if start < end:
            yield Block(octets, start, end)
        self._held = min(have - end, LINE_LIMIT + 1)
        if end:
            self._view[: self._held] = self._view[end : end + self._held]

    def rest(self) -> Iterator[Block]:
        """Yield the last line, if it has no newline."""
        if self._held > LINE_LIMIT:
            yield OVERLONG
        elif self._held:
            yield Block(self._octets, 0, self._held)
