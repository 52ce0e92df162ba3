"""Which columns the lines of a template consist of."""

from collections.abc import Callable, Container, Iterator
from functools import partial
from itertools import accumulate, groupby
from typing import NamedTuple

from overflowd_tools.columns import cells
from overflowd_tools.columns.cells import Column
from overflowd_tools.protocols.templates import Field, Kind, Template
from overflowd_tools.rendering import FLOW_PREFIX, _section, member

NO_PCOUNT = b'{"type":"flow"'
"""How lines without a packet count begin."""
_ROWS = 3072
"""Lines made at a time: many, since each call of numpy has its price; few, since columns must stay in the cache."""
_PAGE = 1 << 22
"""Octets of the lines made at a time, about."""
_FEWEST_ROWS = 256
"""Of lines so long that only fewer are made at a time, there is nothing to gain."""
_ABSOLUTE = {"stime": "start_ms", "etime": "end_ms"}
_ENDS = {*_ABSOLUTE, *_ABSOLUTE.values()}
_ADDRESSES = {"saddr", "daddr"}
_STILL = {"core", "rest", "extra"}

Make = Callable[[int, bytes], Column]
"""Makes a column: (most rows, constant text behind its own)."""


def supports(template: Template) -> bool:
    """Tell whether lines of a template can be made by columns."""
    fields = [field for field in template.fields if field.kind is not Kind.PADDING]
    names = [field.name for field in fields if not field.extra]
    if len(set(names)) < len(names) or any({start, absolute} <= {*names} for start, absolute in _ABSOLUTE.items()):
        return False
    if not getattr(template, "plain", True):
        return False
    if template.icmp_in_port and _place(template, "protocol").field.kind is not Kind.UNSIGNED:
        return False
    return all(map(_is_supported, fields)) and most_rows(template) >= _FEWEST_ROWS


def _is_supported(field: Field) -> bool:
    section = _section(field)
    lengths: Container[int] = ()
    if field.kind is Kind.UPTIME and section in _ABSOLUTE:
        lengths = (4,)
    elif field.kind is Kind.SECONDS and section in _ABSOLUTE.values():
        lengths = range(1, 5)
    elif field.kind is Kind.UNSIGNED and section not in _ABSOLUTE:
        lengths = range(1, 9)
    elif section in _ADDRESSES or section in _STILL:
        lengths = {Kind.IPV4: (4,), Kind.IPV6: (16,)}.get(field.kind, ())
        if section in _STILL and field.kind in (Kind.MAC, Kind.TEXT, Kind.OCTETS):
            lengths = range(1, 1 << 16)
    return field.length in lengths


def most_rows(template: Template) -> int:
    """Return how many lines of a template to make at a time."""
    wide = (Kind.IPV6, Kind.TEXT)
    longest = 200
    for field in template.fields:
        longest += len(field.name) + 8 + field.length * (8 if field.kind in wide else 4)
    return min(_ROWS, _PAGE // longest)


class _Place(NamedTuple):
    """A field, and how many octets there are before it in a record."""

    field: Field
    offset: int

    @property
    def where(self) -> tuple[int, int]:
        """Its offset and length."""
        return self.offset, self.field.length


def _places(template: Template) -> list[_Place]:
    starts = accumulate((field.length for field in template.fields), initial=0)
    return [_Place(field, offset) for field, offset in zip(template.fields, starts, strict=False)]


def _place(template: Template, name: str) -> _Place:
    return next(place for place in _places(template) if place.field.name == name and not place.field.extra)


def columns_of(template: Template, rows: int) -> list[Column]:
    """Return the columns of a line in their order. rows: the most of a block."""
    columns: list[Column] = []
    make: Make = cells.Constant
    text = b""
    for piece in _pieces(template):
        if isinstance(piece, bytes):
            text += piece
        else:
            columns.append(make(rows, text))
            make, text = piece, b""
    return [*columns, make(rows, text)]


def _pieces(template: Template) -> Iterator[bytes | Make]:
    """Yield what a line consists of, in the order of rendering.py: constant texts, and what makes columns."""
    flow: list[bytes | Make] = []
    core: list[bytes | Make] = []
    times: list[bytes | Make] = []
    rest: list[bytes | Make] = []
    extra: list[bytes | Make] = []
    sections = {"core": core, "rest": rest, "extra": extra}
    pcount: list[bytes | Make] = []
    for section, places in groupby(_places(template), lambda place: _section(place.field)):
        run = list(places)
        for place in run:
            name = place.field.name
            if section == "pcount":
                pcount = [FLOW_PREFIX, _number(place)]
            elif section in _ENDS:
                if place.field.kind is Kind.UPTIME:
                    flow += [member(name, b""), _number(place)]
                times += [member(_ABSOLUTE.get(name, name), b""), _moment(place)]
            elif section != "padding":
                sections.get(section, flow).extend(_member(place))
        if section == "core" and template.icmp_in_port and any(place.field.name == "protocol" for place in run):
            protocol, dport = (_place(template, name).where for name in ("protocol", "dport"))
            core.append(partial(cells.ICMPCodes, protocol, dport))
    yield from pcount or [NO_PCOUNT]
    yield cells.Heads
    yield from (*flow, *core, *times, *rest)
    if template.checked:
        yield cells.Suspicion
    if extra:
        first, *others = extra
        assert isinstance(first, bytes)
        yield from (b',"ie":{', first.removeprefix(b","), *others, b"}")
    yield b"}\n"


def _member(place: _Place) -> list[bytes | Make]:
    """Return a member of the line, with the comma before it."""
    name = place.field.name
    match place.field.kind:
        case Kind.IPV4:
            make: Make = partial(cells.IPv4, place.offset)
        case Kind.IPV6:
            make = partial(cells.IPv6, place.offset)
        case Kind.MAC:
            make = partial(cells.Hex, *place.where, b":")
        case Kind.OCTETS:
            make = partial(cells.Hex, *place.where, b"")
        case Kind.TEXT:
            return [member(name, b""), partial(cells.Texts, place.field, place.offset)]
        case _:
            return [member(name, b""), _number(place)]
    return [member(name, b'"'), make, b'"']


def _number(place: _Place) -> Make:
    if place.field.length <= 2:
        return partial(cells.SmallNumbers, *place.where)
    return partial(cells.Numbers, cells.of_integer(*place.where), len(str((1 << 8 * place.field.length) - 1)))


def _moment(place: _Place) -> Make:
    """Return what makes the column of start_ms or end_ms."""
    name = place.field.name
    reads = {Kind.UPTIME: cells.of_uptime, Kind.SECONDS: cells.of_seconds, Kind.UNSIGNED: cells.of_integer}
    read = cells.noted(_ABSOLUTE.get(name, name), reads[place.field.kind](*place.where))
    return partial(cells.Numbers, read, len(str((1 << 64) - 1)))
