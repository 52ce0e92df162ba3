"""What sFlow agents get wrong, and datagrams that are cut, lying or made to do harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.lines import Line
from overflowd_tools.protocols.sflow import decode_sflow
from tests.protocols import sflow_builders as build
from tests.protocols.sflow_builders import (
    GOOD,
    GOOD_MEMBERS,
    OLD_SAMPLES,
    PACKET,
    PACKET_MEMBERS,
    WHOLE,
    address,
    datagram4,
    datagram5,
    flow,
    lines_and_problems,
    raw,
    record,
    unpacked,
    words,
)


def test_padding_after_a_sample():
    padded = flow(raw(PACKET), record(1027, words(5)), length=len(GOOD) - 8 + 12 + 8) + bytes(8)
    lines, problems = lines_and_problems(datagram5(padded, GOOD))
    assert lines == [GOOD_MEMBERS | {"decap_egress_offset": 5}, GOOD_MEMBERS]
    assert problems == []


@pytest.mark.parametrize("error", [-4, -3, -1, 1, 4])
def test_a_sample_length_that_is_a_little_wrong(error):
    odd = flow(record(1027, words(5)), raw(PACKET), length=len(GOOD) - 8 + 12 + error)
    lines, _ = lines_and_problems(datagram5(odd, GOOD))
    assert lines[-1] == GOOD_MEMBERS
    assert lines[0].items() >= PACKET_MEMBERS.items()
    assert len(lines) == 2


def test_a_length_that_is_no_multiple_of_4():
    odd = flow(raw(PACKET), record(1038, words(3) + b"abc"), length=len(GOOD) - 8 + 15)
    lines, problems = lines_and_problems(datagram5(odd + b"\0", GOOD))
    assert (lines, problems) == ([GOOD_MEMBERS | {"function": "abc"}, GOOD_MEMBERS], [])


def test_a_record_beyond_its_sample():
    short = flow(raw(PACKET), build.router("2001:db8::9"), length=len(GOOD) + 8)
    lines, problems = lines_and_problems(datagram5(short))
    assert (lines[0]["nexthop"], problems) == ("2001:db8::9", [])
    lying = flow(raw(PACKET), record(1002, address("203.0.113.9") + words(24, 16), length=60))
    lines, problems = lines_and_problems(datagram5(lying, GOOD))
    assert lines == [GOOD_MEMBERS | {"nexthop": "203.0.113.9", "src_mask": 24, "dst_mask": 16}, GOOD_MEMBERS]
    assert problems == ["sample 1 of 2: record 0/1002: 60 octets promised, 16 there"]


def test_lying_counts():
    lines, problems = lines_and_problems(datagram5(GOOD, count=0xFFFFFFFF))
    assert (lines, problems) == ([GOOD_MEMBERS], ["4294967294 of 4294967295 samples are missing"])
    lines, problems = lines_and_problems(datagram5(GOOD, GOOD, count=1))
    assert (lines, problems) == ([GOOD_MEMBERS], [f"{len(GOOD)} octets after the last sample"])
    assert lines_and_problems(datagram5(GOOD) + bytes(40)) == ([GOOD_MEMBERS], [])
    for make in (flow, build.expanded_flow):
        lines, problems = lines_and_problems(datagram5(make(raw(PACKET), count=0xFFFFFFFF), GOOD))
        assert lines == [GOOD_MEMBERS, GOOD_MEMBERS]
        assert problems == ["sample 1 of 2: 4294967294 of 4294967295 records are missing"]
    lines, problems = lines_and_problems(datagram5(flow(raw(PACKET), build.switch(), count=1), GOOD))
    assert lines == [GOOD_MEMBERS, GOOD_MEMBERS]
    assert problems == ["sample 1 of 2: 24 octets after the last record"]


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 5000, 150])
def test_lying_lengths(length):
    lines, problems = lines_and_problems(datagram5(GOOD, flow(raw(PACKET), length=length)))
    assert lines == [GOOD_MEMBERS, GOOD_MEMBERS]
    assert problems == [f"sample 2 of 2: {length} octets promised, {len(GOOD) - 8} there"]
    lines, problems = lines_and_problems(datagram5(flow(raw(PACKET, length=length)), GOOD))
    assert lines[0].items() >= PACKET_MEMBERS.items()
    assert lines[1] == GOOD_MEMBERS
    assert problems == [f"sample 1 of 2: record 0/1: {length} octets of header promised, 84 there"]
    lines, problems = lines_and_problems(datagram5(flow(record(1, raw(PACKET)[8:], length)), GOOD))
    assert lines[-1] == GOOD_MEMBERS


def test_the_gateway_record_that_asked_for_16_gib():
    gateway = address("192.0.2.1") + words(1, 2, 3, 0)
    for counts in ((0xFFFFFFFF,), (0x40000000,), (0x3FFFFFFF, 1)):
        shown, problems = lines_and_problems(datagram5(flow(raw(PACKET), record(1003, gateway + words(*counts)))))
        assert shown[0]["records"][0][0] == "0/1003"
        assert len(problems) == 1
    endless = address("192.0.2.1") + words(1, 2, 3, 0xFFFFFFFF, 2, 0) + words(2, 0) * 50
    shown, problems = lines_and_problems(datagram5(flow(record(1003, endless))))
    assert shown[0]["records"] == [["0/1003", endless.hex()]]


def test_cut_at_every_octet():
    everything = list(unpacked(decode_sflow(WHOLE).lines))
    for length in range(28, len(WHOLE)):
        lines, problems = lines_and_problems(WHOLE[:length])
        assert problems
        assert lines[:-1] == everything[: max(0, len(lines) - 1)]


def test_counters_can_be_left_out():
    some = decode_sflow(WHOLE, counters=False)
    assert [line.type for line in some.lines] == ["flow", "drop", "flow", "counter"]
    assert some.problems == []


def test_many_small_samples_in_bounded_work():
    record_to_the_end = flow(record(1, b"", 65000), length=40)
    datagram = datagram5(*[record_to_the_end] * 1300)
    decoded = decode_sflow(datagram)
    shown = sum(len(str(line)) for line in unpacked(decoded.lines))
    assert shown < 40 * len(datagram)
    assert sum(map(len, decoded.problems)) < 10 * len(datagram)


@given(st.sampled_from([2, 4, 5]), st.sampled_from([0, 1, 2]), st.binary(max_size=400))
def test_any_octets(version, kind, octets):
    check(words(version, kind) + octets)


@given(st.data())
def test_damaged_datagrams(data):
    octets = bytearray(data.draw(st.sampled_from([WHOLE, datagram4(*OLD_SAMPLES), datagram4(*OLD_SAMPLES, version=2)])))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(8, len(octets) - 1))
        octets[at] = data.draw(st.integers(0, 255))
    check(bytes(octets))


def check(datagram):
    try:
        decoded = decode_sflow(datagram)
    except DecodeError:
        return
    assert all(type(line) is Line and len(line.values) == len(line.shape.names) for line in decoded.lines)
    assert all(len(set(line.shape.names)) == len(line.shape.names) for line in decoded.lines)
    assert all(problem.isprintable() for problem in decoded.problems)
