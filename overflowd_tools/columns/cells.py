"""Columns of text for thousands of lines at a time, made by numpy out of fields of flow records.

A column has one item for each line, all of one width. Its text stands at the end of an item, behind leading zeros or
other garbage, and is what rendering.py writes for the same field, byte for byte.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

import numpy as np

from overflowd_tools.columns import digits
from overflowd_tools.columns.digits import Array
from overflowd_tools.protocols.templates import ICMP, ICMPV6, icmp_of_port
from overflowd_tools.protocols.times import DAY_MS
from overflowd_tools.rendering import FRAGMENTS_KEPT, Run, address_text

Place = tuple[int, int]
"""Where a field is in a record: how many octets there are before it, and its length."""

_SIZES = {length: next(size for size in (1, 2, 4, 8) if size >= length) for length in range(1, 9)}
_INTEGERS = {
    length: (np.dtype(f">u{size}"), np.dtype(np.intp if size <= 2 else f"u{size}")) for length, size in _SIZES.items()
}
"""Length of an integer in octets -> its type on the wire, once it is padded, and the one to count with."""
_LOW = 10**8
"""Numbers below it are quick to divide."""
_MARGIN = bytes(8)
"""Before the first record, so that fields of odd lengths can be read with what is before them."""
_SUSPECT = b',"time_suspect":true'
_ICMP_FORM = b',"icmp_type":%d,"icmp_code":%d'


class NotByColumnsError(Exception):
    """These lines have to be made one by one."""


class Batch:
    """Runs of one template, their records in one piece."""

    def __init__(self, length: int, runs: list[Run]) -> None:
        """length: octets of one record."""
        heads, records, exports, uptimes = zip(*runs, strict=True)
        self.heads = heads
        self.length = length
        self.records = b"".join([_MARGIN, *records])
        self.counts = np.array([len(octets) // length for octets in records])
        self.base = np.array(exports) + (1 << 31)
        self.is_early = min(exports) < 1 << 32
        """Whether some of its moments may be before 1970."""
        self.shift = (np.array(uptimes) + (1 << 31)).astype(np.uint32)
        self.earliest = np.maximum(self.base - ((1 << 31) + DAY_MS), 0).astype(np.uint64)
        self.latest = (self.base - ((1 << 31) - DAY_MS)).astype(np.uint64)


class Block:
    """Some rows of a batch, each to become a line."""

    def __init__(self, batch: Batch, start: int, runs: Array) -> None:
        """start: the first row. runs: for each row, in which run it is."""
        self.batch = batch
        self.runs = runs
        self.rows = len(runs)
        self.first_and_last = int(runs[0]), int(runs[-1])
        self.times: dict[str, Array] = {}
        """start_ms and end_ms of each row, uint64, once their columns are made."""
        self._start = len(_MARGIN) + start * batch.length

    @cached_property
    def base(self) -> Array:
        """That of the batch, for each row."""
        return self.batch.base.take(self.runs)

    @cached_property
    def shift(self) -> Array:
        """That of the batch, for each row."""
        return self.batch.shift.take(self.runs)

    def octets(self, offset: int, length: int) -> Array:
        """Return a field of each row as rows of octets."""
        shape, steps = (self.rows, length), (self.batch.length, 1)
        return np.ndarray(shape, np.uint8, self.batch.records, self._start + offset, steps)

    def integers(self, offset: int, length: int) -> Array:
        """Return a field of 1 to 8 octets of each row as an integer: intp up to 2 octets, uint32 up to 4, or uint64."""
        wire, number = _INTEGERS[length]
        start, steps = self._start + offset + length - wire.itemsize, (self.batch.length,)
        values: Array = np.ndarray((self.rows,), wire, self.batch.records, start, steps).astype(number)
        if wire.itemsize > length:
            values &= number.type((1 << 8 * length) - 1)
        return values


class Made(NamedTuple):
    """Items of a column. At the end of each are so many octets of text: varying ones, and behind them fixed ones."""

    items: Array
    fixed: int
    varying: Array | None = None


class Column(Protocol):
    """Makes the text of one thing in a line, and a constant text behind it."""

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block, in one column or several."""


class _Fixed:
    """Items of one width with a constant text at their end, and a place for another before it."""

    def __init__(self, rows: int, width: int, suffix: bytes) -> None:
        """rows: the most. width: of the text before the suffix."""
        self._width = width + len(suffix)
        self._suffix = len(suffix)
        self._octets = np.zeros((rows, self._width), np.uint8)
        self._octets[:, width:] = np.frombuffer(suffix, np.uint8)
        self._items = self._place(0, f"V{self._width}")

    def _place(self, offset: int, dtype: str) -> Array:
        """Return a part of each item."""
        return np.ndarray((len(self._octets),), dtype, self._octets, offset, (self._width,))

    def _made(self, block: Block, lengths: Array | int) -> Made:
        """Return the items of a block. lengths: of the text before the suffix."""
        items = self._items[: block.rows]
        if isinstance(lengths, int):
            return Made(items, lengths + self._suffix)
        return Made(items, self._suffix, lengths)


