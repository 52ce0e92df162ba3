"""sFlow of real agents against MANIFEST, tshark and the goldens of telegraf. Needs OF_CORPORA."""

import csv
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from overflowd_tools.capture.fragments import Fragments
from overflowd_tools.capture.link import dissect
from overflowd_tools.capture.packet import IPPacket, Packet
from overflowd_tools.capture.reader import CaptureReader
from overflowd_tools.errors import DecodeError
from overflowd_tools.protocols.sflow import decode_sflow
from tests.protocols.sflow_builders import unpacked

CORPORA = Path(os.environ.get("OF_CORPORA", "/nonexistent"))
TELEGRAF = CORPORA / "influxdata+telegraf/plugins/inputs/netflow/testcases"
MAIN = CORPORA / "overflowd/for_later/sflow.pcap"
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="OF_CORPORA is not set")

CUT = {
    "google+gopacket/extracted/top_SFlowTestPacket11_10.dat": "the only sample is cut, and half of it is read",
}
"""File -> why MANIFEST counts fewer samples in it."""


def datagrams(path):
    if path.suffix != ".pcap":
        return [path.read_bytes()]
    reader = CaptureReader()
    packets = [*reader.feed(path.read_bytes()), *reader.close()]
    found = [dissect(packet, Fragments()) for packet in packets if isinstance(packet, Packet)]
    return [packet.payload for packet in found if isinstance(packet, IPPacket) and packet.protocol == 17]


def decoded(path):
    for datagram in datagrams(path):
        try:
            yield decode_sflow(datagram)
        except DecodeError:
            continue


def shown(result):
    """The type and the members of all lines of a datagram."""
    return [(line.type, members) for line in result.lines for members in unpacked([line])]


def manifest():
    with (CORPORA / "MANIFEST.tsv").open() as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["protocol"].startswith("sFlow v5")]
    return [row for row in rows if row["file"] not in CUT]


def test_counts_of_manifest():
    wrong = {}
    rows = manifest()
    assert len(rows) == 29
    for row in rows:
        ours = Counter(kind for result in decoded(CORPORA / row["file"]) for kind, _ in shown(result))
        noted = dict(re.findall(r"(counter|drop)_samples=(\d+)", row["notes"]))
        flows = 0 if "NetFlow" in row["protocol"] else int(row["flow_records"])
        theirs = {"flow": flows, "counter": int(noted.get("counter", 0)), "drop": int(noted.get("drop", 0))}
        if {kind: ours[kind] for kind in theirs} != theirs:
            wrong[row["file"]] = (ours, theirs)
    assert wrong == {}


def tshark(path, *fields):
    """Rows of fields, each of all its values in a packet."""
    options = "-n -d udp.port==6343,sflow -T fields -E occurrence=a -E aggregator=; -E separator=|"
    names = [word for field in fields for word in ("-e", field)]
    run = subprocess.run(["tshark", "-r", path, *options.split(), *names], capture_output=True, check=True, text=True)
    return [[cell.split(";") if cell else [] for cell in row.split("|")] for row in run.stdout.splitlines()]


def number(text):
    return int(text, 0)


FLOW_FIELDS = {
    # our member: (field of tshark, occurrences of the export datagram itself, how tshark writes it)
    "saddr": ("ip.src", 1, str),
    "daddr": ("ip.dst", 1, str),
    "bcount": ("ip.len", 1, number),
    "ttl": ("ip.ttl", 1, number),
    "ip_id": ("ip.id", 1, number),
    "protocol": ("ip.proto", 1, number),
    "smac": ("eth.src", 1, str),
    "dmac": ("eth.dst", 1, str),
    "sport": ("tcp.srcport", 0, number),
    "dport": ("tcp.dstport", 0, number),
    "flags": ("tcp.flags", 0, number),
    "sample_seq": ("sflow.flow_sample.sequence_number", 0, number),
    "sampling_rate": ("sflow.flow_sample.sampling_rate", 0, number),
    "sample_pool": ("sflow.flow_sample.sample_pool", 0, number),
    "drops": ("sflow.flow_sample.dropped_packets", 0, number),
    "in_if": ("sflow.flow_sample.input_interface", 0, number),
    "out_if": ("sflow.flow_sample.output_interface", 0, number),
    "frame_len": ("sflow_245.header.frame_length", 0, number),
    "stripped": ("sflow_245.header.payload_stripped", 0, number),
    "vlan": ("sflow_245.vlan.in", 0, number),
    "vlan_prio": ("sflow_245.pri.in", 0, number),
    "post_vlan": ("sflow_245.vlan.out", 0, number),
    "post_vlan_prio": ("sflow_245.pri.out", 0, number),
}
COUNTER_FIELDS = {
    "ifIndex": "ifindex",
    "ifType": "iftype",
    "ifSpeed": "ifspeed",
    "ifInOctets": "ifinoct",
    "ifInUcastPkts": "ifinpkt",
    "ifInErrors": "ifinerr",
    "ifOutOctets": "ifoutoct",
    "ifOutUcastPkts": "ifoutpkt",
    "ifPromiscuousMode": "ifpromisc",
}


