"""When flows began and ended, by every clock that exporters use (research: signed differences, NTP, 160)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from overflowd_tools.protocols.elements import REVERSE
from overflowd_tools.protocols.exporters import Exporters
from overflowd_tools.protocols.times import DAY_MS, from_uptime, readable, span
from tests.protocols.set_builders import SECOND, data, send, send9, shown, template

NOW = SECOND * 1000
UPTIME = 1_000_000
NTP = 2_208_988_800


def ntp(milliseconds: int) -> int:
    """An NTP timestamp, cut as exporters cut it."""
    seconds, rest = divmod(milliseconds, 1000)
    return (seconds + NTP << 32) + (rest << 32) // 1000


@given(some.integers(0, 2**32 - 1), some.integers(-(2**31), 2**31 - 1))
def test_uptime_is_a_signed_difference(uptime, age):
    assert from_uptime(uptime - age & 0xFFFFFFFF, uptime, NOW) == NOW - age


def test_softflowd_begins_before_its_boot():
    """First = 0xFFFFFFFF at sysUptime 3381: one millisecond before the boot, not 49 days after it."""
    assert from_uptime(0xFFFFFFFF, 3381, NOW) == NOW - 3382


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({152: 5, 153: 9}, {"start_ms": 5, "end_ms": 9, "time_suspect": True}),
        ({152: NOW - 9, 153: NOW}, {"start_ms": NOW - 9, "end_ms": NOW}),
        ({150: SECOND - 2, 151: SECOND}, {"start_ms": NOW - 2000, "end_ms": NOW}),
        ({158: 3_000_000, 159: 0}, {"start_ms": NOW - 3000, "end_ms": NOW, "time_src": "delta"}),
        ({22: UPTIME - 5, 21: UPTIME + 5}, {"start_ms": NOW - 5, "end_ms": NOW + 5}),
        ({22: UPTIME - 5 + (1 << 40), 21: UPTIME}, {"start_ms": NOW - 5, "end_ms": NOW}),
        # The finer clock wins, and the absolute one before sysUptime.
        ({22: 1, 21: 1, 152: NOW - 9, 153: NOW}, {"start_ms": NOW - 9, "end_ms": NOW}),
        ({150: SECOND, 152: NOW - 7, 153: NOW, 151: SECOND}, {"start_ms": NOW - 7, "end_ms": NOW}),
        ({323: NOW - 4}, {"start_ms": NOW - 4, "end_ms": NOW - 4}),
        ({322: SECOND - 4}, {"start_ms": NOW - 4000, "end_ms": NOW - 4000}),
        ({325: ntp(NOW - 296)}, {"start_ms": NOW - 296, "end_ms": NOW - 296}),
        ({152: NOW - 9, 161: 4}, {"start_ms": NOW - 9, "end_ms": NOW - 5}),
        ({153: NOW, 162: 4000}, {"start_ms": NOW - 4, "end_ms": NOW}),
        ({152: NOW - 9}, {"start_ms": NOW - 9, "end_ms": NOW - 9}),
        ({258: NOW - 1}, {"start_ms": NOW - 1, "end_ms": NOW - 1, "time_src": "export"}),
        ({}, {"start_ms": NOW, "end_ms": NOW, "time_src": "export"}),
        ({152: NOW, 153: NOW - 1}, {"start_ms": NOW, "end_ms": NOW - 1, "time_suspect": True}),
        ({152: NOW - DAY_MS, 153: NOW}, {"start_ms": NOW - DAY_MS, "end_ms": NOW}),
        ({152: NOW - DAY_MS - 1, 153: NOW}, {"start_ms": NOW - DAY_MS - 1, "end_ms": NOW, "time_suspect": True}),
        # Absurd numbers stay within what JSON integers hold.
        ({152: 2**64 - 1, 161: 2**64 - 1}, {"start_ms": 2**64 - 1, "end_ms": 2**64 - 1, "time_suspect": True}),
        ({153: 0, 161: 2**64 - 1}, {"start_ms": -(2**63), "end_ms": 0, "time_suspect": True}),
    ],
)
def test_span(times, expected):
    assert span(times, NOW, UPTIME, None) == expected


@pytest.mark.parametrize("start", [154, 156])
@pytest.mark.parametrize("rest", [0, 1, 296, 999])
def test_ntp_timestamps_are_rounded_not_cut(start, rest):
    """A fraction cut to 32 bits lies a little below the millisecond that was meant."""
    times = {start: ntp(NOW - 1000 + rest), start + 1: ntp(NOW)}
    expected = {"start_ms": NOW - 1000 + rest, "end_ms": NOW, "start_ns": (NOW - 1000 + rest) * 10**6}
    assert span(times, NOW, None, None) == {**expected, "end_ns": NOW * 10**6}


@pytest.mark.parametrize("unit", [1, 1000])
def test_unix_time_in_the_place_of_ntp(unit):
    """VPP sends Unix microseconds or nanoseconds there; told by what is near the time of export."""
    value = NOW * 10**6 // unit
    found = span({156: value, 157: value}, NOW, None, None)
    assert (found["start_ms"], found["end_ns"], found["time_src"]) == (NOW, NOW * 10**6, "abs?")


def test_far_ntp_timestamps_are_what_they_say():
    found = span({156: ntp(0), 157: ntp(1)}, NOW, None, None)
    assert (found["start_ms"], found["end_ms"], found["time_suspect"]) == (0, 1, True)
    assert "time_src" not in found


def test_sys_uptime_in_ipfix_needs_its_clock():
    """Neither IPFIX's header nor the record has it: the time of export stands in, and that is said."""
    assert span({22: 5, 21: 6}, NOW, None, None) == {"start_ms": NOW, "end_ms": NOW, "time_src": "export"}
    expected = {"start_ms": NOW - 995, "end_ms": NOW - 994, "time_src": "init160"}
    assert span({22: 5, 21: 6}, NOW, None, NOW - 1000) == expected
    assert span({22: 5, 21: 6, 160: NOW - 1000}, NOW, None, 77) == expected


