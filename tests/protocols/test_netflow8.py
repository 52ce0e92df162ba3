"""NetFlow 8: every scheme against offsets written down by hand, lying and cut headers, and tshark."""

import ipaddress
import json
import random
import shutil
import struct
import subprocess

import capture_builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.detect import decode
from overflowd_tools.protocols.netflow8 import NETFLOW8
from overflowd_tools.protocols.templates import FlowBatch
from overflowd_tools.records import FlowWriter

SECOND, UPTIME = 1_700_000_000, 1_000_000
EXPORT_MS = SECOND * 1000
ADDRESSES = {"saddr", "daddr", "router_sc"}

# Number of the scheme -> octets of a record, and where in it each field begins.
ROUTER = {"flows": 0, "pcount": 4, "bcount": 8, "stime": 12, "etime": 16}
SCHEMES = {
    1: (28, ROUTER | {"src_as": 20, "dst_as": 22, "in_if": 24, "out_if": 26}),
    2: (28, ROUTER | {"protocol": 20, "sport": 24, "dport": 26}),
    3: (32, ROUTER | {"saddr": 20, "src_mask": 24, "src_as": 26, "in_if": 28}),
    4: (32, ROUTER | {"daddr": 20, "dst_mask": 24, "dst_as": 26, "out_if": 28}),
    5: (
        40,
        ROUTER
        | {"saddr": 20, "daddr": 24, "dst_mask": 28, "src_mask": 29}
        | {"src_as": 32, "dst_as": 34, "in_if": 36, "out_if": 38},
    ),
    6: (
        32,
        {"daddr": 0, "pcount": 4, "bcount": 8, "stime": 12, "etime": 16, "out_if": 20}
        | {"tos": 22, "marked_tos": 23, "extra_pkts": 24, "router_sc": 28},
    ),
    7: (
        40,
        {"daddr": 0, "saddr": 4, "pcount": 8, "bcount": 12, "stime": 16, "etime": 20, "out_if": 24, "in_if": 26}
        | {"tos": 28, "marked_tos": 29, "extra_pkts": 32, "router_sc": 36},
    ),
    8: (
        44,
        {"daddr": 0, "saddr": 4, "dport": 8, "sport": 10, "pcount": 12, "bcount": 16, "stime": 20, "etime": 24}
        | {"out_if": 28, "in_if": 30, "tos": 32, "protocol": 33, "marked_tos": 34, "extra_pkts": 36, "router_sc": 40},
    ),
    9: (32, ROUTER | {"src_as": 20, "dst_as": 22, "in_if": 24, "out_if": 26, "tos": 28}),
    10: (32, ROUTER | {"protocol": 20, "tos": 21, "sport": 24, "dport": 26, "in_if": 28, "out_if": 30}),
    11: (32, ROUTER | {"saddr": 20, "src_mask": 24, "tos": 25, "src_as": 26, "in_if": 28}),
    12: (32, ROUTER | {"daddr": 20, "dst_mask": 24, "tos": 25, "dst_as": 26, "out_if": 28}),
    13: (
        40,
        ROUTER
        | {"saddr": 20, "daddr": 24, "dst_mask": 28, "src_mask": 29, "tos": 30}
        | {"src_as": 32, "dst_as": 34, "in_if": 36, "out_if": 38},
    ),
    14: (
        40,
        ROUTER
        | {"saddr": 20, "daddr": 24, "dst_mask": 28, "src_mask": 29, "tos": 30, "protocol": 31}
        | {"sport": 32, "dport": 34, "in_if": 36, "out_if": 38},
    ),
}
OCTETS = dict.fromkeys(("src_mask", "dst_mask", "protocol", "tos", "marked_tos"), 1)
OCTETS |= dict.fromkeys(("src_as", "dst_as", "in_if", "out_if", "sport", "dport"), 2)
DAY_MS = 24 * 3600 * 1000
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def header(
    scheme=1, count=1, seconds=SECOND, nanoseconds=0, sequence=77, engine=(3, 4), version=2, reserved=0
) -> bytes:
    start = struct.pack(">HHIIII", 8, count, UPTIME, seconds, nanoseconds, sequence)
    return start + struct.pack(">BBBBI", *engine, scheme, version, reserved)


