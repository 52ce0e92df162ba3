"""Messages alike that follow each other at equal distances: checked and counted by few calls.

They differ in their clocks, their sequence numbers and their records; but not in how many records these are.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols.counters import new_counter_reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from overflowd_tools.protocols.counters import Reader
    from overflowd_tools.protocols.sequence import Stream
    from overflowd_tools.protocols.templates import Template

_KEPT: Final = 64


class Form:
    """What is before the records of a message: octets that tell what it is, its sequence number, more such octets.

    Clocks are left out: whatever they say, such messages are taken for what they are (see detect).
    """

    def __init__(self, layout: str) -> None:
        """layout: as for the struct module."""
        self.layout = layout
        struct = Struct("!" + layout)
        self.length = struct.size
        self.read: Callable[[bytes, int], tuple[bytes, int, bytes]] = struct.unpack_from


FORM5: Final = Form("4s12xI4s")
WITH_SETS: Final = {b"\x00\x09": Form("4s8xI8s"), b"\x00\x0a": Form("4s4xI8s")}
"""Those of NetFlow 9 and IPFIX, by version, with the header of the only set, which the records are in."""


class Sight(NamedTuple):
    """What is known of messages alike.

    records: how many there are in each, of this template; read gives their packets, which were sampled at this rate at
    least. at: octets before them. announced: the count in a NetFlow 9 header, None for others. session: exporter, key.
    """

    stream: Stream
    template: Template
    records: int
    read: Reader
    rate: int
    at: int
    announced: int | None = None
    session: tuple[bytes, tuple[str, int, int]] | None = None


class Series:
    """So many messages alike of so many records, at a distance."""

    def __init__(self, form: Form, template: Template, records: int, distance: int, messages: int) -> None:
        """distance: octets from the start of one message to that of the next."""
        self._messages = messages
        self._records_at = form.length
        layout = f"{distance - form.length}x".join([form.layout] * messages)
        self._headers: Callable[[bytes, int], tuple[Any, ...]] = Struct("!" + layout).unpack_from
        between = distance - records * template.length
        self._packets: Reader | None = new_counter_reader(template, "pcount", records, messages, between)

    def packets(self, data: bytes, start: int, first: tuple[bytes, int, bytes], step: int) -> int | None:
        """Return how many packets the records count, None if the messages are not as they should be.

        start: where the first of them is. first: what its header should say. step: by how much each raises the
        sequence number.
        """
        head, sequence, tail = first
        values, messages = self._headers(data, start), self._messages
        alike = (
            values[1::3] == tuple(range(sequence, sequence + messages * step, step))
            and values[::3] == (head,) * messages
            and values[2::3] == (tail,) * messages
        )
        return sum(self._packets(data, start + self._records_at)) if alike and self._packets else None


@lru_cache(maxsize=_KEPT)
def series(form: Form, template: Template, records: int, distance: int, messages: int) -> Series:
    """Return a Series, which takes a while to make."""
    return Series(form, template, records, distance, messages)
