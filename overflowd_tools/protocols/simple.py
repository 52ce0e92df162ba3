"""The announced templates whose records render many at a time, by the same generated functions as NetFlow 5.

They are those of fixed length without lists and sections of packets. What needs no thought is a field like NetFlow 5's;
what does need some is shown by the code that shows a record alone (layouts.Record), for the octets of a part of the
record, which are mostly the same in many. Lines are the same either way.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby, repeat
from struct import Struct

from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols import options
from overflowd_tools.protocols.layouts import LIST_TYPES, Layout, Member, Record, order_of, other_version
from overflowd_tools.protocols.templates import Field, Kind, Part, Spans, Template
from overflowd_tools.protocols.times import ELEMENTS, END, START, Times, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Any, Final, Literal, TypeAlias

_SPECIAL = frozenset({32, 95, 139, 497, *range(70, 80)})
_RATES = frozenset({48, 302, 304, *options.SAMPLING_ELEMENTS})
_INTERFACES = frozenset({10, 14})
_VERSION = frozenset({8, 12, 27, 28, 60})
_BOOT, _PADDING = 160, 210
_UPTIMES = frozenset({21, 22})
_MOST_OCTETS = {**dict.fromkeys((150, 151, 322), 6), **dict.fromkeys(_UPTIMES, 4)}
"""Longer times may be none (times.readable), or be shown twice."""
_PAIRS = ((152, 153, Kind.UNSIGNED, 8), (150, 151, Kind.SECONDS, 4), (22, 21, Kind.UPTIME, 4))
"""Start and end that the generated functions work out, their kind and length."""
_END_NAMES = {152: "start_ms", 153: "end_ms", 150: "start_ms", 151: "end_ms", 22: "stime", 21: "etime"}
_ADDRESS_LENGTHS = {"ipv4Address": (Kind.IPV4, 4), "ipv6Address": (Kind.IPV6, 16), "macAddress": (Kind.MAC, 6)}
_COUNTED = {"unsigned8", "unsigned16", "unsigned32", "unsigned64", "dateTimeSeconds", "dateTimeMilliseconds"}
_GENERATED = {
    **dict.fromkeys(("pcount", "bcount", "sport", "dport", "protocol"), (Kind.UNSIGNED,)),
    **dict.fromkeys(("stime", "etime"), (Kind.UNSIGNED, Kind.UPTIME)),
    **dict.fromkeys(("saddr", "daddr"), (Kind.IPV4, Kind.IPV6)),
}
"""Fields that the generated functions do more with than to show them, and the kinds that these can be."""
_TOLD_KEPT = 256
PATIENCE = 24
"""Records of a layout that take as long one by one as it takes to make a renderer: templates are cheap to send."""
_NONE_HIDDEN: frozenset[int] = frozenset()
_NO_NUMBERS: dict[int, int | float] = {}
_TOTALS = {"bcount": ("l2_bcount", "bcount_total"), "pcount": ("pcount_total",)}


Clock: TypeAlias = 'Literal["header", "boot", "none"]'
"""What tells where an exporter's sysUptime stood at the time of export; systemInitTimeMilliseconds is of the boot."""
HEADER: Final = "header"
BOOT: Final = "boot"
NONE: Final = "none"


class Alike(NamedTuple):
    """Records that follow each other and have in common what is not for the renderer to see.

    numbers: by element, what sampling rates hang on. hidden: elements of the version of IP that they are not of.
    boot_ms: when their sysUptime was 0, if they tell.
    """

    records: bytes
    numbers: dict[int, int | float]
    hidden: frozenset[int]
    boot_ms: int | None