def records(scheme: int, count: int, seed=0) -> bytes:
    return random.Random(seed).randbytes(SCHEMES[scheme][0] * count)


def expected(scheme: int, record: bytes) -> dict:
    """What the line of a record says of it."""
    fields = {}
    for name, at in SCHEMES[scheme][1].items():
        octets = record[at : at + OCTETS.get(name, 4)]
        fields[name] = str(ipaddress.IPv4Address(octets)) if name in ADDRESSES else int.from_bytes(octets)
    for name, absolute in (("stime", "start_ms"), ("etime", "end_ms")):
        age = (UPTIME - fields[name]) % 2**32
        fields[absolute] = EXPORT_MS - (age - 2**32 if age >= 2**31 else age)
    if fields["end_ms"] < fields["start_ms"] or abs(fields["start_ms"] - EXPORT_MS) > DAY_MS:
        fields["time_suspect"] = True
    protocol, dport = fields.get("protocol"), fields.get("dport", 0)
    if "dport" in fields and (protocol == 1 or (protocol == 58 and dport >= 256)):
        fields["icmp_type"], fields["icmp_code"] = divmod(dport, 256)
    return fields


def lines(data: bytes, *, envelope=False) -> list[dict]:
    written = FlowWriter(envelope=envelope).lines(decode(data), bytes([192, 0, 2, 1]), 2055, 0)
    assert all(line.startswith(b'{"type":"flow","pcount":') for line in written)
    members = [json.loads(line, object_pairs_hook=list) for line in written]
    assert all(len(dict(one)) == len(one) for one in members)
    return [dict(one) for one in members]


def test_fourteen_schemes_of_which_no_two_have_the_same_fields():
    assert list(NETFLOW8) == list(SCHEMES) == list(range(1, 15))
    shown = [{field.name for field in template.fields if field.name} for template in NETFLOW8.values()]
    assert all(one != other for at, one in enumerate(shown) for other in shown[:at])


@every_scheme
def test_every_field_of_every_scheme(scheme):
    length = SCHEMES[scheme][0]
    content = records(scheme, 20, scheme)
    whole = header(scheme, 20) + content
    common = {"type": "flow", "source": "netflow8", "exporter": "192.0.2.1", "domain": 3 << 8 | 4}
    common["export_ms"] = EXPORT_MS
    flows = [common | expected(scheme, content[at : at + length]) for at in range(0, len(content), length)]
    assert lines(whole) == flows
    shown = {"exporter_port": 2055, "uptime_ms": UPTIME, "seq": 77, "engine_type": 3, "engine_id": 4}
    shown |= {"aggregation": scheme, "agg_version": 2}
    assert lines(whole, envelope=True) == [flow | shown for flow in flows]


@every_scheme
@pytest.mark.parametrize(("count", "there", "given"), [(5, 3, 3), (3, 5, 3), (1, 0, 0), (65535, 2, 2)])
def test_a_count_that_lies(scheme, count, there, given):
    content = records(scheme, there)
    batch = decode(header(scheme, count) + content)
    assert batch.announced == count
    assert batch.records == content[: given * SCHEMES[scheme][0]]
    assert decode(header(scheme, count, seconds=100) + content) is None


@every_scheme
def test_a_clock_that_was_never_set(scheme):
    assert decode(header(scheme, 2, seconds=0, nanoseconds=10**9) + records(scheme, 2)).export_ms == 0


@every_scheme
def test_records_that_nobody_announced(scheme):
    with pytest.raises(DecodeError, match="NetFlow 8 header announces no flows"):
        decode(header(scheme, 0) + records(scheme, 1))
    assert decode(header(scheme, 0)).records == b""


