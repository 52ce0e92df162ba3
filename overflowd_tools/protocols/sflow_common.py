"""The commonest sFlow samples as records of templates: what is checked is read, the rest stays octets in their order.

So a line costs one unpacking, and the lines of many samples can be written without unpacking them one by one.
"""

import struct
from typing import Final, TypeAlias

from overflowd_tools.protocols.headers import ETHERNET, TUNNEL_PORTS
from overflowd_tools.protocols.lines import Kind as LineKind
from overflowd_tools.protocols.lines import Line, Shape
from overflowd_tools.protocols.sflow_lines import INTERNAL, shape_of
from overflowd_tools.protocols.sflow_records import EXTENDED_ROUTER, EXTENDED_SWITCH, SAMPLED_HEADER
from overflowd_tools.protocols.templates import Field, Kind, Template

_TWO: Final = struct.Struct("!II")
_COMPACT: Final = struct.Struct("!4xI12xIIIII")  # up to the length of the first record
_EXPANDED: Final = struct.Struct("!4xI16xIIIII")
_COMPACT_IN_EXPANDED: Final = ((0, 4), (8, 24), (28, 32), (36, 40))
_SWITCH_RECORD: Final = _TWO.pack(EXTENDED_SWITCH, 16)
_NEXT_HOP_IPV4: Final = 1
_FRAME: Final = struct.Struct("!I8xI12xH")  # a sampled_header up to the EtherType
_PACKET: Final = struct.Struct("!I8xI12xHBxH2xHxB10xHH8xB")  # up to the offset of TCP
_TAG: Final = struct.Struct("!HH")
_IPV4: Final = struct.Struct("!BxH2xHxB10xHH8xB")  # version, total length, fragment, protocol, ports, offset of TCP
_IPV6: Final = struct.Struct("!IHB33xHH8xB")
_LONG: Final = struct.Struct("!I")
_VLAN: Final = struct.Struct("!HB")
_WORDS6: Final = struct.Struct("!BII")
_WHOLE: Final = frozenset((0, 0x4000))
"""Flags and offset of an IPv4 packet that is no fragment."""
_ETHERNET_SIZE: Final = 14
_TAG_SIZE: Final = 4
_LEAST_HEADER: Final = _ETHERNET_SIZE + _TAG_SIZE + 20 + 14
_LEAST_HEADER6: Final = _ETHERNET_SIZE + _TAG_SIZE + 40 + 14
_LEAST_RECORD: Final = 16 + _LEAST_HEADER
LEAST_SAMPLE: Final = 8 * 4 + 8 + _LEAST_RECORD
"""Octets of the smallest sample that common_sample may take."""


class PackedShape(Shape):
    """The shape of a line that stands for many: its one value is their records of the template, one after the other."""

    __slots__ = ("template",)

    def __init__(self, template: Template) -> None:
        super().__init__(("records", LineKind.HEX))
        self.template = template


class Layout:
    """How a common sample is laid out in a record, and the shapes of its line: with the header, and packed."""

    __slots__ = ("packed", "shape", "unpack")

    def __init__(self, *fields: Field) -> None:
        self.packed = PackedShape(Template(fields))
        self.shape = shape_of((*(field.name for field in fields if field.kind is not Kind.PADDING), "header"))
        self.unpack = struct.Struct("!" + "".join(map(_code, fields))).unpack


CommonSample: TypeAlias = tuple[Layout, bytes, int]
"""A sample: the layout of its record, the record, and where in the datagram its sampled_header begins."""


def common_line(data: bytes, sample: CommonSample) -> Line:
    """Return the line of a sample of this datagram."""
    layout, record, start = sample
    header = data[start + 16 : start + 16 + int.from_bytes(data[start + 12 : start + 16])]
    return Line("flow", layout.shape, (*layout.unpack(record), header))