class Simple:
    """A layout whose records render many at a time. Nothing is made of it before there are records."""

    __slots__ = ("_columns", "_layout", "_needs_clock", "_patience", "_templates", "_told")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._patience = PATIENCE
        self._needs_clock = any(member.number in _UPTIMES for member in layout.members)
        self._templates: dict[tuple[Clock, frozenset[int]], Template | None] = {}
        self._columns: dict[bool, tuple[_Columns, _Columns]] = {}
        self._told: dict[tuple[bytes, ...], tuple[dict[int, int | float], int | None]] = {}
        """Octets of what sampling rates and the boot hang on -> these; emptied when it has grown too large."""

    def is_worth(self, records: int) -> bool:
        """Tell whether so many records, with those before them, are worth what it takes to render many at a time."""
        if self._patience > records:
            self._patience -= records
            return False
        self._patience = 0
        return True

    def clock(self, uptime_ms: int | None, boot_ms: int | None) -> Clock:
        """Return what tells sysUptime, of the header and of the boot; nothing needs to if no record has a sysUptime."""
        if not self._needs_clock or (uptime_ms is None and boot_ms is None):
            return NONE
        return BOOT if uptime_ms is None else HEADER

    def template(self, clock: Clock, hidden: frozenset[int]) -> Template | None:
        """Return the template of such records, or None if they have to be looked at one by one."""
        try:
            return self._templates[clock, hidden]
        except KeyError:
            template = self._templates[clock, hidden] = _Making(self._layout, clock, hidden).template()
            return template

    def alike(self, records: bytes, *, by_interface: bool) -> list[Alike]:
        """Return the records of a data set in their order. by_interface: sampling rates hang on interfaces."""
        told, version = self._columns.get(by_interface) or self._find_columns(by_interface=by_interface)
        if not told.members and not version.members:
            return [Alike(records, _NO_NUMBERS, _NONE_HIDDEN, None)]
        versions = map(partial(other_version, version.members), version.of(records))
        keys = zip(told.of(records), versions if version.members else repeat(_NONE_HIDDEN), strict=False)
        found, start = [], 0
        for (octets, hidden), group in groupby(keys):
            end = start + sum(self._layout.length or 0 for _ in group)
            numbers, boot_ms = self._told.get(octets) or self._tell(told, octets)
            found.append(Alike(records[start:end], numbers, hidden, boot_ms))
            start = end
        return found

    def _tell(self, told: _Columns, octets: tuple[bytes, ...]) -> tuple[dict[int, int | float], int | None]:
        if len(self._told) >= _TOLD_KEPT:
            self._told.clear()
        record = Record(_PartLayout(told.members), [*octets], _no_lists)
        self._told[octets] = record.numbers, record.times.get(_BOOT)
        return self._told[octets]

    def _find_columns(self, *, by_interface: bool) -> tuple[_Columns, _Columns]:
        """Return the columns that rates and the boot hang on, and those that tell the version of IP."""
        members = self._layout.members
        told = _RATES | {_BOOT} if self._needs_clock else _RATES
        told = told | _INTERFACES if by_interface else told
        version = _VERSION if self._layout.both_versions else _NONE_HIDDEN
        columns = [_Columns(members, [member.number in numbers for member in members]) for numbers in (told, version)]
        self._columns[by_interface] = columns[0], columns[1]
        return self._columns[by_interface]


class _Columns:
    """Some members of a layout, to be got from records."""

    def __init__(self, members: Sequence[Member], chosen: list[bool]) -> None:
        pairs = [*zip(members, chosen, strict=True)]
        self.members = tuple(member for member, here in pairs if here)
        codes = (f"{member.specifier.length}{'s' if here else 'x'}" for member, here in pairs)
        self.of: Callable[[bytes], Iterator[tuple[bytes, ...]]] = Struct("!" + "".join(codes)).iter_unpack


class _PartLayout(Layout):
    """The layout of some members of a record. told: those whose times start_ms and end_ms tell."""

    def __init__(self, members: tuple[Member, ...], told: Collection[int] = ()) -> None:
        self.members = members
        self.times = tuple(index for index, member in enumerate(members) if member.number in ELEMENTS)
        self.order, self.contested = order_of(members)
        self.both_versions = False
        self.sections = None
        self.told = told


