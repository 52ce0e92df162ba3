"""What has to be remembered of exporters to understand them: templates, options, sequence numbers; all of it bounded.

A session is what RFC 7011 section 8 calls a transport session's observation domain: protocol, address, port and domain.
Nothing one exporter sends can change how the records of another are read.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from weakref import WeakValueDictionary, finalize, proxy

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols import options
from overflowd_tools.protocols.announced import Announced
from overflowd_tools.protocols.bounds import DEFAULTS, Limits
from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.layouts import Layout
from overflowd_tools.protocols.pending import Pending
from overflowd_tools.protocols.sessions import (
    FIELD_OCTETS,
    PLACE_OCTETS,
    RATE_OCTETS,
    Address,
    Export,
    Places,
    Session,
)
from overflowd_tools.protocols.simple import simple_template
from overflowd_tools.protocols.templates import FlowBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

SESSIONS = 10_000
ADDRESS_SESSIONS = 1000
"""Most sessions of one address, so that it cannot make others be forgotten by beginning ever new ones."""
TEMPLATES = 4096
"""Most templates of one session."""
ADDRESS_FIELDS = 20_000
"""Most fields of the templates of one address: it forgets its own before it makes others be forgotten."""
ADDRESS_RATES = 8192
"""Most sampling rates that one address tells."""
MEMORY = 36_000_000
"""Octets of memory for templates and rates, by these shares; a template that many exporters announce counts once."""
_MEMORY_LEFT = MEMORY * 15 // 16
_NEWCOMERS = 100
"""So many addresses that were heard once stay, even where many others were heard again."""
_MISSED = 10_000


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


class Exporters:
    """All sessions, the least recently heard of too many forgotten.

    An address pushes out its own sessions and templates first. Where there are too many addresses, those that were
    heard once go first, so that a flood of forged ones does not reach who has been there before.
    """

    def __init__(self, table: ElementTable | None = None, limits: Limits = DEFAULTS) -> None:
        self._table = table
        self._most_sessions = SESSIONS if limits.sessions is None else limits.sessions
        self._address_sessions = min(ADDRESS_SESSIONS, self._most_sessions)
        self._most_templates = TEMPLATES if limits.templates is None else limits.templates
        self._addresses: OrderedDict[bytes, Address] = OrderedDict()
        """Those heard in more than one message."""
        self._newcomers: OrderedDict[bytes, Address] = OrderedDict()
        self._count = 0
        self._layouts: WeakValueDictionary[tuple[Announced, bool], Layout] = WeakValueDictionary()
        """The layouts that sessions know: exporters of one make announce the same templates."""
        self._fields = 0
        self._rates = 0
        self._places = Places()
        self._missed: dict[int, None] = {}
        self._pending: Pending = Pending(octets=limits.hold_octets, age_s=limits.hold_s)
        self.forgotten = 0
        """Sessions, and templates of others."""
        self._reached: dict[str, bool] = {}
        """Limits that were reached, and whether that was told."""

    def session(self, export: Export, *, trusted: bool = False) -> Session:
        """Return the session that a message belongs to. trusted: its exporter is no newcomer, even if not heard yet."""
        address = self._address(export.exporter, trusted=trusted)
        key = export.source, export.port, export.domain
        session = address.sessions.get(key)
        if session is not None:
            address.sessions.move_to_end(key)
            return session
        session = address.sessions[key] = self._new_session()
        session.address = address
        session.options = address.options.setdefault(export.domain, session.options)
        session.options.sessions += 1
        address.options.move_to_end(export.domain)
        self._count += 1
        if len(address.sessions) > self._address_sessions:
            self._reach(f"{self._address_sessions} sessions of an address")
            self._drop_session(address)
        if len(address.options) > ADDRESS_SESSIONS:
            self._drop_options(address)
        if self._count > self._most_sessions:
            self._reach(f"{self._most_sessions} sessions of all exporters")
            self._drop(self._crowd(address))
        return session

    def _crowd(self, spared: Address) -> OrderedDict[bytes, Address]:
        """Return those of whom one is to go, and not this one."""
        many = len(self._newcomers) > _NEWCOMERS
        crowds = (self._newcomers, self._addresses) if many else (self._addresses, self._newcomers)
        return next(crowd for crowd in crowds if next(iter(crowd.values()), spared) is not spared)

    def heard(self, exporter: bytes, key: tuple[str, int, int]) -> Session | None:
        """Return the session (source, port, domain) of one more message of an exporter that is no newcomer, if any."""
        address = self._addresses.get(exporter)
        session = address.sessions.get(key) if address else None
        if session is not None:
            self._addresses.move_to_end(exporter)
            session.address.sessions.move_to_end(key)
        return session

    def learn(self, session: Session, announced: Announced, *, netflow9: bool) -> list[DataSet]:
        """Take a template; return the data sets that waited for it. An invalid one never gets here."""
        layout = session.layouts.get(announced.number)
        if layout is not None and layout.announced == announced:
            session.layouts.move_to_end(announced.number)
            session.restored.pop(announced.number, None)
        else:
            layout = self._layout(announced, netflow9=netflow9)
            session.keep(layout)
            self._make_room(session)
        waiting = self._pending.take(session.pending, announced.number)
        return [DataSet(context, layout, content) for context, content in waiting]

    def withdraw(self, session: Session, numbers: list[int]) -> list[Layout]:
        """Forget templates, and the data that wait for ones of these numbers; return those that were known."""
        for number in numbers:
            self._pending.drop(session.pending, number)
        gone = [session.forget(number) for number in numbers]
        return [layout for layout in gone if layout is not None]

    def hold(self, session: Session, number: int, export: Export, content: bytes) -> bool:
        """Keep a data set until its template comes; return False if not all can be kept that is to be kept."""
        dropped = self._pending.dropped
        self._pending.hold(session.pending, number, export, content, export.received_ns)
        return self._pending.dropped == dropped

    def is_missed(self, export: Export, number: int) -> bool:
        """Tell whether a template is missed for the first time, as far as is remembered."""
        key = hash((*export[:4], number))
        if key in self._missed:
            return False
        if len(self._missed) >= _MISSED:
            self._missed.clear()
        self._missed[key] = None
        return True

    def learn_options(self, session: Session, values: options.Values, scopes: frozenset[int]) -> None:
        """Take an option record: numbers by element, and which of the elements are scopes."""
        before = len(session.options)
        session.options.learn(values, scopes)
        self._count_rates(session, len(session.options) - before)

    def complete_options(self, session: Session, rates: Iterable[options.Rate], boot_ms: int | None) -> None:
        """Take what is known of a session from elsewhere, but for what it has told itself."""
        before = len(session.options)
        session.options.complete(rates, boot_ms)
        self._count_rates(session, len(session.options) - before)

    def sessions(self) -> Iterator[tuple[tuple[str, bytes, int, int], Session]]:
        """Yield the key (source, exporter, port, domain) and the state of every session."""
        for addresses in (self._newcomers, self._addresses):
            for address in addresses.values():
                for (source, port, domain), session in address.sessions.items():
                    yield (source, address.exporter, port, domain), session

    def waiting(self) -> Iterator[tuple[tuple[str, bytes, int, int], int, int]]:
        """Yield session key, template and number of data sets for all that still wait for a template."""
        for key, session in self.sessions():
            for number, held in session.pending.counts():
                yield key, number, held

    def reached(self) -> list[str]:
        """Return why templates and sessions were forgotten, each reason once."""
        if not self._reached or all(self._reached.values()):
            return []
        news = [limit for limit, told in self._reached.items() if not told]
        self._reached = dict.fromkeys(self._reached, True)
        return [f"templates or sessions are forgotten: there are more than {limit}" for limit in news]

    def _reach(self, limit: str) -> None:
        self._reached.setdefault(limit, False)

    def elements(self) -> ElementTable:
        """Return the information elements."""
        if self._table is None:
            self._table = ElementTable.standard()
        return self._table

    def _address(self, exporter: bytes, *, trusted: bool) -> Address:
        address = self._addresses.get(exporter)
        if address is not None:
            self._addresses.move_to_end(exporter)
            return address
        address = self._newcomers.pop(exporter, None)
        known = self._newcomers if address is None and not trusted else self._addresses
        address = known[exporter] = address or Address(exporter, self._places)
        return address

    def _layout(self, announced: Announced, *, netflow9: bool) -> Layout:
        key = (announced, netflow9)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = Layout(announced, self.elements(), netflow9=netflow9)
            # A proxy makes no cycle: a layout that no session knows any more is gone, and uncounted, at once.
            layout.simple = simple_template(proxy(layout))
            self._fields += len(announced.fields)
            finalize(layout, self._forget_fields, len(announced.fields))
        return layout

    def _forget_fields(self, number: int) -> None:
        self._fields -= number

    def _new_session(self) -> Session:
        return Session(self.elements())

    def _count_rates(self, session: Session, more: int) -> None:
        address = session.address
        address.rates += more
        self._rates += more
        for told in address.options.values():
            if address.rates > ADDRESS_RATES and told is not session.options:
                self._forget_options(address, told)
        if more:
            self._make_room(session)

    @property
    def _octets(self) -> int:
        return self._fields * FIELD_OCTETS + self._places.number * PLACE_OCTETS + self._rates * RATE_OCTETS

    def _make_room(self, session: Session) -> None:
        """Forget templates and rates where there are too many after a session has learned one."""
        address = session.address
        if address.fields > ADDRESS_FIELDS and (len(address.sessions) > 1 or len(session.layouts) > 1):
            self._reach(f"{ADDRESS_FIELDS} fields in the templates of an address")
        if len(session.layouts) > self._most_templates:
            self._reach(f"{self._most_templates} templates of a session")
        while len(address.sessions) > 1 and address.fields > ADDRESS_FIELDS:
            self._drop_session(address)
        while len(session.layouts) > self._most_templates or (
            address.fields > ADDRESS_FIELDS and len(session.layouts) > 1
        ):
            self._trim(session)
        if self._octets > MEMORY:
            self._reach(f"{MEMORY} octets of templates and sampling rates")
        while self._octets > MEMORY and next(iter(self._newcomers.values()), address) is not address:
            self._drop(self._newcomers)
        if self._octets > MEMORY and address.exporter in self._newcomers:
            self._shed(session)
        if self._octets > MEMORY:
            self._drop_likes(session)

    def _drop_likes(self, session: Session) -> None:
        """Forget addresses until there is some room to spare; of this session's, a part.

        Those of one size, by powers of two, are a class. The class that takes most loses the address that was heard
        least recently. So neither a few that take much push out the many that take little, nor the other way round.
        """
        classes: dict[int, deque[tuple[Address, int]]] = {}
        taken: dict[int, int] = {}
        for address in self._addresses.values():
            octets = address.octets()
            size = octets.bit_length()
            classes.setdefault(size, deque()).append((address, octets))
            taken[size] = taken.get(size, 0) + octets
        while self._octets > _MEMORY_LEFT and taken:
            size = max(taken, key=taken.__getitem__)
            address, octets = classes[size].popleft()
            taken[size] -= octets
            if not classes[size]:
                del taken[size]
            if address is session.address:
                self._shed(session)
            else:
                self._addresses.move_to_end(address.exporter, last=False)
                self._drop(self._addresses)

    def _shed(self, session: Session) -> None:
        """Forget what the address of a session has told, and this session last."""
        address = session.address
        while self._octets > _MEMORY_LEFT and len(address.sessions) > 1:
            self._drop_session(address)
        while self._octets > _MEMORY_LEFT and len(session.layouts) > 1:
            self._trim(session)
        for told in address.options.values():
            if self._octets > _MEMORY_LEFT and told is not session.options:
                self._forget_options(address, told)

    def _trim(self, session: Session) -> None:
        """Forget a part of the templates of a session, those first that were announced least recently."""
        kept = max(len(session.layouts) * 7 // 8, 1)
        while len(session.layouts) > kept:
            session.forget(next(iter(session.layouts)))
            self.forgotten += 1

    def _drop(self, addresses: OrderedDict[bytes, Address]) -> None:
        _, address = addresses.popitem(last=False)
        while address.sessions:
            self._drop_session(address)
        self._rates -= address.rates

    def _drop_session(self, address: Address) -> None:
        """Forget the session of an address that was heard least recently."""
        _, session = address.sessions.popitem(last=False)
        self._pending.drop_all(session.pending)
        session.options.sessions -= 1
        session.leave()
        self._count -= 1
        self.forgotten += 1

    def _drop_options(self, address: Address) -> None:
        """Forget a domain of an address that has no session any more: there are more domains than sessions."""
        while next(iter(address.options.values())).sessions:
            address.options.move_to_end(next(iter(address.options)))
        _, told = address.options.popitem(last=False)
        self._forget_options(address, told)

    def _forget_options(self, address: Address, told: options.Options) -> None:
        """Forget what a domain of an address has told."""
        address.rates -= len(told)
        self._rates -= len(told)
        told.clear()
