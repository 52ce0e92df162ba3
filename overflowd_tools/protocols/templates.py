"""How the octets of a flow record are laid out, and what a datagram's worth of such records is.

NetFlow 1 and 5 to 8 have layouts for ever; they are written down in the terms in which NetFlow 9 announces them.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType

from overflowd_tools.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeAlias


class Kind(Enum):
    """What the octets of a field mean; the value says how a JSON line shows them."""

    UNSIGNED = "an integer in network byte order"
    IPV4 = "an IPv4 address, as text"
    IPV6 = "an IPv6 address, as text"
    MAC = "a hardware address, as text"
    TEXT = "UTF-8 text"
    OCTETS = "octets, as hexadecimal digits"
    SECONDS = "Unix seconds, as Unix milliseconds"
    UPTIME = "milliseconds of the exporter's sysUptime, as an integer"
    PADDING = "not shown"
    PART = "as its part of the record says"


class Part:
    """What some octets of a record say together.

    show: from these octets, the members of the line and the pairs in `ie`. names, extra: the names of these, which are
    the same for all octets.
    """

    __slots__ = ("extra", "names", "show")

    def __init__(
        self,
        show: Callable[[bytes], tuple[dict[str, Any], list[tuple[str, Any]]]],
        names: tuple[str, ...],
        extra: tuple[str, ...],
    ) -> None:
        self.show = show
        self.names = names
        self.extra = extra


Spans: TypeAlias = "Callable[[bytes, int, int], Iterator[dict[str, Any]]]"
"""(records, export_ms, uptime_ms) -> the times of each as members of the line"""


class Field(NamedTuple):
    """One field of a template: its name in a flow line, its length in octets, its kind.

    extra: it has no field of its own in the line, and stands in the object `ie`. also: another name that its value is
    shown under. part: what it is of, together with all other fields of that part.
    """

    name: str
    length: int
    kind: Kind = Kind.UNSIGNED
    extra: bool = False
    also: str = ""
    part: Part | None = None


ICMP, ICMPV6 = 1, 58
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_TIMES = ({"stime", "etime"}, {"start_ms", "end_ms"})


def icmp_of_port(protocol: int, dport: int) -> tuple[int, int] | None:
    """Return the type and code of ICMP that exporters put into the destination port, or None if they are not there.

    Those that know neither send 0, which is an echo reply otherwise; ICMPv6 has no type 0.
    """
    if protocol not in (ICMP, ICMPV6) or dport > 0xFFFF or (protocol == ICMPV6 and dport < 256):
        return None
    return dport >> 8, dport & 255


class Template:
    """A record layout: the fields in wire order, without gaps; compared by identity.

    Not a dataclass, for the time that importing those takes.
    """

    __slots__ = (
        "boot_told",
        "checked",
        "constants",
        "fields",
        "icmp_in_port",
        "length",
        "plain",
        "spans",
    )

    def __init__(
        self,
        fields: tuple[Field, ...],
        *,
        constants: Mapping[str, Any] = _NOTHING,
        spans: Spans | None = None,
        boot_told: bool = False,
    ) -> None:
        """constants: members that are the same in all lines. spans: gives the times, where no two fields do.

        boot_told: the sysUptime of the export is known from that of the boot, and not from the header.
        """
        self.fields = fields
        self.constants = constants
        self.spans = spans
        self.boot_told = boot_told
        self.plain = not (constants or spans or any(field.part or field.also for field in fields))
        """Lines say what the fields say and nothing else."""
        names = {field.name for field in fields if not field.extra}
        names.update(*(field.part.names for field in fields if field.part))
        self.checked = spans is None and any(names >= ends for ends in _TIMES)
        """Lines say if their times are suspect (see times.span): there are a start and an end."""
        self.icmp_in_port = names >= {"protocol", "dport"} and not names & {"icmp_type", "icmp_code"}
        """Lines of ICMP say its type and code by icmp_of_port: there are no fields for them."""
        self.length = sum(field.length for field in fields)
        """Octets of one record."""


class FlowBatch(NamedTuple):
    """The flows of one export datagram that share a template, and what its header says about them.

    records: the whole records, one after the other. export_ms: the exporter's clock, Unix milliseconds. uptime_ms: its
    sysUptime at that moment. sampling_rate: 1 for every packet. envelope: the rest of the header, by name of the line's
    field. announced: the number of records that the header promises. surplus: octets behind these, if they are not all
    zero. lost: what is missing before the first record, which tells it.
    """

    source: str
    template: Template
    records: bytes
    domain: int
    export_ms: int
    uptime_ms: int | None
    sampling_rate: float
    envelope: dict[str, int]
    announced: int
    surplus: int = 0
    lost: int = 0
