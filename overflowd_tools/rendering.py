"""From decoded flows to the text of lines: one generated function a template.

Nothing here is in the way of a flow but the formatting of its numbers: no dictionary, and no JSON library.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import groupby
from struct import Struct
from weakref import WeakValueDictionary

from overflowd_tools.json_lines import FLOW_PREFIX, json_text
from overflowd_tools.protocols.templates import (
    ICMP,
    ICMPV6,
    Field,
    Kind,
    Part,
    Spans,
    Template,
    icmp_of_port,
)
from overflowd_tools.protocols.times import DAY_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, ClassVar, TypeAlias

FRAGMENTS_KEPT = 4096
ALL_FRAGMENTS_KEPT = 65_536

Run = tuple[bytes, bytes, int, int]
"""The flows of a datagram that share a template: head of their lines, records, export_ms, uptime_ms"""

Renderer: TypeAlias = "Callable[[bytes, bytes, int, int], list[bytes]]"
"""(head, records, export_ms, uptime_ms) -> lines"""

_CORE = ("flags", "protocol", "tos")
_ABSOLUTE = {"stime": "start_ms", "etime": "end_ms"}
_ENDS = {*_ABSOLUTE, *_ABSOLUTE.values()}
_MOVING = {"saddr", "daddr", "pcount", "bcount", "sport", "dport", "ip_id", *_ABSOLUTE, *_ABSOLUTE.values()}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_NEAR = [bytes(range(max(octet - 4, 0), octet + 5)) for octet in range(123)]
"""First octets of sysUptime, which count 4.7 hours -> those less than a day away, where bit 31 is in no way."""
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
    for section, fields in groupby(template.fields, section_of):
        plan.add(section, list(fields))
    return plan.compile()


def section_of(field: Field) -> str:
    """Return what a field shares with neighbours that are rendered in one piece with it."""
    if field.kind is Kind.PADDING:
        return "padding"
    if field.part is not None:
        return "part"
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
        self._names: dict[str, Any] = {"OCTETS": _OCTETS, "ADDRESS": address_text, "NEAR": _NEAR}
        self._flow: list[tuple[bytes, str]] = []
        self._core: list[tuple[bytes, str]] = []
        self._times: list[tuple[str, Kind, str]] = []
        self._rest: list[tuple[bytes, str]] = []
        self._extra: list[tuple[bytes, str]] = []
        self._parts: dict[Part, list[str]] = {}
        self._uptime_offsets: dict[str, int] = {}
        self._pcount = ""

    def add(self, section: str, fields: list[Field]) -> None:
        """Add a run of fields of one section."""
        length = sum(field.length for field in fields)
        if section == "padding":
            self._codes += f"{length}x"
        elif section == "part":
            for field in fields:
                assert field.part is not None
                self._parts.setdefault(field.part, []).append(self._unpack(f"{field.length}s"))
        elif section in ("core", "rest", "extra"):
            target = {"core": self._core, "rest": self._rest, "extra": self._extra}[section]
            target.append((b"%s", self._look_up(fields, leading=target is not self._extra or bool(target))))
        else:
            for field in fields:
                self._add_moving(field)
        self._offset += length

    def _look_up(self, fields: list[Field], *, leading: bool) -> str:
        """Return how fields are found, rendered, by their octets; of ICMP by the destination port as well."""
        octets = self._unpack(f"{sum(field.length for field in fields)}s")
        run = _Run(fields, leading=leading)
        if not self._template.icmp_in_port or all(field.name != "protocol" for field in fields):
            return f"{self._keep(run.text)}[{octets}]"
        dport = next(_integer(field) for field in self._template.fields if field.name == "dport")
        return f"({self._keep(run.text_but_icmp)}[{octets}] or {self._keep(run.icmp_text)}[{octets}, {dport}])"

    def _keep(self, text: Callable[[Any], bytes]) -> str:
        """Return the name of a new table of fragments."""
        name = f"T{len(self._names)}"
        self._names[name] = _Fragments(text)
        return name

    def _add_moving(self, field: Field) -> None:
        if field.kind is Kind.IPV4:
            octets = ", ".join(f"OCTETS[{self._unpack('B')}]" for _ in range(4))
            self._flow.append((member(field.name, b'"%s.%s.%s.%s"'), octets))
            return
        variable = self._unpack(_code(field), field.name)
        if field.kind is Kind.IPV6:
            self._flow.append((member(field.name, b'"%s"'), f"ADDRESS({variable})"))
            return
        value = _integer(field)
        if field.name == "pcount":
            self._pcount = value
        elif field.name not in _ABSOLUTE.values():
            self._flow.append((member(field.name), value))
        if field.also:
            self._flow.append((member(field.also), value))
        if field.kind is Kind.UPTIME:
            self._uptime_offsets[field.name] = self._offset
        if field.kind is Kind.UPTIME or field.name in _ABSOLUTE.values():
            self._times.append((_ABSOLUTE.get(field.name, field.name), field.kind, value))

    def _unpack(self, code: str, name: str = "") -> str:
        self._codes += code
        self._variables.append(name or f"v{len(self._variables)}")
        return self._variables[-1]

    def compile(self) -> Renderer:
        """Return the renderer of all that was added."""
        for part, variables in self._parts.items():
            self._add_part(part, " + ".join(variables))
        if self._template.spans is not None:
            self._names["SPANS"] = partial(_span_texts, self._template.spans)
            self._rest.append((b"%s", "span"))
        names = {
            **self._names,
            "FORM": self._form(),
            "SUSPECT": self._form(b',"time_suspect":true'),
            "unpack": Struct(self._codes).iter_unpack,
        }
        exec(self._source(), names)  # noqa: S102 - made of our own field tables alone
        renderer: Renderer = names["render"]
        return renderer

    def _add_part(self, part: Part, octets: str) -> None:
        """Add what octets, an expression, say as one."""
        if part.names:
            self._rest.append((b"%s", f"{self._keep(lambda key: members_text(part.show(key)[0]))}[{octets}]"))
        if part.extra:
            comma = 0 if self._extra else 1
            table = self._keep(lambda key: members_text(dict(part.show(key)[1]))[comma:])
            self._extra.append((b"%s", f"{table}[{octets}]"))

    def _form(self, suspect: bytes = b"") -> bytes:
        """Return the format of a line."""
        start = FLOW_PREFIX + b"%d%s" if self._pcount else b'{"type":"flow"%s'
        times = [(member(name), "") for name, _, _ in self._times]
        pieces = b"".join(form for form, _ in (*self._flow, *self._core, *times, *self._rest))
        extra = b',"ie":{' + b"".join(form for form, _ in self._extra) + b"}" if self._extra else b""
        constants = members_text(self._template.constants).replace(b"%", b"%%")
        return start + pieces + constants + suspect + extra + b"}\n"

    def _source(self) -> str:
        """Return the source of the renderer: quick where all times are near the export, right everywhere."""
        return f"""
