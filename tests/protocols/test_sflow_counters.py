"""The counters of sFlow: every structure by its size and order in the specifications, and the odd ones by value."""

import math
import struct

import pytest

from overflowd_tools.protocols.sflow import decode_sflow
from overflowd_tools.protocols.sflow_counters import COUNTERS
from tests.protocols import sflow_builders as build
from tests.protocols.sflow_builders import (
    counters4,
    datagram4,
    datagram5,
    hyper,
    lines_and_problems,
    members,
    one,
    opaque,
    pad,
    record,
    words,
)

SIZES = {
    1: 88,
    2: 52,
    3: 72,
    4: 80,
    5: 28,
    6: 80,
    7: 56,
    11: 20,
    1001: 28,
    1002: 12,
    1004: 12,
    2002: 8,
    2003: 80,
    2004: 72,
    2005: 52,
    2006: 40,
    2007: 76,
    2008: 100,
    2009: 60,
    2010: 28,
    2100: 28,
    2101: 12,
    2102: 16,
    2103: 52,
    2104: 40,
    2106: 108,
    2201: 60,
    2203: 40,
    2204: 140,
    2206: 20,
    2207: 24,
    4413 << 12 | 3: 144,
    5703 << 12 | 1: 48,
}
"""Octets of the structures of fixed size, as their specifications and InMon's constants have it."""
FIRST_AND_LAST = {
    1: ("ifIndex", "ifPromiscuousMode"),
    2: ("dot3StatsAlignmentErrors", "dot3StatsSymbolErrors"),
    3: ("dot5StatsLineErrors", "dot5StatsFreqErrors"),
    1002: ("elapsed_time", "on_channel_busy_time"),
    2007: ("ipForwarding", "ipFragCreates"),
    2008: ("icmpInMsgs", "icmpOutAddrMaskReps"),
    2009: ("tcpRtoAlgorithm", "tcpInCsumErrors"),
    2010: ("udpInDatagrams", "udpInCsumErrors"),
    2201: ("method_option_count", "status_other_count"),
}
IF_COUNTERS = words(5, 6) + hyper(10**10) + words(1, 3) + hyper(1 << 40) + words(1, 2, 3, 4, 5, 6)
IF_COUNTERS += hyper(2**64 - 1) + words(7, 8, 9, 10, 0xFFFFFFFF, 2)
IF_MEMBERS = {
    "ifIndex": 5,
    "ifType": 6,
    "ifSpeed": 10**10,
    "ifDirection": 1,
    "ifStatus": 3,
    "ifInOctets": 1 << 40,
    "ifInUcastPkts": 1,
    "ifInMulticastPkts": 2,
    "ifInBroadcastPkts": 3,
    "ifInDiscards": 4,
    "ifInErrors": 5,
    "ifInUnknownProtos": 6,
    "ifOutOctets": 2**64 - 1,
    "ifOutUcastPkts": 7,
    "ifOutMulticastPkts": 8,
    "ifOutBroadcastPkts": 9,
    "ifOutDiscards": 10,
    "ifOutErrors": 0xFFFFFFFF,
    "ifPromiscuousMode": 2,
}
MAC = bytes.fromhex("020000000004")

VALUES = {
    1: (IF_COUNTERS, {"if_counters": IF_MEMBERS}),
    5: (
        words(10) + hyper(1 << 33) + words(1, 2, 3, 4),
        {
            "vlan_counters": {"vlan_id": 10, "octets": 1 << 33, "ucastPkts": 1}
            | {"multicastPkts": 2, "broadcastPkts": 3, "discards": 4}
        },
    ),
    10: (
        words(1, 4, 3300, 0xFFFFFFFF, 1, *range(1, 11)),
        {
            "sfp": {"module_id": 1, "module_total_lanes": 4, "module_supply_voltage": 3300, "module_temperature": -1}
            | {
                "lanes": [
                    {"lane_index": 1, "tx_bias_current": 2, "tx_power": 3, "tx_power_min": 4, "tx_power_max": 5}
                    | {"tx_wavelength": 6, "rx_power": 7, "rx_power_min": 8, "rx_power_max": 9, "rx_wavelength": 10}
                ]
            }
        },
    ),
    1001: (
        words(0xFFFFFFFF, 100, 9900) + hyper(1 << 34) + hyper(5),
        {"processor": {"cpu_5s": -1, "cpu_1m": 100, "cpu_5m": 9900, "total_memory": 1 << 34, "free_memory": 5}},
    ),
    1005: (opaque(b"eth0"), {"port_name": {"name": "eth0"}}),
    2000: (
        opaque(b"host") + bytes(range(16)) + words(3, 2) + opaque(b"6.1"),
        {
            "host_descr": {"hostname": "host", "uuid": bytes(range(16)).hex(), "machine_type": 3, "os_name": 2}
            | {"os_release": "6.1"}
        },
    ),
    2001: (
        words(2, 5, 1) + pad(MAC) + words(6, 0),
        {
            "host_adapters": {
                "adapters": [
                    {"ifIndex": 5, "mac_addresses": ["02:00:00:00:00:04"]},
                    {"ifIndex": 6, "mac_addresses": []},
                ]
            }
        },
    ),
    2105: (
        opaque(b"vm") + opaque(b"vendor") + opaque(b"17"),
        {"jvm_runtime": {"vm_name": "vm", "vm_vendor": "vendor", "vm_version": "17"}},
    ),
    2202: (
        opaque(b"app") + words(*range(1, 12)),
        {
            "app_operations": {"application": "app", "success": 1, "other": 2, "timeout": 3, "internal_error": 4}
            | {"bad_request": 5, "forbidden": 6, "too_large": 7, "not_implemented": 8, "not_found": 9}
            | {"unavailable": 10, "unauthorized": 11}
        },
    ),
}


