"""The announced templates that need no thought for each record: of fixed length, one element for each field.

They render by the same generated functions as NetFlow 5; every other template goes record by record (layouts.Record).
What a line says is the same either way.
"""

from overflowd_tools.protocols import options
from overflowd_tools.protocols.layouts import Layout, Member
from overflowd_tools.protocols.templates import Field, Kind, Template

_NOT_SIMPLE = frozenset({32, 95, 139, 497, 48, 302, 304, *options.SAMPLING_ELEMENTS})
_TIMES = {
    **dict.fromkeys((21, 22), Kind.UPTIME),
    **dict.fromkeys((150, 151), Kind.SECONDS),
    **dict.fromkeys((152, 153), Kind.UNSIGNED),
}
_TIME_LENGTHS = {Kind.UPTIME: 4, Kind.SECONDS: 4, Kind.UNSIGNED: 8}
_OTHER_TIMES = frozenset({*range(154, 163), 258, *range(322, 326)})
_PADDING = 210
_ADDRESS_LENGTHS = {"ipv4Address": (Kind.IPV4, 4), "ipv6Address": (Kind.IPV6, 16), "macAddress": (Kind.MAC, 6)}
_COUNTED = frozenset({"unsigned8", "unsigned16", "unsigned32", "unsigned64"})
_TIME_NAMES = frozenset({"start_ms", "end_ms", "stime", "etime"})
_COUNTERS = frozenset({"bcount", "pcount"})


def simple_template(layout: Layout) -> Template | None:
    """Return the layout as a template that renders without a look at the records, or None if it is not so simple."""
    if layout.length is None or layout.options or layout.both_versions or layout.sections is not None:
        return None
    fields = [_field(member) for member in layout.members]
    known = [field for field in fields if field is not None]
    names = [field.name for field in known if field.kind is not Kind.PADDING]
    if len(known) < len(fields) or len(set(names)) < len(names):
        return None
    times = {name for name in names if name in _TIME_NAMES}
    if not set(names) >= _COUNTERS or times not in ({"start_ms", "end_ms"}, {"stime", "etime"}):
        return None
    return Template(tuple(known))


def _field(member: Member) -> Field | None:
    """Return a member as a field, or None if it needs thought."""
    number, length = member.number, member.specifier.length
    if number == _PADDING:
        return Field("", length, Kind.PADDING)
    if member.reverse or number in _NOT_SIMPLE or number in _OTHER_TIMES or len(member.path) > 1 or not length:
        return None
    if member.path == ("mpls",):
        return None
    kind = _TIMES.get(number) or _kind(member.type, length)
    if kind is None or (number in _TIMES and length != _TIME_LENGTHS[kind]):
        return None
    return Field(member.path[0], length, kind) if member.path else Field(member.key, length, kind, extra=True)


def _kind(element_type: str, length: int) -> Kind | None:
    if element_type in _ADDRESS_LENGTHS:
        kind, right_length = _ADDRESS_LENGTHS[element_type]
        return kind if length == right_length else None
    if element_type in _COUNTED:
        return Kind.UNSIGNED if length <= 8 else None
    return {"string": Kind.TEXT, "octetArray": Kind.OCTETS}.get(element_type)
