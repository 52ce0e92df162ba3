"""The counters of many records, read by few calls."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from overflowd_tools.protocols.templates import Kind, Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, TypeAlias

AT_ONCE: Final = 64
"""Records whose counters are read by one call."""
_KEPT: Final = 512
_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}

Reader: TypeAlias = "Callable[[bytes, int], Sequence[int]]"
"""(octets, where the first record begins) -> the counter of each record"""


def counters(template: Template, name: str, records: bytes) -> Sequence[int] | None:
    """Return a counter of these records, one after the other; None if their template has no such field."""
    count = len(records) // template.length
    values: list[int] = []
    for first in range(0, count, AT_ONCE):
        read = counter_reader(template, name, min(AT_ONCE, count - first))
        if read is None:
            return None
        values += read(records, first * template.length)
    return values


@lru_cache(maxsize=_KEPT)
def counter_reader(template: Template, name: str, records: int) -> Reader | None:
    """Return what reads a counter of so many records, at most AT_ONCE; None if their template has no such field."""
    return new_counter_reader(template, name, records)


def new_counter_reader(
    template: Template, name: str, records: int, messages: int = 1, between: int = 0
) -> Reader | None:
    """As counter_reader, but of records in so many messages, with so many octets between those of two."""
    found = None
    offset = 0
    for field in template.fields:
        if field.name == name and not field.extra and field.kind is not Kind.PADDING:
            found = offset, field.length
        offset += field.length
    if found is None:
        return None
    before, length = found
    code = _CODES.get(length, f"{length}s")
    message = f"{before}x{code}{offset - before - length}x" * records
    layout = Struct("!" + f"{between}x".join([message] * messages))
    if length in _CODES:
        return layout.unpack_from
    return lambda data, start: [int.from_bytes(octets) for octets in layout.unpack_from(data, start)]
