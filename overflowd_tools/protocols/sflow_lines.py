"""The lines of sFlow samples: how what a sample and its records say becomes members, in any version."""

from __future__ import annotations

from functools import lru_cache

from overflowd_tools.protocols.dissection import Members
from overflowd_tools.protocols.headers import decode_header
from overflowd_tools.protocols.lines import Kind, Line, Shape
from overflowd_tools.protocols.sflow_counters import COUNTERS
from overflowd_tools.protocols.sflow_numbers import EXTENDED_SWITCH
from overflowd_tools.protocols.sflow_records import DROP_REASONS, RECORDS
from overflowd_tools.protocols.xdr import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_JSON: Final = (
    *("vlans", "mpls", "quoted", "tunnel", "outer", "carries", "in_internal", "out_internal", "records"),
    *("as_path", "communities", "mpls_in", "mpls_out", "vlan_tunnel"),
    *(record.structure.name for record in RECORDS.values() if record.nested),
    *(structure.name for structure in COUNTERS.values()),
)
_TEXTS: Final = (
    *("src_user", "dst_user", "url", "url_host", "function", "linux_drop_reason", "app_initiator", "app_target"),
    *("drop_reason_name", "sample_format"),
)
_KINDS: Final = {
    **dict.fromkeys(("saddr", "daddr", "nexthop", "bgp_nexthop", "mpls_nexthop"), Kind.ADDRESS),
    **dict.fromkeys(("smac", "dmac"), Kind.MAC),
    **dict.fromkeys(_TEXTS, Kind.TEXT),
    **dict.fromkeys(_JSON, Kind.JSON),
    "header": Kind.HEX,
}


def data_format(number: int) -> str:
    """Return a data format as text: enterprise/format."""
    return f"{number >> 12}/{number & 0xFFF}"


def make_line(kind: str, members: Members) -> Line:
    """Return the line of members, of a shape that all lines with the same members share."""
    return Line(kind, shape_of(tuple(members)), tuple(members.values()))


@lru_cache(maxsize=1024)
def shape_of(names: tuple[str, ...]) -> Shape:
    """Return the shape of members of these names."""
    return Shape(*((name, _KINDS.get(name, Kind.INTEGER)) for name in names))


def source_members(sequence: int, source_class: int, index: int) -> Members:
    """Return the members that say where a sample comes from; no source_class means 0, an ifIndex."""
    members: Members = {"sample_seq": sequence, "source_id": index}
    if source_class:
        members["source_class"] = source_class
    return members


def interface_members(direction: str, form: int, value: int, internal: tuple[int, ...]) -> Members:
    """Return the members of the interface "in" or "out" that has this format and value."""
    if form == 0:
        return {f"{direction}_internal": True} if value in internal else {f"{direction}_if": value}
    if direction == "out" and form == 1:
        return reason_members(value)
    if direction == "out" and form == 2:
        return {"out_ifs": value}
    return {f"{direction}_if": value, f"{direction}_if_format": form}


def reason_members(reason: int) -> Members:
    """Return the members that say why a packet was dropped."""
    members: Members = {"drop_reason": reason}
    if reason in DROP_REASONS:
        members["drop_reason_name"] = DROP_REASONS[reason]
    return members


class FlowSample:
    """One sampled packet: what the sample says, the header of the packet, and the other records about it."""

    def __init__(self, sampling: Members) -> None:
        """Take the members of the sample itself."""
        self._sampling = sampling
        self._packet: Members = {}
        self._header: Members = {}
        self._octets = b""
        self._extended: list[tuple[int, Members, bytes]] = []
        self._kept: list[list[str]] = []

    def read_header(self, reader: Reader, *, with_stripped: bool = True) -> str:
        """Read a sampled_header. Return what is wrong with it, if anything; raises DecodeError if it is cut."""
        protocol, frame, *stripped, promised = reader.integers(4 if with_stripped else 3)
        octets = reader.fixed(min(promised, reader.left))
        self._packet = decode_header(protocol, octets)
        self._header = {"hdr_proto": protocol, "frame_len": frame}
        if stripped:
            (self._header["stripped"],) = stripped
        self._octets = octets
        return f"{promised} octets of header promised, {len(octets)} there" if promised > len(octets) else ""

    @property
    def has_header(self) -> bool:
        """Whether a header has been read."""
        return bool(self._header)

    def add(self, number: int, members: Members, octets: bytes) -> None:
        """Add a record of the given data format, read and as it came."""
        self._extended.append((number, members, octets))

    def keep(self, number: int, octets: bytes) -> None:
        """Add a record that cannot be read, as it came."""
        self._kept.append([data_format(number), octets.hex()])

    def line(self, kind: str, *, header: bool) -> Line:
        """Return the line of the sample, with or without the octets of a header whose addresses could be read."""
        members: Members = {"pcount": 1, **self._packet}
        self._header_tags(members)
        members |= self._sampling
        members |= self._header
        for number, extended, octets in self._extended:
            self._merge(members, number, extended, octets)
        if "bcount" not in members and "frame_len" in members:
            frame, stripped = members["frame_len"], members.get("stripped", 0)
            members["bcount"] = frame - stripped if stripped < frame else frame
        if self._header and (header or "saddr" not in self._packet):
            members["header"] = self._octets
        if self._kept:
            members["records"] = self._kept
        return make_line(kind, members)

    def _header_tags(self, members: Members) -> None:
        """Make place for what the switch says about VLANs; the tags are shown beside it if they say something else."""
        switch = next((fields for number, fields, _ in self._extended if number == EXTENDED_SWITCH), None)
        if switch is None or "vlan" not in members:
            return
        tags = members.pop("vlans", [members["vlan"]])
        del members["vlan"], members["vlan_prio"]
        if tags != [switch["vlan"]]:
            members["vlans"] = tags

    def _merge(self, members: Members, number: int, extended: Members, octets: bytes) -> None:
        for name in extended.keys() & members.keys():
            ours, theirs = members[name], extended[name]
            if not (isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys().isdisjoint(theirs)):
                self.keep(number, octets)
                return
            extended = extended | {name: ours | theirs}
        members |= extended
