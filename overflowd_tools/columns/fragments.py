"""Columns of several fields that take few different values together: looked up, already text, by their octets."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from overflowd_tools.columns.cells import Block, Column, Made, Place
from overflowd_tools.columns.digits import Array

LONGEST: Final = 8
"""Octets that can be looked up."""
_SLOT_BITS: Final = 12
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
"""Odd, and its bits are spread: what octets are multiplied by, so that the upper bits depend on all of them."""
_CREDIT: Final = 1024
_CREDIT_OF_A_BLOCK: Final = 16
_PAUSE: Final = 64


class Fragments:
    """Neighbouring fields in one column: a table in which octets have one slot each, where they can be or not.

    Octets that are not in their slot are put there, and of several that have the same one the rest gets its text row
    by row. Where too many are new, the fields have a column each, for this block and the next ones.
    """

    def __init__(
        self,
        place: Place,
        text: Callable[[bytes], bytes],
        others: Callable[[int, bytes], Sequence[Column]],
        rows: int,
        suffix: bytes,
    ) -> None:
        """place: of all the octets. text: of these; the longest if they are all ones, the shortest if they are zeroes.

        others: makes a column for each field (from most rows and suffix).
        """
        self._place = place
        self._text = text
        self._suffix = suffix
        self._longest, self._shortest = (len(text(octet * place[1])) for octet in (b"\xff", b"\0"))
        self._others = others(rows, suffix)
        self._pause = 0
        self._credit = _CREDIT
        self._keys = np.zeros(1 << _SLOT_BITS, np.uint64)
        self._keys[0] = 1  # which belongs elsewhere; and so does 0, but for this slot
        self._items = np.zeros(1 << _SLOT_BITS, f"V{self._longest + len(suffix)}")
        self._lengths = np.zeros(1 << _SLOT_BITS, np.uint8)

    def make(self, block: Block) -> list[Made]:
        """Return the items of a block."""
        if self._pause:
            self._pause -= 1
            return self._one_by_one(block)
        keys = block.integers(*self._place).astype(np.uint64, copy=False)
        slots = (keys * _MIX >> np.uint64(64 - _SLOT_BITS)).view(np.intp)
        odd = self._odd(keys, slots)
        if len(odd):
            if not self._learn(dict(zip(slots[odd].tolist(), keys[odd].tolist(), strict=True))):
                self._pause = _PAUSE
                return self._one_by_one(block)
            odd = self._odd(keys, slots)
        items, lengths = self._items.take(slots), self._lengths.take(slots)
        if len(odd):
            rare = keys[odd].tolist()
            items[odd], lengths[odd] = self._shown(rare)
        self._credit = min(self._credit + _CREDIT_OF_A_BLOCK, _CREDIT)
        return [Made(items, self._shortest + len(self._suffix), lengths)]

    def _odd(self, keys: Array, slots: Array) -> Array:
        """Return the rows whose octets are not in their slot."""
        return np.flatnonzero(self._keys.take(slots) != keys)

    def _learn(self, new: dict[int, int]) -> bool:
        """Put octets into their slots, unless they are too many; tell whether they are there."""
        if len(new) > self._credit:
            return False
        self._credit -= len(new)
        slots = [*new]
        self._keys[slots] = [*new.values()]
        self._items[slots], self._lengths[slots] = self._shown(new.values())
        return True

    def _shown(self, keys: Iterable[int]) -> tuple[list[bytes], list[int]]:
        """Return the items of these octets, and how much longer than the shortest their text is."""
        texts = [self._text(key.to_bytes(self._place[1])) for key in keys]
        items = [text.rjust(self._longest) + self._suffix for text in texts]
        return items, [len(text) - self._shortest for text in texts]

    def _one_by_one(self, block: Block) -> list[Made]:
        """Return the items of a block, each field in a column of its own."""
        return [made for column in self._others for made in column.make(block)]
