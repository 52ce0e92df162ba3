"""What has to be remembered of exporters to understand them: templates, options, sequence numbers; all of it bounded.

A session is what RFC 7011 section 8 calls a transport session's observation domain: protocol, address, port and domain.
Nothing one exporter sends can change how the records of another are read.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakValueDictionary, finalize

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import options
from overflowd_tools.protocols.announced import VARIABLE, Announced
from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.layouts import Layout, Record
from overflowd_tools.protocols.lists import ListDecoder
from overflowd_tools.protocols.sequence import Stream
from overflowd_tools.protocols.simple import simple_template
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.protocols.times import span

SESSIONS = 10_000
TEMPLATES = 4096
PENDING_OCTETS = 16 << 20
PENDING_SETS = 256
PENDING_NS = 600_000_000_000
SESSION_FIELDS = 20_000
"""Most fields of the templates of one session: it forgets its own before it makes others be forgotten."""
FIELDS = 150_000
"""Most fields of different templates that are known at a time, at some 400 octets of memory each."""


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


class Row(NamedTuple):
    """One line to be: its type, its context, and its members but for what the context says."""

    type: str
    export: Export
    members: dict[str, Any]


class Batch(NamedTuple):
    """Many flows to be rendered together; what a Row is to one."""

    type: str
    export: Export
    flows: FlowBatch


class DataSet(NamedTuple):
    """The records of one data set, before anything is known of them but their template."""

    export: Export
    layout: Layout
    content: bytes


class Session:
    """One exporter's domain."""

    __slots__ = ("layouts", "lists", "options", "pending", "restored", "stream", "unknown")

    def __init__(self, table: ElementTable) -> None:
        self.layouts: OrderedDict[int, Layout] = OrderedDict()
        self.restored: dict[int, int] = {}
        """Templates of an earlier run that were not announced since, and when they were last good, Unix seconds."""
        self.options = options.Options()
        self.pending: dict[int, list[tuple[Export, bytes]]] = {}
        self.stream = Stream()
        self.unknown: set[int] = set()
        """Templates that were missed and complained of."""
        self.lists = ListDecoder(table, self.layouts.get)

    def too_large(self) -> bool:
        """Tell whether there are too many templates, or too many fields in all of them."""
        fields = sum(len(layout.members) for layout in self.layouts.values())
        return len(self.layouts) > TEMPLATES or fields > SESSION_FIELDS

    def forget(self, number: int, kinds: range) -> list[Layout]:
        """Withdraw a template, or with 2 or 3 for a number all of a kind (RFC 7011 section 8.1); return what went."""
        gone = [*self.layouts] if number in kinds else [number]
        for known in gone:
            self.restored.pop(known, None)
        return [self.layouts.pop(known) for known in gone if known in self.layouts]


class Exporters:
    """All sessions, the least recently heard of too many forgotten."""

    def __init__(self, table: ElementTable | None = None) -> None:
        self._table = table
        self._sessions: OrderedDict[tuple[Any, ...], Session] = OrderedDict()
        self._layouts: WeakValueDictionary[tuple[Announced, bool], Layout] = WeakValueDictionary()
        """The layouts that sessions know: exporters of one make announce the same templates."""
        self._fields = 0
        self._options: OrderedDict[tuple[bytes, int], options.Options] = OrderedDict()
        self._pending_octets = 0
        self.forgotten = 0

    def session(self, export: Export) -> Session:
        """Return the session that a message belongs to."""
        key = (export.source, export.exporter, export.port, export.domain)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = self._new_session()
            # Exporters change their port at every restart: what their options said is kept by address and domain.
            session.options = self._options.setdefault(key[1::2], session.options)
            if len(self._sessions) > SESSIONS:
                self._drop_oldest()
        else:
            self._sessions.move_to_end(key)
        return session

    def learn(self, session: Session, announced: Announced, *, netflow9: bool) -> list[DataSet]:
        """Take a template; return the data sets that waited for it. An invalid one never gets here."""
        key = (announced, netflow9)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = self._new_layout(announced, netflow9=netflow9)
        known = session.layouts.get(announced.number) is layout
        session.layouts[announced.number] = layout
        session.layouts.move_to_end(announced.number)
        session.restored.pop(announced.number, None)
        while not known and len(session.layouts) > 1 and session.too_large():
            session.layouts.popitem(last=False)
            self.forgotten += 1
        waiting = session.pending.pop(announced.number, [])
        self._pending_octets -= sum(len(content) for _, content in waiting)
        return [DataSet(export, layout, content) for export, content in waiting]

    def hold(self, session: Session, number: int, export: Export, content: bytes) -> bool:
        """Keep a data set until its template comes, if there is room; tell whether it was kept."""
        waiting = session.pending.setdefault(number, [])
        if len(waiting) >= PENDING_SETS or self._pending_octets + len(content) > PENDING_OCTETS:
            return False
        waiting.append((export, content))
        self._pending_octets += len(content)
        return True

    def sessions(self) -> Iterator[tuple[tuple[Any, ...], Session]]:
        """Yield the key (source, exporter, port, domain) and the state of every session."""
        yield from self._sessions.items()

    def waiting(self) -> Iterator[tuple[tuple[Any, ...], int, int]]:
        """Yield session key, template and number of data sets for all that still wait for a template."""
        for key, session in self._sessions.items():
            for number, held in session.pending.items():
                yield key, number, len(held)

    def elements(self) -> ElementTable:
        """Return the information elements."""
        if self._table is None:
            self._table = ElementTable.standard()
        return self._table

    def _new_layout(self, announced: Announced, *, netflow9: bool) -> Layout:
        """Make a layout, and room for it where too many fields are known: the oldest sessions are forgotten."""
        layout = Layout(announced, self.elements(), netflow9=netflow9)
        layout.simple = simple_template(layout)
        self._fields += len(announced.fields)
        finalize(layout, self._forget_fields, len(announced.fields))
        while self._fields > FIELDS and len(self._sessions) > 1:
            self._drop_oldest()
        return layout

    def _forget_fields(self, number: int) -> None:
        self._fields -= number

    def _new_session(self) -> Session:
        return Session(self.elements())

    def _drop_oldest(self) -> None:
        _, session = self._sessions.popitem(last=False)
        self._pending_octets -= sum(len(content) for held in session.pending.values() for _, content in held)
        while len(self._options) > SESSIONS:
            self._options.popitem(last=False)
        self.forgotten += 1