Read = Callable[[Block], Array]
"""Gets a number for each row: intp, uint32 or uint64."""


class Constant(_Fixed):
    """The same text for all."""

    def __init__(self, rows: int, suffix: bytes) -> None:
        super().__init__(rows, 0, suffix)

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        return [self._made(block, 0)]


class Heads:
    """What the lines of a run share."""

    def __init__(self, _rows: int, suffix: bytes) -> None:
        self._suffix = suffix

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        first, last = block.first_and_last
        return [_chosen(block.batch.heads[first : last + 1], block.runs - first, self._suffix)]


class Texts:
    """What is shown of octets that mostly are the same in many records, by the careful way."""

    def __init__(self, places: list[Place], text: Callable[[bytes], bytes], _rows: int, suffix: bytes) -> None:
        """places: where the octets are, one octet or more. text: what is shown of all of them."""
        self._places = places
        self._suffix = suffix
        self._text = lru_cache(maxsize=FRAGMENTS_KEPT)(text)

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        octets = np.concatenate([block.octets(*place) for place in self._places], axis=1)
        values = octets.view(f"V{octets.shape[1]}")[:, 0].tolist()
        known = {value: number for number, value in enumerate(dict.fromkeys(values))}
        chosen = np.fromiter(map(known.__getitem__, values), np.intp, block.rows)
        return [_chosen([self._text(value) for value in known], chosen, self._suffix)]


def _chosen(texts: Sequence[bytes], chosen: Array, suffix: bytes) -> Made:
    """Return a text for each row, of these."""
    items, lengths = digits.table(texts, suffix)
    shortest = min(map(len, texts))
    varying = None if shortest + len(suffix) == items.itemsize else (lengths - shortest).take(chosen)
    return Made(items.take(chosen), shortest + len(suffix), varying)


class _Short(_Fixed):
    """What a table has for one or two octets."""

    def __init__(self, table: Array, place: Place, rows: int, suffix: bytes) -> None:
        """table: texts at the end of items, of which the first octet says their lengths."""
        super().__init__(rows, table.itemsize, suffix)
        self._table = table
        self._field = place
        self._texts = self._place(0, table.dtype.str)

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        self._texts[: block.rows] = texts = self._table.take(block.integers(*self._field))
        return [self._made(block, texts.view(np.uint8)[:: texts.itemsize])]


class SmallNumbers(_Short):
    """Integers of 1 or 2 octets, in decimal."""

    def __init__(self, offset: int, length: int, rows: int, suffix: bytes) -> None:
        super().__init__(digits.of_octets() if length == 1 else digits.of_octet_pairs(), (offset, length), rows, suffix)


class DottedPairs(_Short):
    """Two octets, each in decimal, with a dot between them."""

    def __init__(self, offset: int, rows: int, suffix: bytes) -> None:
        super().__init__(digits.dotted_pairs(), (offset, 2), rows, suffix)


