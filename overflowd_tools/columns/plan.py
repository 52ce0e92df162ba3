"""Which columns the lines of a template consist of."""

from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from itertools import accumulate, groupby
from typing import NamedTuple

from overflowd_tools.columns import cells
from overflowd_tools.columns.cells import Column, Place
from overflowd_tools.columns.fragments import LONGEST, Fragments
from overflowd_tools.json_lines import FLOW_PREFIX
from overflowd_tools.protocols.templates import Field, Kind, Part, Template
from overflowd_tools.rendering import fields_text, member, members_text, octets_text, section_of

NO_PCOUNT = b'{"type":"flow"'
"""How lines without a packet count begin."""
_ROWS = 4096
"""Lines made at a time: many, since each call of numpy has its price; few, since columns must stay in the cache."""
_PAGE = 1 << 22
"""Octets of the lines made at a time, about."""
_FEWEST_ROWS = 256
"""Of lines so long that only fewer are made at a time, there is nothing to gain."""
_ABSOLUTE = {"stime": "start_ms", "etime": "end_ms"}
_ADDRESSES = {"saddr", "daddr"}
_STILL = {"core", "rest", "extra"}

Make = Callable[[int, bytes], Column]
"""Makes a column: (most rows, constant text behind its own)."""
Piece = bytes | Make
"""A constant text, or what makes a column."""


def supports(template: Template) -> bool:
    """Tell whether lines of a template can be made by columns."""
    if template.spans is not None or most_rows(template) < _FEWEST_ROWS:
        return False
    fields = [field for field in template.fields if field.part is None and field.kind is not Kind.PADDING]
    names = [field.name for field in fields if not field.extra]
    names += [_ABSOLUTE[field.name] for field in fields if field.kind is Kind.UPTIME and field.name in _ABSOLUTE]
    return (
        all(map(_is_supported, fields))
        and all(sum(length for _, length in places) for places in _parts(template).values())
        and len({*names}) == len(names)
        and (not template.checked or {"start_ms", "end_ms"} <= {*names})
        and (not template.icmp_in_port or {"protocol", "dport"} <= {*names})
    )


def _is_moment(field: Field) -> bool:
    """Tell whether a field is a start or an end that a line shows as Unix time."""
    return field.kind is Kind.UPTIME or field.name in _ABSOLUTE.values()


def _is_supported(field: Field) -> bool:
    section = section_of(field)
    lengths: Container[int] = ()
    if field.kind is Kind.UPTIME and section in _ABSOLUTE:
        lengths = (4,)
    elif field.kind is Kind.SECONDS and section in _ABSOLUTE.values():
        lengths = range(1, 5)
    elif field.kind is Kind.UNSIGNED:
        lengths = range(1, 9)
    elif section in _ADDRESSES or section in _STILL:
        lengths = {Kind.IPV4: (4,), Kind.IPV6: (16,)}.get(field.kind, ())
        if section in _STILL and field.kind in (Kind.MAC, Kind.TEXT, Kind.OCTETS):
            lengths = range(1, 1 << 16)
    if field.kind is not Kind.UNSIGNED and field.name in ("protocol", "dport"):
        return False
    return field.length in lengths