class _PartRecord(Record):
    """Some members of a record: nothing is worked out from them."""

    def _told_times(self, layout: Layout, _octets: list[bytes]) -> set[int]:
        assert isinstance(layout, _PartLayout)
        return {*layout.told}

    def _alias(self) -> None:
        pass


class _WholeRecord(Record):
    """A record of which it matters which times start_ms and end_ms tell."""

    def _told_times(self, layout: Layout, octets: list[bytes]) -> set[int]:
        self.told = super()._told_times(layout, octets)
        return self.told


def simple_template(layout: Layout) -> Simple | None:
    """Return how the records of a layout render many at a time, or None if they cannot."""
    fixed = layout.length is not None and not layout.options and layout.sections is None
    return Simple(layout) if fixed and all(map(_is_simple, layout.members)) else None


def _is_simple(member: Member) -> bool:
    """Tell whether a member says the same kind of thing in every record, and of one direction."""
    length = member.specifier.length
    if member.reverse or "".join(member.path).startswith("r_") or member.type in LIST_TYPES:
        return False
    return length <= _MOST_OCTETS.get(member.number, length)


class _Making:
    """A template in the making."""

    def __init__(self, layout: Layout, clock: Clock, hidden: frozenset[int]) -> None:
        self._clock = clock
        self._members = [
            member._replace(path=()) if member.number in hidden and member.path in layout.contested else member
            for member in layout.members
        ]
        record = self._whole()
        self._told = record.told
        self._pair = self._find_pair(record.times)
        self._fields = [self._field(index, member) for index, member in enumerate(self._members)]
        """None for a member that is shown in a part of the record."""

    def template(self) -> Template | None:
        """Return the template, or None if its records have to be looked at one by one."""
        self._give_way()
        constants = self._alias()
        whole = self._whole()
        if len({key for key, _ in whole.extra}) < len(whole.extra):
            return None
        for all_together in (False, True):
            fields = self._with_parts(all_together=all_together)
            if self._is_right(fields, constants, whole):
                break
        else:
            return None
        if self._pair and self._pair[2] is Kind.UPTIME and self._clock == BOOT:
            constants["time_src"] = "init160"
        spans = None if self._pair else self._spans()
        return Template(tuple(fields), constants=constants, spans=spans, boot_told=self._clock == BOOT)

    def _whole(self) -> _WholeRecord:
        """Return a record of zeroes: which members a line has is the same for all records."""
        members = tuple(self._members)
        return _WholeRecord(_PartLayout(members), [bytes(m.specifier.length) for m in members], _no_lists)

    def _find_pair(self, known: Times) -> tuple[int, int, Kind] | None:
        """Return which members are a start and an end that the generated functions work out, and of which kind."""
        there = {number for number in known if number not in _UPTIMES or self._clock != NONE}
        ends = tuple(next((number for number in family if number in there), 0) for family in (START, END))
        for *pair, kind, length in _PAIRS:
            if ends == tuple(pair):
                numbers = [member.number for member in self._members]
                first, last = map(numbers.index, pair)
                if all(self._members[index].specifier.length == length for index in (first, last)):
                    return first, last, kind
        return None

    def _field(self, index: int, member: Member) -> Field | None:
        """Return a member as a field of its own, or None if it needs thought."""
        number, length = member.number, member.specifier.length
        if self._pair and index in self._pair[:2]:
            return Field(_END_NAMES[number], length, self._pair[2])
        if number == _PADDING or (index in self._told and number in ELEMENTS):
            return Field("", length, Kind.PADDING)
        kind = _kind(member.type, length)
        if kind is None or number in _SPECIAL or len(member.path) > 1 or not length:
            return None
        if member.path and (number in _UPTIMES or number not in ELEMENTS):
            return Field(member.path[0], length, kind)
        return Field(member.key, length, kind, extra=True)

    def _give_way(self) -> None:
        """Where several members are for one field, let those that lose it be extra, or let a part decide."""
        order, _ = order_of(tuple(self._members))
        first: dict[str, int] = {}
        for index in order:
            field = self._fields[index]
            if field is None or field.extra or field.kind is Kind.PADDING:
                continue
            if field.name not in first:
                first[field.name] = index
            elif field.name in _GENERATED:
                self._members[index] = self._members[index]._replace(path=())
                self._fields[index] = field._replace(name=self._members[index].key, extra=True)
            else:
                self._fields[index] = self._fields[first[field.name]] = None

    def _alias(self) -> dict[str, Any]:
        """Let other counters be bcount and pcount where there are no better ones; return what lines say of that."""
        places = {field.name: index for index, field in enumerate(self._fields) if field and not field.extra}
        constants: dict[str, Any] = {}
        for name, others in _TOTALS.items():
            other = next((other for other in others if other in places), "")
            if name in places or not other:
                continue
            field = self._fields[places[other]]
            assert field is not None
            self._fields[places[other]] = field._replace(name=name, also=other)
            if other.endswith("_total"):
                constants["counter"] = "total"
        return constants

    def _with_parts(self, *, all_together: bool) -> list[Field]:
        """Return the fields; members without one become parts, by neighbourhood or all together."""
        places = range(len(self._fields))
        runs = [(is_part, [*run]) for is_part, run in groupby(places, lambda place: self._fields[place] is None)]
        together = [index for is_part, run in runs if is_part for index in run]
        part = self._part(together) if all_together else None
        fields: list[Field] = []
        for is_part, run in runs:
            if is_part:
                length = sum(self._members[index].specifier.length for index in run)
                fields.append(Field("", length, Kind.PART, part=part or self._part(run)))
            else:
                fields += (field for field in self._fields[run[0] : run[-1] + 1] if field)
        return fields

    def _part(self, indices: list[int]) -> Part:
        members = tuple(self._members[index] for index in indices)
        told = [place for place, index in enumerate(indices) if index in self._told]
        unpack = Struct("!" + "".join(f"{member.specifier.length}s" for member in members)).unpack
        layout = _PartLayout(members, told)

        def show(octets: bytes) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
            record = _PartRecord(layout, [*unpack(octets)], _no_lists)
            return record.fields, record.extra

        fields, extra = show(bytes(sum(member.specifier.length for member in members)))
        return Part(show, tuple(fields), tuple(key for key, _ in extra))

    def _is_right(self, fields: list[Field], constants: dict[str, Any], whole: Record) -> bool:
        """Tell whether lines of these fields have the members that the line of the whole record has."""
        names, extra = [*constants], list[str]()
        for part in {field.part for field in fields if field.part}:
            names += part.names
            extra += part.extra
        for field in fields:
            if field.extra:
                extra.append(field.name)
            elif field.name not in ("", "start_ms", "end_ms"):
                names += [field.name, *([field.also] if field.also else [])]
                if field.kind not in _GENERATED.get(field.name, (field.kind,)):
                    return False
        return sorted(names) == sorted(whole.fields) and sorted(extra) == sorted(key for key, _ in whole.extra)

    def _spans(self) -> Spans:
        """Return the function that works out the times of records."""
        columns = _Columns(self._members, [member.number in ELEMENTS for member in self._members])
        layout, clock = _PartLayout(columns.members), self._clock

        def spans(records: bytes, export_ms: int, uptime_ms: int) -> Iterator[dict[str, Any]]:
            uptime = uptime_ms if clock == HEADER else None
            boot_ms = export_ms - uptime_ms if clock == BOOT else None
            for octets in columns.of(records):
                yield span(Record(layout, [*octets], _no_lists).times, export_ms, uptime, boot_ms)

        return spans


def _kind(element_type: str, length: int) -> Kind | None:
    if element_type in _ADDRESS_LENGTHS:
        kind, right_length = _ADDRESS_LENGTHS[element_type]
        return kind if length == right_length else None
    if element_type in _COUNTED:
        return Kind.UNSIGNED if length <= 8 else None
    return {"string": Kind.TEXT, "octetArray": Kind.OCTETS}.get(element_type)


def _no_lists(_type: str, _octets: bytes) -> None:
    raise AssertionError("a layout with lists is not simple")