def flow_row(
    session: Session, export: Export, layout: Layout, octets: list[bytes], configured_rate: float | None
) -> Row:
    """Return the row of one flow record."""
    record = Record(layout, octets, session.lists)
    fields = record.fields
    rate = configured_rate or options.rate(record.numbers) or session.options.rate(record.numbers, layout.number)
    if rate is not None and rate != 1:
        fields["sampling_rate"] = rate
    fields |= span(record.times, export.export_ms, export.uptime_ms, session.options.boot_ms)
    if record.reverse_times:
        reverse = span(record.reverse_times, export.export_ms, export.uptime_ms, session.options.boot_ms)
        fields |= {f"r_{name}": value for name, value in reverse.items()}
    return Row("flow", export, record.members())


def flow_batch(session: Session, data: DataSet, configured_rate: float | None) -> Batch | None:
    """Return the flows of a data set as a batch, or None if its records have to be looked at one by one."""
    export, layout, content = data
    if layout.simple is None or layout.length is None:
        return None
    if layout.simple.needs_uptime and export.uptime_ms is None:
        return None
    rate = configured_rate or 1
    if len(session.options):
        if session.options.by_interface:
            return None
        rate = configured_rate or session.options.rate({}, layout.number) or 1
    records = content[: len(content) // layout.length * layout.length]
    flows = FlowBatch(
        export.source,
        layout.simple,
        records,
        export.domain,
        export.export_ms,
        export.uptime_ms,
        rate,
        export.envelope,
        len(content) // layout.length,
    )
    return Batch("flow", export, flows)


def option_row(session: Session, export: Export, layout: Layout, octets: list[bytes]) -> Row:
    """Take an option record into account, and return its row: `scope` and `option`, by name of element."""
    scope: dict[str, Any] = {}
    told: dict[str, Any] = {}
    values: dict[int, int | float] = {}
    scopes = set()
    for index, (member, raw) in enumerate(zip(layout.members, octets, strict=True)):
        shown = layout.shown(index, raw, session.lists)
        part = scope if index < layout.scopes else told
        part[member.key if member.key not in part else f"{member.key}#{index}"] = shown
        if index < layout.scopes:
            scopes.add(member.number)
        if member.number and type(shown) in (int, float):
            values[member.number] = shown
    session.options.learn(values, frozenset(scopes))
    return Row("option", export, {"template": layout.number, "scope": scope, "option": told})


def template_row(export: Export, layout: Layout, event: str) -> Row:
    """Return the row of a template that was learned or withdrawn; lengths that records tell themselves are absent."""
    fields: list[dict[str, Any]] = [{"name": member.key} for member in layout.members]
    for field, specifier in zip(fields, layout.announced.fields, strict=True):
        if specifier.length != VARIABLE:
            field["length"] = specifier.length
    told: dict[str, Any] = {"template": layout.number, "event": event}
    if layout.options:
        told["scope"] = fields[: layout.scopes]
    return Row("template", export, {**told, "fields": fields[layout.scopes :]})


def checked_records(layout: Layout, content: bytes, problems: list[str]) -> Iterator[list[bytes]]:
    """Yield the records of a set; what is wrong with the rest becomes a problem."""
    try:
        yield from layout.records(content)
    except DecodeError as error:
        problems.append(str(error))
