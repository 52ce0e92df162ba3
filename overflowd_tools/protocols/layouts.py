"""What the records of an announced template say: information elements to the members of a flow line.

Everything an exporter sent is in the line: what no field of the line stands for goes into `ie`, under the name of its
element, and of several elements for one field the one that loses its place goes there too.
"""

from __future__ import annotations

from overflowd_tools.errors import DecodeError
from overflowd_tools.named import NamedTuple
from overflowd_tools.protocols import options, times
from overflowd_tools.protocols.announced import VARIABLE, Announced, Specifier
from overflowd_tools.protocols.dissection import address_text
from overflowd_tools.protocols.elements import IANA, Element, ElementTable
from overflowd_tools.protocols.lines import Kind
from overflowd_tools.protocols.sections import sections_of
from overflowd_tools.protocols.templates import icmp_of_port
from overflowd_tools.protocols.values import decoder, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeAlias

    from overflowd_tools.protocols.simple import Simple

Lists: TypeAlias = "Callable[[str, bytes], Any]"
"""Decodes the octets of a list of some type (lists.ListDecoder)."""

_PADDING = 210
_VERSION4 = frozenset({8, 9, 12, 13, 15, 18, 44, 45})
_VERSION6 = frozenset({27, 28, 29, 30, 62, 63, 169, 170})
_ADDRESSES4, _ADDRESSES6 = (8, 12), (27, 28)
_IP_VERSION = 60
_ICMP_TYPE_CODE = frozenset({32, 139})
_LABELS = range(70, 80)
_APPLICATION = 95
_APPLICATION_OCTETS = 32
_SEGMENTS = 497
_ALIGNMENT = 4
_TOLD_BY_SPAN = frozenset(range(150, 158))
"""Times that start_ms and end_ms (or start_ns and end_ns) tell exactly."""
_OBSERVATION = 323
LIST_TYPES = frozenset({"basicList", "subTemplateList", "subTemplateMultiList"})
_SAMPLER_ELEMENTS = frozenset({10, 14, 48, 145, 302, 304, *options.SAMPLING_ELEMENTS})
_KEYS = frozenset({"saddr", "daddr", "sport", "dport", "protocol"})
_OF_ONE_PACKET = frozenset({"bcount", "flags", "ttl", "ip_id", "frag_off", "frag_flags", "quoted"})
_TIME_FIELDS = {"stime": 22, "etime": 21}
_TIME_TYPES = {"dateTimeSeconds": 150, "dateTimeMicroseconds": 154, "dateTimeNanoseconds": 156}


class Member(NamedTuple):
    """One field of a template, as it is shown. path: its place in the line, empty for one that only `ie` has."""

    specifier: Specifier
    key: str
    path: tuple[str, ...]
    reverse: bool
    type: str
    number: int
    """The element of the IANA registry, or the one that it stands for; 0 for any other."""