class Packer:
    """Packs samples that follow each other and have the same layout into one line."""

    def __init__(self, lines: list[Line]) -> None:
        """Take the list to which the lines go."""
        self._lines = lines
        self._layout: Layout | None = None
        self._records: list[bytes] = []

    def add(self, sample: CommonSample) -> None:
        """Add a sample."""
        layout, record, _ = sample
        if layout is not self._layout:
            self.flush()
            self._layout = layout
        self._records.append(record)

    def flush(self) -> None:
        """Write the line of what was added since, if anything was."""
        if self._layout is not None:
            self._lines.append(Line("flow", self._layout.packed, (b"".join(self._records),)))
            self._layout = None
            self._records.clear()


def _code(field: Field) -> str:
    """Return the code of the struct module for a field."""
    if field.kind is Kind.PADDING:
        return f"{field.length}x"
    return {1: "B", 2: "H", 4: "I"}[field.length] if field.kind is Kind.UNSIGNED else f"{field.length}s"


def common_sample(data: bytes, position: int, after: int, *, expanded: bool) -> CommonSample | None:
    """Return a flow sample of TCP or UDP over IP over Ethernet, perhaps with a VLAN tag.

    Other records than extended_switch and extended_router, and whatever is odd, give None.
    """
    if expanded:
        source_class, in_form, in_if, out_form, out_if, count = _EXPANDED.unpack_from(data, position)
        if source_class or in_form or out_form or in_if >= INTERNAL or out_if >= INTERNAL:
            return None
        sampling = b"".join([data[position + start : position + end] for start, end in _COMPACT_IN_EXPANDED])
        return _with_records(data, position + _EXPANDED.size, after, count, sampling)
    source, in_if, out_if, count, number, size = _COMPACT.unpack_from(data, position)
    if source >= 0x1000000 or in_if >= INTERNAL or out_if >= INTERNAL:
        return None
    start = position + 40
    if number == SAMPLED_HEADER and size >= _LEAST_RECORD and start + size + 24 == after and count == 2:
        # The very commonest, whose octets are all in their places.
        header_protocol, length, ethertype, version, total, fragment, protocol, sport, dport, offset = (
            _PACKET.unpack_from(data, start)
        )
        if (
            data[start + size : start + size + 8] == _SWITCH_RECORD
            and header_protocol == ETHERNET
            and ethertype == 0x0800
            and version == 0x45
            and fragment in _WHOLE
            and length >= _LEAST_HEADER
            and size == length + 19 & ~3
            and not _is_odd(protocol, total - 20, sport, dport, offset)
        ):
            return _LAYOUTS[0x0800, protocol, 16, 0], data[position : start + 64] + data[after - 16 : after], start
    return _with_records(data, start - 8, after, count, data[position : position + 28])


def _with_records(data: bytes, position: int, after: int, count: int, sampling: bytes) -> CommonSample | None:
    """Return the sample whose records begin there."""
    start = size = 0
    switch = router = b""
    for _ in range(count):
        if position + 24 > after:
            return None
        number, length = _TWO.unpack_from(data, position)
        if number == SAMPLED_HEADER and not start:
            start, size = position + 8, length
        elif number == EXTENDED_SWITCH and length == 16 and not switch:
            switch = data[position + 8 : position + 24]
        elif number == EXTENDED_ROUTER and length == 16 and data[position + 11] == _NEXT_HOP_IPV4 and not router:
            router = data[position + 12 : position + 24]
        else:
            return None
        position += 8 + length
    if position != after or size < _LEAST_RECORD:
        return None
    return _with_packet(data, start, size, sampling, (switch, router))


