"""The same as look.Look, thousands of lines at a time, with numpy: for large inputs.

Lines are found by their newlines, eight octets at a time. The 24 octets of FLOW_PREFIX are three words, compared for
all lines at once, and two tables tell the packets from the next two pairs of octets. What is not as of-decode writes
it, a line in a few hundred, gets the look of Look.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from overflowd_tools.rendering import FLOW_PREFIX
from overflowd_tools.sampling.look import SAMPLING_RATE, Look, Looked, beginnings

Octets = NDArray[np.uint8]
Indices = NDArray[np.int64]

_PREFIX = np.frombuffer(FLOW_PREFIX, "<u8")
_WORDS = 8 * (len(_PREFIX) + 1)
"""Octets from the start of a line that are read as words."""
_PLACE = np.uint64(0x0001020304050607)  # times 256^n, its highest octet is n
# Any "sampling_rate" has one of these at an even distance from the start of the block.
_PAIRS = np.frombuffer(b"g_ng", "<u2")


class FastLook:
    """Looks at whole blocks at once, with the result of Look."""

    least = 1 << 16
    """Octets of blocks that are worth the calls of numpy."""
    shortest = 64
    """Octets that lines have on the average at least, lest tables of lines outgrow the lines. Flows have hundreds."""

    def __init__(self, most: int) -> None:
        """Take the most units that a line may have, as Look does."""
        self._look = Look(most)
        self._most = most
        known = [(text, packets + 1) for text, packets in beginnings() if packets < most]
        self._first, self._second, self._units = _tables(known)

    def __call__(self, block: bytes) -> Iterator[Looked]:
        """Look at a block of whole lines."""
        if self._most and len(block) >= max(self.least, _WORDS):
            octets = np.frombuffer(block, np.uint8)
            newlines = octets == ord("\n")
            if np.count_nonzero(newlines) <= len(block) // self.shortest:
                yield self._at_once(block, octets, _places(newlines) + 1)
                return
        yield from self._look(block)

    def _at_once(self, block: bytes, octets: Octets, ends: Indices) -> Looked:
        if not block.endswith(b"\n"):
            ends = np.append(ends, len(block))
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
        units = np.zeros(len(starts), np.int64)
        whole = int(np.searchsorted(starts, len(block) - _WORDS, side="right"))
        units[:whole] = self._common(block, starts[:whole])
        units[np.searchsorted(starts, _hiding(block, octets), side="right") - 1] = 0
        unknown = []
        lines = _Lines(block, starts, ends)
        for index in np.flatnonzero(units == 0).tolist():
            units[index] = found = self._look.units(lines[index])
            if not found:
                unknown.append(index)
        return Looked(lines, int(units.sum()), lambda: units.cumsum().tolist(), unknown)

    def _common(self, block: bytes, starts: Indices) -> Indices:
        """Return the units of lines that begin as most do, and 0 for others."""
        words = np.ndarray((len(block) - 7,), "<u8", block, 0, (1,))
        is_flow = words[starts] == _PREFIX[0]
        is_flow &= words[starts + 8] == _PREFIX[1]
        is_flow &= words[starts + 16] == _PREFIX[2]
        text = words[starts + 24].view("<u2")
        units: Indices = self._units[self._first[text[0::4]] + self._second[text[1::4]]]
        units *= is_flow
        return units


class _Lines:
    """The lines of a block, cut out when they are asked for."""

    def __init__(self, block: bytes, starts: Indices, ends: Indices) -> None:
        self._block = block
        self._starts = starts
        self._ends = ends

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> bytes:
        return self._block[self._starts[index] : self._ends[index]]


def _places(found: NDArray[np.bool_]) -> Indices:
    """Return the indices of what is true; eight at a time are passed over."""
    whole = len(found) & ~7
    words = found[:whole].view("<u8")
    places = np.flatnonzero(words != 0)
    marks = words[places]
    if np.any(marks & (marks - np.uint64(1))):  # two in a word
        return np.flatnonzero(found)
    within = (marks * _PLACE >> np.uint64(56)).astype(np.int64)
    return np.concatenate(((places << 3) + within, np.flatnonzero(found[whole:]) + whole))


def _hiding(block: bytes, octets: Octets) -> list[int]:
    """Return places in all lines that have a sampling rate in them, or an escape behind which one may hide."""
    places: list[int] = []
    pairs = octets[: len(octets) & ~1].view("<u2")
    if any((pairs == pair).any() for pair in _PAIRS):
        places += _one_a_line(block, SAMPLING_RATE)
    places += _one_a_line(block, b"\\")
    return places


def _one_a_line(block: bytes, wanted: bytes) -> Iterator[int]:
    """Yield where this is first in each line that has it."""
    place = block.find(wanted)
    while place >= 0:
        yield place
        end = block.find(b"\n", place)
        place = block.find(wanted, end) if end >= 0 else -1


def _tables(known: list[tuple[bytes, int]]) -> tuple[NDArray[np.int16], NDArray[np.int16], Indices]:
    """Return two tables by the first and the second pair of octets, and one of units by the sum of what they give."""
    firsts, seconds = (sorted({text[at : at + 2] for text, _ in known}) for at in (0, 2))
    width = len(seconds) + 1
    first, second = _by_pair(firsts, width), _by_pair(seconds, 1)
    units = np.zeros((len(firsts) + 1) * width, np.int64)
    for text, count in known:
        pairs = np.frombuffer(text, "<u2")
        units[first[pairs[0]] + second[pairs[1]]] = count
    return first, second, units


def _by_pair(pairs: list[bytes], step: int) -> NDArray[np.int16]:
    """Return a table of 65,536 pairs of octets: 0 for others, and 1, 2, ... steps for these."""
    table = np.zeros(1 << 16, np.int16)
    for index, pair in enumerate(pairs, 1):
        table[int.from_bytes(pair, "little")] = index * step
    return table