def test_wraps_of_sys_uptime_since_the_boot():
    boot = NOW - 60 * DAY_MS
    found = span({22: 60 * DAY_MS - 5000 & 0xFFFFFFFF, 21: 60 * DAY_MS & 0xFFFFFFFF}, NOW, None, boot)
    assert (found["start_ms"], found["end_ms"]) == (NOW - 5000, NOW)


UPTIMES = [(22, 4), (21, 4)]


def test_options_tell_when_sys_uptime_was_0():
    exporters = Exporters()
    flow = template(256, UPTIMES) + data(256, struct.pack("!II", 1000, 2000))
    [row] = send(exporters, flow).rows
    assert row.members == {"stime": 1000, "etime": 2000, "start_ms": NOW, "end_ms": NOW, "time_src": "export"}
    # Told after the flow of the same message, and good for it.
    told = template(257, [(149, 4), (160, 8)], scopes=1) + data(257, struct.pack("!IQ", 1, NOW - 9000))
    row = send(exporters, data(256, struct.pack("!II", 1000, 2000)), told).rows[-1]
    assert (row.members["start_ms"], row.members["end_ms"]) == (NOW - 8000, NOW - 7000)
    assert row.members["time_src"] == "init160"
    # Good for the exporter's domain alone.
    [row] = send(exporters, flow, domain=2).rows
    assert row.members["time_src"] == "export"
    [row] = send(exporters, flow, source=(b"\xc0\0\2\1", 9999, 0)).rows
    assert row.members["time_src"] == "init160"


def test_netflow9_with_absolute_times():
    """Which rule holds is decided by the elements, never by the version."""
    fields, octets = [(152, 8), (153, 8)], struct.pack("!QQ", NOW - 3, NOW)
    [row] = send9(Exporters(), template(256, fields, kind=-1), data(256, octets)).rows
    assert row.members == {"start_ms": NOW - 3, "end_ms": NOW}


def test_the_other_direction():
    fields = [(152, 8), (153, 8), (152, 8, REVERSE), (22, 4, REVERSE), (160, 8)]
    octets = struct.pack("!QQQIQ", NOW - 9, NOW, NOW - 5, 7, NOW - 1000)
    [members] = shown(template(256, fields), data(256, octets))
    assert (members["r_start_ms"], members["r_end_ms"], members["r_stime"]) == (NOW - 5, NOW - 5, 7)
    [members] = shown(template(256, [(22, 4, REVERSE), (160, 8)]), data(256, struct.pack("!IQ", 7, NOW - 1000)))
    assert (members["r_start_ms"], members["r_time_src"]) == (NOW - 993, "init160")
    [members] = shown(template(256, [(161, 4, REVERSE)]), data(256, b"\0\0\0\1"))
    assert members["ie"] == {"29305/161": 1}
    assert not [name for name in members if name.startswith("r_")]


@pytest.mark.parametrize(
    ("element", "octets", "expected"),
    [
        (152, b"", False),
        (152, b"\1", True),
        (152, b"\xff" * 8, True),
        (152, b"\xff" * 9, False),
        (150, b"\xff" * 4, True),
        (150, b"\xff" * 7, False),
        (150, b"\xff" * 8, False),
        (156, b"\xff" * 8, True),
        (156, b"\xff" * 4, False),
        (22, b"\1" * 8, True),
    ],
)
def test_what_can_be_a_time(element, octets, expected):
    assert readable(element, octets) is expected


FORMS = {150: 4, 152: 8, 154: 8, 156: 8, 158: 4, 22: 4, 323: 8}


@given(some.permutations([150, 152, 154, 156, 158, 22]), some.integers(1, 6))
def test_every_clock_is_shown_whatever_the_order(order, size):
    """The best one in start_ms, all others by their names."""
    order = order[:size]
    octets = {150: struct.pack("!I", SECOND - 5), 152: struct.pack("!Q", NOW - 4000), 158: struct.pack("!I", 2_000_000)}
    octets |= {154: struct.pack("!Q", ntp(NOW - 3000)), 156: struct.pack("!Q", ntp(NOW - 1000)), 22: b"\0\0\0\7"}
    names = {150: "Seconds", 152: "Milliseconds", 154: "Microseconds", 156: "Nanoseconds", 158: "DeltaMicroseconds"}
    starts = {150: NOW - 5000, 152: NOW - 4000, 154: NOW - 3000, 156: NOW - 1000, 158: NOW - 2000}
    content = b"".join(octets[element] for element in order)
    [members] = shown(template(256, [(element, FORMS[element]) for element in order]), data(256, content))
    best = next((element for element in (152, 156, 154, 150, 158) if element in order), None)
    assert members["start_ms"] == starts.get(best, NOW)
    shown_anyway = {158} if best == 158 else set()
    others = {f"flowStart{names[each]}" for each in order if (each in names and each != best) or each in shown_anyway}
    assert set(members.get("ie", {})) == others
    assert ("stime" in members) == (22 in order)


def test_an_observation_beside_start_and_end_is_not_lost():
    fields, octets = [(323, 8), (152, 8)], struct.pack("!QQ", NOW - 1, NOW - 5)
    [members] = shown(template(256, fields), data(256, octets))
    assert members["start_ms"] == NOW - 5
    assert members["ie"] == {"observationTimeMilliseconds": NOW - 1}
