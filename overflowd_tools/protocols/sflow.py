"""sFlow, versions 2, 4 and 5: sampled packets, dropped packets and counters.

Sources: sflow.org, sflow_version_5.txt and sflow_drops.txt; RFC 3176 for version 4, and 2 before it.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.headers import ETHERNET, TUNNEL_PORTS, Members, address_text
from overflowd_tools.protocols.lines import Decoded, Line
from overflowd_tools.protocols.sflow4 import read_samples4
from overflowd_tools.protocols.sflow_counters import COUNTERS
from overflowd_tools.protocols.sflow_lines import (
    INTERNAL,
    INTERNAL_EXPANDED,
    FlowSample,
    data_format,
    interface_members,
    make_line,
    reason_members,
    shape_of,
    source_members,
)
from overflowd_tools.protocols.sflow_records import EXTENDED_ROUTER, EXTENDED_SWITCH, RECORDS, SAMPLED_HEADER
from overflowd_tools.protocols.xdr import Reader

_FLOW, _COUNTERS, _EXPANDED_FLOW, _EXPANDED_COUNTERS, _DISCARDED = range(1, 6)
_FLOW_SAMPLES: Final = frozenset((_FLOW, _EXPANDED_FLOW))
_COUNTER_SAMPLES: Final = frozenset((_COUNTERS, _EXPANDED_COUNTERS))
_KNOWN_SAMPLES: Final = range(1, 6)

_ADDRESS_SIZES: Final = {0: 0, 1: 4, 2: 16}
_HEADERS: Final = {
    (version, kind): struct.Struct(f"!8x{size}s{'I' if version == 5 else ''}III")
    for version in (2, 4, 5)
    for kind, size in _ADDRESS_SIZES.items()
}

_TWO: Final = struct.Struct("!II")
_COMPACT: Final = struct.Struct("!10I")  # a flow_sample up to the length of its first record
_EXPANDED: Final = struct.Struct("!13I")
_SWITCH: Final = struct.Struct("!6I")  # an extended_switch with its format and length
_SWITCH_RECORD: Final = (EXTENDED_SWITCH, 16)
_ROUTER: Final = struct.Struct("!4sII")
_ROUTER_RECORD: Final = (EXTENDED_ROUTER, 16, 1)  # the 1 says that the next hop is of IPv4
_PACKET: Final = struct.Struct("!4I6s6sHBBHHHBB2x4s4sHH8xH")  # a sampled_header up to the flags of TCP
_TAG: Final = struct.Struct("!HH")
_IPV4: Final = struct.Struct("!BBHHHBB2x4s4sHH8xH")
_IPV6: Final = struct.Struct("!IHBB16s16sHH8xH")
_LEAST_HEADER: Final = 14 + 4 + 20 + 14
_LEAST_HEADER6: Final = 14 + 4 + 40 + 14
_LEAST_COMMON: Final = 8 * 4 + 6 * 4 + _LEAST_HEADER
_WHOLE: Final = frozenset((0, 0x4000))
"""Flags and offset of an IPv4 packet that is no fragment."""


def decode_sflow(datagram: bytes, *, counters: bool = True) -> Decoded:
    """Decode an sFlow datagram of version 2, 4 or 5: lines of type flow, counter and drop.

    A flow is one sampled packet: pcount is 1 and bcount the octets of its IP packet, or else those of its frame.
    Records that are not known or are damaged are in `records`, as [["enterprise/format", hexadecimal digits], ...].
    There is no clock in sFlow: start_ms and end_ms are for the caller to say. Raises DecodeError if there is no whole
    header; what is wrong with samples goes to `problems`.

    counters: False lets counter samples go unread where they need not be read to find the next sample.
    """
    if len(datagram) < 8:
        raise DecodeError(f"sFlow header cut short: {len(datagram)} octets")
    version, kind = _TWO.unpack_from(datagram)
    layout = _HEADERS.get((version, kind))
    if layout is None:
        raise DecodeError(f"not sFlow: version {version}, address type {kind}")
    if len(datagram) < layout.size:
        raise DecodeError(f"sFlow header cut short: {len(datagram)} of {layout.size} octets")
    agent, *numbers = layout.unpack_from(datagram)
    sequence, uptime, count = numbers[-3:]
    lines: list[Line] = []
    problems: list[str] = []
    if version == 5:
        _read_samples(datagram, layout.size, count, lines, problems, counters=counters)
    else:
        read_samples4(Reader(datagram, layout.size, len(datagram)), version, count, lines, problems)
    return Decoded(
        f"sflow{version}",
        numbers[0] if version == 5 else 0,
        {"agent": address_text(agent)} if agent else {},
        {"seq": sequence, "uptime_ms": uptime},
        lines,
        problems,
    )


def _read_samples(
    data: bytes, position: int, count: int, lines: list[Line], problems: list[str], *, counters: bool
) -> None:
    left = count
    while left and position + 8 <= len(data):
        left -= 1
        kind, length = _TWO.unpack_from(data, position)
        after = position + 8 + length
        if kind in _FLOW_SAMPLES and length >= _LEAST_COMMON and after <= len(data):
            line = _common_flow(data, position + 8, after, expanded=kind == _EXPANDED_FLOW)
            if line is not None:
                lines.append(line)
                position = after
                continue
        elif not counters and kind in _COUNTER_SAMPLES and _may_begin(data, after):
            position = after
            continue
        found: list[str] = []
        reader = Reader(data, position + 8, min(after, len(data)))
        try:
            lines.append(_read_sample(kind, reader, found))
            position = _next_sample(data, reader.position, after)
        except DecodeError as error:
            found.append(str(error))
            position = after
        if after > len(data):
            found.append(f"{length} octets promised, {len(data) - after + length} there")
        problems += [f"sample {count - left} of {count}: {problem}" for problem in found]
    if left:
        problems.append(f"{left} of {count} samples are missing")
    elif any(data[position:]):
        problems.append(f"{len(data) - position} octets after the last sample")


def _next_sample(data: bytes, read: int, after: int) -> int:
    """Return where the next sample begins: after this one, unless only the end of its records makes sense.

    Some agents give a length that is too short, too long by 4, or no multiple of 4.
    """
    return next((position for position in (after, read, after + 3 & ~3) if _may_begin(data, position)), after)


def _may_begin(data: bytes, position: int) -> bool:
    """Tell whether a sample may begin here, or the datagram end."""
    if position + 8 > len(data):
        return position == len(data)
    kind, length = _TWO.unpack_from(data, position)
    return kind in _KNOWN_SAMPLES and position + length <= len(data)


def _common_flow(data: bytes, position: int, after: int, *, expanded: bool) -> Line | None:
    """Return the line of the commonest flow samples: of TCP or UDP over IP over Ethernet, perhaps with a VLAN tag.

    Other records than extended_switch and extended_router, and whatever is odd, give None: _read_sample says the same
    about all of these, and takes many times as long.
    """
    if expanded:
        sequence, source_class, source, rate, pool, drops, in_form, in_if, out_form, out_if, records, number, size = (
            _EXPANDED.unpack_from(data, position)
        )
        at = position + 52
        odd = source_class or in_form or out_form
    else:
        sequence, source, rate, pool, drops, in_if, out_if, records, number, size = _COMPACT.unpack_from(data, position)
        at = position + 40
        odd = source >= 0x1000000
    if odd or in_if >= INTERNAL or out_if >= INTERNAL:
        return None
    sampling = (sequence, source, rate, pool, drops, in_if, out_if)
    if number == SAMPLED_HEADER and at + size == after and records == 1:
        return _common_packet(data, at, size, sampling, ((), ()))
    if number == SAMPLED_HEADER and at + size + 24 == after and records == 2:
        number, length, *switch = _SWITCH.unpack_from(data, at + size)
        if number == EXTENDED_SWITCH and length == 16:
            return _common_packet(data, at, size, sampling, (switch, ()))
    return _common_records(data, at - 8, after, records, sampling)


def _common_records(data: bytes, position: int, after: int, count: int, sampling: tuple[int, ...]) -> Line | None:
    """Do as _common_flow, with some records in any order."""
    header = header_size = 0
    switch: Sequence[int] = ()
    router: Sequence[bytes | int] = ()
    for _ in range(count):
        if position + 24 > after:
            return None
        number, size, *switched = _SWITCH.unpack_from(data, position)
        if number == SAMPLED_HEADER and not header:
            header, header_size = position + 8, size
        elif (number, size) == _SWITCH_RECORD and not switch:
            switch = switched
        elif (number, size, switched[0]) == _ROUTER_RECORD and not router:
            router = _ROUTER.unpack_from(data, position + 12)
        else:
            return None
        position += 8 + size
    if position != after or header_size < 16 + _LEAST_HEADER:
        return None
    return _common_packet(data, header, header_size, sampling, (switch, router))


def _common_packet(
    data: bytes,
    position: int,
    size: int,
    sampling: tuple[int, ...],
    extended: tuple[Sequence[int], Sequence[bytes | int]],
) -> Line | None:
    """Return the line of a sample whose sampled_header is here, its other records as given."""
    if size < 16 + _LEAST_HEADER:
        return None
    # fmt: off
    (header_protocol, frame, stripped, length, dmac, smac, ethertype,
     version, tos, total, identification, fragment, ttl, protocol, saddr, daddr, sport, dport, flags) = (
        _PACKET.unpack_from(data, position)
    )
    # fmt: on
    if header_protocol != ETHERNET or size != length + 19 & ~3 or length < _LEAST_HEADER:
        return None
    switch, router = extended
    at = position + 30
    tag: tuple[int, ...] = ()
    if ethertype == 0x8100:
        tci, ethertype = _TAG.unpack_from(data, at)
        at += 4
        (version, tos, total, identification, fragment, ttl, protocol, saddr, daddr, sport, dport, flags) = (
            _IPV4.unpack_from(data, at)
        )
        if not switch:
            tag = (tci & 0xFFF, tci >> 13)
        elif switch[0] != tci & 0xFFF:
            return None
    network: tuple[int, ...]
    if ethertype == 0x0800 and version == 0x45 and fragment in _WHOLE:
        payload = total - 20
        network = (tos, ttl, identification, 0, fragment >> 8)
    elif ethertype == 0x86DD and length >= _LEAST_HEADER6 and version >> 4 == 6:
        word, payload, protocol, ttl, saddr, daddr, sport, dport, flags = _IPV6.unpack_from(data, at)
        total = payload + 40
        network = (word >> 20 & 0xFF, ttl, word & 0xFFFFF)
    else:
        return None
    transport: tuple[int, ...]
    if protocol == 6 and payload >= 20:
        transport = (sport, dport, flags & 0xFFF, 6)
    elif protocol == 17 and payload >= 8 and dport not in TUNNEL_PORTS and sport not in TUNNEL_PORTS:
        transport = (sport, dport, 17)
    else:
        return None
    octets = data[position + 16 : position + 16 + length]
    frames = (smac, dmac, ethertype, header_protocol, frame, stripped)
    values = (1, saddr, daddr, total, *transport, *network, *frames, *sampling, *tag, *switch, *router, octets)
    return Line("flow", _COMMON[ethertype, protocol, len(tag) + len(switch), len(router)], values)


_COMMON: Final = {
    (ethertype, protocol, len(vlan), len(router)): shape_of(
        (
            *("pcount", "saddr", "daddr", "bcount", "sport", "dport", *flags, "protocol", *network),
            *("smac", "dmac", "ethertype", "hdr_proto", "frame_len", "stripped"),
            *("sample_seq", "source_id", "sampling_rate", "sample_pool", "drops", "in_if", "out_if"),
            *(*vlan, *router, "header"),
        )
    )
    for ethertype, network in (
        (0x0800, ("tos", "ttl", "ip_id", "frag_off", "frag_flags")),
        (0x86DD, ("tos", "ttl", "flow_label")),
    )
    for protocol, flags in ((6, ("flags",)), (17, ()))
    for vlan in ((), ("vlan", "vlan_prio"), ("vlan", "vlan_prio", "post_vlan", "post_vlan_prio"))
    for router in ((), ("nexthop", "src_mask", "dst_mask"))
}
"""EtherType, protocol, how many members from a tag or extended_switch and extended_router -> the shape of all."""


def _read_sample(kind: int, reader: Reader, problems: list[str]) -> Line:
    if kind in _FLOW_SAMPLES:
        return _flow_sample(reader, problems, expanded=kind == _EXPANDED_FLOW)
    if kind in _COUNTER_SAMPLES:
        return _counters_sample(reader, problems, expanded=kind == _EXPANDED_COUNTERS)
    if kind == _DISCARDED:
        return _discarded_packet(reader, problems)
    name = data_format(kind)
    return make_line("counter", {"sample_format": name, "records": [[name, reader.rest()]]})


def _flow_sample(reader: Reader, problems: list[str], *, expanded: bool) -> Line:
    members = _source(reader, expanded=expanded)
    members["sampling_rate"], members["sample_pool"], members["drops"] = reader.integers(3)
    internal: tuple[int, ...] = (INTERNAL,)
    if expanded:
        in_form, in_value, out_form, out_value = reader.integers(4)
        internal = (INTERNAL, INTERNAL_EXPANDED)
    else:
        (in_form, in_value), (out_form, out_value) = (divmod(value, 1 << 30) for value in reader.integers(2))
    members |= interface_members("in", in_form, in_value, internal)
    members |= interface_members("out", out_form, out_value, internal)
    return _packet_line("flow", members, reader, problems)


def _discarded_packet(reader: Reader, problems: list[str]) -> Line:
    members = _source(reader, expanded=True)
    members["drops"], members["in_if"], members["out_if"], reason = reader.integers(4)
    return _packet_line("drop", members | reason_members(reason), reader, problems)


def _source(reader: Reader, *, expanded: bool) -> Members:
    if expanded:
        return source_members(*reader.integers(3))
    sequence, source = reader.integers(2)
    return source_members(sequence, source >> 24, source & 0xFFFFFF)


def _packet_line(kind: str, members: Members, reader: Reader, problems: list[str]) -> Line:
    sample = FlowSample(members)
    for number, record in _records(reader, problems):
        octets = record.data[record.position : record.end]
        try:
            if number == SAMPLED_HEADER and not sample.has_header:
                if problem := sample.read_header(record):
                    problems.append(f"record {data_format(number)}: {problem}")
            elif number in RECORDS:
                sample.add(number, RECORDS[number].read(record), octets)
            else:
                sample.keep(number, octets)
                continue
        except DecodeError as error:
            problems.append(f"record {data_format(number)}: {error}")
            sample.keep(number, octets)
        else:
            if any(record.data[record.position : record.end]):
                sample.keep(number, octets)
    return sample.line(kind)


def _counters_sample(reader: Reader, problems: list[str], *, expanded: bool) -> Line:
    members = _source(reader, expanded=expanded)
    kept = []
    for number, record in _records(reader, problems):
        octets = record.data[record.position : record.end]
        structure = COUNTERS.get(number)
        if structure is not None and structure.name not in members:
            try:
                members[structure.name] = structure.read(record)
            except DecodeError as error:
                problems.append(f"record {data_format(number)}: {error}")
            else:
                if not record.left:
                    continue
        kept.append([data_format(number), octets.hex()])
    if kept:
        members["records"] = kept
    return make_line("counter", members)


def _records(reader: Reader, problems: list[str]) -> Iterator[tuple[int, Reader]]:
    """Yield the data format and the octets of each record; afterwards the reader stands behind the last one."""
    count = reader.unsigned()
    for number in range(count):
        if reader.left < 8:
            problems.append(f"{count - number} of {count} records are missing")
            return
        kind, length = reader.integers(2)
        end = reader.position + length
        if end > reader.end:
            if _may_begin(reader.data, end) and not _may_begin(reader.data, reader.end):
                # The length of the sample is what is wrong.
                reader.end = end
            else:
                problems.append(f"record {data_format(kind)}: {length} octets promised, {reader.left} there")
                end = reader.end
        yield kind, Reader(reader.data, reader.position, end)
        reader.position = min(end + (-length & 3), reader.end)
    if any(reader.data[reader.position : reader.end]):
        problems.append(f"{reader.left} octets after the last record")
