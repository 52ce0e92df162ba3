"""Any sample of sFlow 5, read with care: as much of it as there is, and what is wrong with the rest.

Source: sflow.org, sflow_version_5.txt and sflow_drops.txt.
"""

from __future__ import annotations

import struct

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.dissection import Members
from overflowd_tools.protocols.lines import Line
from overflowd_tools.protocols.sflow_counters import COUNTERS
from overflowd_tools.protocols.sflow_lines import (
    FlowSample,
    data_format,
    interface_members,
    make_line,
    reason_members,
    source_members,
)
from overflowd_tools.protocols.sflow_numbers import (
    COUNTER_SAMPLES,
    DISCARDED_PACKET,
    EXPANDED_COUNTERS_SAMPLE,
    EXPANDED_FLOW_SAMPLE,
    FLOW_SAMPLES,
    INTERNAL,
    INTERNAL_EXPANDED,
    SAMPLED_HEADER,
    may_begin,
)
from overflowd_tools.protocols.sflow_records import RECORDS
from overflowd_tools.protocols.xdr import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

_TWO: Final = struct.Struct("!II")


def read_sample(data: bytes, position: int, lines: list[Line], problems: list[str], *, headers: bool) -> int:
    """Append the line of the sample there and what is wrong with it; return where the next one begins.

    headers: with the octets of a sampled header whose addresses could be read.
    """
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
    return next((position for position in (after, read, after + 3 & ~3) if may_begin(data, position)), after)


def _sample(kind: int, reader: Reader, problems: list[str], *, headers: bool) -> Line:
    if kind in FLOW_SAMPLES:
        members = _flow_sample(reader, expanded=kind == EXPANDED_FLOW_SAMPLE)
        return _packet(members, reader, problems).line("flow", header=headers)
    if kind in COUNTER_SAMPLES:
        return _counters_sample(reader, problems, expanded=kind == EXPANDED_COUNTERS_SAMPLE)
    if kind == DISCARDED_PACKET:
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
            if may_begin(reader.data, end) and not may_begin(reader.data, reader.end):
                # The length of the sample is what is wrong.
                reader.end = end
            else:
                problems.append(f"record {data_format(kind)}: {length} octets promised, {reader.left} there")
                end = reader.end
        yield kind, Reader(reader.data, reader.position, end)
        reader.position = min(end + (-length & 3), reader.end)
    if any(reader.data[reader.position : reader.end]):
        problems.append(f"{reader.left} octets after the last record")
