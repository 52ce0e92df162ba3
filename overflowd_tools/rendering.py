"""From decoded flows to the text of lines: one generated function a template, one format a shape.

Nothing here is in the way of a flow but the formatting of its numbers: no dictionary, and no JSON library.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from struct import Struct
from typing import TYPE_CHECKING, Any

from overflowd_tools.protocols.templates import Field, Kind, Template
from overflowd_tools.protocols.times import DAY_MS

if TYPE_CHECKING:
    from overflowd_tools.protocols.lines import Line, Shape

FLOW_PREFIX = b'{"type":"flow","pcount":'
FRAGMENTS_KEPT = 4096

Renderer = Callable[[bytes, bytes, int, int], list[bytes]]
"""(head, records, export_ms, uptime_ms) -> lines"""

_CORE = ("flags", "protocol", "tos")
_ABSOLUTE = {"stime": "start_ms", "etime": "end_ms"}
_MOVING = {"saddr", "daddr", "pcount", "bcount", "sport", "dport", *_ABSOLUTE, *_ABSOLUTE.values()}
_MOVING |= {"sample_seq", "sample_pool", "ip_id"}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_OCTETS = [b"%d" % octet for octet in range(256)]


@lru_cache(maxsize=FRAGMENTS_KEPT)
def address_text(address: bytes) -> bytes:
    """Return the canonical text of an address of 4 or 16 octets."""
    if len(address) == 4:
        return b"%d.%d.%d.%d" % tuple(address)
    from socket import AF_INET6, inet_ntop

    return inet_ntop(AF_INET6, address).encode()


def compile_template(template: Template) -> Renderer:
    """Generate the function (head, records, export_ms, uptime_ms) -> lines for one layout.

    Counters, times, ports and addresses are formatted for every flow. What else stands side by side in a record takes
    few different values and is looked up, already rendered, by its octets. Absolute times are the export time less a
    signed 32-bit difference: First and Last may lie a little after sysUptime, and sysUptime wraps after 49.7 days.
    """
    plan = _Plan(template)
    for section, fields in groupby(template.fields, _section):
        plan.add(section, list(fields))
    return plan.compile()


def _section(field: Field) -> str:
    """Return what a field shares with neighbours that are rendered in one piece with it."""
    if field.kind is Kind.PADDING:
        return "padding"
    if field.extra:
        return "extra"
    if field.name in _MOVING:
        return field.name
    return "core" if field.name in _CORE else "rest"


class _Plan:
    """The source of a renderer in the making: what to unpack, and the pieces of the line in their order."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._offset = 0
        self._codes = "!"
        self._variables: list[str] = []
        self._names: dict[str, Any] = {"OCTETS": _OCTETS, "ADDRESS": address_text, "SUSPECT": b',"time_suspect":true'}
        self._flow: list[tuple[bytes, str]] = []
        self._core: list[tuple[bytes, str]] = []
        self._times: list[tuple[bytes, str]] = []
        self._rest: list[tuple[bytes, str]] = []
        self._extra: list[tuple[bytes, str]] = []
        self._uptime_offsets: list[int] = []
        self._pcount = ""

    def add(self, section: str, fields: list[Field]) -> None:
        """Add a run of fields of one section."""
        length = sum(field.length for field in fields)
        if section == "padding":
            self._codes += f"{length}x"
        elif section in ("core", "rest", "extra"):
            target = {"core": self._core, "rest": self._rest, "extra": self._extra}[section]
            table = f"T{len(self._names)}"
            self._names[table] = _Fragments(fields, leading=target is not self._extra or bool(target))
            target.append((b"%s", f"{table}[{self._unpack(f'{length}s')}]"))
        else:
            for field in fields:
                self._add_moving(field)
        self._offset += length

    def _add_moving(self, field: Field) -> None:
        if field.kind is Kind.IPV4:
            octets = ", ".join(f"OCTETS[{self._unpack('B')}]" for _ in range(4))
            self._flow.append((member(field.name, b'"%s.%s.%s.%s"'), octets))
            return
        variable = self._unpack(_code(field))
        if field.kind is Kind.IPV6:
            self._flow.append((member(field.name, b'"%s"'), f"ADDRESS({variable})"))
            return
        value = variable if field.length in _CODES else f"int.from_bytes({variable})"
        if field.name == "pcount":
            self._pcount = value
        elif field.name in _ABSOLUTE.values():
            self._times.append((member(field.name), value if field.kind is Kind.UNSIGNED else f"{value} * 1000"))
        else:
            self._flow.append((member(field.name), value))
        if field.kind is Kind.UPTIME:
            self._uptime_offsets.append(self._offset)
            self._times.append((member(_ABSOLUTE[field.name]), f"UPTIME({value})"))

    def _unpack(self, code: str) -> str:
        self._codes += code
        self._variables.append(f"v{len(self._variables)}")
        return self._variables[-1]

    def compile(self) -> Renderer:
        """Return the renderer of all that was added."""
        pieces = [*self._flow, *self._core, *self._times, *self._rest]
        form = b"".join(form for form, _ in pieces)
        if self._template.checked:
            form += b"%s"
        if self._extra:
            form += b',"ie":{' + b"".join(form for form, _ in self._extra) + b"}"
        start = FLOW_PREFIX + b"%d%s" if self._pcount else b'{"type":"flow"%s'
        length = self._template.length
        near = "".join(f" and max(records[{at}::{length}]) < 128" for at in self._uptime_offsets)
        source = f"""
def render(head, records, export_ms, uptime_ms):
    least, most = export_ms - {DAY_MS}, export_ms + {DAY_MS}
    if uptime_ms < 0x80000000 and records{near}:
        base = export_ms - uptime_ms
        return [{self._line("base + ")}]
    base = export_ms + 0x80000000
    shift = uptime_ms + 0x80000000
    return [{self._line("base - (shift - ", " & 0xFFFFFFFF)")}]
"""
        names = {**self._names, "FORM": start + form + b"}\n", "unpack": Struct(self._codes).iter_unpack}
        exec(source, names)  # noqa: S102 - made of our own field tables alone
        renderer: Renderer = names["render"]
        return renderer

    def _line(self, before: str, after: str = "") -> str:
        """Return the comprehension of the lines, with absolute times as before + sysUptime + after."""
        values = [self._pcount, "head"] if self._pcount else ["head"]
        values += [value for _, value in (*self._flow, *self._core)]
        for form, value in self._times:
            absolute = value.replace("UPTIME(", before, 1)[:-1] + after if "UPTIME" in value else value
            values.append(f"({'s' if b'start' in form else 'e'} := {absolute})" if self._template.checked else absolute)
        values += [value for _, value in self._rest]
        if self._template.checked:
            values.append("b'' if least <= s <= most and s <= e else SUSPECT")
        values += [value for _, value in self._extra]
        return f"FORM % ({', '.join(values)},) for {', '.join(self._variables)}, in unpack(records)"