def _with_packet(
    data: bytes, start: int, size: int, sampling: bytes, extended: tuple[bytes, bytes]
) -> CommonSample | None:
    """Return the sample whose sampled_header is there."""
    header_protocol, length, ethertype = _FRAME.unpack_from(data, start)
    if header_protocol != ETHERNET or length < _LEAST_HEADER or size != length + 19 & ~3:
        return None
    vlan, router = extended
    at = start + 16 + _ETHERNET_SIZE
    if ethertype == 0x8100:
        tag, ethertype = _TAG.unpack_from(data, at)
        at += _TAG_SIZE
        if not vlan:
            vlan = _VLAN.pack(tag & 0xFFF, tag >> 13)
        elif vlan[:4] != _LONG.pack(tag & 0xFFF):
            return None
    if ethertype == 0x0800:
        version, total, fragment, protocol, sport, dport, offset = _IPV4.unpack_from(data, at)
        if version != 0x45 or fragment not in _WHOLE or _is_odd(protocol, total - 20, sport, dport, offset):
            return None
        packet = data[at : at + 34]
    elif ethertype == 0x86DD and length >= _LEAST_HEADER6:
        word, payload, protocol, sport, dport, offset = _IPV6.unpack_from(data, at)
        if word >> 28 != 6 or _is_odd(protocol, payload, sport, dport, offset):
            return None
        packet = _WORDS6.pack(word >> 20 & 0xFF, word & 0xFFFFF, payload + 40) + data[at : at + 54]
    else:
        return None
    # What stands before the sampled_header ends with its format and length; the EtherType is the one after the tag.
    record = b"".join((sampling, data[start - 12 : start + 28], data[at - 2 : at], packet, vlan, router))
    return _LAYOUTS[ethertype, protocol, len(vlan), len(router)], record, start


def _is_odd(protocol: int, payload: int, sport: int, dport: int, offset: int) -> bool:
    """Tell whether a packet is not one of TCP or UDP whose header is all there, with flags in one octet, no tunnel."""
    if protocol == 6:
        return payload < 20 or offset & 0x0F != 0
    return protocol != 17 or payload < 8 or dport in TUNNEL_PORTS or sport in TUNNEL_PORTS


def _unused(octets: int) -> Field:
    return Field("", octets, Kind.PADDING)


# Fields that change from sample to sample stand alone; neighbours that do not may be written in one piece.
_APART: Final = _unused(0)
_SAMPLED: Final = (
    *(Field("sample_seq", 4), Field("source_id", 4), Field("sampling_rate", 4), Field("sample_pool", 4)),
    *(Field("drops", 4), Field("in_if", 4), Field("out_if", 4)),
    # The last octet of the record's format is 1, and so is the number of packets.
    *(
        _unused(4 + 3),
        Field("pcount", 1),
        _unused(4),
        Field("hdr_proto", 4),
        Field("frame_len", 4),
        Field("stripped", 4),
        _unused(4),
    ),
    *(Field("dmac", 6, Kind.MAC), Field("smac", 6, Kind.MAC), Field("ethertype", 2)),
)
_PORTS: Final = (Field("sport", 2), Field("dport", 2))
_NETWORKS: Final = {
    0x0800: (
        *(_unused(1), Field("tos", 1), Field("bcount", 2), Field("ip_id", 2), Field("frag_flags", 1)),
        *(Field("frag_off", 1), Field("ttl", 1), Field("protocol", 1), _unused(2)),
        *(Field("saddr", 4, Kind.IPV4), Field("daddr", 4, Kind.IPV4), *_PORTS),
    ),
    0x86DD: (
        *(_APART, Field("tos", 1), Field("flow_label", 4), Field("bcount", 4), _unused(6), Field("protocol", 1)),
        *(Field("ttl", 1), Field("saddr", 16, Kind.IPV6), Field("daddr", 16, Kind.IPV6), *_PORTS),
    ),
}
_TRANSPORTS: Final = {6: (_unused(9), Field("flags", 1)), 17: (_unused(10),)}
_VLANS: Final = {
    0: (),
    3: (Field("vlan", 2), Field("vlan_prio", 1)),
    16: (Field("vlan", 4), Field("vlan_prio", 4), Field("post_vlan", 4), Field("post_vlan_prio", 4)),
}
_ROUTERS: Final = {0: (), 12: (_APART, Field("nexthop", 4, Kind.IPV4), Field("src_mask", 4), Field("dst_mask", 4))}
_LAYOUTS: Final = {
    (ethertype, protocol, vlan, router): Layout(
        *(*_SAMPLED, *_NETWORKS[ethertype], *_TRANSPORTS[protocol], *_VLANS[vlan], *_ROUTERS[router])
    )
    for ethertype in _NETWORKS
    for protocol in _TRANSPORTS
    for vlan in _VLANS
    for router in _ROUTERS
}
"""EtherType, protocol, and how many octets of VLAN and router there are -> layout."""
