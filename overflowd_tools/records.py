"""The lines of the pipe (overflowd-record(5)): building flow lines, reading any line.

A flow line begins {"type":"flow","pcount":N so that of-sample finds the packet count without parsing the line.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from struct import Struct
from typing import TYPE_CHECKING, Any

from overflowd_tools.errors import RecordError
from overflowd_tools.protocols.templates import Field, FlowBatch, Kind, Template
from overflowd_tools.protocols.times import DAY_MS

if TYPE_CHECKING:
    from overflowd_tools.protocols.exporters import Batch, Row

FLOW_PREFIX = b'{"type":"flow","pcount":'

Renderer = Callable[[bytes, bytes, int, int], list[bytes]]

_CORE = ("flags", "protocol", "tos")
_ABSOLUTE = {"stime": "start_ms", "etime": "end_ms"}
_MOVING = {"saddr", "daddr", "pcount", "bcount", "sport", "dport", *_ABSOLUTE, *_ABSOLUTE.values()}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_OCTETS = [b"%d" % octet for octet in range(256)]
_FRAGMENTS_KEPT = 4096


def flow_line(fields: dict[str, Any]) -> bytes:
    """Return the line of one flow, given by name of field with type and pcount first."""
    import orjson

    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def parse_line(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line. Raises RecordError for anything else."""
    import orjson

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise RecordError("not a JSON object")
    return record


class FlowWriter:
    """Writes batches of flows as lines, by one generated function a template."""

    def __init__(self, *, envelope: bool = False) -> None:
        """Show with the envelope also what the header of the datagram said, and where and when it arrived."""
        self._envelope = envelope
        self._renderers: dict[Template, Renderer] = {}

    def lines(self, batch: FlowBatch, exporter: bytes, exporter_port: int, received_ns: int) -> list[bytes]:
        """Return one line for each flow of the batch.

        exporter (4 or 16 octets), exporter_port: where the datagram came from. received_ns: when, Unix time, or 0.
        """
        renderer = self._renderers.get(batch.template)
        if renderer is None:
            if len(self._renderers) >= _FRAGMENTS_KEPT // 4:
                self._renderers.clear()
            renderer = self._renderers[batch.template] = compile_template(batch.template)
        head = b"%s%d" % (_origin(batch.source, exporter, batch.domain, batch.sampling_rate), batch.export_ms)
        if self._envelope:
            head += b',"exporter_port":%d' % exporter_port
            if batch.uptime_ms is not None:
                head += b',"uptime_ms":%d' % batch.uptime_ms
            if received_ns:
                head += b',"recv_ms":%d' % (received_ns // 1_000_000)
            head += b"".join(_member(name) % value for name, value in batch.envelope.items())
        return renderer(head, batch.records, batch.export_ms, batch.uptime_ms or 0)

    def rows(self, rows: "list[Row | Batch]") -> list[bytes]:
        """Return the lines of rows and batches, in their order."""
        lines = []
        for row in rows:
            if hasattr(row, "flows"):
                export = row.export
                lines += self.lines(row.flows, export.exporter, export.port, export.received_ns)
            else:
                lines.append(self._row(row))
        return lines

    def _row(self, row: "Row") -> bytes:
        export, members = row.export, row.members
        line: dict[str, Any] = {"type": row.type}
        if "pcount" in members:
            line["pcount"] = members["pcount"]
        line["source"] = export.source
        line["exporter"] = address_text(export.exporter).decode()
        line["domain"] = export.domain
        line["export_ms"] = export.export_ms
        if self._envelope:
            line["exporter_port"] = export.port
            if export.uptime_ms is not None:
                line["uptime_ms"] = export.uptime_ms
            if export.received_ns:
                line["recv_ms"] = export.received_ns // 1_000_000
            line |= export.envelope
        return flow_line(line | members)


@lru_cache(maxsize=_FRAGMENTS_KEPT)
def _origin(source: str, exporter: bytes, domain: int, sampling_rate: float) -> bytes:
    """Return the members that stay the same from one datagram of an exporter to the next."""
    sampled = b',"sampling_rate":%s' % str(sampling_rate).encode() if sampling_rate != 1 else b""
    form = b',"source":"%s","exporter":"%s","domain":%d%s,"export_ms":'
    return form % (source.encode(), address_text(exporter), domain, sampled)


@lru_cache(maxsize=_FRAGMENTS_KEPT)
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
            self._flow.append((_member(field.name, b'"%s.%s.%s.%s"'), octets))
            return
        variable = self._unpack(_code(field))
        if field.kind is Kind.IPV6:
            self._flow.append((_member(field.name, b'"%s"'), f"ADDRESS({variable})"))
            return
        value = variable if field.length in _CODES else f"int.from_bytes({variable})"
        if field.name == "pcount":
            self._pcount = value
        elif field.name in _ABSOLUTE.values():
            self._times.append((_member(field.name), value if field.kind is Kind.UNSIGNED else f"{value} * 1000"))
        else:
            self._flow.append((_member(field.name), value))
        if field.kind is Kind.UPTIME:
            self._uptime_offsets.append(self._offset)
            self._times.append((_member(_ABSOLUTE[field.name]), f"UPTIME({value})"))

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
    base = export_ms - 0x80000000
    shift = 0x80000000 - uptime_ms
    return [{self._line("base + (shift + ", " & 0xFFFFFFFF)")}]
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
        self._fields = fields
        self._leading = leading

    def __missing__(self, octets: bytes) -> bytes:
        if len(self) >= _FRAGMENTS_KEPT:
            self.clear()
        text = b"".join(
            b"%s%s" % (_member(field.name, b""), _value_text(field, value))
            for field, value in zip(self._fields, self._unpack(octets), strict=True)
        )
        self[octets] = text = text if self._leading else text[1:]
        return text


def _code(field: Field) -> str:
    """Return the code of the struct module for a field."""
    if field.kind in (Kind.UNSIGNED, Kind.UPTIME, Kind.SECONDS) and field.length in _CODES:
        return _CODES[field.length]
    return f"{field.length}s"


def _value_text(field: Field, value: int | bytes) -> bytes:
    """Return a value as it was unpacked as JSON."""
    if isinstance(value, int):
        return b"%d" % value
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


def _member(name: str, form: bytes = b"%d") -> bytes:
    """Return one member of a JSON object after its first, as a format."""
    return b',"%s":' % name.encode() + form
