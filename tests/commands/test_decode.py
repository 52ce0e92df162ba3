"""of-decode on captures of every make: real exporters, hand-made datagrams, other programs' opinions, hostile bytes.

What each protocol says is tested in tests/protocols, how lines look in tests/test_records.py, and the capture formats
in tests/capture. Here they are put together.
"""

import csv
import gzip
import ipaddress
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import capture_builders as build
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overflowd_tools.commands import decode
from tests.protocols import netflow_builders as netflow

TOP = Path(__file__).resolve().parents[2]
DATA = TOP / "tests" / "data"
SECONDS = 60
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
CORPORA = Path(os.environ.get("OF_CORPORA", "/nonexistent"))
EXPORTER4 = str(ipaddress.ip_address(build.SOURCE4))
EXPORTER6 = str(ipaddress.ip_address(build.SOURCE6))
corpora = pytest.mark.skipif(not CORPORA.is_dir(), reason="OF_CORPORA is not set")


def need(tool: str) -> str:
    return shutil.which(tool) or pytest.skip(f"{tool} is not installed")


def of_decode(*argv, stdin=b"", **more):
    """Run the command in a process of its own, on bytes or on a descriptor."""
    more |= {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    command = [sys.executable, "-m", "overflowd_tools.commands.decode", *map(str, argv)]
    return subprocess.run(command, cwd=TOP, capture_output=True, timeout=SECONDS, check=False, **more)


@contextmanager
def standard_input(pieces):
    """Let each read of standard input give one of the pieces, or one piece of a single bytes object."""
    if isinstance(pieces, bytes):
        pieces = [pieces[at : at + 65536] for at in range(0, len(pieces), 65536)]
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def send():
        with writing, suppress(OSError):
            for piece in pieces:
                writing.sendall(piece)

    sender = threading.Thread(target=send)
    before = os.dup(0)
    os.dup2(reading.fileno(), 0)
    reading.close()
    sender.start()
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        sender.join()


class Result:
    """What a run in this process gave."""

    def __init__(self, status, out, told):
        self.status = status
        self.out = out
        self.told = told.decode().splitlines()

    @property
    def flows(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def counted(self, **counts):
        """Take the counts of --stats from what was told, and say if these are among them."""
        return counts.items() <= json.loads(self.told.pop()).items()


@pytest.fixture
def run(capfdbinary, monkeypatch):
    """Run the command in this process, which is quicker and seen by coverage."""
    monkeypatch.setenv("OF_DEBUG", "1")
    before = [signal.getsignal(number) for number in HANDLED]

    def run(*argv, stdin=b""):
        capfdbinary.readouterr()
        with standard_input(stdin):
            try:
                status = decode.main([str(argument) for argument in argv])
            except SystemExit as end:
                status = end.code
        told = capfdbinary.readouterr()
        return Result(status, told.out, told.err)

    yield run
    for number, handler in zip(HANDLED, before, strict=True):
        signal.signal(number, handler)


def frame4(payload: bytes, **fields) -> bytes:
    return build.ethernet(build.ipv4(build.udp(payload), **fields))


def frame6(payload: bytes) -> bytes:
    return build.ethernet(build.ipv6(build.udp(payload)), 0x86DD)


def expected(*datagrams: tuple[str, bytes], exporter=EXPORTER4) -> list[dict]:
    return [flow for kind, data in datagrams for flow in netflow.expected_flows(kind, data, exporter)]


MIXED = [(kind, netflow.random_datagram(number, kind, 3 + number)) for number, kind in enumerate(netflow.KINDS)]
CAPTURE = build.pcap(*(frame4(data) for _, data in MIXED))
FLOWS = expected(*MIXED)


# --- captures of every make give the same flows


def test_the_flows_of_a_capture(run):
    done = run(stdin=CAPTURE)
    assert (done.status, done.told) == (0, [])
    assert done.flows == FLOWS


@pytest.mark.parametrize(
    "capture",
    [
        build.pcap(*(frame4(data) for _, data in MIXED), order=">"),
        build.pcap(*(frame4(data) for _, data in MIXED), magic=0xA1B23C4D),
        build.pcap(*(frame4(data) for _, data in MIXED), magic=0xA1B2CD34, order=">"),
        build.pcap(*(build.ipv4(build.udp(data)) for _, data in MIXED), link=101),
        build.pcap(*(b"\2\0\0\0" + build.ipv4(build.udp(data)) for _, data in MIXED), link=0),
        build.section() + build.interface() + b"".join(build.enhanced(frame4(data)) for _, data in MIXED),
        build.section(">")
        + build.interface(order=">")
        + b"".join(build.simple(frame4(data), order=">") for _, data in MIXED),
    ],
    ids=["big-endian", "nanoseconds", "modified", "raw", "null", "pcapng", "pcapng simple big-endian"],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_formats(run, capture, pack):
    done = run(stdin=pack(capture))
    assert (done.status, done.told, done.flows) == (0, [], FLOWS)


@pytest.mark.parametrize("form", ["pcapng", "nsecpcap", "modpcap"])
def test_formats_as_wireshark_writes_them(run, tmp_path, form):
    editcap = need("editcap")
    (tmp_path / "a").write_bytes(CAPTURE)
    subprocess.run([editcap, "-F", form, tmp_path / "a", tmp_path / "b"], check=True, capture_output=True)
    done = run(tmp_path / "b")
    assert (done.status, done.told, done.flows) == (0, [], FLOWS)


def test_zstd(run, tmp_path):
    packed = subprocess.run([need("zstd"), "-qc19"], input=CAPTURE, check=True, capture_output=True).stdout
    done = run(stdin=packed)
    assert (done.status, done.told, done.flows) == (0, [], FLOWS)


@given(st.lists(st.integers(0, 10**6), max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_split(capture_run, places):
    cuts = sorted({place % len(CAPTURE) for place in places} | {0, len(CAPTURE)})
    pieces = [CAPTURE[start:end] for start, end in pairwise(cuts)]
    done = capture_run(stdin=pieces)
    assert (done.status, done.told, done.flows) == (0, [], FLOWS)


@pytest.fixture(scope="module")
def capture_run(tmp_path_factory):
    """As run, for hypothesis, which wants no fixture of a single test."""
    place = tmp_path_factory.mktemp("told")
    before = [signal.getsignal(number) for number in HANDLED]

    def run(*argv, stdin):
        kept = [os.dup(1), os.dup(2)]
        for number, name in ((1, "out"), (2, "told")):
            descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
            os.close(descriptor)
        try:
            with standard_input(stdin):
                status = decode.main([str(argument) for argument in argv])
        finally:
            for number, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)
        return Result(status, (place / "out").read_bytes(), (place / "told").read_bytes())

    yield run
    for number, handler in zip(HANDLED, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_a_slow_pipe(run, size):
    capture = build.pcap(*(frame4(data) for _, data in MIXED[:2]))
    done = run(stdin=[capture[at : at + size] for at in range(0, len(capture), size)])
    assert (done.status, done.told, done.flows) == (0, [], expected(*MIXED[:2]))


@pytest.mark.parametrize(
    ("seen", "expected_of_file", "as_file", "used"),
    [(10_000, 390, True, True), (10_000, 410, True, False), (10_000, 1, False, False), (200, 10_000, False, True)],
    ids=["a large file", "a small file", "a pipe", "many flows"],
)
def test_numpy_is_used_from_where_it_seems_worth_its_time(
    run, tmp_path, monkeypatch, seen, expected_of_file, as_file, used
):
    pytest.importorskip("numpy")
    datagrams = [("netflow5", netflow.random_datagram(number, "netflow5", 20)) for number in range(20)]
    capture = build.pcap(*(frame4(data) for _, data in datagrams))
    half = 24 + (len(capture) - 24) // 2
    flows_before = []
    monkeypatch.setattr(decode, "FILE_CHUNK", half)
    monkeypatch.setattr(decode, "NUMPY_AFTER", seen)
    monkeypatch.setattr(decode, "NUMPY_FOR", expected_of_file)
    monkeypatch.setattr(
        decode.command, "with_numpy", lambda use: (use(), flows_before.append(use.__self__.counts["flows"]))
    )
    file = tmp_path / "flows.pcap"
    file.write_bytes(capture)
    done = run(file) if as_file else run(stdin=[capture[:half], capture[half:]])
    assert (done.status, done.told, done.flows) == (0, [], expected(*datagrams))
    assert flows_before == [200] * used


def test_files_in_their_order(run, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(build.pcap(frame4(MIXED[0][1])))
    two.write_bytes(gzip.compress(build.pcap(frame4(MIXED[1][1]))))
    done = run(one, "-", two, one, stdin=build.pcap(frame4(MIXED[2][1])))
    assert (done.status, done.told) == (0, [])
    assert done.flows == expected(MIXED[0], MIXED[2], MIXED[1], MIXED[0])


def test_standard_input_twice_is_empty_the_second_time(run):
    done = run("-", "-", stdin=CAPTURE)
    assert (done.status, done.flows) == (1, FLOWS)
    assert done.told == ["of-decode: -: empty: not even a file header"]


def test_what_cannot_be_read_does_not_keep_from_the_rest(run, tmp_path):
    (tmp_path / "good").write_bytes(CAPTURE)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"hello, world\n")
    done = run(tmp_path / "missing", tmp_path, tmp_path / "empty", tmp_path / "text", tmp_path / "good")
    assert (done.status, done.flows) == (2, FLOWS)
    assert done.told == [
        f"of-decode: {tmp_path}/missing: No such file or directory",
        f"of-decode: {tmp_path}: Is a directory",
        f"of-decode: {tmp_path}/empty: empty: not even a file header",
        f"of-decode: {tmp_path}/text: not a pcap or pcapng capture, nor an IPFIX file",
    ]


# --- where exports come from


def test_exporters_over_ipv6(run):
    done = run(stdin=build.pcap(*(frame6(data) for _, data in MIXED)))
    assert (done.status, done.flows) == (0, expected(*MIXED, exporter=EXPORTER6))


@pytest.mark.parametrize("ports", [(1, 1), (53, 6343), (65535, 9500)])
def test_the_port_does_not_matter(run, ports):
    frames = [build.ethernet(build.ipv4(build.udp(data, ports=ports))) for _, data in MIXED]
    assert run(stdin=build.pcap(*frames)).flows == FLOWS


def test_large_exports_in_fragments(run):
    large = netflow.random_datagram(9, "netflow5", 100)
    pieces4 = build.fragments4(build.udp(large), 1480)
    pieces6 = build.fragments6(build.udp(large), 1440)
    frames = [build.ethernet(piece) for piece in pieces4] + [build.ethernet(piece, 0x86DD) for piece in pieces6]
    done = run("--stats", stdin=build.pcap(*reversed(frames)))
    assert done.status == 0
    assert done.flows == expected(("netflow5", large), exporter=EXPORTER6) + expected(("netflow5", large))
    assert done.counted(packets=8, datagrams=2, flows=200, other_packets=0, rejected=0)
    assert done.told == []


def test_fragments_that_never_came(run):
    pieces = build.fragments4(build.udp(netflow.random_datagram(9, "netflow5", 100)), 1480)
    capture = build.pcap(*map(build.ethernet, pieces[:-1]), frame4(MIXED[0][1]))
    done = run(stdin=capture)
    assert (done.status, done.flows) == (1, expected(MIXED[0]))
    assert done.told == ["of-decode: -: 1 fragmented datagrams incomplete"]


def test_fragments_do_not_join_across_files(run, tmp_path):
    pieces = [build.ethernet(piece) for piece in build.fragments4(build.udp(MIXED[0][1]), 80)]
    (tmp_path / "a").write_bytes(build.pcap(*pieces[:1]))
    (tmp_path / "b").write_bytes(build.pcap(*pieces[1:]))
    done = run(tmp_path / "a", tmp_path / "b")
    assert (done.status, done.out) == (1, b"")
    assert [line.rpartition(": ")[2] for line in done.told[:2]] == ["1 fragmented datagrams incomplete"] * 2


# --- counts and cuts


def test_a_count_that_lies(run):
    low, high, none = (netflow.random_datagram(1, "netflow5", 3) for _ in range(3))
    low, high, none = (data[:2] + count.to_bytes(2) + data[4:] for data, count in ((low, 2), (high, 9), (none, 0)))
    done = run("--stats", stdin=build.pcap(*map(frame4, (low, high, none))))
    assert done.status == 1
    assert len(done.flows) == 5
    assert done.counted(packets=3, datagrams=2, flows=5, other_packets=0, rejected=3)
    assert done.told == [
        "of-decode: -: packet 1: the count in the header is wrong; 48 octets after the last record",
        "of-decode: -: packet 2: the count in the header is wrong; 3 of 9 announced flows are there",
        "of-decode: -: packet 3: the NetFlow 5 header announces no flows; 144 octets follow it",
    ]


def cut(frame: bytes, kept: int) -> bytes:
    head = build.pcap(frame)[:24]
    return head + bytes(8) + kept.to_bytes(4, "little") + len(frame).to_bytes(4, "little") + frame[:kept]


@pytest.mark.parametrize(("kind", "data"), MIXED)
def test_wherever_the_snapshot_length_cuts(run, kind, data):
    """42 octets of headers come first; then the export's own, then records, of which the whole ones are shown."""
    frame = frame4(data)
    header, record = netflow.HEADER_LENGTHS[kind], netflow.RECORD_LENGTHS[kind]
    count = data[3]
    for kept in range(14, len(frame), 3):
        done = run(stdin=cut(frame, kept))
        there = max(0, kept - 42 - header) // record
        assert done.status == 1
        assert done.flows == expected((kind, data))[:there]
        if kept >= 42 + header:
            assert done.told == [
                f"of-decode: -: packet 1: cut by the snapshot length: {kept} of {len(frame)} bytes;"
                f" {there} of {count} announced flows are there"
            ]
        elif kept >= 46:
            assert done.told == [
                f"of-decode: -: packet 1: NetFlow {kind[7]} header cut short: {kept - 42} of {header} octets",
                "of-decode: no flow export in 1 packets",
            ]
        else:
            assert done.told[-1].startswith("of-decode: no flow export in 1 packets")


def test_wherever_the_file_ends(run):
    kind, data = MIXED[0]
    capture = build.pcap(frame4(data), frame4(data))
    second = len(capture) - 16 - len(frame4(data))
    for length in range(25, len(capture), 5):
        done = run(stdin=capture[:length])
        first_is_whole = length >= second
        rest = length - (second if first_is_whole else 24) - 16 - 42 - 16  # headers of record, frame, export
        there = 3 * first_is_whole + max(0, rest) // 48
        assert done.flows == (expected((kind, data)) * 2)[:there], length
        assert done.status == 1
        where = ["of-decode: -: packet 1: ", "of-decode: -: packet 2: "][first_is_whole]
        assert done.told[0].startswith(where)
        if rest >= 0:
            left = length - (second if first_is_whole else 24) - 16
            assert done.told[0].startswith(f"{where}cut at the end of the file: {left} of {len(frame4(data))} bytes; ")
        assert len(done.told) == 1 + (done.told[-1].startswith("of-decode: no flow export in 1 packets"))
    for length in (24, second):
        done = run(stdin=capture[:length])
        assert (done.status, done.told, len(done.flows)) == (0, [], 3 * (length == second))


@pytest.mark.parametrize("kept", [14, 20, 40, 43])
@pytest.mark.parametrize("kind", [0x0800, 0x0806])
def test_a_file_that_ends_in_another_packet(run, kept, kind):
    """It is told even if nothing is lost by it: the rest of the file may be missing, too."""
    other = build.ethernet(build.ipv4(build.tcp(bytes(100)), 6), kind)
    capture = build.pcap(frame4(MIXED[0][1]), other)
    done = run(stdin=capture[: kept - len(other)])
    assert (done.status, done.flows, len(done.told)) == (1, expected(MIXED[0]), 1)
    if kind == 0x0806 or kept == 43:
        assert done.told[0] == f"of-decode: -: packet 2: cut at the end of the file: {kept} of {len(other)} bytes"
    done = run("-p", stdin=cut(other, 43))
    assert (done.status, done.told) == (0, [])


def test_snapshots_by_editcap(run, tmp_path):
    editcap = need("editcap")
    (tmp_path / "a").write_bytes(CAPTURE)
    subprocess.run([editcap, "-s", "200", tmp_path / "a", tmp_path / "b"], check=True, capture_output=True)
    done = run(tmp_path / "b")
    there = [(200 - 42 - netflow.HEADER_LENGTHS[kind]) // netflow.RECORD_LENGTHS[kind] for kind, _ in MIXED]
    assert done.status == 1
    assert done.flows == [flow for item, count in zip(MIXED, there, strict=True) for flow in expected(item)[:count]]
    assert all("cut by the snapshot length: 200 of " in line for line in done.told)
    assert len(done.told) == len(MIXED)


def test_ten_of_a_kind(run):
    frame = frame4(netflow.datagram(netflow.record(), count=2))
    done = run(stdin=build.pcap(*[frame] * 25))
    assert (done.status, len(done.flows), len(done.told)) == (1, 25, 11)
    assert done.told[-1] == "of-decode: 15 more not shown: fewer flows than announced"


def test_strict(run):
    frame = frame4(netflow.datagram(netflow.record(), count=2))
    done = run("--strict", "--stats", stdin=build.pcap(*[frame] * 25))
    assert (done.status, len(done.flows)) == (1, 1)
    assert json.loads(done.told[1])["rejected"] == 1
    assert len(done.told) == 2


def test_damage_ends_the_input_and_the_rest_of_the_files_is_read(run, tmp_path):
    bomb = CAPTURE + bytes(8) + b"\xff\xff\xff\x7f" * 2
    done = run("-", "-", stdin=bomb)
    assert (done.status, done.flows) == (1, FLOWS)
    assert done.told[0] == "of-decode: -: packet 6: the captured length 2147483647 is over the limit of 262144 bytes"


# --- other packets


def test_no_export(run):
    packets = build.pcap(frame4(b"hello"), build.ethernet(build.ipv4(build.tcp(), 6)), b"\xff" * 60)
    done = run("--stats", stdin=packets)
    assert (done.status, done.out) == (1, b"")
    assert done.counted(command="of-decode", packets=3, datagrams=0, flows=0, other_packets=2, rejected=0)
    assert done.told == [
        "of-decode: no flow export in 3 packets; -p takes the packets themselves as flows, of-meter(1) meters them"
    ]
    assert run(stdin=build.pcap()).status == 0
    assert run("-q", stdin=packets).told == []


def test_no_export_among_bad_packets(run):
    done = run(stdin=build.pcap(frame4(b"hello"), b"\0" * 12 + b"\x08\0"))
    assert done.told == [
        "of-decode: -: packet 2: no IP header",
        "of-decode: no flow export in 2 packets; -p takes the packets themselves as flows, of-meter(1) meters them",
    ]
    done = run(stdin=build.pcap(b"xxxx", link=147))
    assert done.told == [
        "of-decode: -: packet 1: link type 147 is not supported",
        "of-decode: no flow export in 1 packets",
    ]


def test_packets_as_flows(run):
    other = [
        build.ethernet(build.ipv4(build.tcp(b"text", flags=0x12), 6, tos=0x10)),
        build.ethernet(build.ipv4(b"\3\1" + bytes(30), 1)),
        build.ethernet(build.ipv6(build.udp(b"x"), traffic_class=5), 0x86DD),
        build.ethernet(build.ipv4(bytes(20), 47)),
        build.ethernet(build.ipv4(build.tcp()[:6], 6, total=60)),
    ]
    done = run("-p", "--stats", stdin=build.pcap(frame4(MIXED[0][1]), *other))
    assert done.flows[:3] == expected(MIXED[0])
    common = {"type": "flow", "pcount": 1, "source": "packet", "time_src": "recv"}
    four = {"saddr": EXPORTER4, "daddr": str(ipaddress.ip_address(build.DESTINATION4))}
    six = {"saddr": EXPORTER6, "daddr": str(ipaddress.ip_address(build.DESTINATION6))}
    stamps = [{"start_ms": stamp, "end_ms": stamp} for stamp in range(1_700_000_001_123, 1_700_000_006_000, 1000)]
    details = [
        four | {"bcount": 44, "sport": 443, "dport": 50000, "flags": 0x12, "protocol": 6, "tos": 16},
        four | {"bcount": 52, "protocol": 1, "tos": 0, "icmp_type": 3, "icmp_code": 1},
        six | {"bcount": 49, "sport": 40000, "dport": 2055, "protocol": 17, "tos": 5},
        four | {"bcount": 40, "protocol": 47, "tos": 0},
        four | {"bcount": 60, "sport": 443, "dport": 50000, "protocol": 6, "tos": 0},
    ]
    assert done.flows[3:] == [common | detail | stamp for detail, stamp in zip(details, stamps, strict=True)]
    assert [list(flow)[:3] for flow in done.flows[3:]] == [["type", "pcount", "source"]] * 5
    assert done.counted(packets=6, datagrams=1, flows=8, other_packets=5, rejected=0)
    assert done.told == []
    assert done.status == 0


def test_packets_of_unknown_time_have_none(run):
    capture = build.section() + build.interface() + build.simple(frame4(b"hello"))
    (flow,) = run("-p", stdin=capture).flows
    assert not {"start_ms", "end_ms", "time_src"} & set(flow)


@pytest.mark.parametrize("payload", [b"\0\5\0\1File not found\0", b"\0\5\1\0\0\1\0\0\0\0\0\0\1t\2co\0\0\1\0\1"])
def test_look_alikes_are_packets_like_others(run, payload):
    done = run("-p", stdin=build.pcap(frame4(payload)))
    assert (done.status, done.told) == (0, [])
    assert done.flows[0]["source"] == "packet"


# --- options


def test_envelope(run):
    (flow,) = run("--envelope", stdin=build.pcap(frame4(netflow.datagram(netflow.record(), sequence=77)))).flows
    added = {"exporter_port": 40_000, "uptime_ms": netflow.UPTIME, "recv_ms": 1_700_000_000_123}
    assert added.items() <= flow.items()
    assert flow["seq"] == 77


def test_line_types(run):
    assert run("--only", "flow", stdin=CAPTURE).flows == FLOWS
    for wrong in ("nonsense", "", "flow,", "flow,nonsense"):
        done = run("--only", wrong, stdin=CAPTURE)
        assert (done.status, done.out) == (2, b"")
        assert done.told[0].startswith("of-decode: argument --only: unknown line type")


# --- while it runs


def test_flows_appear_while_the_capture_goes_on():
    command = [sys.executable, "-m", "overflowd_tools.commands.decode"]
    with subprocess.Popen(
        command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        process.stdin.write(CAPTURE)
        got = b""
        while got.count(b"\n") < len(FLOWS):
            got += os.read(process.stdout.fileno(), 65536)
        assert [json.loads(line) for line in got.splitlines()] == FLOWS
        process.stdin.write(CAPTURE[24:100])
        process.send_signal(signal.SIGUSR1)
        counts = process.stderr.readline()
        assert counts.startswith(b"of-decode: %d packets, %d datagrams, %d flows, " % (*[len(MIXED)] * 2, len(FLOWS)))
        assert counts.endswith(b" 0 rejected\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == -signal.SIGTERM
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_stop_is_not_the_end_of_the_file(run, monkeypatch, pack):
    """What is half read when the signal comes is neither salvaged nor complained about."""
    from overflowd_tools import stream

    class StoppedError(Exception):
        pass

    def die(number):
        raise StoppedError(number)

    monkeypatch.setattr(stream, "die_by", die)
    monkeypatch.setattr(signal, "SIG_DFL", signal.SIG_IGN)
    fragment = build.ethernet(build.fragments4(build.udp(MIXED[0][1]), 80)[0])
    capture = build.pcap(*(frame4(data) for _, data in MIXED), fragment, frame4(MIXED[0][1]))
    reading, writing = os.pipe()
    os.write(writing, pack(capture)[:-60])
    before = os.dup(0)
    os.dup2(reading, 0)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        with pytest.raises(StoppedError):
            decode.main(["-v"])
    finally:
        os.dup2(before, 0)
        for descriptor in (before, reading, writing):
            os.close(descriptor)


# --- other programs' opinion

FIELDS = {
    "saddr": "srcaddr",
    "daddr": "dstaddr",
    "nexthop": "nexthop",
    "in_if": "inputint",
    "out_if": "outputint",
    "pcount": "packets",
    "bcount": "octets",
    "stime": "timestart",
    "etime": "timeend",
    "sport": "srcport",
    "dport": "dstport",
    "flags": "tcpflags",
    "protocol": "protocol",
    "tos": "tos",
    "src_as": "srcas",
    "dst_as": "dstas",
    "src_mask": "srcmask",
    "dst_mask": "dstmask",
    "router_sc": "routersc",
}
HEADER = ["sysuptime", "unix_secs", "unix_nsecs", "sequence", "engine_type", "engine_id", "samplerate"]


def tshark_flows(path: Path, port: int, version: int, packets: int = 1000) -> list[dict]:
    """Every field of every record and header as tshark reads them."""
    names = ["version", *HEADER, *FIELDS.values()]
    command = [need("tshark"), "-n", "-r", path, "-c", str(packets), "-d", f"udp.port=={port},cflow", "-T", "fields"]
    command += ["-E", "separator=;", "-E", "aggregator=,", *(arg for name in names for arg in ("-e", f"cflow.{name}"))]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    flows = []
    for row in csv.reader(shown.splitlines(), delimiter=";"):
        header = dict(zip(["version", *HEADER], row, strict=False))
        if header["version"] != str(version):
            continue
        columns = {ours: cells.split(",") for ours, cells in zip(FIELDS, row[1 + len(HEADER) :], strict=True) if cells}
        for number in range(len(columns["saddr"])):
            flow = {name: cells[number] for name, cells in columns.items()}
            for name in set(flow) - {"saddr", "daddr", "nexthop", "router_sc"}:
                flow[name] = round(float(flow[name]) * 1000) if name in ("stime", "etime") else int(flow[name], 0)
            flow["header"] = {name: value for name, value in header.items() if value}
            flows.append(flow)
    return flows


def check_against_tshark(flows: list[dict], theirs: list[dict]) -> None:
    assert len(theirs) == len(flows) > 0
    for flow, other in zip(flows, theirs, strict=True):
        header = other.pop("header")
        assert {name: flow[name] for name in other} == other
        assert set(FIELDS) & set(flow) == set(other)
        seconds, nanoseconds = int(header["unix_secs"]), int(header["unix_nsecs"])
        assert flow["export_ms"] == seconds * 1000 + nanoseconds // 10**6
        uptime = round(float(header["sysuptime"]) * 1000)
        assert flow["uptime_ms"] == uptime
        assert flow["start_ms"] == flow["export_ms"] - netflow.signed32(uptime - flow["stime"])
        assert flow["end_ms"] == flow["export_ms"] - netflow.signed32(uptime - flow["etime"])
        for name, key in (("sequence", "seq"), ("engine_type", "engine_type"), ("engine_id", "engine_id")):
            assert flow.get(key) == (int(header[name]) if name in header else None)
        assert flow.get("sampling_rate", 1) == (int(header.get("samplerate", 0)) or 1)


@pytest.mark.parametrize("kind", ["netflow1", "netflow5", "netflow7"])
def test_tshark_sees_the_same(run, tmp_path, kind):
    fields = {"sampling": 0x4064, "engine": (1, 9)} if kind == "netflow5" else {}
    datagrams = [
        netflow.random_datagram(seed, kind, 30, uptime=seed * 300_000_000, nanoseconds=seed, **fields)
        for seed in range(9)
    ]
    path = tmp_path / "capture"
    path.write_bytes(build.pcap(*map(frame4, datagrams)))
    flows = run("--envelope", path).flows
    check_against_tshark(flows, tshark_flows(path, 2055, int(kind[7])))


@pytest.mark.parametrize("name", ["netflow1.pcap", "netflow5.pcap", "every-field.pcap"])
def test_tshark_sees_the_same_in_our_own_captures(run, name):
    flows = run("--envelope", DATA / name).flows
    assert flows
    for version in {flow["source"].removeprefix("netflow") for flow in flows}:
        ours = [flow for flow in flows if flow["source"] == f"netflow{version}"]
        check_against_tshark(ours, tshark_flows(DATA / name, 2055, int(version)))


def nfcapd_flows(datagrams: list[bytes], place: Path) -> list[dict]:
    """Send datagrams to nfcapd over loopback and read with nfdump what it took them for."""
    nfcapd, nfdump = need("nfcapd"), need("nfdump")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    command = [nfcapd, "-w", place, "-p", str(port), "-b", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + SECONDS
        while f":{port:04X} " not in Path("/proc/net/udp").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in datagrams:
                sender.sendto(data, ("127.0.0.1", port))
        time.sleep(0.3)
        process.terminate()
        process.wait(SECONDS)
    (written,) = place.glob("nfcapd.2*")
    environment = {**os.environ, "TZ": "UTC"}
    shown = subprocess.run(
        [nfdump, "-q", "-r", written, "-o", "json"], capture_output=True, env=environment, check=True
    )
    return json.loads(b"[%s]" % shown.stdout)


def test_nfdump_sees_the_same(run, tmp_path):
    """Addresses, ports, counters and above all the times; nfdump shows the flags as letters."""
    letters = "CEUAPRSF"
    flow = {"nexthop": "192.0.2.9", "in_if": 3, "out_if": 400, "bcount": 9000, "sport": 1024, "protocol": 6, "tos": 16}
    firsts = [netflow.UPTIME - 1000, netflow.UPTIME - 72_082, 1, netflow.UPTIME]
    datagrams = []
    for kind in ("netflow1", "netflow5", "netflow7"):
        made = []
        for number, first in enumerate(firsts):
            flow |= {"saddr": f"192.0.2.{number}", "daddr": "198.51.100.7", "pcount": number + 1, "dport": number}
            flow |= {"flags": number << 2, "stime": first, "etime": netflow.UPTIME}
            made.append(netflow.record(kind, **flow))
        datagrams.append(netflow.datagram(*made, kind=kind, nanoseconds=123_000_000))
    flows = run(stdin=build.pcap(*map(frame4, datagrams))).flows
    theirs = nfcapd_flows(datagrams, tmp_path)
    names = {
        "saddr": "src4_addr",
        "daddr": "dst4_addr",
        "nexthop": "ip4_next_hop",
        "in_if": "input_snmp",
        "out_if": "output_snmp",
        "pcount": "in_packets",
        "bcount": "in_bytes",
        "sport": "src_port",
        "dport": "dst_port",
        "protocol": "proto",
        "tos": "src_tos",
    }
    assert len(theirs) == len(flows) == 12
    for ours, other in zip(flows, theirs, strict=True):
        assert {name: ours[name] for name in names} == {name: other[key] for name, key in names.items()}
        for name, key in (("start_ms", "first"), ("end_ms", "last")):
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ours[name] // 1000))
            assert f"{stamp}.{ours[name] % 1000:03}" == other[key]
        shown = "".join(letter if ours["flags"] & 0x80 >> place else "." for place, letter in enumerate(letters))
        assert shown == other["tcp_flags"]


# --- real exporters


@corpora
def test_overflowds_own_capture(run):
    path = CORPORA / "overflowd" / "netflow_4M.pcap"
    place = f"{path}: packet 2709"
    done = run("--stats", path)
    assert done.status == 1
    assert done.out.count(b"\n") == 78_684 + 20
    assert done.told[0] == (
        f"of-decode: {place}: cut at the end of the file: 1072 of 1458 bytes; 20 of 29 announced flows are there"
    )
    counts = json.loads(done.told[1])
    assert (counts["packets"], counts["datagrams"], counts["flows"], counts["rejected"]) == (2709, 2709, 78_704, 1)
    assert max(flow["export_ms"] - flow["start_ms"] for flow in done.flows) == 72_082
    assert min(flow["export_ms"] - flow["end_ms"] for flow in done.flows) == -992


@corpora
def test_overflowds_own_capture_as_tshark_sees_it(run, tmp_path):
    editcap = need("editcap")
    path = tmp_path / "first"
    source = CORPORA / "overflowd" / "netflow_4M.pcap"
    subprocess.run([editcap, "-r", "-F", "pcap", source, path, "1-200"], check=True, capture_output=True)
    flows = run("--envelope", path).flows
    assert len(flows) > 5000
    check_against_tshark(flows, tshark_flows(path, 9500, 5))


OF_TWO_FLOWS = ("/netflow-v5-1.dat", "/netflow5.dat", "/logstash_Netflow_5_valid_01.pcap")
"""One datagram, three times: it announces 2 flows and goes on for 1608 octets, which no collector shows."""


def manifest() -> list:
    """The captures and datagrams of NetFlow 1, 5 and 7 alone, and how many flows each has."""
    if not CORPORA.is_dir():
        return []
    with (CORPORA / "MANIFEST.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    wanted = {"NetFlow v1", "NetFlow v5", "NetFlow v7"}
    return [(row["file"], int(row["flow_records"])) for row in rows if row["protocol"] in wanted]


@corpora
@pytest.mark.parametrize(("name", "count"), manifest())
def test_every_file_of_the_manifest(run, name, count):
    data = (CORPORA / name).read_bytes()
    if not name.endswith(".pcap"):
        data = build.pcap(frame4(data))
    done = run(stdin=data)
    cut_at_the_end = name.endswith("netflow_4M.pcap")
    assert done.out.count(b"\n") == count + 20 * cut_at_the_end
    too_high, too_low = "invalid" in name, name.endswith(OF_TWO_FLOWS)
    assert done.status == (1 if too_high or too_low or cut_at_the_end else 0)
    assert len(done.told) == done.status
    if too_high:
        assert "the count in the header is wrong; 30 of " in done.told[0]
    if too_low:
        assert "the count in the header is wrong; 1608 octets after the last record" in done.told[0]


@corpora
def test_netflow_on_the_port_of_sflow(run):
    done = run(CORPORA / "the-tcpdump-group+tcpdump" / "tests" / "sflow_multiple_counter_30_pdus.pcap")
    assert sum(flow["source"] == "netflow5" for flow in done.flows) == 7


LOGSTASH = {
    "saddr": "ipv4_src_addr",
    "daddr": "ipv4_dst_addr",
    "nexthop": "ipv4_next_hop",
    "in_if": "input_snmp",
    "out_if": "output_snmp",
    "pcount": "in_pkts",
    "bcount": "in_bytes",
    "sport": "l4_src_port",
    "dport": "l4_dst_port",
    "flags": "tcp_flags",
    "protocol": "protocol",
    "tos": "src_tos",
    "src_as": "src_as",
    "dst_as": "dst_as",
    "src_mask": "src_mask",
    "dst_mask": "dst_mask",
}


@corpora
@pytest.mark.parametrize("name", ["Netflow5_Juniper_MX80", "Netflow5_mikrotik", "Netflow_5_valid_01"])
def test_goldens_of_logstash(run, name):
    """Each event that a golden file shows is among the flows, with all its fields and the time of its start."""
    folder = CORPORA / "logstash-plugins+logstash-codec-netflow" / "golden"
    golden = json.loads((folder / f"{name}.golden.json").read_text())
    assert golden["expected_events"]
    flows = run("--envelope", CORPORA / "replay" / f"logstash_{name}.pcap").flows
    assert len(flows) == golden["expected_event_count"]
    for event in golden["expected_events"]:
        theirs = event["netflow"]
        (flow,) = [flow for flow in flows if all(flow[ours] == theirs[key] for ours, key in LOGSTASH.items())]
        assert flow["seq"] == theirs["flow_seq_num"]
        assert flow.get("sampling_rate", 1) == (theirs["sampling_interval"] or 1)
        if flow["stime"] <= flow["uptime_ms"]:  # logstash reads -1 as 49 days (research/flow.md, finding 1)
            first = datetime.fromisoformat(theirs["first_switched"])
            assert round(first.timestamp() * 1000) - flow["start_ms"] in (0, 1000)  # and forgets to borrow a second


@corpora
@pytest.mark.parametrize("path", sorted((CORPORA / "packets").glob("*.pcap")), ids=lambda path: path.stem)
def test_packets_as_tshark_sees_them(run, path):
    names = ["ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "ip.len", "ipv6.plen", "ip.proto", "ipv6.nxt", "tcp.flags"]
    names += ["udp.srcport", "udp.dstport", "tcp.srcport", "tcp.dstport", "icmp.type", "frame.time_epoch"]
    command = [need("tshark"), "-n", "-r", path, "-T", "fields", "-E", "separator=;", "-E", "occurrence=f"]
    shown = subprocess.run(
        [*command, *(arg for name in names for arg in ("-e", name))], capture_output=True, text=True, check=True
    ).stdout
    theirs = []
    for row in csv.reader(shown.splitlines(), delimiter=";"):
        cells = dict(zip(names, row, strict=True))
        flow = {
            "saddr": cells["ip.src"] or cells["ipv6.src"],
            "daddr": cells["ip.dst"] or cells["ipv6.dst"],
            "bcount": int(cells["ip.len"]) if cells["ip.len"] else 40 + int(cells["ipv6.plen"]),
            "protocol": int(cells["ip.proto"] or cells["ipv6.nxt"]),
            "sport": cells["udp.srcport"] or cells["tcp.srcport"],
            "dport": cells["udp.dstport"] or cells["tcp.dstport"],
            "flags": cells["tcp.flags"] and int(cells["tcp.flags"], 16) & 0xFF,
            "icmp_type": cells["icmp.type"],
            "start_ms": int(cells["frame.time_epoch"].replace(".", "")) // 10**6,
        }
        theirs.append(
            {name: int(value) if str(value).isdecimal() else value for name, value in flow.items() if value != ""}
        )
    done = run("-p", path)
    assert (done.status, done.told) == (0, [])
    if "fragments" in path.stem:  # tshark shows the pieces, we the datagram
        assert [flow["bcount"] for flow in done.flows] == [sum(flow["bcount"] - 20 for flow in theirs) + 20]
        return
    unreachable = "unreach" in path.stem  # tshark fills in the ports of the packet that is quoted
    for ours, other in zip(done.flows, theirs, strict=True):
        for name, value in other.items():
            if not (unreachable and name in ("sport", "dport") and ours["protocol"] == 1):
                assert ours[name] == value


# --- hostile input


def hostile() -> list[bytes]:
    octets = random.Random(3)
    return [
        octets.randbytes(5000),
        CAPTURE[:24] + octets.randbytes(5000),
        build.section() + octets.randbytes(5000),
        CAPTURE[:24] + (bytes(8) + b"\0\0\4\0" * 2 + octets.randbytes(262_144)) * 3,
        gzip.compress(CAPTURE)[:-20],
        gzip.compress(bytes(5 << 20)),
        b"\0" * 100_000,
        b"\n" * 1000,
    ]


@pytest.mark.parametrize("number", range(8))
def test_hostile_input_is_complained_about(run, number):
    done = run(stdin=hostile()[number])
    assert done.status == 1
    assert 1 <= len(done.told) <= 30
    assert all(line.startswith("of-decode: ") for line in done.told)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_to_a_capture(capture_run, data):
    damaged = bytearray(CAPTURE)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    done = capture_run("-p", "--envelope", stdin=bytes(damaged))
    assert done.status in (0, 1)
    assert (done.status == 1) == bool(done.told)
    for flow in done.flows:
        assert list(flow)[:2] == ["type", "pcount"]


def flood(path: Path, frames) -> Path:
    with path.open("wb") as file:
        file.write(build.pcap()[:24])
        for number, frame in enumerate(frames):
            file.write((number // 10**6).to_bytes(4, "little") + (number % 10**6).to_bytes(4, "little"))
            file.write(len(frame).to_bytes(4, "little") * 2 + frame)
    return path


def forged(count: int):
    """As many exporters as datagrams, and records of which no two octets repeat."""
    octets = random.Random(5)
    for _ in range(count):
        payload = netflow.header(engine=tuple(octets.randbytes(2))) + octets.randbytes(47) + b"\0"
        whole = frame4(payload)
        yield whole[:26] + octets.randbytes(4) + whole[30:]


def fragment_flood(count: int):
    octets = random.Random(6)
    for number in range(count):
        yield build.ethernet(build.ipv4(octets.randbytes(1400), fragment=0x2000, ident=number & 0xFFFF))


PEAK = """
import sys
from overflowd_tools.commands.decode import main
status = main(["-q", sys.argv[1]])
print(status, *(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""


def peak_memory(path: Path) -> int:
    """The most memory of a run, in KiB. (What the kernel tells the parent would include the parent's own.)"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, path],
        cwd=TOP,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=SECONDS,
        check=True,
    )
    status, peak = map(int, done.stderr.split())
    assert status in (0, 1)
    return peak


@pytest.mark.parametrize("frames", [forged(60_000), fragment_flood(12_000)], ids=["exporters", "fragments"])
def test_memory_is_bounded(tmp_path, frames):
    """40 MB are promised; the floods of a hundred times this size were tried by hand and need no more."""
    assert peak_memory(flood(tmp_path / "flood", frames)) < 40_000