@needs_tshark
def test_every_field_of_every_sample_against_tshark():
    rows = tshark(MAIN, *(field for field, *_ in FLOW_FIELDS.values()))
    results = list(decoded(MAIN))
    assert len(rows) == len(results) == 1000
    compared = 0
    for row, result in zip(rows, results, strict=True):
        flows = [line for kind, line in shown(result) if kind == "flow"]
        for (name, (_, own, convert)), cells in zip(FLOW_FIELDS.items(), row, strict=True):
            assert [flow[name] for flow in flows] == [convert(cell) for cell in cells[own:]], name
            compared += len(flows)
    assert compared == 5855 * len(FLOW_FIELDS)


@needs_tshark
def test_counters_against_tshark():
    names = [f"sflow_245.{field}" for field in COUNTER_FIELDS.values()]
    rows = tshark(MAIN, *names)
    compared = 0
    for row, result in zip(rows, decoded(MAIN), strict=True):
        counters = [line["if_counters"] for kind, line in shown(result) if kind == "counter"]
        for name, cells in zip(COUNTER_FIELDS, row, strict=True):
            assert [counter[name] for counter in counters] == [number(cell) for cell in cells], name
            compared += len(cells)
    assert compared == 502 * len(names)


def golden(path):
    """The fields of the lines that telegraf makes of a datagram."""
    for line in path.read_text().splitlines():
        if line:
            yield {name: text or int(digits) for name, text, digits in re.findall(r'(\w+)=(?:"([^"]*)"|(\d+)u)', line)}


SAME = {
    "saddr": "src",
    "daddr": "dst",
    "sport": "src_port",
    "dport": "dst_port",
    "in_if": "in_snmp",
    "out_if": "out_snmp",
    "smac": "in_src_mac",
    "dmac": "out_dst_mac",
    "ttl": "ttl",
    "sampling_rate": "sampling_interval",
    "sample_pool": "in_total_packets",
    "drops": "sampling_drops",
    "sample_seq": "seq_number",
    "frame_len": "l2_bytes",
    "vlan": "vlan_src",
    "vlan_prio": "vlan_src_priority",
    "post_vlan": "vlan_dst",
    "post_vlan_prio": "vlan_dst_priority",
}


def test_flows_of_telegraf():
    case = TELEGRAF / "sflow_issue_15918"
    theirs = {row["seq_number"]: row for row in golden(case / "expected.out") if "src" in row}
    (result,) = decoded(case / "message.bin")
    ours = [line for kind, line in shown(result) if kind == "flow"]
    assert len(ours) == len(theirs) == 6
    for flow in ours:
        row = theirs[flow["sample_seq"]]
        # The output interface of telegraf is not always what the sample says, nor is the input interface.
        names = [name for name in SAME if SAME[name] in row and name not in {"in_if", "out_if"}]
        assert {name: flow[name] for name in names} == {name: row[SAME[name]] for name in names}
        assert flow["bcount"] == row.get("ipv4_total_len", row.get("ipv6_total_len", 0) + 40)


def test_counters_of_telegraf():
    for case, name in (("sflow_issue_18876", "ethernet_counters"), ("sflow_v5_example", "port_name")):
        (row,) = golden(TELEGRAF / case / "expected.out")
        (path,) = (TELEGRAF / case).glob("*.bin")
        (result,) = decoded(path)
        (line,) = unpacked(result.lines[:1])
        fields = line["if_counters"]
        assert name in line
        assert fields["ifInOctets"] == row["in_bytes"]
        assert fields["ifOutOctets"] == row["out_bytes"]
        assert fields["ifSpeed"] == row["speed"]
        assert fields["ifIndex"] == row["interface"]
        assert line["sample_seq"] == row["seq_number"]
        assert result.envelope["uptime_ms"] == row["sys_uptime"]
        assert result.head == {"agent": row["agent_ip"]}
        assert result.domain == row["agent_subid"]
        if name == "port_name":
            assert line["port_name"] == {"name": row["port_name"]}
        else:
            assert line[name]["dot3StatsFCSErrors"] == row["errors_fcs"]


def test_the_drop_of_telegraf():
    case = TELEGRAF / "sflow_issue_15375"
    (row,) = golden(case / "expected.out")
    (result,) = decoded(case / "sflow_drop_1036.bin")
    (line,) = unpacked(result.lines[:1])
    pairs = {"in_if": "in_snmp", "out_if": "out_snmp", "egress_queue": "out_queue", "drop_reason": "reason"}
    pairs["drops"] = "sampling_drops"
    assert {name: line[name] for name in pairs} == {name: row[field] for name, field in pairs.items()}
