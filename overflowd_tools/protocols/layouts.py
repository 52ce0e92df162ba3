"""What the records of an announced template say: information elements to the members of a flow line.

Everything an exporter sent is in the line: what no field of the line stands for goes into `ie`, under the name of its
element, and of several elements for one field the one that loses its place goes there too.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols import options, times
from overflowd_tools.protocols.announced import VARIABLE, Announced, Specifier
from overflowd_tools.protocols.elements import IANA, ElementTable
from overflowd_tools.protocols.lines import Kind
from overflowd_tools.protocols.templates import Template
from overflowd_tools.protocols.values import decoder

Lists = Callable[[str, bytes], Any]
"""Decodes the octets of a list of some type (lists.ListDecoder)."""

MAX_RECORDS = 65_536

_PADDING = 210
_VERSION4 = frozenset({8, 9, 12, 13, 15, 18, 44, 45})
_VERSION6 = frozenset({27, 28, 29, 30, 62, 63, 169, 170})
_ICMP_TYPE_CODE = frozenset({32, 139})
_APPLICATION = 95
_TOLD_BY_SPAN = frozenset({*range(150, 158), 323})
"""Times that start_ms and end_ms (or start_ns and end_ns) tell exactly."""
_SEGMENTS = 497
_LIST_TYPES = frozenset({"basicList", "subTemplateList", "subTemplateMultiList"})
_SAMPLER_ELEMENTS = frozenset({10, 14, 48, 145, 302, 304, *options.SAMPLING_ELEMENTS})


class Member(NamedTuple):
    """One field of a template, as it is shown. path: its place in the line, empty for one that only `ie` has."""

    specifier: Specifier
    key: str
    path: tuple[str, ...]
    reverse: bool
    type: str
    number: int
    """The element of the IANA registry, 0 for any other."""


class Layout:
    """The meaning of one announced template."""

    def __init__(self, announced: Announced, table: ElementTable, *, netflow9: bool) -> None:
        self.number = announced.number
        self.scopes = announced.scopes
        self.length = announced.length
        self.members = tuple(_member(field, table, netflow9) for field in announced.fields)
        numbers = {member.number for member in self.members}
        self.simple: Template | None = None
        """The same as a template for FlowBatch, where records need no thought one by one (see simple.py)."""
        self.both_versions = bool(numbers & {8, 12}) and bool(numbers & {27, 28})

    def records(self, content: bytes, *, padded: bool = True) -> Iterator[list[bytes]]:
        """Yield the octets of each field of each record of a data set; a rest shorter than a record is padding.

        padded: so is a rest of zeroes, after records that differ in length.
        Raises DecodeError at a record that reaches beyond the set, after those before it.
        """
        if self.length is not None:
            for start in range(0, len(content) - self.length + 1, self.length):
                yield _fixed(content, start, self.members)
            return
        least = sum(1 if m.specifier.length == VARIABLE else m.specifier.length for m in self.members)
        offset, count = 0, 0
        while len(content) - offset >= least and count < MAX_RECORDS:
            if padded and not any(content[offset:]):
                return
            values, offset = _variable(content, offset, self.members)
            yield values
            count += 1

    def shown(self, index: int, octets: bytes, lists: Lists) -> Any:
        """Return the octets of one field as a value of JSON."""
        member = self.members[index]
        return lists(member.type, octets) if member.type in _LIST_TYPES else _value(member, octets)


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
    path = tuple(element.field.split(".")) if element.field else ()
    if path and reverse:
        path = ("r_" + path[0], *path[1:])
    return Member(specifier, key, path, reverse, element.type, element.id if element.enterprise == IANA else 0)


class Record:
    """One record, decoded into members of a line."""

    def __init__(self, layout: Layout, octets: list[bytes], lists: Lists) -> None:
        self.fields: dict[str, Any] = {}
        self.extra: list[tuple[str, Any]] = []
        self.times: times.Times = {}
        self.reverse_times: times.Times = {}
        self.numbers: dict[int, int | float] = {}
        """Values of the elements that sampling rates hang on."""
        self._lists = lists
        hidden = _other_version(layout, octets) if layout.both_versions else frozenset()
        for member, value in zip(layout.members, octets, strict=True):
            self._add(member, value, hidden)
        self._alias()

    def _add(self, member: Member, octets: bytes, hidden: frozenset[int]) -> None:
        number = member.number
        if number == _PADDING:
            return
        if number in times.ELEMENTS:
            self._add_time(member, octets)
        elif number in hidden:
            self._put((), member.key, _value(member, octets))
        elif number in _ICMP_TYPE_CODE and len(octets) == 2:
            self._put((_named(member, "icmp_type"),), member.key, octets[0])
            self._put((_named(member, "icmp_code"),), member.key, octets[1])
        elif member.path[:1] == ("mpls",) and len(octets) == 3:
            self.fields.setdefault("mpls", []).append(_label(octets))
        elif number == _APPLICATION and octets:
            self._put(member.path, member.key, f"{octets[0]}:{int.from_bytes(octets[1:])}")
        elif number == _SEGMENTS and octets and not len(octets) % 16:
            segments = [address_text(octets[at : at + 16]) for at in range(0, len(octets), 16)]
            self._put(member.path, member.key, segments)
        elif member.type in _LIST_TYPES:
            self._put(member.path, member.key, self._lists(member.type, octets))
        else:
            self._add_plain(member, octets)

    def _add_plain(self, member: Member, octets: bytes) -> None:
        value = _value(member, octets)
        if value is None:
            return
        if member.number in _SAMPLER_ELEMENTS and not member.reverse and type(value) in (int, float):
            self.numbers.setdefault(member.number, value)
        self._put(member.path, member.key, value)

    def _add_time(self, member: Member, octets: bytes) -> None:
        """Keep the raw number for times.span(); show it where start_ms and end_ms do not tell it exactly."""
        number, value = member.number, int.from_bytes(octets)
        if not octets or len(octets) > 8:
            self._put((), member.key, octets.hex())
            return
        known = self.reverse_times if member.reverse else self.times
        first = number not in known
        known.setdefault(number, value)
        if number in (21, 22) and first:
            self._put(member.path, member.key, value & 0xFFFFFFFF)
        elif number not in _TOLD_BY_SPAN or not first or len(_rivals(number, known)) > 1:
            self._put((), member.key, _value(member, octets))

    def _put(self, path: tuple[str, ...], key: str, value: Any) -> None:
        target = self.fields
        for name in path[:-1]:
            target = target.setdefault(name, {})
        if path and path[-1] not in target:
            target[path[-1]] = value
        else:
            self.extra.append((key, value))

    def _alias(self) -> None:
        """Take other counters for bcount and pcount where an exporter sends no deltas of IP packets."""
        fields = self.fields
        if "bcount" not in fields and "l2_bcount" in fields:
            fields["bcount"] = fields["l2_bcount"]
        for name in ("bcount", "pcount"):
            if name not in fields and f"{name}_total" in fields:
                fields[name] = fields[f"{name}_total"]
                fields["counter"] = "total"

    def members(self) -> dict[str, Any]:
        """Return the members of the line, with `ie` for what has no field: pairs in order if a key repeats."""
        if not self.extra:
            return self.fields
        as_object = dict(self.extra)
        repeats = len(as_object) != len(self.extra)
        return {**self.fields, "ie": [list(pair) for pair in self.extra] if repeats else as_object}


def _rivals(number: int, known: times.Times) -> list[int]:
    family = times.START if number in times.START else times.END
    return [element for element in family if element in known]


def _named(member: Member, name: str) -> str:
    return "r_" + name if member.reverse else name


def _label(octets: bytes) -> dict[str, int]:
    """Return an entry of an MPLS label stack (RFC 3032 section 2.1) without its time to live."""
    entry = int.from_bytes(octets)
    return {"label": entry >> 4, "exp": entry >> 1 & 7, "s": entry & 1}


def _other_version(layout: Layout, octets: list[bytes]) -> frozenset[int]:
    """Tell which elements are of the version of IP that this record is not of: many templates have both."""
    values = {member.number: value for member, value in zip(layout.members, octets, strict=True)}
    told = values.get(60)
    if told:
        return _VERSION4 if told[-1] == 6 else _VERSION6
    has4 = any(any(values.get(number, b"")) for number in (8, 12))
    has6 = any(any(values.get(number, b"")) for number in (27, 28))
    return _VERSION4 if has6 and not has4 else _VERSION6


def _value(member: Member, octets: bytes) -> Any:
    kind, decode = decoder(member.type, len(octets))
    return _SHOWN.get(kind, _as_it_is)(decode(octets))


def _as_it_is(value: Any) -> Any:
    return value


def address_text(octets: bytes) -> str:
    """Return the canonical text of an address of 4 or 16 octets."""
    from socket import AF_INET, AF_INET6, inet_ntop

    return inet_ntop(AF_INET if len(octets) == 4 else AF_INET6, octets)


_SHOWN: dict[Kind, Callable[[Any], Any]] = {
    Kind.ADDRESS: address_text,
    Kind.MAC: lambda octets: octets.hex(":"),
    Kind.HEX: lambda octets: octets.hex(),
}
