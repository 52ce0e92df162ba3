"""When a flow began and ended, in Unix milliseconds, from whatever clock its exporter used.

Which rule holds is decided by the elements of the record, never by the version of the protocol: NetFlow 9 may carry
absolute times, and IPFIX the sysUptime of a router.
"""

from __future__ import annotations

from overflowd_tools.protocols.values import ntp_microseconds, ntp_nanoseconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DAY_MS = 86_400_000
_NTP_UNLIKELY_MS = 366 * DAY_MS
_EARLIEST_MS, _LATEST_MS = -(1 << 63), (1 << 64) - 1
"""JSON integers go no further in most programs; only an absurd duration gets there."""

Times = dict[int, int]
"""The time elements of a record, of one direction, by IANA's number: their raw integers."""

START, END = (152, 156, 154, 150, 158, 22), (153, 157, 155, 151, 159, 21)
_OBSERVED = (323, 325, 324, 322)
ENDS = frozenset({*START, *END, *_OBSERVED})
ELEMENTS = frozenset({*ENDS, 160, 161, 162, 258})
_SECONDS = frozenset({150, 151, 322})
_NTP = frozenset({154, 155, 156, 157, 324, 325})
_NTP_MICROSECONDS = frozenset({154, 155, 324})


def readable(element: int, octets: bytes) -> bool:
    """Tell whether octets can be the time of an element; exporters send integers of any size."""
    if element in _SECONDS and int.from_bytes(octets[:8]) >= 1 << 54:
        return False
    return len(octets) == 8 if element in _NTP else 1 <= len(octets) <= 8


def from_uptime(value: int, uptime_ms: int, export_ms: int) -> int:
    """Return when sysUptime stood at a value, given where it stood at the time of export.

    The difference is taken as a signed 32-bit integer: exporters report moments a little after the header's own, and
    sysUptime wraps after 49.7 days.
    """
    return export_ms - ((uptime_ms - value + 0x80000000 & 0xFFFFFFFF) - 0x80000000)


def from_ntp(element: int, value: int, export_ms: int) -> tuple[int, bool]:
    """Return the Unix nanoseconds of an NTP timestamp (RFC 7011 section 6.1.9), and whether that reading is doubtful.

    Some exporters put Unix microseconds or nanoseconds there; they are believed when only that reading is near the
    time of export.
    """
    read = ntp_microseconds if element in _NTP_MICROSECONDS else ntp_nanoseconds
    nanoseconds = read(value.to_bytes(8))
    if abs(nanoseconds // 1_000_000 - export_ms) > _NTP_UNLIKELY_MS:
        for unit in (1000, 1):
            if abs(value * unit // 1_000_000 - export_ms) < DAY_MS:
                return value * unit, True
    return nanoseconds, False


def span(times: Times, export_ms: int, uptime_ms: int | None, boot_ms: int | None) -> dict[str, Any]:
    """Return start_ms and end_ms (start_ns and end_ns where the source is finer), and time_src if it needs saying.

    uptime_ms: sysUptime in the header of the message. boot_ms: when sysUptime was 0, where the exporter told it
    (systemInitTimeMilliseconds).
    """
    boot_ms = times.get(160, boot_ms)
    if uptime_ms is None and boot_ms is not None:
        uptime_ms, told = export_ms - boot_ms & 0xFFFFFFFF, "init160"
    else:
        told = ""
    found: dict[str, Any] = {}
    source = ""
    for name, candidates in (("start", START), ("end", END)):
        for element in candidates:
            if element in times and (element not in (21, 22) or uptime_ms is not None):
                ends, told_by = _end(name, element, times[element], (export_ms, uptime_ms or 0))
                found |= ends
                source = told_by or source
                if element in (21, 22):
                    source = told or source
                break
    return _completed(found, times, export_ms, source)


def _end(name: str, element: int, value: int, clock: tuple[int, int]) -> tuple[dict[str, Any], str]:
    """Return one end of the flow as members of the line, and the time_src that goes with it.

    clock: the time of export and sysUptime at that moment.
    """
    export_ms, uptime_ms = clock
    if element in (152, 153):
        return {f"{name}_ms": value}, ""
    if element in (150, 151):
        return {f"{name}_ms": value * 1000}, ""
    if element in (158, 159):
        return {f"{name}_ms": export_ms - value // 1000}, "delta"
    if element in (21, 22):
        return {f"{name}_ms": from_uptime(value & 0xFFFFFFFF, uptime_ms, export_ms)}, ""
    nanoseconds, doubtful = from_ntp(element, value, export_ms)
    return {f"{name}_ms": nanoseconds // 1_000_000, f"{name}_ns": nanoseconds}, "abs?" if doubtful else ""


def _completed(found: dict[str, Any], times: Times, export_ms: int, source: str) -> dict[str, Any]:
    """Fill in what is missing from observation times, a duration, or in the end the time of export."""
    if "start_ms" not in found and "end_ms" not in found:
        for element in _OBSERVED:
            if element in times:
                value = times[element]
                moment = {323: value, 322: value * 1000}.get(element)
                if moment is None:
                    moment = from_ntp(element, value, export_ms)[0] // 1_000_000
                found |= {"start_ms": moment, "end_ms": moment}
                break
        else:
            moment = times.get(258, export_ms)
            found |= {"start_ms": moment, "end_ms": moment}
            source = "export"
    duration_ms = times.get(161, times[162] // 1000 if 162 in times else None)
    if "end_ms" not in found:
        found["end_ms"] = min(found["start_ms"] + (duration_ms or 0), _LATEST_MS)
    elif "start_ms" not in found:
        found["start_ms"] = max(found["end_ms"] - (duration_ms or 0), _EARLIEST_MS)
    if source:
        found["time_src"] = source
    if found["end_ms"] < found["start_ms"] or abs(found["start_ms"] - export_ms) > DAY_MS:
        found["time_suspect"] = True
    return found