class _Fragments(dict[bytes, bytes]):
    """The octets of some neighbouring fields -> their part of the line; emptied when it has grown too large."""

    def __init__(self, fields: list[Field], *, leading: bool = True) -> None:
        """leading: the part begins with a comma."""
        super().__init__()
        self._unpack = Struct("!" + "".join(map(_code, fields))).unpack
        self._form = b"".join([member(field.name, b"%s" if _code(field).endswith("s") else b"%d") for field in fields])
        self._form = self._form if leading else self._form[1:]
        self._octets = [(place, field) for place, field in enumerate(fields) if _code(field).endswith("s")]

    def __missing__(self, octets: bytes) -> bytes:
        if len(self) >= FRAGMENTS_KEPT:
            self.clear()
        values = list(self._unpack(octets))
        for place, field in self._octets:
            values[place] = _octets_text(field, values[place])
        text = self[octets] = self._form % tuple(values)
        return text


def _code(field: Field) -> str:
    """Return the code of the struct module for a field."""
    if field.kind in (Kind.UNSIGNED, Kind.UPTIME, Kind.SECONDS) and field.length in _CODES:
        return _CODES[field.length]
    return f"{field.length}s"


def _octets_text(field: Field, value: bytes) -> bytes:
    """Return a value that was unpacked as octets as JSON."""
    match field.kind:
        case Kind.UNSIGNED:
            return b"%d" % int.from_bytes(value)
        case Kind.IPV4 | Kind.IPV6:
            return b'"%s"' % address_text(value)
        case Kind.MAC:
            return b'"%s"' % value.hex(":").encode()
        case Kind.TEXT:
            return _text(value)
    return b'"%s"' % value.hex().encode()


def _text(octets: bytes) -> bytes:
    import orjson

    from overflowd_tools.protocols.values import decoder

    return orjson.dumps(decoder("string", len(octets)).decode(octets))


def member(name: str, form: bytes = b"%d") -> bytes:
    """Return one member of a JSON object after its first, as a format."""
    return b',"%s":' % name.encode() + form


class ShapeWriter:
    """Renders lines of decoders that give values and shapes (protocols/lines.py), by one format a shape."""

    def __init__(self) -> None:
        self._formats: dict[tuple[Shape, str], tuple[bytes, list[tuple[int, Callable[[Any], bytes]]], int]] = {}

    def text(self, line: "Line", head: bytes) -> bytes:
        """Return the text of a line. head: the members that stand after type and pcount, each after a comma."""
        known = self._formats.get((line.shape, line.type))
        if known is None:
            if len(self._formats) >= FRAGMENTS_KEPT:
                self._formats.clear()
            known = self._formats[line.shape, line.type] = _shape_format(line.shape, line.type)
        form, texts, packets = known
        values = [*line.values]
        for index, text in texts:
            values[index] = text(values[index])
        if packets < 0:
            return form % (head, *values)
        return form % (values.pop(packets), head, *values)


def _shape_format(shape: "Shape", line_type: str) -> tuple[bytes, list[tuple[int, Callable[[Any], bytes]]], int]:
    """Return the format of a shape, which values need a function to become text, and where its pcount is."""
    from overflowd_tools.protocols.lines import Kind as Values

    functions: dict[Values, Callable[[Any], bytes]] = {
        Values.ADDRESS: address_text,
        Values.MAC: lambda octets: bytes(octets).hex(":").encode(),
        Values.HEX: lambda octets: bytes(octets).hex().encode(),
        Values.TEXT: _json,
        Values.FLOAT: _json,
        Values.JSON: _json,
    }
    quoted = (Values.ADDRESS, Values.MAC, Values.HEX)
    texts = [(index, functions[kind]) for index, kind in enumerate(shape.kinds) if kind in functions]
    packets = shape.names.index("pcount") if "pcount" in shape.names else -1
    form = b'{"type":"%s"' % line_type.encode() + (b',"pcount":%d%s' if packets >= 0 else b"%s")
    for index, (name, kind) in enumerate(zip(shape.names, shape.kinds, strict=True)):
        if index != packets:
            form += member(name, b"%d" if kind is Values.INTEGER else b'"%s"' if kind in quoted else b"%s")
    return form + b"}\n", texts, packets


def _json(value: Any) -> bytes:
    import orjson

    return orjson.dumps(value)
