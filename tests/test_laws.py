"""What holds for any input: how files are joined or cut changes nothing, and commands and other programs compose."""

import itertools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter

import pytest
from harness import COMMANDS, DATA, SECONDS, TOP, environment, facts, reads_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILTERS = [command for command in COMMANDS if reads_files(command) and facts(command).reads_lines]
ARGV = {"of-sample": ("-r", "1/2", "--seed", "1")}
CAPTURES = ("netflow1.pcap", "netflow5.pcap", "every-field.pcap", "flood-sampled.pcap.gz")
KEY = ("saddr", "daddr", "protocol", "sport", "dport")

cheap = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
each_filter = pytest.mark.parametrize("command", FILTERS)
needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")


def argv(place, command):
    return ARGV.get(command, place.argv(command))


def still(output: bytes) -> bytes:
    """Take out what differs from run to run: the clock, random numbers, and what is made of these."""
    output = re.sub(rb'"(time_ms|expires_ms|epoch)":\d+', rb'"\1":0', output)
    return re.sub(rb'"(signature|sealed|flow)":"[^"]+"', rb'"\1":""', output)


def outcome(done) -> tuple[int, bytes]:
    return done.returncode, still(done.stdout)


def shell(place, script: str, **more) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env=environment(place.home, DATA=str(DATA)),
        capture_output=True,
        timeout=SECONDS,
        check=False,
        **more,
    )


