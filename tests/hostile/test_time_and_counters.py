"""Exporters that share an address, clocks and counters: items 23 to 25, and of-sample behind of-decode."""

import json
import struct
import subprocess

import pytest
from harness import BIN, SECONDS, environment

from tests.hostile import builders as build
from tests.hostile.builders import (
    FIELDS9,
    FLOW,
    SECOND,
    TEMPLATE,
    data,
    flow,
    flow9,
    frame,
    ipfix,
    netflow5,
    netflow9,
    pcap,
    record,
    row,
    rows,
    sflow,
    template,
    template9,
)
from tests.protocols import netflow_builders as fixed

# --- 23. who it was


def test_one_datagram_from_two_addresses(decode):
    """Seen before and behind an address translator: two exporters, each of which knows its own templates."""
    message = ipfix(TEMPLATE, rows(7))
    done = decode(pcap(*(record(frame(message, source)) for source in (build.EXPORTER, "10.9.9.9"))))
    assert [line["exporter"] for line in done.lines] == [build.EXPORTER, "10.9.9.9"]
    assert (done.hosts, done.told, done.counts["lost"]) == ([7, 7], [], 0)


@pytest.mark.parametrize("source", ["0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1", "10.0.0.1"])
@pytest.mark.parametrize("kind", ["netflow5", "netflow9", "ipfix", "sflow5"])
def test_exporters_with_odd_addresses(decode, source, kind):
    datagram = {
        "netflow5": netflow5(7),
        "netflow9": netflow9(template9(300, FIELDS9), data(300, flow9(7))),
        "ipfix": ipfix(TEMPLATE, rows(7)),
        "sflow5": sflow.datagram5(sflow.GOOD, agent="0.0.0.0"),
    }[kind]
    done = decode(build.capture(datagram, source=source))
    assert ([line["exporter"] for line in done.lines], done.told) == ([source], [])


@pytest.mark.parametrize("apart", ["port", "domain", "protocol"])
def test_exporters_that_share_an_address(decode, apart):
    """Port, domain and protocol tell them apart: templates of one number, and numbers of one stream, stay apart."""
    swapped = [(12, 4), (8, 4), (1, 4)]
    ports = (1, 2) if apart == "port" else (1, 1)
    domains = {"domain": 6} if apart == "domain" else {}

    def first(*sets: bytes, sequence: int) -> bytes:
        return ipfix(*sets, sequence=sequence)

    def second(*sets: bytes, sequence: int) -> bytes:
        return netflow9(*sets, sequence=sequence) if apart == "protocol" else ipfix(*sets, sequence=sequence, **domains)

    other = template9(300, swapped) if apart == "protocol" else template(300, swapped)
    frames = [
        frame(first(TEMPLATE, sequence=5), port=ports[0]),
        frame(second(other, sequence=900), port=ports[1]),
        frame(first(rows(7), sequence=5), port=ports[0]),
        frame(second(rows(8), sequence=901 if apart == "protocol" else 900), port=ports[1]),
    ]
    done = decode(pcap(*map(record, frames)))
    assert [line["saddr"] for line in done.lines] == ["10.0.0.7", "10.0.1.8"]
    assert (done.told, done.counts["lost"]) == ([], 0)


# --- 24. clocks

CLOCKS = [0, 1, 3600, 1 << 20, 100_000_000, 631_151_999, (1 << 31) - 1, 1 << 31, 4_102_444_800, (1 << 32) - 1]


@pytest.mark.parametrize("seconds", CLOCKS)
def test_export_times_of_any_year(between, seconds):
    """0, 1970, 2038, 2106: a clock tells no export from none, where its lengths are true."""
    nine = struct.pack("!HHIIII", 9, 2, 1_000_000, seconds, 0, 2) + template9(300, FIELDS9) + data(300, flow9(7))
    ten = ipfix(template(300, FLOW), data(300, flow(7)), seconds=seconds, domain=2)
    done = between(nine, ten, netflow5(7, seconds=seconds, engine=(1, 1)))
    assert (done.hosts, done.told) == ([7] * 3, [])
    assert [line["export_ms"] for line in done.lines] == [seconds * 1000] * 3
    ninth, tenth, fifth = done.lines
    assert (ninth["start_ms"], ninth["end_ms"]) == (seconds * 1000 - 1000, seconds * 1000 - 500)
    assert (tenth["start_ms"], tenth["end_ms"]) == (SECOND * 1000 - 2000, SECOND * 1000 - 1000)
    assert fifth["start_ms"] == seconds * 1000 - fixed.UPTIME
    assert tenth["time_suspect"] is True


@pytest.mark.parametrize("seconds", [0, 3600, (1 << 32) - 1])
def test_export_times_far_from_the_capture_are_suspect(between, seconds):
    """research/flow.md section 3.2: time_suspect also where export and arrival are more than a day apart."""
    done = between(netflow5(7, seconds=seconds, engine=(1, 1)))
    assert done.lines[0].get("time_suspect") is True


@pytest.mark.parametrize(
    ("start", "end", "suspect"), [(0, 0, None), (5, 6, None), (90_000, 90_000, True), (0, -1, True)]
)
def test_flows_after_their_export(between, start, end, suspect):
    moments = struct.pack("!QQ", (SECOND + start) * 1000, (SECOND + end) * 1000)
    done = between(ipfix(template(300, FLOW), data(300, flow(7)[:-16] + moments)))
    (line,) = done.lines
    assert (line["start_ms"], line["end_ms"]) == ((SECOND + start) * 1000, (SECOND + end) * 1000)
    assert (line.get("time_suspect"), done.told) == (suspect, [])