@every_scheme
def test_a_capture_that_cuts_the_datagram(scheme):
    whole = header(scheme, 2) + records(scheme, 2)
    length = SCHEMES[scheme][0]
    for kept in range(4, len(whole)):
        if kept < 28:
            with pytest.raises(DecodeError, match=f"NetFlow 8 header cut short: {kept} of 28 octets"):
                decode(whole[:kept], len(whole) - kept)
        else:
            batch = decode(whole[:kept], len(whole) - kept)
            assert batch.records == whole[28 : 28 + (kept - 28) // length * length]


@pytest.mark.parametrize("scheme", [0, 15, 255])
def test_schemes_that_nobody_knows(scheme):
    with pytest.raises(DecodeError, match=f"NetFlow 8 aggregation scheme {scheme} is not known"):
        decode(header(scheme) + bytes(40))
    assert decode(header(scheme, 0) + bytes(40)) is None
    assert decode(header(scheme, seconds=5) + bytes(40)) is None
    assert decode(header(scheme, reserved=1) + bytes(40)) is None


@given(st.binary(max_size=120), st.integers(0, 15), st.integers(0, 3), st.integers(0, 100))
def test_any_octets_give_a_batch_none_or_our_error(rest, scheme, count, missing):
    for data in (b"\0\x08" + rest, header(scheme, count) + rest):
        try:
            batch = decode(data, missing)
        except DecodeError:
            continue
        if batch is not None:
            assert isinstance(batch, FlowBatch)
            assert len(batch.records) % batch.template.length == 0
            assert len(batch.records) // batch.template.length <= batch.announced


SHARK = {
    "flows": "cflow.flows",
    "pcount": "cflow.packets",
    "bcount": "cflow.octets",
    "protocol": "cflow.protocol",
    "sport": "cflow.srcport",
    "dport": "cflow.dstport",
    "in_if": "cflow.inputint",
    "out_if": "cflow.outputint",
    "src_as": "cflow.srcas",
    "dst_as": "cflow.dstas",
    "src_mask": "cflow.srcmask",
    "dst_mask": "cflow.dstmask",
    "router_sc": "cflow.routersc",
    "tos": "cflow.tos",
}
# What tshark reads otherwise, and flow-tools as we do: see netflow8.py.
SHARK_DIFFERS = {
    5: {"src_mask", "dst_mask"},
    9: {"in_if", "out_if", "tos"},
    13: {"src_mask", "dst_mask"},
    14: {"src_mask", "dst_mask"},
}


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
@every_scheme
def test_tshark_sees_the_same_fields(scheme):
    whole = header(scheme, 3) + records(scheme, 3, 5)
    frame = capture_builders.ethernet(capture_builders.ipv4(capture_builders.udp(whole)))
    prefixes = scheme in {3, 4, 5, 11, 12, 13, 14}
    names = SHARK | {"saddr": "cflow.srcnet", "daddr": "cflow.dstnet"} if prefixes else SHARK
    names = names if prefixes else names | {"saddr": "cflow.srcaddr", "daddr": "cflow.dstaddr"}
    arguments = [argument for name in names.values() for argument in ("-e", name)]
    done = subprocess.run(
        ["tshark", "-n", "-r", "-", "-d", "udp.port==2055,cflow", "-T", "json", *arguments],
        input=capture_builders.pcap(frame),
        capture_output=True,
        check=True,
    )
    layers = json.loads(done.stdout)[0]["_source"]["layers"]
    flows = lines(whole)
    assert len(flows) == 3
    for name in names.keys() - SHARK_DIFFERS.get(scheme, set()):
        seen = layers.get(names[name], [])
        assert [str(int(text, 0)) if text[1:2] == "x" else text for text in seen] == [
            str(flow[name]) for flow in flows if name in flow
        ], name