def flows(place, *arguments: object) -> list[dict]:
    done = place.run("of-decode", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def inputs(place, command) -> st.SearchStrategy[bytes]:
    """Give lines, good, bad and of other types, in any order."""
    odd = [b"", b"  ", b"{bad", b"[]", b'{"type":"x","n": 1.10}', b'{"type":"flow","pcount":-1}']
    line = st.one_of(st.sampled_from(place.good(command).splitlines()), st.sampled_from(odd))
    return st.lists(line, max_size=30).map(lambda lines: b"".join(b"%s\n" % line for line in lines))


# --- joining and cutting


@each_filter
@cheap
@given(data=st.data())
def test_files_are_read_as_if_joined(place, tmp_path, command, data):
    first, second = (data.draw(inputs(place, command)) for _ in range(2))
    (tmp_path / "a").write_bytes(first)
    (tmp_path / "b").write_bytes(second)
    apart = place.run(command, *argv(place, command), "a", "b", cwd=tmp_path)
    joined = place.run(command, *argv(place, command), input=first + second)
    assert outcome(apart) == outcome(joined)


@pytest.mark.parametrize("command", [name for name in COMMANDS if reads_files(name)])
def test_pieces_in_a_pipe_change_nothing(place, command):
    good = place.repeated(command, 3)
    sizes = itertools.cycle([1, 1, 2, 3, 5, 23, 24, 25, 100, 999, 1, 4096, 10_000])
    arguments = argv(place, command)
    with place.begin(command, arguments=arguments) as process:

        def feed():
            position = 0
            while position < len(good):
                position += os.write(process.stdin.fileno(), good[position : position + next(sizes)])
                time.sleep(0.001)  # so that most pieces are read one by one
            process.stdin.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        output = process.stdout.readall()
        feeder.join()
        assert process.wait(SECONDS) == 0
    assert still(output) == still(place.run(command, *arguments, input=good).stdout)


def test_captures_are_decoded_one_by_one(place):
    paths = [DATA / name for name in CAPTURES[:3]]  # the fourth has a gap, seen from the second
    alone = [place.run("of-decode", path).stdout for path in paths]
    assert all(alone)
    assert place.run("of-decode", *paths).stdout == b"".join(alone)


@pytest.mark.parametrize("command", ["of-sample", "of-verify"])
@cheap
@given(data=st.data())
def test_lines_are_judged_one_by_one(place, command, data):
    first, second = (data.draw(inputs(place, command)) for _ in range(2))
    done = [place.do(command, input=part) for part in (first, second, first + second)]
    assert still(done[0].stdout) + still(done[1].stdout) == still(done[2].stdout)
    assert max(done[0].returncode, done[1].returncode) == done[2].returncode


# --- composing


def test_a_certain_sampler_can_be_repeated(place):
    once = place.do("of-sample", input=place.flows)
    assert outcome(place.do("of-sample", input=once.stdout)) == outcome(once)


def test_verified_reports_verify(place):
    once = place.do("of-verify", input=place.reports)
    assert outcome(place.do("of-verify", input=once.stdout)) == outcome(once)


def test_whole_pipeline(place):
    done = shell(place, 'of-decode "$DATA"/netflow5.pcap | of-sample -r 1 | of-sign | of-verify')
    assert (done.returncode, done.stderr) == (0, b"")
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    flow = [tuple(json.loads(line)[name] for name in KEY) for line in place.flows.splitlines()]
    told = Counter(tuple(report["flowdata"]["data"][name] for name in KEY) for report in reports)
    assert told == Counter(flow * 2)
    assert {report["metadata"]["p_ppt"] for report in reports} == {10**12}


@needs_jq
@pytest.mark.parametrize(
    "program",
    ["-c .", "-cS .", "-c 'to_entries | reverse | from_entries'", "-c 'del(.verified)'", "-ca ."],
)
def test_reports_survive_jq(place, program):
    done = shell(place, f"jq {program} | of-verify", input=place.reports)
    assert outcome(done) == outcome(place.do("of-verify", input=place.reports))
    assert done.stderr == b""


@needs_jq
def test_flows_survive_jq(place):
    done = shell(
        place,
        "jq -c 'to_entries | reverse | from_entries' | of-sample -r 1 | jq -c . | of-sign --to dst",
        input=place.flows,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == place.flows.count(b"\n")


@cheap
@given(data=st.data())
def test_one_changed_bit_is_noticed(place, data):
    line = bytearray(place.reports.splitlines()[0])
    position = data.draw(st.integers(0, len(line) - 1))
    line[position] ^= 1 << data.draw(st.integers(0, 7))
    done = place.do("of-verify", input=bytes(line) + b"\n")
    assert b'"verified"' not in done.stdout
    assert done.returncode == 1 or done.stdout == bytes(line) + b"\n"


# --- what the captures say


def test_packets_and_flows_of_the_same_traffic_agree(place):
    def totals(found, key):
        packets, octets = Counter(), Counter()
        for flow in found:
            packets[tuple(flow.get(name) for name in key)] += flow["pcount"]
            octets[tuple(flow.get(name) for name in key)] += flow["bcount"]
        return packets, octets

    metered = flows(place, DATA / "netflow5.pcap")
    seen = flows(place, "-p", DATA / "traffic.pcap")
    assert len(metered) < len(seen)
    key = ("saddr", "daddr", "protocol")  # in NetFlow, the ports of ICMP are type and code
    assert totals(metered, key) == totals(seen, key)
    ports = [[flow for flow in found if flow["protocol"] != 1] for found in (metered, seen)]
    assert totals(ports[0], KEY) == totals(ports[1], KEY)
    flags = Counter()
    for flow in ports[1]:
        flags[tuple(flow[name] for name in KEY)] |= flow.get("flags", 0)
    assert flags == {tuple(flow[name] for name in KEY): flow["flags"] for flow in ports[0]}


def test_netflow_1_and_5_agree(place):
    five = flows(place, DATA / "netflow5.pcap")
    common = set(flows(place, DATA / "netflow1.pcap")[0]) - {"source"}
    assert len(common) > 18
    assert [{name: flow[name] for name in common} for flow in five] == [
        {name: flow[name] for name in common} for flow in flows(place, DATA / "netflow1.pcap")
    ]


def test_sampled_exports_estimate_the_whole(place):
    whole = sum(flow["pcount"] for flow in flows(place, DATA / "flood.pcap.gz"))
    sampled = flows(place, DATA / "flood-sampled.pcap.gz")
    assert {flow["sampling_rate"] for flow in sampled} == {100}
    assert abs(sum(flow["pcount"] * flow["sampling_rate"] for flow in sampled) / whole - 1) < 0.01


def test_the_manual_describes_every_field(place):
    seen = {name for flow in flows(place, "--envelope", *(DATA / name for name in CAPTURES)) for name in flow}
    seen |= {name for flow in flows(place, "-p", DATA / "traffic.pcap") for name in flow}
    seen |= {name for line in place.do("of-sample", input=place.flows).stdout.splitlines() for name in json.loads(line)}
    page = (TOP / "man" / "overflowd-record.5").read_text()
    described = {name for line in re.findall(r"^\.It Li (.+)$", page, re.MULTILINE) for name in line.split(" , ")}
    assert seen - {"type"} <= described