class Layout:
    """The meaning of one announced template."""

    def __init__(self, announced: Announced, table: ElementTable, *, netflow9: bool) -> None:
        self.announced = announced
        self.number = announced.number
        self.scopes = announced.scopes
        self.options = announced.options
        self.length = announced.length
        self.members = tuple(_member(field, table, netflow9) for field in announced.fields)
        self.times = tuple(index for index, member in enumerate(self.members) if member.number in times.ELEMENTS)
        """Which members are times."""
        self.sections = sections_of([0 if member.reverse else member.number for member in self.members])
        self.users = 0
        """How many sessions know it."""
        self.simple: Simple | None = None
        """How its records render many at a time, if they do."""
        self.order, self.contested = order_of(self.members)
        """The order in which members take their fields, and the fields that there are several members for."""
        numbers = {member.number for member in self.members if member.path in self.contested}
        self.both_versions = bool(numbers & _VERSION4) and bool(numbers & _VERSION6)

    def records(self, content: bytes, *, padded: bool = True) -> Iterator[list[bytes]]:
        """Yield the octets of each field of each record of a data set.

        padded: a rest shorter than any record is padding (RFC 7011 section 3.3.1), and so are up to three zeroes after
        records that fill a set to a multiple of four octets, even where a record might be as short as these.
        Raises DecodeError at a record that reaches beyond the set, and at a rest that is no padding, after the records
        before it.
        """
        end = 0
        for values, stop in self._walk(content, padded=padded):
            yield values
            end = stop
        if not padded and end < len(content):
            raise DecodeError("a list does not end where its last element ends")

    def extent(self, content: bytes) -> tuple[int, bytes]:
        """Return how many records a data set has, and what is left behind them; nothing, if one reaches beyond it."""
        if self.length is not None:
            count = len(content) // self.length
            return count, content[count * self.length :]
        count, end = 0, 0
        try:
            for _, stop in self._walk(content, padded=True):
                count, end = count + 1, stop
        except DecodeError:
            return count, b""
        return count, content[end:]

    def _walk(self, content: bytes, *, padded: bool) -> Iterator[tuple[list[bytes], int]]:
        """Yield the octets of each field of each record, and where the record ends."""
        if self.length is not None:
            for offset in range(0, len(content) - self.length + 1, self.length):
                yield _fixed(content, offset, self.members), offset + self.length
            return
        offset = 0
        least = sum(1 if m.specifier.length == VARIABLE else m.specifier.length for m in self.members)
        filled = padded and len(content) % _ALIGNMENT == 0
        end = max(len(content.rstrip(b"\0")), len(content) - _ALIGNMENT + 1) if filled else len(content)
        while (offset < end or offset == 0) and len(content) - offset >= least:
            values, offset = _variable(content, offset, self.members)
            yield values, offset

    def shown(self, index: int, octets: bytes, lists: Lists) -> Any:
        """Return the octets of one field as a value of JSON."""
        return _shown(self.members[index], octets, lists)[0]

    def number_of(self, index: int, octets: bytes) -> int | float | None:
        """Return the number that one field holds, or None if it holds something else."""
        value = _value(self.members[index], octets)
        return value if type(value) in (int, float) else None


def order_of(members: tuple[Member, ...]) -> tuple[tuple[int, ...], frozenset[tuple[str, ...]]]:
    """Return indices so that of members for one field the one of IANA and of the lowest number is first.

    Return also the fields that there are several members for.
    """
    by_path: dict[tuple[str, ...], list[int]] = {}
    for index, member in enumerate(members):
        by_path.setdefault(member.path, []).append(index)
    by_path.pop((), None)
    order = list(range(len(members)))
    for places in by_path.values():
        ranked = sorted(places, key=lambda index: (members[index].number == 0, members[index].specifier.element))
        for place, index in zip(places, ranked, strict=True):
            order[place] = index
    return tuple(order), frozenset(path for path, places in by_path.items() if len(places) > 1)


def _fixed(content: bytes, offset: int, members: tuple[Member, ...]) -> list[bytes]:
    values = []
    for member in members:
        end = offset + member.specifier.length
        values.append(content[offset:end])
        offset = end
    return values


def _variable(content: bytes, offset: int, members: tuple[Member, ...]) -> tuple[list[bytes], int]:
    values = []
    for member in members:
        length = member.specifier.length
        if length == VARIABLE:
            length, offset = variable_length(content, offset)
        if length > len(content) - offset:
            raise DecodeError(f"{member.key} of {length} octets reaches beyond its set")
        values.append(content[offset : offset + length])
        offset += length
    return values, offset


def variable_length(content: bytes, offset: int) -> tuple[int, int]:
    """Return the length of a field of variable length and where it begins (RFC 7011 section 7). Raises DecodeError."""
    if offset >= len(content):
        raise DecodeError("a field of variable length begins beyond its set")
    length = content[offset]
    if length < 255:
        return length, offset + 1
    if offset + 3 > len(content):
        raise DecodeError("the length of a field of variable length is cut short")
    return int.from_bytes(content[offset + 1 : offset + 3]), offset + 3


def _member(specifier: Specifier, table: ElementTable, netflow9: bool) -> Member:
    enterprise, number, _ = specifier
    element, reverse = table.resolve(enterprise, number, netflow9=netflow9)
    key = table.key(enterprise, number, netflow9=netflow9)
    if element is None:
        return Member(specifier, key, (), reverse, "octetArray", 0)
    # Lists never fill a field: what they hold has another type than the field.
    path = tuple(element.field.split(".")) if element.field and element.type not in LIST_TYPES else ()
    number = element.id if element.enterprise == IANA else _stands_for(element)
    if path and reverse:
        path = ("r_" + path[0], *path[1:])
    return Member(specifier, key, path, reverse, element.type, number)


