"""The same as look.Look, thousands of lines at a time, with numpy: for large inputs.

Lines are found by their newlines, eight octets at a time. The first 32 octets of all lines are gathered as four words:
three are FLOW_PREFIX, and the digits in the fourth become numbers all at once. What is not as of-decode writes it, a
line in a few hundred, gets the look of Look. What is as large as a block is written into memory that is kept, for the
kernel would have to clear it if it were new.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from overflowd_tools.json_lines import FLOW_PREFIX
from overflowd_tools.sampling.look import SAMPLING_RATE, Look, Looked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    Octets = NDArray[np.uint8]
    Words = NDArray[np.uint64]
    Flags = NDArray[np.bool_]
    Indices = NDArray[np.int64]

HEAD = 32
"""Octets from the start of a line, or of a sampling rate, that are read, whatever is there."""

_PREFIX = np.frombuffer(FLOW_PREFIX, "<u8")
_NAME = np.frombuffer(SAMPLING_RATE + b":", "<u8")
# One of these pairs, so far from the start of the name, is at an even place of the block wherever the name is.
_PAIRS = [(at, np.frombuffer(SAMPLING_RATE, "<u2", 1, at)[0]) for at in (8, 7)]
_SEVEN = np.uint64((1 << 56) - 1)
_PLACE = np.uint64(0x0001020304050607)  # times 256^n, its highest octet is n
# Eight digits as one word (see _numbers): their octets as numbers, and neighbours put together three times.
_ZEROS = np.uint64(0x3030303030303030)
_OVER_NINE = np.uint64(0x7676767676767676)
_HIGHEST_BITS = np.uint64(0x8080808080808080)
_UP = np.uint64(0x3830282018100800 >> 7)  # times 128 * 256^n, its highest octet is 56 - 8 n
_PAIRING = [
    (np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(10 << 8 | 1), np.uint64(8)),
    (np.uint64(0x00FF00FF00FF00FF), np.uint64(100 << 16 | 1), np.uint64(16)),
    (np.uint64(0x0000FFFF0000FFFF), np.uint64(10_000 << 32 | 1), np.uint64(32)),
]
_OCTET = np.uint64(8)
_TO_LOWEST = np.uint64(56)


class FastLook:
    """Looks at whole blocks at once, with the result of Look."""

    least = 1 << 16
    """Octets of lines that are worth the calls of numpy."""
    shortest = 64
    """Octets that lines have on the average at least, lest tables of them outgrow the lines. Flows have hundreds."""

    def __init__(self, most: int) -> None:
        """Take the most units that a line may have, as Look does."""
        self._look = Look(most)
        self._most = most
        self._finder = _Finder(0)

    def __call__(self, block: bytes | bytearray, start: int, end: int) -> Iterator[Looked]:
        """Look at whole lines, from start to end of a block; fast if it has HEAD more octets, whatever they are."""
        size = end - start
        if self._most and size >= self.least and end + HEAD <= len(block) and block[end - 1] == ord("\n"):
            if size > self._finder.most:
                self._finder = _Finder(1 << size.bit_length())
            try:
                looked = self._at_once(block, start, np.frombuffer(block, np.uint8, size + HEAD, start))
            except _CrowdedError:
                pass
            else:
                yield looked
                return
        yield from self._look(block, start, end)

    def _at_once(self, block: bytes | bytearray, start: int, octets: Octets) -> Looked:
        most = len(octets) // self.shortest
        lines = _Lines(block, start, self._finder.line_ends(octets, most))
        heads = np.ndarray((len(octets) - HEAD,), f"V{HEAD}", octets, 0, (1,))[lines.starts]
        units = self._common(heads.view("<u8").reshape(-1, HEAD // 8))
        names = self._finder.names(octets, most)
        if len(names):
            self._apply_rates(octets, names, lines.starts, units)
        for index in lines.escaped():
            units[index] = 0
        unknown = []
        for index in np.flatnonzero(units == 0).tolist():
            units[index] = found = self._look.units(lines[index])
            if not found:
                unknown.append(index)
        return Looked(lines, int(units.sum()), lambda: units.cumsum().tolist(), unknown)

    def _common(self, heads: Words) -> Indices:
        """Return the units of lines that begin as nearly all do, and 0 for others."""
        packets, is_known = _numbers(heads[:, 3], b",")
        for column, word in enumerate(_PREFIX):
            is_known &= heads[:, column] == word
        is_known &= packets < self._most
        packets += 1
        packets *= is_known
        return packets

    def _apply_rates(self, octets: Octets, names: Indices, starts: Indices, units: Indices) -> None:
        """Let the units of lines with a sampling rate be times that, or 0 where it takes more than this to tell it."""
        lines = np.searchsorted(starts, names, side="right") - 1
        words = _words(octets)
        rates, is_known = _numbers(words[names + len(SAMPLING_RATE) + 1], b",}")
        is_known &= words[names + 8] == _NAME[1]
        is_known[1:] &= lines[1:] != lines[:-1]
        sampled = units[lines] * rates * is_known
        sampled[sampled > self._most] = 0
        units[lines] = sampled  # of a line with two of them, the second one counts


class _CrowdedError(Exception):
    """There is too much of something to tell where it is."""


class _Finder:
    """Tells where in a block is what. After the lines there have to be HEAD more octets. Raises _CrowdedError."""

    def __init__(self, most: int) -> None:
        """Make room for blocks of so many octets."""
        self.most = most
        self._flags = bytearray(most + 8)
        self._words = np.empty(most // 8 + 1, np.bool_)

    def line_ends(self, octets: Octets, most: int) -> Indices:
        """Return the places behind the newlines, at most so many."""
        ends = self._places(octets[:-HEAD], ord("\n"), most)
        ends += 1
        return ends

    def names(self, octets: Octets, most: int) -> Indices:
        """Return the places of SAMPLING_RATE, of which not even a part may be there more often."""
        pairs = octets[: len(octets) - HEAD & ~1].view("<u2")
        places = [2 * found - at for at, pair in _PAIRS if len(found := self._places(pairs, pair, most, seldom=True))]
        if not places:
            return np.zeros(0, np.int64)
        found = np.sort(np.concatenate(places), kind="stable")
        found = found[found >= 0]
        words = _words(octets)
        is_name = words[found] == _NAME[0]
        is_name &= (words[found + 8] & _SEVEN) == (_NAME[1] & _SEVEN)
        names: Indices = found[is_name]
        return names

    def _places(self, values: NDArray[Any], value: int, most: int, *, seldom: bool = False) -> Indices:
        """Return the indices of a value, at most so many."""
        size = len(values)
        flags = np.frombuffer(self._flags, np.bool_, (size + 7) & ~7)
        np.equal(values, value, out=flags[:size])
        flags[size:] = False
        if seldom and self._flags.find(1, 0, size) < 0:
            return np.zeros(0, np.int64)
        words = flags.view("<u8")
        is_there = np.not_equal(words, 0, out=self._words[: len(words)])
        if np.count_nonzero(is_there) > most:
            raise _CrowdedError
        places: Indices = is_there.nonzero()[0]
        marks = words[places]
        if (marks & (marks - 1)).any():  # two in a word
            if np.count_nonzero(flags) > most:
                raise _CrowdedError
            return flags.nonzero()[0]
        places <<= 3
        places += (marks * _PLACE >> _TO_LOWEST).view(np.int64)
        return places


class _Lines:
    """The lines of a block, cut out when they are asked for."""

    def __init__(self, block: bytes | bytearray, start: int, ends: Indices) -> None:
        """Take where the lines end, counted from start."""
        self._block = block
        self._start = start
        self._ends = ends
        self.starts = np.zeros_like(ends)
        """Where the lines start, counted from start."""
        self.starts[1:] = ends[:-1]

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._block[self._start + int(self.starts[index]) : self._start + int(self._ends[index])])

    def escaped(self) -> Iterator[int]:
        """Yield the indices of the lines that have a backslash."""
        place, end = self._start, self._start + int(self._ends[-1])
        while (place := self._block.find(b"\\", place, end)) >= 0:
            index = int(np.searchsorted(self._ends, place - self._start, side="right"))
            yield index
            place = self._start + int(self._ends[index])


def _words(octets: Octets) -> Words:
    """Return the eight octets that begin at each place."""
    return np.ndarray((len(octets) - 7,), "<u8", octets, 0, (1,))


def _numbers(text: Words, ends: bytes) -> tuple[Indices, Flags]:
    """Return the numbers at the start of eight octets, and which of them are some.

    Such a number has at most seven digits, of which the first is not 0, and before one of the ends it ends.
    """
    text = np.ascontiguousarray(text)
    digits = text ^ _ZEROS
    marks = ((digits + _OVER_NINE) | digits) & _HIGHEST_BITS  # in all that are no digits; a carry comes from such alone
    digits <<= (marks & -marks) * _UP >> _TO_LOWEST  # now the first of these is the highest octet
    behind = digits >> _TO_LOWEST
    is_number = text.view(np.uint8)[::8] - ord("1") < 9
    is_number &= reduce(np.logical_or, (behind == end ^ ord("0") for end in ends))
    digits <<= _OCTET
    for mask, factors, shift in _PAIRING:
        digits &= mask
        digits *= factors
        digits >>= shift
    return digits.view(np.int64), is_number