@pytest.mark.parametrize("arrival", [0, 1, SECOND - 10, SECOND + 10_000_000, (1 << 32) - 1])
def test_arrivals_before_the_export(decode, arrival):
    """An arrival of 0 is none at all; waiting for templates does not depend on clocks that go back."""
    datagrams = [ipfix(rows(7), sequence=0), netflow5(5), ipfix(TEMPLATE, sequence=1), sflow.datagram5(sflow.GOOD)]
    done = decode(pcap(*(record(frame(datagram), seconds=arrival) for datagram in datagrams)), "--envelope")
    assert ([line["source"] for line in done.lines], done.told) == (["netflow5", "ipfix", "sflow5"], [])
    *netflow, sampled = done.lines
    assert {line.get("recv_ms", 0) for line in netflow} == {arrival * 1000} == {sampled.get("start_ms", 0)}


@pytest.mark.parametrize("nanoseconds", [1_000_000_000, 1_000_000_001, (1 << 32) - 1])
@pytest.mark.parametrize("kind", ["netflow1", "netflow5", "netflow7"])
def test_nanoseconds_of_more_than_a_second(between, kind, nanoseconds):
    datagram = fixed.datagram(fixed.record(kind, saddr="198.51.100.7"), kind=kind, nanoseconds=nanoseconds)
    done = between(datagram if kind != "netflow5" else datagram[:20] + b"\1\1" + datagram[22:])
    (line,) = done.lines
    assert (line["export_ms"], done.told) == (fixed.SECOND * 1000, [])


@pytest.mark.parametrize("fraction", [1_000_000, (1 << 32) - 1])
def test_microseconds_of_more_than_a_second(decode, fraction):
    packet = frame(netflow5(9))
    done = decode(pcap(struct.pack("<IIII", SECOND, fraction, len(packet), len(packet)) + packet), "--envelope")
    assert (done.lines[0]["recv_ms"], done.told) == (SECOND * 1000 + fraction // 1000, [])


# --- 25. counters

MOST32, MOST64 = (1 << 32) - 1, (1 << 64) - 1
COUNTED = [(8, 4), (12, 4), (2, 8), (1, 8)]


def counted(packets: int, octets: int) -> bytes:
    return data(300, row(7)[:8] + struct.pack("!QQ", packets, octets))


ODD = [(0, 0), (0, 5000), (9, 0), (10, 10), (1, MOST64), (MOST32, MOST32), (MOST64, MOST64), (MOST64, 0)]


@pytest.mark.parametrize(("packets", "octets"), ODD)
def test_counters_are_shown_as_they_came(between, packets, octets):
    done = between(ipfix(template(300, COUNTED), counted(packets, octets)))
    (line,) = done.lines
    assert (line["pcount"], line["bcount"], done.told) == (packets, octets, [])


@pytest.mark.parametrize(("packets", "octets"), [(0, 5000), (9, 0), (MOST32, MOST32)])
@pytest.mark.parametrize("kind", ["netflow1", "netflow5", "netflow6", "netflow7"])
def test_counters_of_fixed_records_are_shown_as_they_came(decode, kind, packets, octets):
    datagram = fixed.datagram(fixed.record(kind, pcount=packets, bcount=octets), kind=kind)
    done = decode(build.capture(datagram))
    (line,) = done.lines
    assert (line["pcount"], line["bcount"], done.told) == (packets, octets, [])


def test_counters_that_are_not_there_are_not_made_up(between):
    """Events of firewalls (NSEL) have none; totals and frames stand in, and say so."""
    event = ipfix(template(300, [(8, 4), (12, 4), (233, 1)]), data(300, row(7)[:8] + b"\1"))
    total = ipfix(template(301, [(8, 4), (85, 8), (86, 8)]), data(301, row(7)[:4] + struct.pack("!QQ", MOST64, 0)))
    first, second = between(event, total).lines
    assert not {"pcount", "bcount"} & set(first)
    assert (second["bcount"], second["pcount"], second["counter"]) == (MOST64, 0, "total")


@pytest.mark.parametrize("rate", ["1", "1e-12"])
def test_of_sample_takes_them_all(decode, tmp_path, rate):
    """The original divided by pcount. No packets, or no number of them, count as one."""
    event = ipfix(template(301, [(8, 4), (233, 1)]), data(301, row(7)[:4] + b"\1"), domain=9)
    odd = [ipfix(template(300, COUNTED), *(counted(*pair) for pair in ODD))]
    build.write(tmp_path / "capture", build.capture(netflow5(5), event, *odd, sflow.datagram5(sflow.GOOD)))
    place = environment(tmp_path)
    flows = subprocess.run(
        [BIN / "of-decode", "capture"], cwd=tmp_path, env=place, capture_output=True, timeout=SECONDS, check=True
    )
    assert flows.stdout.count(b"\n") == 3 + len(ODD)
    sampled = subprocess.run(
        [BIN / "of-sample", "-r", rate, "--seed", "1"],
        input=flows.stdout,
        env=place,
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    assert sampled.stderr == b""
    kept = [json.loads(line) for line in sampled.stdout.splitlines()]
    if rate == "1":
        assert {line["p_ppt"] for line in kept} == {10**12}
        assert len(kept) == 3 + len(ODD)
    else:
        assert all(
            line["p_ppt"] >= 10**12 * line.get("pcount", 0) * 10**-12 - 1 for line in kept if line["p_ppt"] < 10**12
        )