def _stands_for(element: Element) -> int:
    """Return the element of IANA's that the user's own time element means."""
    if element.field in ("start_ms", "end_ms"):
        return _TIME_TYPES.get(element.type, 152) + (element.field == "end_ms")
    return _TIME_FIELDS.get(element.field, 0)


class Record:
    """One record, decoded into members of a line."""

    def __init__(self, layout: Layout, octets: list[bytes], lists: Lists, *, nested: bool = False) -> None:
        """nested: it stands in a list, where nobody works out start_ms and end_ms, so times are shown as they are."""
        self.fields: dict[str, Any] = {}
        self.extra: list[tuple[str, Any]] = []
        self.times: times.Times = {}
        self.reverse_times: times.Times = {}
        self.numbers: dict[int, int | float] = {}
        """Values of the elements that sampling rates hang on."""
        self._lists = lists
        told = set() if nested else self._told_times(layout, octets)
        hidden = other_version(layout.members, octets) if layout.both_versions else frozenset()
        for index in layout.order:
            member, value = layout.members[index], octets[index]
            if member.number in times.ELEMENTS:
                self._add_time(member, value, told=index in told)
            else:
                self._add(member, value, hidden=member.number in hidden and member.path in layout.contested)
        self._alias()
        if layout.sections is not None:
            self._add_packet(layout.sections.packet(octets, self.fields.get("protocol")))

    def _told_times(self, layout: Layout, octets: list[bytes]) -> set[int]:
        """Keep the raw times for times.span(); return which members it will tell exactly."""
        first: dict[tuple[bool, int], int] = {}
        for index in layout.times:
            member, value = layout.members[index], octets[index]
            if times.readable(member.number, value):
                known = self.reverse_times if member.reverse else self.times
                if member.number not in known:
                    known[member.number] = int.from_bytes(value)
                    first[member.reverse, member.number] = index
        told = set()
        for reverse, known in ((False, self.times), (True, self.reverse_times)):
            ends = [next((number for number in family if number in known), 0) for family in (times.START, times.END)]
            if not any(ends) and _OBSERVATION in known:
                told.add(first[reverse, _OBSERVATION])
            told |= {first[reverse, number] for number in ends if number in _TOLD_BY_SPAN}
        return told

    def _add(self, member: Member, octets: bytes, *, hidden: bool) -> None:
        number = member.number
        if number == _PADDING:
            return
        if number in _ICMP_TYPE_CODE and len(octets) == 2:
            self._add_icmp(member, octets)
        elif number in _LABELS and len(octets) == 3 and self._add_label(member, octets):
            return
        else:
            value, fits = _shown(member, octets, self._lists)
            if value is None:
                return
            if number in _SAMPLER_ELEMENTS and not member.reverse and type(value) in (int, float):
                self.numbers.setdefault(number, value)
            self._put(member.path if fits and not hidden else (), member.key, value)

    def _add_icmp(self, member: Member, octets: bytes) -> None:
        names = [_named(member, "icmp_type"), _named(member, "icmp_code")]
        if any(name in self.fields for name in names):
            self._put((), member.key, int.from_bytes(octets))
        else:
            self.fields |= zip(names, octets, strict=True)

    def _add_label(self, member: Member, octets: bytes) -> bool:
        """Add an entry of a label stack, if it is the next one."""
        name = _named(member, "mpls")
        if member.number - _LABELS.start != len(self.fields.get(name, ())):
            return False
        self.fields.setdefault(name, []).append(_label(octets))
        return True

    def _add_time(self, member: Member, octets: bytes, *, told: bool) -> None:
        """Show what start_ms and end_ms do not tell exactly."""
        value = _value(member, octets)
        if told or value is None:
            return
        path: tuple[str, ...] = ()
        if member.number in (21, 22) and type(value) is int:
            path = member.path
            if value > 0xFFFFFFFF:
                self._put(path, member.key, value & 0xFFFFFFFF)
                path = ()
        self._put(path, member.key, value)

    def _put(self, path: tuple[str, ...], key: str, value: Any) -> None:
        target = self.fields
        for name in path[:-1]:
            target = target.setdefault(name, {})
        if path and path[-1] not in target:
            target[path[-1]] = value
        else:
            self.extra.append((key, value))

    def _alias(self) -> None:
        """Take other counters for bcount and pcount, and the port for ICMP, where an exporter sends nothing better."""
        fields = self.fields
        if "bcount" not in fields and "l2_bcount" in fields:
            fields["bcount"] = fields["l2_bcount"]
        for name in ("bcount", "pcount"):
            if name not in fields and f"{name}_total" in fields:
                fields[name] = fields[f"{name}_total"]
                fields["counter"] = "total"
        if "protocol" in fields and "dport" in fields and not {"icmp_type", "icmp_code"} & fields.keys():
            icmp = icmp_of_port(fields["protocol"], fields["dport"])
            if icmp is not None:
                fields["icmp_type"], fields["icmp_code"] = icmp

    def _add_packet(self, packet: dict[str, Any]) -> None:
        """Add what a sampled packet says and the record does not; nothing if they are not about the same.

        A record without counters that is no event is of this one packet.
        """
        fields = self.fields
        if any(fields.get(name, value) != value for name, value in packet.items() if name in _KEYS):
            return
        of_many = fields.keys() & {"pcount", "bcount", "event"} or "event" in fields.get("nat", ())
        if of_many and fields.get("pcount") != 1:
            packet = {name: value for name, value in packet.items() if name not in _OF_ONE_PACKET}
        elif packet:
            fields.setdefault("pcount", 1)
        fields |= {name: value for name, value in packet.items() if name not in fields}

    def members(self) -> dict[str, Any]:
        """Return the members of the line, with `ie` for what has no field: pairs in order if a key repeats."""
        if not self.extra:
            return self.fields
        as_object = dict(self.extra)
        repeats = len(as_object) != len(self.extra)
        return {**self.fields, "ie": [list(pair) for pair in self.extra] if repeats else as_object}