class Numbers(_Fixed):
    """Integers of any size, in decimal."""

    def __init__(self, read: Read, longest: int, rows: int, suffix: bytes) -> None:
        """longest: the most digits that there can be."""
        groups = -(-longest // 4)
        super().__init__(rows, 4 * groups, suffix)
        self._read = read
        self._groups = [self._place(4 * place, "u4") for place in reversed(range(groups))]

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        values = self._read(block)
        least, most = int(np.minimum.reduce(values)), int(np.maximum.reduce(values))
        lengths: Array | int = len(str(most))
        if len(str(least)) < lengths:
            lengths = digits.lengths(values, least, most)
        if values.itemsize == 8 and most // _LOW == least // _LOW:
            values = (values - values.dtype.type(most // _LOW * _LOW)).astype(np.uint32)
        table = digits.four_digits()
        for group in self._groups:
            if least == most:
                group[: block.rows] = table[most % 10_000]
            elif most < 10_000:
                group[: block.rows] = table.take(values.astype(np.intp))
            else:
                higher = values // 10_000
                group[: block.rows] = table.take((values - higher * 10_000).astype(np.intp))
                values = higher
            least, most = least // 10_000, most // 10_000
            if not most:
                break
        return [self._made(block, lengths)]


class IPv6(_Fixed):
    """IPv6 addresses, as inet_ntop writes them: each two octets in a column."""

    def __init__(self, offset: int, rows: int, suffix: bytes) -> None:
        super().__init__(rows, 48, suffix)
        self._offset = offset
        self._whole = self._place(0, "V48")
        self._last = self._place(40, "u8")

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        texts, lengths = digits.hex_groups()
        octets = np.ascontiguousarray(block.octets(self._offset, 16))
        groups = octets.view(">u2").astype(np.intp)
        zeros = np.packbits(groups == 0, axis=1)[:, 0]
        elided = digits.elisions().take(zeros, axis=0)
        groups = np.where(elided, elided, groups)
        with_ipv4 = np.flatnonzero(zeros >= 0b11111000)  # some of these show their last 4 octets in the way of IPv4
        groups[with_ipv4] = digits.NOTHING
        varying = [lengths.take(group) for group in groups.T]
        varying[0] -= elided[:, 0] == 0  # no colon before it
        self._last[: block.rows] = texts.take(groups[:, 7])
        if len(with_ipv4):
            whole = [address_text(octets[row].tobytes()) for row in with_ipv4.tolist()]
            self._whole[with_ipv4] = [text.rjust(48) for text in whole]
            varying[7][with_ipv4] = [len(text) for text in whole]
        first = [Made(texts.take(groups[:, place]).view("V8"), 0, varying[place]) for place in range(7)]
        return [*first, self._made(block, varying[7])]


class Hex(_Fixed):
    """Octets in hexadecimal, with colons between them or without."""

    def __init__(self, offset: int, length: int, separator: bytes, rows: int, suffix: bytes) -> None:
        step = 2 + len(separator)
        width = step * length - len(separator)
        super().__init__(rows, width, suffix)
        self._length = width
        if separator:
            self._octets[:, 2:width:3] = ord(separator)
        self._field = offset, length
        self._digits = np.ndarray((rows, length), "u2", self._octets, 0, (self._width, step))

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        self._digits[: block.rows] = digits.hex_octets().take(block.octets(*self._field))
        return [self._made(block, self._length)]


class ICMPCodes(_Fixed):
    """The type and code of ICMP, where the destination port holds them (see icmp_of_port)."""

    def __init__(self, protocol: Place, dport: Place, rows: int, suffix: bytes) -> None:
        self._texts = np.zeros(1 << 16, f"V{len(_ICMP_FORM % (255, 255))}")
        self._lengths = np.zeros(1 << 16, np.uint8)
        super().__init__(rows, self._texts.itemsize, suffix)
        self._protocol, self._dport = protocol, dport
        self._codes = self._place(0, self._texts.dtype.str)

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        protocols = block.integers(*self._protocol)
        rows = np.flatnonzero((protocols == ICMP) | (protocols == ICMPV6))
        if not len(rows):
            return [self._made(block, 0)]
        ports = block.integers(*self._dport)[rows]
        told = (ports <= 0xFFFF) & ((protocols[rows] == ICMP) | (ports > 0xFF))
        rows, ports = rows[told], ports[told].astype(np.intp)
        for port in {*ports[self._lengths[ports] == 0].tolist()}:
            text = _ICMP_FORM % icmp_of_port(ICMP, port)
            self._texts[port], self._lengths[port] = text.rjust(self._texts.itemsize), len(text)
        self._codes[rows] = self._texts[ports]
        lengths = np.zeros(block.rows, np.uint8)
        lengths[rows] = self._lengths[ports]
        return [self._made(block, lengths)]


class Suspicion(_Fixed):
    """Whether the times of a flow are suspect (see times.span)."""

    def __init__(self, rows: int, suffix: bytes) -> None:
        super().__init__(rows, len(_SUSPECT), suffix)
        self._octets[:, : len(_SUSPECT)] = np.frombuffer(_SUSPECT, np.uint8)

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        start, end, batch = block.times["start_ms"], block.times["end_ms"], block.batch
        suspect = (start > end) | (start < batch.earliest.take(block.runs)) | (start > batch.latest.take(block.runs))
        if not suspect.any():
            return [self._made(block, 0)]
        return [self._made(block, suspect.view(np.uint8) * np.uint8(len(_SUSPECT)))]


def of_integer(offset: int, length: int) -> Read:
    """Return what reads an integer."""
    return lambda block: block.integers(offset, length)


def of_seconds(offset: int, length: int) -> Read:
    """Return what reads Unix seconds as Unix milliseconds."""
    return lambda block: block.integers(offset, length).astype(np.uint64) * np.uint64(1000)


def of_uptime(offset: int, length: int) -> Read:
    """Return what reads a moment of sysUptime as Unix milliseconds (see times.from_uptime)."""

    def read(block: Block) -> Array:
        ago = block.shift - block.integers(offset, length)  # which are of 32 bits, and wrap
        moments: Array = block.base - ago
        if block.batch.is_early and moments.min() < 0:
            raise NotByColumnsError
        return moments.view(np.uint64)

    return read


def noted(name: str, read: Read) -> Read:
    """Return what reads start_ms or end_ms, and leaves them with the block for a look at both."""

    def read_and_note(block: Block) -> Array:
        moments = block.times[name] = read(block).astype(np.uint64, copy=False)
        return moments

    return read_and_note
