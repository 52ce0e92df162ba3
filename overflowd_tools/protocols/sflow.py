"""sFlow, versions 2, 4 and 5: sampled packets, dropped packets and counters.

Sources: sflow.org, sflow_version_5.txt and sflow_drops.txt; RFC 3176 for version 4, and 2 before it.
"""

import struct
from collections.abc import Iterator
from typing import Final

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.headers import Members, address_text
from overflowd_tools.protocols.lines import WRITTEN, Decoded, Line
from overflowd_tools.protocols.sflow4 import read_samples4
from overflowd_tools.protocols.sflow_common import common_samples
from overflowd_tools.protocols.sflow_counters import COUNTERS
from overflowd_tools.protocols.sflow_lines import (
    INTERNAL,
    INTERNAL_EXPANDED,
    FlowSample,
    data_format,
    interface_members,
    make_line,
    reason_members,
    source_members,
)
from overflowd_tools.protocols.sflow_records import RECORDS, SAMPLED_HEADER
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


def decode_sflow(datagram: bytes, *, counters: bool = True, headers: bool = True) -> Decoded:
    """Decode an sFlow datagram of version 2, 4 or 5: lines of type flow, counter and drop.

    A flow is one sampled packet: pcount is 1 and bcount the octets of its IP packet, or else those of its frame.
    Records that are not known or are damaged are in `records`, as [["enterprise/format", hexadecimal digits], ...].
    There is no clock in sFlow: start_ms and end_ms are for the caller to say. Raises DecodeError if there is no whole
    header; what is wrong with samples goes to `problems`.

    counters: False lets counter samples go unread where they need not be read to find the next sample.
    headers: False leaves the sampled octets out where the addresses in them could be read.
    The commonest samples come as text (sflow_common.py), many of them in one line of the shape WRITTEN.
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
        _read_samples(datagram, layout.size, count, lines, problems, counters=counters, headers=headers)
    else:
        reader = Reader(datagram, layout.size, len(datagram))
        read_samples4(reader, version, count, lines, problems, headers=headers)
    return Decoded(
        f"sflow{version}",
        numbers[0] if version == 5 else 0,
        {"agent": address_text(agent)} if agent else {},
        {"seq": sequence, "uptime_ms": uptime},
        lines,
        problems,
    )


def _read_samples(
    data: bytes, position: int, count: int, lines: list[Line], problems: list[str], *, counters: bool, headers: bool
) -> None:
    texts: list[bytes] = []
    left = count
    while left and position + 8 <= len(data):
        common = common_samples(data, position, header=headers)
        if common is not None:
            before = left
            position, left = common(data, position, left, texts)
            if left < before:
                continue
        left -= 1
        kind, length = _TWO.unpack_from(data, position)
        after = position + 8 + length
        if not counters and kind in _COUNTER_SAMPLES and _may_begin(data, after):
            position = after
            continue
        if texts:
            lines.append(Line("flow", WRITTEN, (texts,)))
            texts = []
        found: list[str] = []
        position = _read_sample(data, position, lines, found, headers=headers)
        problems += [f"sample {count - left} of {count}: {problem}" for problem in found]
    if texts:
        lines.append(Line("flow", WRITTEN, (texts,)))
    if left:
        problems.append(f"{left} of {count} samples are missing")
    elif any(data[position:]):
        problems.append(f"{len(data) - position} octets after the last sample")


def _read_sample(data: bytes, position: int, lines: list[Line], problems: list[str], *, headers: bool) -> int:
    """Read any sample, as much of it as there is, and return where the next one begins."""
    kind, length = _TWO.unpack_from(data, position)
    after = position + 8 + length
    reader = Reader(data, position + 8, min(after, len(data)))
    try:
        lines.append(_sample(kind, reader, problems, headers=headers))
        following = _next_sample(data, reader.position, after)
    except DecodeError as error:
        problems.append(str(error))
        following = after
    if after > len(data):
        problems.append(f"{length} octets promised, {len(data) - position - 8} there")
    return following


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


def _sample(kind: int, reader: Reader, problems: list[str], *, headers: bool) -> Line:
    if kind in _FLOW_SAMPLES:
        members = _flow_sample(reader, expanded=kind == _EXPANDED_FLOW)
        return _packet(members, reader, problems).line("flow", header=headers)
    if kind in _COUNTER_SAMPLES:
        return _counters_sample(reader, problems, expanded=kind == _EXPANDED_COUNTERS)
    if kind == _DISCARDED:
        return _packet(_discarded_packet(reader), reader, problems).line("drop", header=headers)
    name = data_format(kind)
    return make_line("counter", {"sample_format": name, "records": [[name, reader.rest()]]})


def _flow_sample(reader: Reader, *, expanded: bool) -> Members:
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
    return members


def _discarded_packet(reader: Reader) -> Members:
    members = _source(reader, expanded=True)
    members["drops"], members["in_if"], members["out_if"], reason = reader.integers(4)
    return members | reason_members(reason)


def _source(reader: Reader, *, expanded: bool) -> Members:
    if expanded:
        return source_members(*reader.integers(3))
    sequence, source = reader.integers(2)
    return source_members(sequence, source >> 24, source & 0xFFFFFF)


def _packet(members: Members, reader: Reader, problems: list[str]) -> FlowSample:
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
    return sample


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