def most_rows(template: Template) -> int:
    """Return how many lines of a template to make at a time."""
    wide = (Kind.IPV6, Kind.TEXT, Kind.PART)
    longest = 200
    for field in template.fields:
        longest += len(field.name) + 8 + field.length * (8 if field.kind in wide else 4)
    return min(_ROWS, _PAGE // longest)


class _Placed(NamedTuple):
    """A field, and how many octets there are before it in a record."""

    field: Field
    offset: int

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.offset, self.field.length


def _placed(template: Template) -> list[_Placed]:
    offsets = accumulate((field.length for field in template.fields), initial=0)
    return [_Placed(field, offset) for field, offset in zip(template.fields, offsets, strict=False)]


def _parts(template: Template) -> dict[Part, list[Place]]:
    """Return where the octets of each part of a record are."""
    parts: dict[Part, list[Place]] = {}
    for placed in _placed(template):
        if placed.field.part is not None:
            parts.setdefault(placed.field.part, []).append(placed.place)
    return parts


def columns_of(template: Template, rows: int) -> list[Column]:
    """Return the columns of a line in their order. rows: the most of a block."""
    return _columns(_pieces(template), rows)


def _columns(pieces: Iterable[Piece], rows: int) -> list[Column]:
    columns: list[Column] = []
    make: Make = cells.Constant
    text = b""
    for piece in pieces:
        if isinstance(piece, bytes):
            text += piece
        else:
            columns.append(make(rows, text))
            make, text = piece, b""
    return [*columns, make(rows, text)]


def _pieces(template: Template) -> Iterator[Piece]:
    """Yield what a line consists of, in the order of rendering.py."""
    line = _Line()
    for section, group in groupby(_placed(template), lambda placed: section_of(placed.field)):
        run = [*group]
        if section in ("core", "rest"):
            line.add_still(section, run)
        elif section not in ("padding", "part"):
            for placed in run:
                line.add(section, placed)
        if section == "core" and template.icmp_in_port and any(placed.field.name == "protocol" for placed in run):
            line.core.append(_icmp(template))
    for part, places in _parts(template).items():
        line.add_part(part, places)
    yield from line.pcount
    yield cells.Heads
    yield from (*line.flow, *line.core, *line.times, *line.rest, members_text(template.constants))
    if template.checked:
        yield cells.Suspicion
    if line.extra:
        first, *others = line.extra
        assert isinstance(first, bytes)
        yield from (b',"ie":{', first.removeprefix(b","), *others, b"}")
    yield b"}\n"


class _Line:
    """The pieces of a line, by where they stand in it."""

    def __init__(self) -> None:
        self.pcount: list[Piece] = [NO_PCOUNT]
        self.flow: list[Piece] = []
        self.core: list[Piece] = []
        self.times: list[Piece] = []
        self.rest: list[Piece] = []
        self.extra: list[Piece] = []
        self._sections = {"core": self.core, "rest": self.rest}

    def add_still(self, section: str, run: list[_Placed]) -> None:
        """Add fields that stand side by side and take few different values."""
        for some in _short_runs(run):
            self._sections[section] += _fragments(some) if len(some) > 1 else _member(some[0])

    def add(self, section: str, placed: _Placed) -> None:
        """Add a field."""
        field = placed.field
        if section == "extra":
            self.extra.extend(_member(placed))
            return
        if section == "pcount":
            self.pcount = [FLOW_PREFIX, _number(placed)]
        elif section not in _ABSOLUTE.values():
            self.flow += _member(placed)
        if field.also:
            self.flow += [member(field.also, b""), _number(placed)]
        if _is_moment(field):
            self.times += [member(_ABSOLUTE.get(field.name, field.name), b""), _moment(placed)]

    def add_part(self, part: Part, places: list[Place]) -> None:
        """Add a part of the record."""
        if part.names:
            self.rest.append(partial(cells.Texts, places, partial(_part_members, part)))
        if part.extra:
            self.extra += [b",", partial(cells.Texts, places, partial(_part_extra, part))]


def _part_members(part: Part, octets: bytes) -> bytes:
    return members_text(part.show(octets)[0])


def _part_extra(part: Part, octets: bytes) -> bytes:
    return members_text(dict(part.show(octets)[1]))[1:]


def _icmp(template: Template) -> Make:
    """Return what makes the column of type and code of ICMP."""
    places = {placed.field.name: placed.place for placed in _placed(template) if not placed.field.extra}
    return partial(cells.ICMPCodes, places["protocol"], places["dport"])


def _short_runs(run: list[_Placed]) -> Iterator[list[_Placed]]:
    """Yield fields in runs that can be looked up as one; text is shown at lengths that its octets do not tell."""
    some: list[_Placed] = []
    octets = 0
    for placed in run:
        length = placed.field.length if placed.field.kind is not Kind.TEXT else LONGEST + 1
        octets += length
        if some and octets > LONGEST:
            yield some
            some, octets = [], length
        some.append(placed)
    yield some


def _fragments(run: list[_Placed]) -> list[Piece]:
    """Return several members of the line in one piece."""
    pieces = [piece for placed in run for piece in _member(placed)]

    def others(rows: int, suffix: bytes) -> list[Column]:
        return _columns([*pieces, suffix], rows)

    fields = [placed.field for placed in run]
    place = run[0].offset, sum(field.length for field in fields)
    return [partial(Fragments, place, fields_text(fields), others)]


def _member(placed: _Placed) -> list[Piece]:
    """Return a member of the line, with the comma before it."""
    name = placed.field.name
    match placed.field.kind:
        case Kind.IPV4:
            high, low = (partial(cells.DottedPairs, placed.offset + octets) for octets in (0, 2))
            return [member(name, b'"'), high, b".", low, b'"']
        case Kind.IPV6:
            make: Make = partial(cells.IPv6, placed.offset)
        case Kind.MAC:
            make = partial(cells.Hex, *placed.place, b":")
        case Kind.OCTETS:
            make = partial(cells.Hex, *placed.place, b"")
        case Kind.TEXT:
            return [member(name, b""), partial(cells.Texts, [placed.place], partial(octets_text, placed.field))]
        case _:
            return [member(name, b""), _number(placed)]
    return [member(name, b'"'), make, b'"']


def _number(placed: _Placed) -> Make:
    if placed.field.length <= 2:
        return partial(cells.SmallNumbers, *placed.place)
    return partial(cells.Numbers, cells.of_integer(*placed.place), len(str((1 << 8 * placed.field.length) - 1)))


def _moment(placed: _Placed) -> Make:
    """Return what makes the column of start_ms or end_ms."""
    name = placed.field.name
    reads = {Kind.UPTIME: cells.of_uptime, Kind.SECONDS: cells.of_seconds, Kind.UNSIGNED: cells.of_integer}
    read = cells.noted(_ABSOLUTE.get(name, name), reads[placed.field.kind](*placed.place))
    return partial(cells.Numbers, read, len(str((1 << 64) - 1)))
