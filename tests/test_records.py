"""Flow lines, held against a decoder written from the tables, for every field and every state of the clocks."""

import ipaddress
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from overflowd_tools import records, rendering
from overflowd_tools.protocols.detect import decode
from overflowd_tools.protocols.templates import Field, Kind, Template
from overflowd_tools.protocols.times import from_uptime
from overflowd_tools.records import FlowWriter
from overflowd_tools.rendering import address_text, compile_template
from tests.protocols import netflow_builders as build

EXPORTER = "192.0.2.1"
LIMIT32 = 2**32 - 1
every_kind = pytest.mark.parametrize("kind", build.KINDS)
any_kind = st.sampled_from(build.KINDS)


def lines_of(data: bytes, *, exporter=EXPORTER, envelope=False, writer=None, port=2055, received_ns=0) -> list[bytes]:
    writer = writer or FlowWriter(envelope=envelope)
    return writer.lines(decode(data), ipaddress.ip_address(exporter).packed, port, received_ns)


def parsed(line: bytes) -> dict:
    """The object of a line that keeps to overflowd-record(5): compact, ASCII, no name twice, the first two in place."""
    assert line.endswith(b"}\n")
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert b" " not in line
    members = json.loads(line, object_pairs_hook=list)
    names = [name for name, _ in members]
    assert names[:2] == ["type", "pcount"]
    assert len(set(names)) == len(names)
    return dict(members)


def check(kind: str, data: bytes, count: int, **more) -> None:
    assert [parsed(line) for line in lines_of(data, **more)] == build.expected_flows(kind, data, EXPORTER)[:count]
    assert len(build.expected_flows(kind, data, EXPORTER)) == count


# --- every field against the plain decoder


headers = st.fixed_dictionaries(
    {
        "uptime": st.sampled_from([0, 1, build.UPTIME, 2**31 - 1, 2**31, LIMIT32]) | st.integers(0, LIMIT32),
        "seconds": st.sampled_from([0, build.SECOND, LIMIT32]) | st.integers(0, LIMIT32),
        "nanoseconds": st.integers(0, LIMIT32),
        "sequence": st.integers(0, LIMIT32),
        "engine": st.tuples(st.integers(0, 255), st.integers(0, 255)),
        "sampling": st.integers(0, 65535),
    }
)


@given(any_kind, st.integers(1, 35), st.integers(0, 2**32), headers)
@example("netflow5", 30, 0, {"uptime": 2**31 - 1})
@example("netflow5", 30, 0, {"uptime": 2**31})
@settings(max_examples=300)
def test_random_records(kind, count, seed, fields):
    check(kind, build.random_datagram(seed, kind, count, **fields), count)


numbers = st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, LIMIT32)


@given(any_kind, st.lists(st.lists(numbers, min_size=20, max_size=20), min_size=1, max_size=4), headers)
def test_records_of_small_and_great_numbers(kind, rows, fields):
    limits = {"B": 2**8, "H": 2**16, "I": 2**32, "4s": 2**32}
    made = []
    for row in rows:
        values = [(name, code, number) for (name, code), number in zip(build.LAYOUTS[kind], row, strict=False) if name]
        made.append(build.record(kind, **{name: number % limits[code] for name, code, number in values}))
    check(kind, build.datagram(*made, kind=kind, **fields), len(made))


def test_one_line_to_the_letter():
    data = build.datagram(
        build.record(
            saddr="198.51.100.7",
            daddr="203.0.113.255",
            nexthop="192.0.2.254",
            in_if=3,
            out_if=65535,
            pcount=17001,
            bcount=25501500,
            stime=940_000,
            etime=999_999,
            sport=40000,
            dport=53,
            flags=0x1B,
            protocol=17,
            tos=184,
            src_as=64500,
            dst_as=64501,
            src_mask=24,
            dst_mask=32,
        ),
        engine=(1, 2),
        sampling=0x4064,
        nanoseconds=5_999_999,
        sequence=9,
    )
    start = (
        b'{"type":"flow","pcount":17001,"source":"netflow5","exporter":"192.0.2.1","domain":258,"sampling_rate":100,'
        b'"export_ms":1700000000005'
    )
    rest = (
        b',"saddr":"198.51.100.7","daddr":"203.0.113.255","bcount":25501500,"stime":940000,"etime":999999,'
        b'"sport":40000,"dport":53,"flags":27,"protocol":17,"tos":184,"start_ms":1699999940005,"end_ms":1700000000004,'
        b'"nexthop":"192.0.2.254","in_if":3,"out_if":65535,"src_as":64500,"dst_as":64501,"src_mask":24,"dst_mask":32}\n'
    )
    assert lines_of(data) == [start + rest]
    envelope = (
        b',"exporter_port":2055,"uptime_ms":1000000,"recv_ms":1700000001500,"seq":9,"engine_type":1,"engine_id":2'
    )
    assert lines_of(data, envelope=True, received_ns=1_700_000_001_500_999_999) == [start + envelope + rest]


