"""sFlow, versions 2, 4 and 5: sampled packets, dropped packets and counters.

Sources: sflow.org, sflow_version_5.txt and sflow_drops.txt; RFC 3176 for version 4, and 2 before it.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.dissection import address_text
from overflowd_tools.protocols.lines import WRITTEN, Decoded, Line
from overflowd_tools.protocols.sflow_common import common_samples
from overflowd_tools.protocols.sflow_numbers import ADDRESS_SIZES, COUNTER_SAMPLES, FLOW_SAMPLES, may_begin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_TWO: Final = struct.Struct("!II")
_HEADERS: Final = {kind: struct.Struct(f"!8x{size}sIIII") for kind, size in ADDRESS_SIZES.items()}


def decode_sflow(datagram: bytes, *, counters: bool = True, headers: bool = True) -> Decoded:
    """Decode an sFlow datagram of version 2, 4 or 5: lines of type flow, counter and drop.

    A flow is one sampled packet: pcount is 1 and bcount the octets of its IP packet, or else those of its frame.
    Records that are not known or are damaged are in `records`, as [["enterprise/format", hexadecimal digits], ...].
    There is no clock in sFlow: start_ms and end_ms are for the caller to say. Raises DecodeError if there is no whole
    header; what is wrong with samples goes to `problems`.

    The commonest samples come as text (sflow_common.py), many of them in one line of the shape WRITTEN.
    counters: False lets counter samples go unread where they need not be read to find the next sample.
    headers: False leaves the sampled octets out where the addresses in them could be read.
    """
    if len(datagram) < 8:
        raise DecodeError(f"sFlow header cut short: {len(datagram)} octets")
    version, kind = _TWO.unpack_from(datagram)
    layout = _HEADERS.get(kind)
    if layout is None or version not in (2, 4, 5):
        raise DecodeError(f"not sFlow: version {version}, address type {kind}")
    if version != 5:
        from overflowd_tools.protocols.sflow4 import decode_sflow4

        return decode_sflow4(datagram, version, kind, headers=headers)
    if len(datagram) < layout.size:
        raise DecodeError(f"sFlow header cut short: {len(datagram)} of {layout.size} octets")
    agent, sub_agent, sequence, uptime, count = layout.unpack_from(datagram)
    lines: list[Line] = []
    problems: list[str] = []
    _read_samples(datagram, layout.size, count, lines, problems, counters=counters, headers=headers)
    envelope = {"seq": sequence, "uptime_ms": uptime}
    # What Decoded() does, in half the time.
    return tuple.__new__(Decoded, ("sflow5", sub_agent, _head(agent), envelope, lines, problems))


@lru_cache(maxsize=1024)
def _head(agent: bytes) -> dict[str, str]:
    return {"agent": address_text(agent)} if agent else {}


def _read_samples(
    data: bytes, position: int, count: int, lines: list[Line], problems: list[str], *, counters: bool, headers: bool
) -> None:
    end = len(data)
    left = count
    while left and position + 8 <= end:
        texts: list[bytes] = []
        position, left = read_common(data, (position, end, left), b"", texts, counters=counters, headers=headers)
        if texts:
            lines.append(Line("flow", WRITTEN, (texts,)))
        if not left or position + 8 > end:
            break
        left -= 1
        from overflowd_tools.protocols.sflow_samples import read_sample

        found: list[str] = []
        position = read_sample(data, position, lines, found, headers=headers)
        problems += [f"sample {count - left} of {count}: {problem}" for problem in found]
    if left:
        problems.append(f"{left} of {count} samples are missing")
    elif position < end and any(data[position:]):
        problems.append(f"{end - position} octets after the last sample")


def read_common(
    data: bytes,
    samples: tuple[int, int, int],
    start: bytes,
    texts: list[bytes],
    *,
    counters: bool = False,
    headers: bool = False,
) -> tuple[int, int]:
    """Read samples as long as they are common ones, or of counters that are not wanted.

    Return where the next one is, and how many are left. samples: where they begin in data, where their datagram ends,
    and how many they are. The text of each flow is added to texts, behind start. counters, headers: see decode_sflow.
    """
    position, end, left = samples
    while left and position + 8 <= end:
        kind, length = _TWO.unpack_from(data, position)
        if kind in FLOW_SAMPLES:
            before = left
            common = common_samples(data, position, end, header=headers)
            if common is not None:
                position, left = common(data, position, end, left, start, texts)
            if left == before:
                break
        elif not counters and kind in COUNTER_SAMPLES and may_begin(data, position + 8 + length, end):
            position += 8 + length
            left -= 1
        else:
            break
    return position, left