def render(head, records, export_ms, uptime_ms):
    if {self._near()}:
        base = export_ms - uptime_ms
        return [{self._lines("base + {}", near=True)}]
    least, most = export_ms - {DAY_MS}, export_ms + {DAY_MS}
    base, shift = export_ms + 0x80000000, uptime_ms + 0x80000000
    return [{self._lines("base - (shift - {} & 0xFFFFFFFF)", near=False)}]
"""

    def _near(self) -> str:
        """Return the condition that no clock wraps, and that flows began within a day of the export."""
        conditions = [f"uptime_ms < {len(_NEAR) << 24}"]
        for name, at in self._uptime_offsets.items():
            octets = f"records[{at}::{self._template.length}]"
            near = f"not {octets}.strip(NEAR[uptime_ms >> 24])" if name == "stime" else f"{octets}.isascii()"
            conditions.append(near)
        return " and ".join(conditions) if self._uptime_offsets else "False"

    def _lines(self, of_uptime: str, *, near: bool) -> str:
        """Return the comprehension of the lines. of_uptime: an uptime as Unix time."""
        forms = {Kind.UPTIME: of_uptime, Kind.SECONDS: "{} * 1000", Kind.UNSIGNED: "{}"}
        times = {name: forms[kind].format(value) for name, kind, value in self._times}
        form = "FORM"
        if self._template.checked and near:
            form = "(FORM if stime <= etime else SUSPECT)"
        elif self._template.checked:
            checks = "(s := {start_ms}) <= (e := {end_ms}) and least <= s <= most".format(**times)
            form = f"(FORM if {checks} else SUSPECT)"
            times |= {"start_ms": "s", "end_ms": "e"}
        values = [self._pcount, "head"] if self._pcount else ["head"]
        values += [value for _, value in (*self._flow, *self._core)]
        values += times.values()
        values += [value for _, value in (*self._rest, *self._extra)]
        variables, records = f"({''.join(f'{variable}, ' for variable in self._variables)})", "unpack(records)"
        if self._template.spans is not None:
            variables += ", span"
            records = f"zip({records}, SPANS(records, export_ms, uptime_ms))"
        return f"{form} % ({', '.join(values)},) for {variables} in {records}"


class _Fragments(dict["Any", bytes]):
    """Octets of records -> what lines show of them; emptied when it, or all such tables together, have grown too large.

    Only what is made counts, and since all were emptied: an exporter can fill many tables, but not for long.
    """

    tables: ClassVar[WeakValueDictionary[int, _Fragments]] = WeakValueDictionary()
    made: ClassVar[int] = 0

    def __init__(self, text: Callable[[Any], bytes]) -> None:
        """text: makes what is not there yet."""
        super().__init__()
        self._text = text
        _Fragments.tables[id(self)] = self

    def __missing__(self, octets: Any) -> bytes:
        _Fragments.made += 1
        if _Fragments.made >= ALL_FRAGMENTS_KEPT:
            _Fragments.made = 0
            for table in list(_Fragments.tables.values()):
                table.clear()
        if len(self) >= FRAGMENTS_KEPT:
            self.clear()
        text = self[octets] = self._text(octets)
        return text


def fields_text(fields: list[Field]) -> Callable[[bytes], bytes]:
    """Return what makes the part of the line of fields that stand side by side, from their octets."""
    return _Run(fields).text


class _Run:
    """Fields that stand side by side in records and in lines."""

    def __init__(self, fields: list[Field], *, leading: bool = True) -> None:
        """leading: their part of the line begins with a comma."""
        self._unpack = Struct("!" + "".join(map(_code, fields))).unpack
        self._form = b"".join([member(field.name, b"%s" if _code(field).endswith("s") else b"%d") for field in fields])
        self._form = self._form if leading else self._form[1:]
        self._octets = [(place, field) for place, field in enumerate(fields) if _code(field).endswith("s")]
        names = [field.name for field in fields]
        place = names.index("protocol") if "protocol" in names else 0
        start = sum(field.length for field in fields[:place])
        self._protocol = slice(start, start + fields[place].length)

    def text(self, octets: bytes) -> bytes:
        """Return their part of the line."""
        values = list(self._unpack(octets))
        for place, field in self._octets:
            values[place] = octets_text(field, values[place])
        return self._form % tuple(values)

    def text_but_icmp(self, octets: bytes) -> bytes:
        """Return the same; nothing if the protocol among them is ICMP."""
        return b"" if int.from_bytes(octets[self._protocol]) in (ICMP, ICMPV6) else self.text(octets)

    def icmp_text(self, octets_and_dport: tuple[bytes, int]) -> bytes:
        """Return the same of ICMP, with its type and code if the destination port tells them."""
        octets, dport = octets_and_dport
        icmp = icmp_of_port(int.from_bytes(octets[self._protocol]), dport)
        return self.text(octets) + (b"" if icmp is None else b',"icmp_type":%d,"icmp_code":%d' % icmp)


def _integer(field: Field) -> str:
    """Return the expression for the value of a field that was unpacked under its name."""
    return field.name if field.length in _CODES else f"int.from_bytes({field.name})"


def _code(field: Field) -> str:
    """Return the code of the struct module for a field."""
    if field.kind in (Kind.UNSIGNED, Kind.UPTIME, Kind.SECONDS) and field.length in _CODES:
        return _CODES[field.length]
    return f"{field.length}s"


def octets_text(field: Field, value: bytes) -> bytes:
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


def members_text(members: Mapping[str, Any]) -> bytes:
    """Return members as JSON, each after a comma."""
    if not members:
        return b""
    return b"," + json_text(dict(members))[1:-1]


def _span_texts(spans: Spans, records: bytes, export_ms: int, uptime_ms: int) -> Iterator[bytes]:
    return map(members_text, spans(records, export_ms, uptime_ms))


def _text(octets: bytes) -> bytes:
    from overflowd_tools.protocols.values import decoder

    return json_text(decoder("string", len(octets)).decode(octets))


def member(name: str, form: bytes = b"%d") -> bytes:
    """Return one member of a JSON object after its first, as a format."""
    return b',"%s":' % name.encode() + form