def test_every_structure_is_tested():
    assert SIZES.keys() | VALUES.keys() == COUNTERS.keys()


@pytest.mark.parametrize(("number", "size"), SIZES.items())
def test_sizes(number, size):
    octets = words(*range(0x01000001, 0x01000001 + size // 4))
    line = one(datagram5(build.counters(record(number, octets))))
    name, fields = line.popitem()
    assert line == {"sample_seq": 88, "source_id": 3}
    assert name == COUNTERS[number].name
    assert len(set(map(str, fields.values()))) == len(fields)
    if number in FIRST_AND_LAST:
        first, last = FIRST_AND_LAST[number]
        assert (fields[first], fields[last]) == (0x01000001, 0x01000000 + size // 4)


@pytest.mark.parametrize("number", SIZES)
def test_cut_structures_are_kept_as_they_came(number):
    size = SIZES[number]
    least = {2003: 68, 2106: 100}.get(number, size)
    for length in range(0, size, 4):
        lines, problems = lines_and_problems(datagram5(build.counters(record(number, bytes(length)))))
        assert (COUNTERS[number].name in lines[0]) == (length >= least), length
        assert ("records" in lines[0]) == (length < least)
        assert len(problems) == (length < least)


@pytest.mark.parametrize(("number", "octets", "expected"), [(key, *value) for key, value in VALUES.items()])
def test_values(number, octets, expected):
    assert one(datagram5(build.counters(record(number, octets)))) == {"sample_seq": 88, "source_id": 3} | expected
    for length in range(0, len(octets), 4):
        lines, problems = lines_and_problems(datagram5(build.counters(record(number, octets[:length]))))
        text = f"{number >> 12}/{number & 0xFFF}"
        assert lines[0]["records"] == [[text, octets[:length].hex()]]
        assert len(problems) == 1
        assert problems[0].startswith(f"sample 1 of 1: record {text}: ")


def test_mac_addresses():
    octets = pad(MAC) + pad(MAC) + words(*range(10))
    fields = one(datagram5(build.counters(record(7, octets))))["lag_port_stats"]
    assert fields["dot3adAggPortActorSystemID"] == "02:00:00:00:00:04"
    assert fields["dot3adAggPortPartnerOperSystemID"] == "02:00:00:00:00:04"


def test_loads_are_floats():
    octets = struct.pack("!3f", 0.5, math.nan, math.inf) + words(*range(14))
    fields = one(datagram5(build.counters(record(2003, octets))))["host_cpu"]
    assert fields["load_one"] == 0.5
    assert not fields.keys() & {"load_five", "load_fifteen", "cpu_steal"}


def test_several_structures():
    records = (record(1, IF_COUNTERS), record(1005, opaque(b"eth0")), record(4095, b"wxyz"), record(1, IF_COUNTERS))
    for make, source in ((build.counters, 3), (build.expanded_counters, 0x2000003)):
        line = one(datagram5(make(*records)))
        assert line == {
            "sample_seq": 88,
            "source_id": source,
            "if_counters": IF_MEMBERS,
            "port_name": {"name": "eth0"},
            "records": [["0/4095", b"wxyz".hex()], ["0/1", IF_COUNTERS.hex()]],
        }
    assert one(datagram5(build.counters(source=0x02000001))) == {"sample_seq": 88, "source_id": 1, "source_class": 2}


def test_structures_may_grow_at_their_end():
    longer = IF_COUNTERS + words(1)
    line = one(datagram5(build.counters(record(1, longer))))
    assert (line["if_counters"], line["records"]) == (IF_MEMBERS, [["0/1", longer.hex()]])


@pytest.mark.parametrize("number", [10, 2001])
def test_lying_counts_of_lanes_and_adapters(number):
    start = words(1, 4, 3300, 5) if number == 10 else b""
    octets = start + words(0xFFFFFFFF) + bytes(64)
    lines, problems = lines_and_problems(datagram5(build.counters(record(number, octets))))
    assert lines[0]["records"] == [[f"0/{number}", octets.hex()]]
    assert len(problems) == 1


OLD = {
    1: {"if_counters": IF_MEMBERS},
    2: {"if_counters": IF_MEMBERS, "ethernet_counters": 13},
    3: {"if_counters": IF_MEMBERS, "tokenring_counters": 18},
    4: {"if_counters": IF_MEMBERS},
    5: {"if_counters": IF_MEMBERS, "vg_counters": 14},
    6: {"if_counters": IF_MEMBERS},
}


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize(("kind", "expected"), OLD.items())
def test_versions_2_and_4(version, kind, expected):
    specific = {2: words(*range(13)), 3: words(*range(18)), 5: bytes(80)}.get(kind, b"")
    decoded = decode_sflow(datagram4(counters4(kind, IF_COUNTERS + specific), version=version))
    assert decoded.problems == []
    assert [line.type for line in decoded.lines] == ["counter"]
    line = members(decoded.lines[0])
    assert (line.pop("sample_seq"), line.pop("source_id"), line.pop("interval_s")) == (88, 3, 30)
    assert {name: len(fields) if name != "if_counters" else fields for name, fields in line.items()} == expected


def test_vlan_counters_of_version_4():
    octets, expected = VALUES[5]
    line = one(datagram4(counters4(7, octets)))
    assert line == {"sample_seq": 88, "source_id": 3, "interval_s": 30} | expected
