"""What is remembered of one exporter to understand it: of its address, and of each session there.

A session is what RFC 7011 section 8 calls a transport session's observation domain: protocol, address, port and domain.
"""

from __future__ import annotations

from collections import OrderedDict

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols import options
from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.layouts import Layout
from overflowd_tools.protocols.lists import ListDecoder
from overflowd_tools.protocols.pending import Place
from overflowd_tools.protocols.sequence import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIELD_OCTETS, RATE_OCTETS, PLACE_OCTETS = 400, 200, 200
"""Memory for a field of a template, a sampling rate, and a template's place in a session."""


class Export(NamedTuple):
    """What the header of a message says, and how it came: context of every record in it.

    uptime_ms: sysUptime, None in protocols whose header has none. received_ns: Unix time of arrival, 0 if unknown.
    """

    source: str
    exporter: bytes
    port: int
    domain: int
    export_ms: int
    uptime_ms: int | None
    received_ns: int
    envelope: dict[str, int]


class Address:
    """The sessions of one exporter's address, the least recently heard first, and the cost of what they know."""

    __slots__ = ("exporter", "fields", "options", "places", "rates", "sessions")

    def __init__(self, exporter: bytes, places: Places) -> None:
        self.exporter = exporter
        self.sessions: OrderedDict[tuple[str, int, int], Session] = OrderedDict()
        self.options: OrderedDict[int, options.Options] = OrderedDict()
        """By domain: exporters change their port at every restart, and what their options said still holds."""
        self.fields = 0
        self.rates = 0
        self.places = places

    def octets(self) -> int:
        """Return its share of the memory: of what many know, a part."""
        layouts = [layout for session in self.sessions.values() for layout in session.layouts.values()]
        fields = sum(len(layout.members) * FIELD_OCTETS // layout.users for layout in layouts)
        return fields + len(layouts) * PLACE_OCTETS + self.rates * RATE_OCTETS


class Places:
    """How many templates all sessions know, those that are the same counted for each."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Session:
    """One exporter's domain."""

    __slots__ = (
        *("address", "fields", "glances", "layouts", "lists", "numbers", "options", "padding_told", "pending"),
        *("places", "restored", "stream"),
    )

    address: Address

    def __init__(self, table: ElementTable) -> None:
        self.layouts: OrderedDict[int, Layout] = OrderedDict()
        self.glances: dict[int | bytes, Any] = {}
        """What was worked out of the templates, to count records at a glance (see glance)."""
        self.fields = 0
        self.places = 0
        """Of all its templates, and how many these are."""
        self.restored: dict[int, int] = {}
        """Templates of an earlier run that were not announced since, and when they were last good, Unix seconds."""
        self.options = options.Options()
        self.pending: Place = Place()
        self.stream = Stream()
        self.numbers: dict[bool, dict[int, None]] = {False: {}, True: {}}
        """Of the templates, those of options apart."""
        self.padding_told = False
        """That its padding is not zero."""
        self.lists = ListDecoder(table, self.layouts.get)

    def keep(self, layout: Layout) -> None:
        """Take the layout of a template in the place of what was known under its number."""
        self.forget(layout.number)
        self.layouts[layout.number] = layout
        self.numbers[layout.options][layout.number] = None
        layout.users += 1
        self._count(len(layout.members), 1)

    def forget(self, number: int) -> Layout | None:
        """Forget a template, and return it."""
        self.restored.pop(number, None)
        self.glances.clear()
        layout = self.layouts.pop(number, None)
        if layout is not None:
            del self.numbers[layout.options][number]
            layout.users -= 1
            self._count(-len(layout.members), -1)
        return layout

    def leave(self) -> None:
        """Tell that it is forgotten itself."""
        for layout in self.layouts.values():
            layout.users -= 1
        self._count(-self.fields, -self.places)

    def _count(self, fields: int, places: int) -> None:
        self.fields += fields
        self.places += places
        self.address.fields += fields
        self.address.places.number += places