def _named(member: Member, name: str) -> str:
    return "r_" + name if member.reverse else name


def _label(octets: bytes) -> dict[str, int]:
    """Return an entry of an MPLS label stack (RFC 3032 section 2.1) without its time to live."""
    entry = int.from_bytes(octets)
    return {"label": entry >> 4, "exp": entry >> 1 & 7, "s": entry & 1}


def other_version(members: Sequence[Member], octets: Sequence[bytes]) -> frozenset[int]:
    """Tell which elements are of the version of IP that this record is not of: many templates have both."""
    values = {m.number: value for m, value in zip(members, octets, strict=True) if not m.reverse}
    told = values.get(_IP_VERSION)
    if told:
        return _VERSION4 if told[-1] == 6 else _VERSION6
    if any(number in values for number in _ADDRESSES4):
        has4 = any(any(values.get(number, b"")) for number in _ADDRESSES4)
        has6 = any(any(values.get(number, b"")) for number in _ADDRESSES6)
    else:
        has4, has6 = False, any(number in values for number in _ADDRESSES6)
    return _VERSION4 if has6 and not has4 else _VERSION6


def _shown(member: Member, octets: bytes, lists: Lists) -> tuple[Any, bool]:
    """Return a value of JSON, None for no octets, and whether it is of the type that the member's field has."""
    number = member.number
    if number == _APPLICATION and 0 < len(octets) <= _APPLICATION_OCTETS:
        return f"{octets[0]}:{int.from_bytes(octets[1:])}", True
    if number == _SEGMENTS and not len(octets) % 16:
        return [address_text(octets[at : at + 16]) for at in range(0, len(octets), 16)], True
    if number in _LABELS or (number in (_APPLICATION, _SEGMENTS) and octets):
        return octets.hex(), False
    if member.type in LIST_TYPES:
        return lists(member.type, octets), False
    kind, decode = decoder(member.type, len(octets))
    return _SHOWN.get(kind, _as_it_is)(decode(octets)), kind is kind_of(member.type)


def _value(member: Member, octets: bytes) -> Any:
    kind, decode = decoder(member.type, len(octets))
    return _SHOWN.get(kind, _as_it_is)(decode(octets))


def _as_it_is(value: Any) -> Any:
    return value


_SHOWN: dict[Kind, Callable[[Any], Any]] = {
    Kind.ADDRESS: address_text,
    Kind.MAC: lambda octets: octets.hex(":"),
    Kind.HEX: lambda octets: octets.hex(),
}
