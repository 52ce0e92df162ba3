"""sFlow 2 and 4: samples without lengths."""

import pytest

from overflowd_tools.protocols.sflow import decode_sflow
from tests.protocols import sflow_builders as build
from tests.protocols.sflow_builders import (
    EXTENDED4,
    FLOW,
    IP4,
    IP4_FIELDS,
    IP6,
    IP6_FIELDS,
    OLD_SAMPLES,
    PACKET,
    PACKET_MEMBERS,
    SWITCH,
    datagram4,
    lines_and_problems,
    members,
    one,
    words,
)

EXTENDED4_MEMBERS = SWITCH | {
    "nexthop": "203.0.113.9",
    "src_mask": 24,
    "dst_mask": 16,
    "router_as": 1,
    "src_as": 2,
    "prev_as": 3,
    "as_path": [65001, 65002],
    "next_as": 65001,
    "dst_as": 65002,
    "communities": [7],
    "local_pref": 100,
    "src_user": "me",
    "dst_user": "you",
    "url_direction": 1,
    "url": "/x",
}
HEADER4 = {"hdr_proto": 1, "frame_len": 82, "header": PACKET.hex()}


def test_version_4():
    line = one(datagram4(build.flow4(1, build.raw4(PACKET), *EXTENDED4)))
    assert line == FLOW | PACKET_MEMBERS | HEADER4 | EXTENDED4_MEMBERS


def test_headers_can_be_left_out():
    line = members(decode_sflow(datagram4(build.flow4(1, build.raw4(PACKET))), headers=False).lines[0])
    assert line == FLOW | PACKET_MEMBERS | {"hdr_proto": 1, "frame_len": 82}


def test_version_2():
    gateway = (3, words(1, 2, 3) + words(2, 65001, 65002))
    line = one(datagram4(build.flow4(1, build.raw4(PACKET), *EXTENDED4[:2], gateway, *EXTENDED4[3:]), version=2))
    expected = FLOW | PACKET_MEMBERS | HEADER4 | EXTENDED4_MEMBERS
    assert line == {name: expected[name] for name in expected.keys() - {"communities", "local_pref"}}


def test_packets_without_header():
    assert one(datagram4(build.flow4(2, IP4))) == FLOW | IP4_FIELDS
    assert one(datagram4(build.flow4(3, IP6))) == FLOW | IP6_FIELDS


def test_interfaces_of_version_4():
    line = one(datagram4(build.flow4(2, IP4, in_if=0x40000001, out_if=0x80000003)))
    assert (line["in_if"], line["out_ifs"]) == (0x40000001, 3)
    assert one(datagram4(build.flow4(2, IP4, in_if=0x3FFFFFFF, out_if=0x3FFFFFFF)))["out_if"] == 0x3FFFFFFF


def test_a_record_twice_in_version_4():
    line = one(datagram4(build.flow4(2, IP4, EXTENDED4[0], EXTENDED4[0])))
    assert line["records"] == [["0/1001", words(10, 1, 20, 2).hex()]]


BAD_OLD = {
    "sample": (words(3), [], "sample of unknown type 3"),
    "packet": (build.flow4(4, b""), [FLOW], "packet data of unknown type 4"),
    "extended data": (build.flow4(2, IP4, (6, b"")), [FLOW | IP4_FIELDS], "extended data of unknown type 6"),
    "counters": (build.counters4(8, b""), [], "counters of unknown type 8"),
}


@pytest.mark.parametrize(("sample", "lines", "problem"), BAD_OLD.values(), ids=BAD_OLD)
def test_unknown_types_end_the_datagram(sample, lines, problem):
    good = build.flow4(2, IP4)
    shown, problems = lines_and_problems(datagram4(good, sample, good))
    assert shown == [FLOW | IP4_FIELDS, *lines]
    assert problems == [f"sample 2 of 3: {problem}"]


def test_lying_counts_of_version_4():
    good = build.flow4(2, IP4)
    assert lines_and_problems(datagram4(good, count=0xFFFFFFFF)) == (
        [FLOW | IP4_FIELDS],
        ["4294967294 of 4294967295 samples are missing"],
    )
    assert lines_and_problems(datagram4(good, good, count=1))[1] == [f"{len(good)} octets after the last sample"]
    shown, problems = lines_and_problems(datagram4(build.flow4(2, IP4, EXTENDED4[0], count=0xFFFFFFFF)))
    assert shown == [FLOW | IP4_FIELDS | SWITCH]
    assert problems == ["sample 1 of 1: 4 octets promised, 0 there"]


@pytest.mark.parametrize("version", [2, 4])
def test_version_4_cut_at_every_octet(version):
    whole = datagram4(*OLD_SAMPLES, version=version)
    assert [line.type for line in decode_sflow(whole).lines] == ["flow", "flow", "counter"]
    for length in range(24, len(whole)):
        assert decode_sflow(whole[:length]).problems
