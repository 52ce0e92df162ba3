"""What can be told of lines without parsing them: the units of flows (see hits), or that they must be parsed.

The units of a line depend on nothing but the line. They may be too many, where a name that only looks like
"sampling_rate" belongs to something else; never too few, but for a line that has a member twice.
"""

from __future__ import annotations

import re
from io import BytesIO
from itertools import accumulate, repeat
from operator import itemgetter

from overflowd_tools.json_lines import FLOW_PREFIX
from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    class Lines(Protocol):
        """Lines, of which few are wanted."""

        def __len__(self) -> int: ...

        def __getitem__(self, index: int, /) -> bytes: ...


SAMPLING_RATE = b'"sampling_rate"'
COMMON_PACKETS = 1000
"""Fewer packets have nearly all flows, and are told by the four octets behind FLOW_PREFIX."""

PIECE = 1 << 16
"""Octets that are looked at together, but for longer lines."""

_beginning = itemgetter(slice(len(FLOW_PREFIX) + 4))
_COUNTED = re.compile(re.escape(FLOW_PREFIX) + rb"(0|[1-9][0-9]{0,14}),")
_SAMPLED = re.compile(SAMPLING_RATE + rb":([1-9][0-9]{0,8})[,}]")


class Looked(NamedTuple):
    """What a look at some lines tells."""

    lines: Lines
    """The lines with their newlines; the last one may lack it."""
    total: int
    """The units of all lines."""
    running: Callable[[], list[int]]
    """Returns the units of the lines up to and with each of them."""
    unknown: Iterable[int]
    """The indices of the lines without units, in order: these must be parsed."""


class Look:
    """Looks at lines, one by one."""

    def __init__(self, most: int) -> None:
        """Take the most units that a line may have: a line with more must be parsed."""
        self._most = most
        self._units = _COMMON if most >= COMMON_PACKETS else {text: few for text, few in _COMMON.items() if few <= most}

    def __call__(self, block: bytes | bytearray, start: int, end: int) -> Iterator[Looked]:
        """Look at whole lines, from start to end of a block.

        That is done piece by piece, for a line of one octet takes room in tables, too.
        """
        while start < end:
            last = block.rfind(b"\n", start, min(start + PIECE, end)) + 1 or block.find(b"\n", start, end) + 1 or end
            yield self._piece(bytes(block[start:last]))
            start = last

    def _piece(self, block: bytes) -> Looked:
        lines = BytesIO(block).readlines()
        if not self._most:
            return Looked(lines, 0, list, range(len(lines)))
        units = list(map(self._units.get, map(_beginning, lines), repeat(0)))
        if b"\\" in block or block.rfind(SAMPLING_RATE) >= 0:  # rfind takes two thirds of the time of in
            units = [0 if _is_hiding(line) else known for line, known in zip(lines, units, strict=True)]
        unknown = []
        index = -1
        for _ in range(units.count(0)):
            index = units.index(0, index + 1)
            units[index] = self.closer(lines[index])
            if not units[index]:
                unknown.append(index)
        return Looked(lines, sum(units), lambda: list(accumulate(units)), unknown)

    def units(self, line: bytes) -> int:
        """Return the units of a line, or 0 if it must be parsed."""
        known = self._units.get(_beginning(line), 0)
        return self.closer(line) if not known or _is_hiding(line) else known

    def closer(self, line: bytes) -> int:
        """Return the units of a line that has many packets or a sampling rate, or 0 if it must be parsed."""
        counted = _COUNTED.match(line)
        if not counted or b"\\" in line:
            return 0
        factor = 1
        if mentions := line.count(SAMPLING_RATE):
            sampled = _SAMPLED.search(line)
            if mentions > 1 or not sampled:
                return 0
            factor = int(sampled[1])
        units = (int(counted[1]) + 1) * factor
        return units if units <= self._most else 0


def beginnings() -> Iterable[tuple[bytes, int]]:
    """Yield the four octets behind FLOW_PREFIX in flows of fewer than COMMON_PACKETS, and their packets."""
    for packets in range(10):
        yield from ((b'%d,"%c' % (packets, letter), packets) for letter in b"abcdefghijklmnopqrstuvwxyz")
    yield from ((b'%d,"' % packets, packets) for packets in range(10, 100))
    yield from ((b"%d," % packets, packets) for packets in range(100, COMMON_PACKETS))


_COMMON = {FLOW_PREFIX + text: packets + 1 for text, packets in beginnings()}


def _is_hiding(line: bytes) -> bool:
    """Tell if a line has a sampling rate in it, or an escape behind which one may hide."""
    return b"\\" in line or SAMPLING_RATE in line