@every_kind
def test_the_envelope_is_what_the_header_said(kind):
    data = build.random_datagram(5, kind, 3, sequence=77, engine=(1, 2))
    plain = [parsed(line) for line in lines_of(data)]
    shown = [parsed(line) for line in lines_of(data, envelope=True, received_ns=1_500_000)]
    added = {"exporter_port": 2055, "uptime_ms": build.UPTIME, "recv_ms": 1}
    added |= {} if kind.startswith("netflow1") else {"seq": 77}
    added |= {"engine_type": 1, "engine_id": 2} if kind in {"netflow5", "netflow6"} else {}
    assert shown == [flow | added for flow in plain]


def test_a_packet_without_a_time_has_no_time_of_arrival():
    (line,) = lines_of(build.datagram(build.record()), envelope=True, received_ns=0)
    assert "recv_ms" not in parsed(line)


@pytest.mark.parametrize("exporter", ["0.0.0.0", "255.255.255.255", "::", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1"])
def test_exporters(exporter):
    (line,) = lines_of(build.datagram(build.record()), exporter=exporter)
    assert parsed(line)["exporter"] == exporter


@given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
def test_address_text_is_canonical(octets):
    shown = address_text(octets).decode()
    assert ipaddress.ip_address(shown).packed == octets
    if not shown.startswith("::ffff:"):  # ipaddress writes these another way from one Python to the next
        assert shown == str(ipaddress.ip_address(octets))


# --- clocks


@pytest.mark.parametrize(
    ("uptime", "first", "difference"),
    [
        (1_000_000, 999_000, -1000),
        (1_000_000, 1_000_000, 0),
        (1_000_000, 1_000_992, 992),  # the router's clock ran on while the datagram was filled
        (3381, LIMIT32, -3382),  # softflowd: a flow that began before sysUptime did
        (500, LIMIT32 - 499, -1000),  # sysUptime wrapped since the flow began
        (LIMIT32, 0, 1),
        (LIMIT32, LIMIT32, 0),
        (2**31 + 10, 2**31 - 10, -20),  # on both sides of the middle
        (2**31 - 10, 2**31 + 10, 20),
        (2**31 - 1, 0, 1 - 2**31),
        (0, 2**31 - 1, 2**31 - 1),
        (0, 2**31 + 1, 1 - 2**31),
        (2**31 + 5, 5, 2**31),  # the one difference without a nearer side: as int32 has it
    ],
)
@every_kind
def test_time_is_a_signed_difference(kind, uptime, first, difference):
    """Alone, and beside a flow that is far away in time, which makes the renderer take its other way."""
    near = build.record(kind, stime=first, etime=first)
    far = build.record(kind, stime=LIMIT32 - 5, etime=2**31)
    for others in ([], [far], [build.record(kind)]):
        data = build.datagram(near, *others, kind=kind, uptime=uptime)
        flow = parsed(lines_of(data)[0])
        assert (flow["stime"], flow["etime"]) == (first, first)
        assert flow["start_ms"] == flow["end_ms"] == build.SECOND * 1000 + difference


@given(any_kind, st.integers(0, 2**31 - 1), st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5))
def test_both_ways_through_the_renderer_agree(kind, uptime, firsts):
    records_near = [build.record(kind, stime=first, etime=first // 2) for first in firsts]
    near = lines_of(build.datagram(*records_near, kind=kind, uptime=uptime))
    far = lines_of(build.datagram(*records_near, build.record(kind, stime=LIMIT32), kind=kind, uptime=uptime))
    assert far[: len(firsts)] == near


moments = st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**31 + 1, LIMIT32]) | st.integers(0, LIMIT32)


@given(moments, moments, st.booleans())
def test_the_generated_code_agrees_with_the_plain_rule(uptime, first, apart):
    """NetFlow 9 and IPFIX take either way, as their templates are simple or not."""
    first = (uptime + 2**31) % 2**32 if apart else first
    (line,) = lines_of(build.datagram(build.record(stime=first), uptime=uptime))
    assert parsed(line)["start_ms"] == from_uptime(first, uptime, build.SECOND * 1000)


DAY_MS = 24 * 3600 * 1000


@pytest.mark.parametrize("uptime", [DAY_MS + 7, 122 << 24, (123 << 24) - 1, 123 << 24, 2**31 - 1, 2**31, LIMIT32])
@pytest.mark.parametrize(
    ("first", "last", "suspect"),
    [
        (0, 0, False),
        (0, -1, True),
        (-5, 5, False),
        (-DAY_MS, -DAY_MS, False),
        (-DAY_MS - 1, 0, True),
        (DAY_MS, DAY_MS, False),
        (DAY_MS + 1, DAY_MS + 2, True),
        (0, DAY_MS * 2, False),  # as long as this one began when it can have
        (-DAY_MS, DAY_MS * 10, False),
    ],
)
@every_kind
def test_times_that_cannot_be_right_are_suspect(kind, uptime, first, last, suspect):
    first, last = (uptime + first) % 2**32, (uptime + last) % 2**32
    near = build.record(kind, stime=uptime, etime=uptime)
    data = build.datagram(near, build.record(kind, stime=first, etime=last), kind=kind, uptime=uptime)
    check(kind, data, 2)
    assert [parsed(line).get("time_suspect", False) for line in lines_of(data)] == [False, suspect]


# --- ICMP


@pytest.mark.parametrize(
    ("protocol", "dport", "icmp"),
    [
        (1, 0, (0, 0)),
        (1, 769, (3, 1)),
        (1, 2048, (8, 0)),
        (1, 65535, (255, 255)),
        (58, 0x8000, (128, 0)),
        (58, 256, (1, 0)),
        (58, 255, None),
        (58, 0, None),
        (6, 2048, None),
        (0, 0, None),
    ],
)
@every_kind
def test_icmp_is_read_from_the_destination_port(kind, protocol, dport, icmp):
    record = build.record(kind, protocol=protocol, dport=dport, flags=1)
    flows = [parsed(line) for line in lines_of(build.datagram(record, record, kind=kind))]
    assert flows[0] == flows[1]
    assert (flows[0].get("icmp_type"), flows[0].get("icmp_code")) == (icmp or (None, None))
    assert flows[0]["dport"] == dport


def test_no_records_no_lines():
    assert lines_of(build.datagram()) == []


# --- memory


@every_kind
def test_what_is_kept_of_the_octets_of_records_is_bounded(kind, monkeypatch):
    """With room for three, every fourth new one empties the table; the lines stay right."""
    monkeypatch.setattr(rendering, "FRAGMENTS_KEPT", 3)
    tables = []

    class Watched(rendering._Fragments):
        def __init__(self, text):
            super().__init__(text)
            tables.append(self)

        def __missing__(self, octets):
            text = super().__missing__(octets)
            assert len(self) <= 3
            return text

    monkeypatch.setattr(rendering, "_Fragments", Watched)
    icmp = [build.record(kind, protocol=1, tos=number, dport=number) for number in range(9)]
    check(kind, build.datagram(*icmp, kind=kind), 9)
    check(kind, build.random_datagram(8, kind, 50), 50)
    assert tables
    assert all(len(table) <= 3 for table in tables)
    assert sum(map(bool, tables)) > len(tables) // 2


def test_what_is_kept_for_all_templates_is_bounded(monkeypatch):
    """With room for twenty in all, the lines stay right."""
    monkeypatch.setattr(rendering, "ALL_FRAGMENTS_KEPT", 20)
    writer = FlowWriter()
    for seed in range(5):
        for kind in build.KINDS:
            check(kind, build.random_datagram(seed, kind, 3), 3, writer=writer)
            assert sum(map(len, rendering._Fragments.tables.values())) <= 20


def test_one_renderer_a_template():
    writer = FlowWriter()
    for kind in build.KINDS * 3:
        lines_of(build.datagram(build.record(kind), kind=kind), writer=writer)
    assert len(writer._renderers) == len(build.KINDS)


def test_exporters_remembered_are_bounded():
    writer = FlowWriter()
    octets = random.Random(1)
    for number in range(5000):
        exporter = str(ipaddress.ip_address(octets.randbytes(4)))
        (line,) = lines_of(build.datagram(build.record(pcount=number)), exporter=exporter, writer=writer)
        assert line.startswith(
            b'{"type":"flow","pcount":%d,"source":"netflow5","exporter":"%s"' % (number, exporter.encode())
        )
    for cache in (records.origin, address_text):
        assert cache.cache_info().currsize <= 4096


# --- templates of other shapes than the three: what NetFlow 9 will bring


def test_a_template_of_wide_counters_in_another_order():
    template = Template(
        (
            Field("dport", 2),
            Field("", 3, Kind.PADDING),
            Field("bcount", 8),
            Field("protocol", 1),
            Field("pcount", 8),
            Field("etime", 4, Kind.UPTIME),
            Field("stime", 4, Kind.UPTIME),
            Field("saddr", 4, Kind.IPV4),
            Field("vlan", 2),
            Field("bgp_nexthop", 4, Kind.IPV4),
        )
    )
    assert template.length == 40
    row = bytes.fromhex("0035 aabbcc ffffffffffffffff 11 0000000000000001 000003e7 000003e8 c0000201 0fff c6336401")
    (line,) = compile_template(template)(b"", row, 50_000, 1000)
    assert parsed(line) == {
        "type": "flow",
        "pcount": 1,
        "dport": 53,
        "bcount": 2**64 - 1,
        "etime": 999,
        "stime": 1000,
        "saddr": "192.0.2.1",
        "protocol": 17,
        "end_ms": 49_999,
        "start_ms": 50_000,
        "time_suspect": True,
        "vlan": 4095,
        "bgp_nexthop": "198.51.100.1",
    }


# --- lines in general
