"""The samples of sFlow versions 2 and 4 (RFC 3176 section 5), which have no lengths: damage ends the datagram."""

from __future__ import annotations

import struct

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.dissection import Members, address_text
from overflowd_tools.protocols.lines import Decoded, Line
from overflowd_tools.protocols.sflow_counters import COUNTERS_BEFORE_5
from overflowd_tools.protocols.sflow_lines import FlowSample, interface_members, make_line, source_members
from overflowd_tools.protocols.sflow_numbers import ADDRESS_SIZES
from overflowd_tools.protocols.sflow_records import EXTENDED_BEFORE_5, SAMPLED_BEFORE_5
from overflowd_tools.protocols.xdr import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_FLOW, _COUNTERS = 1, 2
_HEADER = 1
_MULTIPLE = 0x80000000
_HEADERS: Final = {kind: struct.Struct(f"!8x{size}sIII") for kind, size in ADDRESS_SIZES.items()}


def decode_sflow4(datagram: bytes, version: int, agent_type: int, *, headers: bool) -> Decoded:
    """Decode a datagram of version 2 or 4, as sflow.decode_sflow does."""
    layout = _HEADERS[agent_type]
    if len(datagram) < layout.size:
        raise DecodeError(f"sFlow header cut short: {len(datagram)} of {layout.size} octets")
    agent, sequence, uptime, count = layout.unpack_from(datagram)
    lines: list[Line] = []
    problems: list[str] = []
    _read_samples(Reader(datagram, layout.size, len(datagram)), version, count, lines, problems, headers=headers)
    head = {"agent": address_text(agent)} if agent else {}
    return Decoded(f"sflow{version}", 0, head, {"seq": sequence, "uptime_ms": uptime}, lines, problems)


def _read_samples(
    reader: Reader, version: int, count: int, lines: list[Line], problems: list[str], *, headers: bool
) -> None:
    """Read the samples of a datagram of version 2 or 4 up to the first that is damaged or of an unknown type."""
    for number in range(1, count + 1):
        if not reader.left:
            problems.append(f"{count + 1 - number} of {count} samples are missing")
            return
        try:
            kind = reader.unsigned()
            if kind == _FLOW:
                _read_flow(reader, version, lines, headers=headers)
            elif kind == _COUNTERS:
                lines.append(_counters(reader))
            else:
                raise DecodeError(f"sample of unknown type {kind}")
        except DecodeError as error:
            problems.append(f"sample {number} of {count}: {error}")
            return
    if any(reader.data[reader.position : reader.end]):
        problems.append(f"{reader.left} octets after the last sample")


def _source(reader: Reader) -> Members:
    sequence, source = reader.integers(2)
    return source_members(sequence, source >> 24, source & 0xFFFFFF)


def _read_flow(reader: Reader, version: int, lines: list[Line], *, headers: bool) -> None:
    """Append the line of a flow sample, of all that is whole of it if it is damaged; DecodeError is raised then."""
    members = _source(reader)
    members["sampling_rate"], members["sample_pool"], members["drops"], members["in_if"], output = reader.integers(5)
    members |= interface_members("out", 2 if output & _MULTIPLE else 0, output & ~_MULTIPLE, ())
    sample = FlowSample(members)
    try:
        _read_packet(reader, sample)
        for _ in range(reader.unsigned()):
            kind, start = reader.unsigned(), reader.position
            record = EXTENDED_BEFORE_5[version].get(kind)
            if record is None:
                raise DecodeError(f"extended data of unknown type {kind}")
            fields = record.read(reader)
            # Their numbers in version 5 are greater by 1000.
            sample.add(kind + 1000, fields, reader.data[start : reader.position])
    finally:
        lines.append(sample.line("flow", header=headers))


def _read_packet(reader: Reader, sample: FlowSample) -> None:
    kind, start = reader.unsigned(), reader.position
    if kind == _HEADER:
        if problem := sample.read_header(reader, with_stripped=False):
            raise DecodeError(problem)
    elif kind in SAMPLED_BEFORE_5:
        fields = SAMPLED_BEFORE_5[kind].read(reader)
        sample.add(kind + 1, fields, reader.data[start : reader.position])
    else:
        raise DecodeError(f"packet data of unknown type {kind}")


def _counters(reader: Reader) -> Line:
    members = _source(reader)
    members["interval_s"], kind = reader.integers(2)
    structures = COUNTERS_BEFORE_5.get(kind)
    if structures is None:
        raise DecodeError(f"counters of unknown type {kind}")
    for structure in structures:
        members[structure.name] = structure.read(reader)
    return make_line("counter", members)
