"""The same as look.Look, thousands of lines at a time, with numpy: for large inputs.

Lines are found by their newlines, eight octets at a time. The 24 octets of FLOW_PREFIX are three words, compared for
all lines at once, and two tables tell the packets from the next two pairs of octets. What is not as of-decode writes
it, a line in a few hundred, gets the look of Look.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overflowd_tools.rendering import FLOW_PREFIX
from overflowd_tools.sampling.look import SAMPLING_RATE, Look, Looked, beginnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

_PREFIX = np.frombuffer(FLOW_PREFIX, "<u8")
_WORDS = 8 * (len(_PREFIX) + 1)
"""Octets from the start of a line that are read as words."""
_PLACE = np.uint64(0x0001020304050607)  # times 256^n, its highest octet is n
_NAME = np.frombuffer(SAMPLING_RATE + b":", "<u8")
# One of these pairs, so far from the start of the name, is at an even place of the block wherever the name is.
_PAIRS = [(at, np.frombuffer(SAMPLING_RATE, "<u2", 1, at)[0]) for at in (8, 7)]
_SEVEN = np.uint64((1 << 56) - 1)
# Eight digits as one word (see _numbers): their octets as numbers, and neighbours put together three times.
_ZEROS = np.uint64(0x3030303030303030)
_OVER_NINE = np.uint64(0x7676767676767676)
_HIGHEST_BITS = np.uint64(0x8080808080808080)
_PAIRING = [
    (np.uint64(10), np.uint64(8), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(100), np.uint64(16), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(10_000), np.uint64(32), np.uint64(0x00000000FFFFFFFF)),
]


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
        whole = int(np.searchsorted(ends, len(block) - _WORDS, side="right"))  # the last ones have no words behind them
        words: Words = np.ndarray((len(block) - 7,), "<u8", block, 0, (1,))
        units[:whole] = self._common(words, starts[:whole])
        self._apply_rates(words, octets, starts, units)
        escaped = np.fromiter(_escaped(block), np.int64)
        units[np.searchsorted(starts, escaped, side="right") - 1] = 0
        unknown = []
        lines = _Lines(block, starts, ends)
        for index in np.flatnonzero(units == 0).tolist():
            units[index] = found = self._look.units(lines[index])
            if not found:
                unknown.append(index)
        return Looked(lines, int(units.sum()), lambda: units.cumsum().tolist(), unknown)

    def _common(self, words: Words, starts: Indices) -> Indices:
        """Return the units of lines that begin as most do, and 0 for others."""
        is_flow = words[starts] == _PREFIX[0]
        is_flow &= words[starts + 8] == _PREFIX[1]
        is_flow &= words[starts + 16] == _PREFIX[2]
        text = words[starts + 24].view("<u2")
        units: Indices = self._units[self._first[text[0::4]] + self._second[text[1::4]]]
        units *= is_flow
        return units

    def _apply_rates(self, words: Words, octets: Octets, starts: Indices, units: Indices) -> None:
        """Let the units of lines with a sampling rate be times that, or 0 where it takes more than this to tell it."""
        names = _names(words, octets)
        if not len(names):
            return
        lines = np.searchsorted(starts, names, side="right") - 1
        sampled = units[lines] * _numbers(words[names + len(SAMPLING_RATE) + 1])
        sampled *= words[names + 8] == _NAME[1]
        sampled[sampled > self._most] = 0
        sampled[1:][lines[1:] == lines[:-1]] = 0
        units[lines] = sampled  # of a line with two of them, the second one counts


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


def _names(words: Words, octets: Octets) -> Indices:
    """Return the places of "sampling_rate", but for the last octets."""
    pairs = octets[: len(octets) & ~1].view("<u2")
    found = [2 * np.flatnonzero(is_pair) - offset for offset, pair in _PAIRS if (is_pair := pairs == pair).any()]
    places = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
    places = places[(places >= 0) & (places <= len(octets) - _WORDS)]
    is_name = words[places] == _NAME[0]
    is_name &= (words[places + 8] & _SEVEN) == (_NAME[1] & _SEVEN)
    names: Indices = places[is_name]
    return names


def _numbers(text: Words) -> Indices:
    """Return the numbers at the start of eight octets, of at most seven digits and before a comma or a brace; or 0."""
    digits = text ^ _ZEROS
    marks = ((digits + _OVER_NINE) | digits) & _HIGHEST_BITS  # in all that are no digits; a carry comes from such alone
    first = marks & (~marks + np.uint64(1))
    bits = ((first >> np.uint64(7)) * _PLACE >> np.uint64(56)) << np.uint64(3)
    behind = text >> bits & np.uint64(0xFF)
    fits = (marks != 0) & (bits != 0) & (digits & np.uint64(0xFF) != 0)
    fits &= (behind == ord(",")) | (behind == ord("}"))
    value = digits << (np.uint64(64) - bits & np.uint64(63))
    for factor, shift, mask in _PAIRING:
        value = (value * factor + (value >> shift)) & mask
    numbers: Indices = (value * fits).astype(np.int64)
    return numbers


def _escaped(block: bytes) -> Iterator[int]:
    """Yield where the first backslash is in each line that has one."""
    place = block.find(b"\\")
    while place >= 0:
        yield place
        end = block.find(b"\n", place)
        place = block.find(b"\\", end) if end >= 0 else -1


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
